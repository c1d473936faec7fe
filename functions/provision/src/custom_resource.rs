//! How CloudFormation asks, and how it is always answered: a custom resource
//! without an answer holds its stack for an hour.

use crate::provision::Report;
use aws_lambda_events::cloudformation::{
    CloudFormationCustomResourceResponse, CloudFormationCustomResourceResponseStatus as Status,
};
use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Kept back for answering before the function's own time is over.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// There is one search setup in a stack; another id would make CloudFormation
/// delete the old one.
const PHYSICAL_ID: &str = "freshet-search-setup";
/// How often an answer is tried.
const ATTEMPTS: u32 = 4;

/// What CloudFormation asks for.
pub use aws_lambda_events::cloudformation::CloudFormationCustomResourceRequest as Request;

/// Who is to be answered, and where: the same in each kind of request.
struct Asker<'a> {
    response_url: &'a str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
    physical_resource_id: &'a str,
}

impl<'a> Asker<'a> {
    /// Nothing for a kind of request that does not exist yet.
    fn of(request: &'a Request) -> Option<Self> {
        let (response_url, stack_id, request_id, logical_resource_id, physical_resource_id) =
            match request {
                Request::Create(r) => (
                    &r.response_url,
                    &r.stack_id,
                    &r.request_id,
                    &r.logical_resource_id,
                    PHYSICAL_ID,
                ),
                Request::Update(r) => (
                    &r.response_url,
                    &r.stack_id,
                    &r.request_id,
                    &r.logical_resource_id,
                    r.physical_resource_id.as_str(),
                ),
                Request::Delete(r) => (
                    &r.response_url,
                    &r.stack_id,
                    &r.request_id,
                    &r.logical_resource_id,
                    r.physical_resource_id.as_str(),
                ),
                _ => return None,
            };
        Some(Self {
            response_url,
            stack_id,
            request_id,
            logical_resource_id,
            physical_resource_id,
        })
    }
}

/// The answer could not be delivered.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// CloudFormation's URL does not take it.
    #[error("CloudFormation did not take the answer")]
    Refused(#[source] reqwest::Error),
    /// The request is of a kind that does not exist yet.
    #[error("CloudFormation asks for something else than create, update or delete")]
    Unknown,
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
        let result = if matches!(request, Request::Delete(_)) {
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
        let asker = Asker::of(request).ok_or(AnswerError::Unknown)?;
        let mut answer = CloudFormationCustomResourceResponse::default();
        match result {
            Ok(report) => {
                answer.status = Status::Success;
                answer.data.extend(report.iter().flat_map(Report::data));
            }
            Err(reason) => {
                answer.status = Status::Failed;
                answer.reason = Some(reason.chars().take(1_000).collect());
            }
        }
        tracing::info!(status = ?answer.status, reason = answer.reason, "answering CloudFormation");
        answer.physical_resource_id = asker.physical_resource_id.to_owned();
        answer.stack_id = asker.stack_id.to_owned();
        answer.request_id = asker.request_id.to_owned();
        answer.logical_resource_id = asker.logical_resource_id.to_owned();
        // Strings always serialise.
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        let mut attempt = 1;
        loop {
            // The URL is signed for an empty content type.
            let put = self
                .http
                .put(asker.response_url)
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
    use crate::outcome::Outcome;
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn answer_to(
        kind: &str,
        work: impl Future<Output = Result<Report, String>>,
        seconds: u64,
    ) -> CloudFormationCustomResourceResponse {
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
            "OldResourceProperties": {}, "PhysicalResourceId": "freshet-search-setup",
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
        let mut report = Report::default();
        report.add("first write index", Outcome::Created);
        let answer = answer_to("Create", async { Ok(report) }, 5).await;
        assert_eq!(
            (answer.status, answer.data["Created"].as_str()),
            (Status::Success, "first write index")
        );
        assert_eq!(answer.physical_resource_id, "freshet-search-setup");
        let answer = answer_to("Update", async { Err("no template".to_owned()) }, 5).await;
        assert_eq!(
            (answer.status, answer.reason.as_deref()),
            (Status::Failed, Some("no template"))
        );
    }

    #[tokio::test]
    async fn a_panic_and_a_time_out_are_answered_too() {
        let answer = answer_to("Create", async { panic!("bug") }, 5).await;
        assert!(
            answer.status == Status::Failed
                && answer.reason.is_some_and(|r| r.contains("panicked"))
        );
        let answer = answer_to("Create", std::future::pending(), 0).await;
        assert!(
            answer.status == Status::Failed
                && answer.reason.is_some_and(|r| r.contains("not done"))
        );
    }

    #[tokio::test]
    async fn delete_keeps_the_data_and_succeeds() {
        let answer = answer_to("Delete", async { panic!("must not run") }, 5).await;
        assert_eq!(answer.status, Status::Success);
    }
}
