//! How CloudFormation asks, and how it is always answered: a custom resource
//! without an answer holds its stack for an hour.

use crate::provision::Report;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Kept back for answering before the function's own time is over.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How often an answer is tried.
const ATTEMPTS: u32 = 4;

/// What CloudFormation asks for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    request_type: RequestType,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    #[serde(default)]
    physical_resource_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum RequestType {
    Create,
    Update,
    Delete,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    status: String,
    reason: String,
    physical_resource_id: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    #[serde(default)]
    data: Data,
}

#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(skip_serializing_if = "Option::is_none")]
    created_first_index: Option<bool>,
}

/// The answer could not be delivered.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// CloudFormation's URL does not take it.
    #[error("CloudFormation did not take the answer")]
    Refused(#[source] reqwest::Error),
    /// The HTTP client cannot be built.
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Delivers answers.
pub struct Answerer {
    http: reqwest::Client,
}

impl Answerer {
    /// An answerer with connections of its own.
    ///
    /// # Errors
    /// [`AnswerError::Client`] if there is no TLS.
    pub fn new() -> Result<Self, AnswerError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .no_proxy()
            .build();
        Ok(Self {
            http: http.map_err(AnswerError::Client)?,
        })
    }

    /// Does the work for Create and Update, nothing for Delete (the data stays),
    /// and answers: also if the work errs, panics or takes too long.
    ///
    /// # Errors
    /// [`AnswerError`] only if the answer itself cannot be delivered.
    pub async fn handle(
        &self,
        request: &Request,
        function_deadline: SystemTime,
        work: impl Future<Output = Result<Report, String>>,
    ) -> Result<(), AnswerError> {
        let left = function_deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let result = if request.request_type == RequestType::Delete {
            Ok(None)
        } else {
            let limit = left.saturating_sub(ANSWER_TIME);
            match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
                Ok(Ok(done)) => done.map(Some),
                Ok(Err(_)) => Err("provisioning panicked; see the function's log".to_owned()),
                Err(_) => Err(format!(
                    "provisioning was not done within {} s",
                    limit.as_secs()
                )),
            }
        };
        self.answer(request, result).await
    }

    async fn answer(
        &self,
        request: &Request,
        result: Result<Option<Report>, String>,
    ) -> Result<(), AnswerError> {
        let (status, reason, report) = match result {
            Ok(report) => ("SUCCESS", "done".to_owned(), report),
            Err(reason) => ("FAILED", reason.chars().take(1_000).collect(), None),
        };
        tracing::info!(status, reason, "answering CloudFormation");
        let answer = Answer {
            status: status.to_owned(),
            reason,
            physical_resource_id: request
                .physical_resource_id
                .clone()
                .unwrap_or_else(|| "freshet-search-setup".to_owned()),
            stack_id: request.stack_id.clone(),
            request_id: request.request_id.clone(),
            logical_resource_id: request.logical_resource_id.clone(),
            data: Data {
                created_first_index: report.map(|report| report.created_first_index),
            },
        };
        // Strings always serialise.
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        let mut attempt = 1;
        loop {
            // The URL is signed for an empty content type.
            let put = self
                .http
                .put(&request.response_url)
                .header("content-type", "")
                .body(body.clone());
            match put
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
            {
                Ok(_) => return Ok(()),
                Err(error) if attempt == ATTEMPTS => return Err(AnswerError::Refused(error)),
                Err(_) => tokio::time::sleep(Duration::from_millis(200 << attempt)).await,
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn answer_to(
        kind: &str,
        work: impl Future<Output = Result<Report, String>>,
        seconds: u64,
    ) -> Answer {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(500))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        let request: Request = serde_json::from_value(serde_json::json!({
            "RequestType": kind, "ResponseURL": server.uri(), "StackId": "s", "RequestId": "r",
            "LogicalResourceId": "SearchSetup", "ResourceType": "Custom::SearchSetup", "ResourceProperties": {},
        }))
        .unwrap();
        let deadline = SystemTime::now() + ANSWER_TIME + Duration::from_secs(seconds);
        Answerer::new()
            .unwrap()
            .handle(&request, deadline, work)
            .await
            .unwrap();
        serde_json::from_slice(
            &server
                .received_requests()
                .await
                .unwrap()
                .pop()
                .unwrap()
                .body,
        )
        .unwrap()
    }

    #[tokio::test]
    async fn success_and_failure_are_told() {
        let report = Report {
            created_first_index: true,
        };
        let answer = answer_to("Create", async { Ok(report) }, 5).await;
        assert_eq!(
            (answer.status.as_str(), answer.data.created_first_index),
            ("SUCCESS", Some(true))
        );
        assert_eq!(answer.physical_resource_id, "freshet-search-setup");
        let answer = answer_to("Update", async { Err("no template".to_owned()) }, 5).await;
        assert_eq!(
            (answer.status.as_str(), answer.reason.as_str()),
            ("FAILED", "no template")
        );
    }

    #[tokio::test]
    async fn a_panic_and_a_time_out_are_answered_too() {
        let answer = answer_to("Create", async { panic!("bug") }, 5).await;
        assert!(answer.status == "FAILED" && answer.reason.contains("panicked"));
        let answer = answer_to("Create", std::future::pending(), 0).await;
        assert!(answer.status == "FAILED" && answer.reason.contains("not done"));
    }

    #[tokio::test]
    async fn delete_keeps_the_data_and_succeeds() {
        let answer = answer_to("Delete", async { panic!("must not run") }, 5).await;
        assert_eq!(answer.status, "SUCCESS");
    }
}
