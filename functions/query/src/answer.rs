//! What the client is told: JSON with an entity tag, or a problem.

use crate::entity::{Entity, is_known};
use crate::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::collections::BTreeMap;

/// An answer as API Gateway's payload 2.0 wants it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP status.
    pub status_code: u16,
    /// By lower-case name.
    pub headers: BTreeMap<&'static str, String>,
    /// JSON, or base64 of it compressed.
    pub body: String,
    /// Whether the body is base64.
    pub is_base64_encoded: bool,
}

/// Why there is no result: a problem as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

/// `about:blank` says that the title is the status's own.
#[derive(Serialize)]
struct ProblemBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
}

impl Problem {
    /// A problem with this status.
    #[must_use]
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
        }
    }

    /// What went wrong is ours, and told in the log only.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(500, "internal_error", "the request could not be answered")
    }
}

impl Response {
    /// A value, unless the client has it already. `cache_control` is for both.
    #[must_use]
    pub fn json(request: &Request<'_>, value: &impl Serialize, cache_control: String) -> Self {
        let Ok(body) = serde_json::to_vec(value) else {
            return Problem::internal().into();
        };
        let entity = Entity::new(body, request.header("accept-encoding"));
        let known = is_known(request.header("if-none-match"), &entity.tag);
        let mut headers = BTreeMap::from([
            ("cache-control", cache_control),
            ("etag", entity.tag),
            // The API adds the origin that may read it.
            ("vary", "accept-encoding, origin".to_owned()),
        ]);
        if known {
            return Self {
                status_code: 304,
                headers,
                body: String::new(),
                is_base64_encoded: false,
            };
        }
        headers.insert("content-type", "application/json".to_owned());
        let body = if entity.is_gzip {
            headers.insert("content-encoding", "gzip".to_owned());
            STANDARD.encode(entity.bytes)
        } else {
            // It was JSON a moment ago: nothing is lost.
            String::from_utf8_lossy(&entity.bytes).into_owned()
        };
        Self {
            status_code: 200,
            headers,
            body,
            is_base64_encoded: entity.is_gzip,
        }
    }

    /// The same without its body, as `HEAD` wants it.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body = String::new();
        self.is_base64_encoded = false;
        self
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let status = problem.status;
        let body = ProblemBody {
            kind: "about:blank",
            title: title(status),
            status,
            detail: &problem.detail,
            code: problem.code,
        };
        let mut headers = BTreeMap::from([
            ("content-type", "application/problem+json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ]);
        match status {
            401 => headers.insert("www-authenticate", "Bearer".to_owned()),
            405 => headers.insert("allow", "GET, HEAD".to_owned()),
            503 => headers.insert("retry-after", "1".to_owned()),
            _ => None,
        };
        Self {
            status_code: status,
            headers,
            // Strings and numbers always serialise.
            body: serde_json::to_string(&body).unwrap_or_default(),
            is_base64_encoded: false,
        }
    }
}

const fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
