//! What the client is told: one result for each event, or one error for the
//! whole request.

use serde::Serialize;
use std::borrow::Cow;

/// What the client should do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Forget it: it is durable.
    Ok,
    /// Send it again.
    Retry,
    /// Never send it again: it is invalid.
    Drop,
}

/// One event's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventResult {
    /// Its place in the request.
    pub index: usize,
    /// Its identifier: the client's own, or the one it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// What to do with it.
    pub status: Status,
    /// Why, if it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Serialize)]
struct Results<'a> {
    results: &'a [EventResult],
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

/// What Segment's and RudderStack's SDKs are told.
#[derive(Serialize)]
struct CallResults<'a> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    results: &'a [EventResult],
}

/// A picture of one transparent pixel.
const PIXEL: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

/// An answer as API Gateway's payload 2.0 wants it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP status.
    pub status_code: u16,
    headers: Headers,
    /// JSON, or a picture in base64.
    pub body: String,
    is_base64_encoded: bool,
}

#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "content-type")]
    content_type: &'static str,
    #[serde(rename = "cache-control")]
    cache_control: &'static str,
    #[serde(rename = "retry-after", skip_serializing_if = "Option::is_none")]
    retry_after: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<&'static str>,
}

impl Response {
    fn new(status_code: u16, body: String) -> Self {
        let headers = Headers {
            content_type: "application/json",
            cache_control: "no-store",
            retry_after: (status_code == 503).then_some("1"),
            allow: None,
        };
        Self {
            status_code,
            headers,
            body,
            is_base64_encoded: false,
        }
    }

    /// The answer to a request whose events were judged one by one: 200 if at
    /// least one is held and none must be sent again, 400 if all are refused,
    /// 503 with `Retry-After` if any must be sent again.
    #[must_use]
    pub fn results(results: &[EventResult]) -> Self {
        Self::new(status_of(results), json(&Results { results }))
    }

    /// The same for calls of an SDK: `success` says whether the status is 200,
    /// and if not, `code` and `message` are those of the first result to blame.
    #[must_use]
    pub fn call_results(results: &[EventResult]) -> Self {
        let status = status_of(results);
        let blamed = results.iter().find(|result| match status {
            200 => false,
            503 => result.status == Status::Retry,
            _ => result.status == Status::Drop,
        });
        let body = CallResults {
            success: status == 200,
            code: blamed.and_then(|result| result.code.as_deref()),
            message: blamed.and_then(|result| result.message.as_deref()),
            results,
        };
        Self::new(status, json(&body))
    }

    /// The answer to a request that failed as a whole.
    #[must_use]
    pub fn error(status_code: u16, code: &str, message: &str) -> Self {
        Self::new(status_code, json(&Error { code, message }))
    }

    /// The same to an SDK.
    #[must_use]
    pub fn call_error(status_code: u16, code: &str, message: &str) -> Self {
        let body = CallResults {
            success: false,
            code: Some(code),
            message: Some(message),
            results: &[],
        };
        Self::new(status_code, json(&body))
    }

    /// The answer to a request of a method that its path does not take.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        let mut response = Self::error(405, "method_not_allowed", &message);
        response.headers.allow = Some(allow);
        response
    }

    /// The same answer for somebody who can only look at a picture: a
    /// transparent pixel, under the same status.
    #[must_use]
    pub fn into_pixel(mut self) -> Self {
        self.headers.content_type = "image/gif";
        PIXEL.clone_into(&mut self.body);
        self.is_base64_encoded = true;
        self
    }

    /// An SDK's settings. They may be kept for five minutes.
    #[must_use]
    pub fn settings(settings: &serde_json::Value) -> Self {
        let mut response = Self::new(200, settings.to_string());
        response.headers.cache_control = "private, max-age=300";
        response
    }

    /// The answer to `GET /health`.
    #[must_use]
    pub fn healthy() -> Self {
        Self::new(200, r#"{"status":"ok"}"#.to_owned())
    }
}

fn status_of(results: &[EventResult]) -> u16 {
    let any = |status| results.iter().any(|result| result.status == status);
    match (any(Status::Retry), any(Status::Ok)) {
        (true, _) => 503,
        (false, true) => 200,
        (false, false) => 400,
    }
}

fn json(body: &impl Serialize) -> String {
    // Strings and numbers always serialise.
    serde_json::to_string(body).unwrap_or_default()
}
