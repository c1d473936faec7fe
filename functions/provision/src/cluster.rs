//! Requests to the cluster: what reads is always sent, what changes is not
//! when only the difference is asked for.

use crate::mapping::Conflict;
use bytes::Bytes;
use freshet_search::{Method, Search, SearchError};
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

/// Of each request.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the cluster is not ready.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// A request failed.
    #[error("{step}: {source}{}", detail(.source))]
    Request {
        /// What was being done.
        step: String,
        /// What the cluster said.
        #[source]
        source: SearchError,
    },
    /// An answer is not what the request asked for.
    #[error("{step}: the answer cannot be read")]
    Answer {
        /// What was being done.
        step: String,
    },
    /// A template or policy that this was built with is broken.
    #[error("{0} is not what it should be")]
    Broken(&'static str),
    /// Live indices do not take what the templates say. Nothing was put.
    #[error("nothing was changed: the templates do not fit live indices: {}", list(.0))]
    Incompatible(Vec<Conflict>),
    /// Something is absent or refuses, and that is to be a failure.
    #[error("{what}: {reason} (on-missing is fail)")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// Why it is taken to be.
        reason: String,
    },
    /// Another policy claims the same indices.
    #[error(
        "policy {policy}: another policy's ism_template matches its indices with the same priority: {reason}"
    )]
    PolicyClash {
        /// The policy that cannot be put.
        policy: String,
        /// What the cluster said.
        reason: String,
    },
    /// The write alias points to several indices, none of them to be written to.
    #[error("the alias {0} has no write index")]
    NoWriteIndex(String),
}

impl ProvisionError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Request { source, .. } => source.code(),
            Self::Answer { .. } => "provision_answer",
            Self::Broken(_) => "provision_broken",
            Self::Incompatible(_) => "template_incompatible",
            Self::Missing { .. } => "provision_missing",
            Self::PolicyClash { .. } => "policy_clash",
            Self::NoWriteIndex(_) => "no_write_index",
        }
    }
}

fn detail(error: &SearchError) -> String {
    match error {
        SearchError::Status { body, .. } => format!(": {body}"),
        _ => String::new(),
    }
}

fn list(conflicts: &[Conflict]) -> String {
    let conflicts = conflicts.iter().map(ToString::to_string);
    conflicts.collect::<Vec<_>>().join("; ")
}

/// Whether an answer means that this API is not there at all: a server without
/// the plugin, or a managed domain that hides it.
pub(crate) fn is_absent(error: &SearchError) -> bool {
    match error {
        SearchError::Status { status, body } => {
            let unknown = body.contains("no handler found for uri")
                || body.contains("Incorrect HTTP method for uri")
                || (body.contains("Your request:") && body.contains("is not allowed"));
            unknown || (matches!(status, 404 | 405) && !body.contains("\"root_cause\""))
        }
        _ => false,
    }
}

/// A status and what was said, in one line.
pub(crate) fn said(error: &SearchError) -> String {
    let text = format!("{error}{}", detail(error));
    text.chars().take(300).collect()
}

/// The cluster, or OpenSearch Dashboards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster<'a> {
    search: &'a Search,
    dry_run: bool,
    timeout: Duration,
}

impl<'a> Cluster<'a> {
    pub(crate) const fn new(search: &'a Search, dry_run: bool) -> Self {
        Self {
            search,
            dry_run,
            timeout: REQUEST_TIMEOUT,
        }
    }

    #[cfg(test)]
    pub(crate) const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads; the caller judges what goes wrong.
    pub(crate) async fn read(&self, path: &str) -> Result<Value, SearchError> {
        let body = self
            .search
            .send(Method::Get, path, None, self.timeout)
            .await?;
        serde_json::from_slice(&body).map_err(|_| SearchError::Answer("not JSON"))
    }

    /// Reads what may not be there.
    pub(crate) async fn find(
        &self,
        step: &str,
        path: &str,
    ) -> Result<Option<Value>, ProvisionError> {
        match self.read(path).await {
            Ok(found) => Ok(Some(found)),
            Err(SearchError::Status { status: 404, .. }) => Ok(None),
            Err(source) => Err(failed(step, source)),
        }
    }

    /// Changes something; nothing is sent when only the difference is asked for.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, SearchError> {
        if self.dry_run {
            return Ok(Value::Null);
        }
        let body = Bytes::from(body.to_string());
        let answer = self.search.send(method, path, Some(body), self.timeout);
        serde_json::from_slice(&answer.await?).map_err(|_| SearchError::Answer("not JSON"))
    }

    /// Puts something.
    pub(crate) async fn put(
        &self,
        step: &str,
        path: &str,
        body: &Value,
    ) -> Result<(), ProvisionError> {
        let answer = self.change(Method::Put, path, body).await;
        answer.map(drop).map_err(|source| failed(step, source))
    }

    /// A question that is asked with a body and headers, and changes nothing.
    pub(crate) async fn ask(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Value, SearchError> {
        let request = self
            .search
            .send_with(Method::Post, path, headers, Some(body), self.timeout);
        serde_json::from_slice(&request.await?).map_err(|_| SearchError::Answer("not JSON"))
    }

    pub(crate) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

pub(crate) fn failed(step: &str, source: SearchError) -> ProvisionError {
    ProvisionError::Request {
        step: step.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, body: &str) -> SearchError {
        SearchError::Status {
            status,
            body: body.to_owned(),
        }
    }

    #[test]
    fn an_api_that_is_not_there_is_told_from_a_thing_that_is_not_there() {
        let no_handler =
            r#"{"error":"no handler found for uri [/_plugins/_ism/policies/x] and method [GET]"}"#;
        assert!(is_absent(&status(400, no_handler)));
        assert!(is_absent(&status(405, "")));
        assert!(is_absent(&status(404, "<html>not found</html>")));
        let hidden = r#"{"Message":"Your request: '/_plugins/x' is not allowed."}"#;
        assert!(is_absent(&status(401, hidden)));
        let missing = include_str!("../tests/ism/get_missing.json");
        assert!(!is_absent(&status(404, missing)));
        assert!(!is_absent(&status(403, "no permissions")));
        assert!(!is_absent(&SearchError::NoWriteIndex));
    }
}
