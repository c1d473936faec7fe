//! How long requests took, for whoever wants to know.

use crate::client::{Method, SearchError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Nobody may ever ask.
const MOST_KEPT: usize = 1_000;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes documents.
    Bulk,
    /// Looks documents up by their identifiers.
    MultiGet,
    /// Asks for the indices of an alias.
    Alias,
    /// Searches.
    Search,
    /// Anything else.
    Other,
}

/// What came of a request as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// An answer; of a bulk request, each item has an outcome of its own.
    Ok,
    /// 4xx: another attempt would be refused too.
    Refused,
    /// 429 or 5xx.
    Failed,
    /// No answer, or not in time.
    Unreachable,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTime {
    /// What it was for.
    pub operation: Operation,
    /// What came of it.
    pub outcome: RequestOutcome,
    /// How long it took until the end of the answer.
    pub took: Duration,
}

impl Operation {
    /// The operation of a path, with or without its query.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let endpoint = path.split('/').find(|part| part.starts_with('_'));
        match (method, endpoint) {
            (_, Some("_bulk")) => Self::Bulk,
            (_, Some("_mget")) => Self::MultiGet,
            (_, Some("_search")) => Self::Search,
            (Method::Get, None) => Self::Alias,
            _ => Self::Other,
        }
    }

    /// The stable name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::MultiGet => "mget",
            Self::Alias => "alias",
            Self::Search => "search",
            Self::Other => "other",
        }
    }
}

impl RequestOutcome {
    pub(crate) const fn of<T>(answer: &Result<T, SearchError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(SearchError::Status {
                status: 429 | 500..,
                ..
            }) => Self::Failed,
            Err(SearchError::Status { .. }) => Self::Refused,
            Err(_) => Self::Unreachable,
        }
    }

    /// The stable name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The requests since somebody last took them; the same for all clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Arc<Mutex<Vec<RequestTime>>>);

impl Times {
    pub(crate) fn add(&self, time: RequestTime) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push(time);
        }
    }

    pub(crate) fn take(&self) -> Vec<RequestTime> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Auth, Search};
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    #[test]
    fn an_operation_is_told_by_its_path() {
        let of = |method, path| Operation::of(&method, path).as_str();
        assert_eq!(of(Method::Post, "c-1/_bulk?filter_path=items"), "bulk");
        assert_eq!(of(Method::Post, "/_bulk"), "bulk");
        assert_eq!(of(Method::Post, "_mget?_source=false"), "mget");
        assert_eq!(of(Method::Post, "c/_search?size=0"), "search");
        assert_eq!(of(Method::Get, "c?filter_path=*.aliases"), "alias");
        assert_eq!(of(Method::Put, "c-1"), "other");
        assert_eq!(of(Method::Get, "_cluster/health"), "other");
    }

    #[tokio::test]
    async fn every_request_is_timed_once_with_its_outcome() {
        let server = MockServer::start().await;
        for (at, status) in [("/a", 200), ("/b", 404), ("/c", 429), ("/d", 503)] {
            Mock::given(path(at))
                .respond_with(ResponseTemplate::new(status))
                .mount(&server)
                .await;
        }
        let search = Search::connect(&server.uri(), Auth::None).unwrap();
        let same = search.clone();
        let timeout = Duration::from_secs(5);
        for at in ["a", "b", "c", "d"] {
            let _ = same.send(Method::Get, at, None, timeout).await;
        }
        drop(server);
        let gone = Search::connect("http://127.0.0.1:9", Auth::None).unwrap();
        let _ = gone.send(Method::Post, "_bulk", None, timeout).await;
        let outcomes = |search: &Search| -> Vec<&str> {
            let times = search.take_times();
            times.iter().map(|time| time.outcome.as_str()).collect()
        };
        assert_eq!(outcomes(&search), ["ok", "refused", "failed", "failed"]);
        assert!(outcomes(&search).is_empty());
        assert_eq!(outcomes(&gone), ["unreachable"]);
    }

    #[test]
    fn what_nobody_takes_does_not_grow() {
        let times = Times::default();
        let time = RequestTime {
            operation: Operation::Other,
            outcome: RequestOutcome::Ok,
            took: Duration::ZERO,
        };
        (0..2 * MOST_KEPT).for_each(|_| times.add(time));
        assert_eq!(times.take().len(), MOST_KEPT);
    }
}
