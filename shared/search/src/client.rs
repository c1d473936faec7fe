//! One request to OpenSearch.

use crate::times::{Operation, RequestOutcome, RequestTime, Times};
use bytes::Bytes;
use opensearch::OpenSearch;
use opensearch::auth::Credentials;
pub use opensearch::http::Method;
use opensearch::http::headers::{HeaderMap, HeaderName, HeaderValue};
use opensearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use std::time::{Duration, Instant};
use thiserror::Error;
use url::Url;

/// How requests prove who sends them.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all: a local cluster.
    None,
    /// AWS Signature Version 4, service `es`, with these credentials and region.
    SigV4(Box<aws_config::SdkConfig>),
    /// User name and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The URL or credentials cannot be used.
    #[error("the connection to OpenSearch cannot be set up: {0}")]
    Setup(String),
    /// No answer: connection refused, broken, or too slow.
    #[error("OpenSearch does not answer")]
    Unreachable(#[source] opensearch::Error),
    /// An answer with another status than success.
    #[error("OpenSearch answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The beginning of what it said.
        body: String,
    },
    /// An answer that is not what the request asked for.
    #[error("OpenSearch's answer cannot be read: {0}")]
    Answer(&'static str),
    /// There is no index to write to.
    #[error("the write alias has no write index")]
    NoWriteIndex,
}

impl SearchError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Setup(_) => "search_setup",
            Self::Unreachable(_) => "search_unreachable",
            Self::Status { .. } => "search_status",
            Self::Answer(_) => "search_answer",
            Self::NoWriteIndex => "no_write_index",
        }
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A cluster. Connections are kept and used again.
#[derive(Clone, Debug)]
pub struct Search {
    client: OpenSearch,
    times: Times,
}

impl Search {
    /// The cluster at `url`.
    ///
    /// # Errors
    /// [`SearchError::Setup`] if the URL or the credentials cannot be used.
    pub fn connect(url: &str, auth: Auth) -> Result<Self, SearchError> {
        let url = Url::parse(url).map_err(|error| SearchError::Setup(error.to_string()))?;
        let credentials = match auth {
            Auth::None => None,
            Auth::Basic { user, password } => Some(Credentials::Basic(user, password)),
            Auth::SigV4(config) => {
                let signed = Credentials::try_from(*config)
                    .map_err(|error| SearchError::Setup(error.to_string()))?;
                Some(signed)
            }
        };
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy();
        if let Some(credentials) = credentials {
            builder = builder.auth(credentials).service_name("es");
        }
        let transport = builder
            .build()
            .map_err(|error| SearchError::Setup(error.to_string()))?;
        Ok(Self {
            client: OpenSearch::new(transport),
            times: Times::default(),
        })
    }

    /// Sends a request and gives back the body of a successful answer.
    ///
    /// # Errors
    /// [`SearchError::Unreachable`] without an answer within `timeout`,
    /// [`SearchError::Status`] with one that is not a success.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, SearchError> {
        self.send_with(method, path, &[], body, timeout).await
    }

    /// As [`Search::send`], with headers of its own, which are signed too:
    /// OpenSearch Dashboards asks for some.
    ///
    /// # Errors
    /// As [`Search::send`]; [`SearchError::Setup`] for a value that is no header.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, SearchError> {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| SearchError::Setup(format!("{name} cannot have this value")))?;
            sent.insert(HeaderName::from_static(name), value);
        }
        let operation = Operation::of(&method, path);
        let sent_at = Instant::now();
        let answer = self.answer(method, path, sent, body, timeout).await;
        self.times.add(RequestTime {
            operation,
            outcome: RequestOutcome::of(&answer),
            took: sent_at.elapsed(),
        });
        answer
    }

    /// The requests of this and of its clones since they were last taken: a
    /// thousand at most, the first ones.
    #[must_use]
    pub fn take_times(&self) -> Vec<RequestTime> {
        self.times.take()
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        sent: HeaderMap,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, SearchError> {
        let transport = self.client.transport();
        let request = transport.send(method, path, sent, None::<&()>, body, Some(timeout));
        let response = request.await.map_err(SearchError::Unreachable)?;
        let status = response.status_code();
        let body = response.bytes().await.map_err(SearchError::Unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        Err(SearchError::Status {
            status: status.as_u16(),
            body: text.chars().take(2_000).collect(),
        })
    }
}
