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

/// An answer as API Gateway's payload 2.0 wants it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP status.
    pub status_code: u16,
    headers: Headers,
    /// JSON.
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
            retry_after: None,
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
        let any = |status| results.iter().any(|result| result.status == status);
        let status = match (any(Status::Retry), any(Status::Ok)) {
            (true, _) => 503,
            (false, true) => 200,
            (false, false) => 400,
        };
        // Strings and numbers always serialise.
        let mut response = Self::new(
            status,
            serde_json::to_string(&Results { results }).unwrap_or_default(),
        );
        response.headers.retry_after = (status == 503).then_some("1");
        response
    }

    /// The answer to a request that failed as a whole.
    #[must_use]
    pub fn error(status_code: u16, code: &str, message: &str) -> Self {
        let mut response = Self::new(
            status_code,
            serde_json::to_string(&Error { code, message }).unwrap_or_default(),
        );
        response.headers.allow = (status_code == 405).then_some("GET, POST");
        response
    }

    /// The answer to `GET /health`.
    #[must_use]
    pub fn healthy() -> Self {
        Self::new(200, r#"{"status":"ok"}"#.to_owned())
    }
}
