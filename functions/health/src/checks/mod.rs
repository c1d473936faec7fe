//! What is looked at. Each check stands for itself: it has a deadline, and
//! whatever it does - fail, hang, panic - the others do not notice.

pub mod dead_letters;
pub mod domain;
pub mod lag;
pub mod ledger;
pub mod pipeline;
pub mod probe;
pub mod search;
pub mod stream;

use aws_sdk_cloudwatch::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use futures::FutureExt as _;
use serde::Serialize;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

/// The checks, in the order of decision 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The cluster, by itself.
    Search,
    /// The cluster, by the control plane.
    Domain,
    /// The stream.
    Stream,
    /// How far consumers are behind.
    Lag,
    /// What waits to be replayed.
    DeadLetters,
    /// What went in and out of each stage.
    Pipeline,
    /// Whether everything that went in came out.
    Ledger,
    /// An event of our own, on the whole way.
    Probe,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Search,
        Self::Domain,
        Self::Stream,
        Self::Lag,
        Self::DeadLetters,
        Self::Pipeline,
        Self::Ledger,
        Self::Probe,
    ];

    /// Its name in metrics and in the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Domain => "domain",
            Self::Stream => "stream",
            Self::Lag => "lag",
            Self::DeadLetters => "dead_letters",
            Self::Pipeline => "pipeline",
            Self::Ledger => "ledger",
            Self::Probe => "probe",
        }
    }

    /// The longest it may take.
    #[must_use]
    pub const fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Search | Self::Domain | Self::Stream => 10,
            // One request to CloudWatch, tried again when it is throttled.
            Self::Lag | Self::Pipeline | Self::Ledger => 15,
            Self::DeadLetters => 20,
            Self::Probe => 40,
        })
    }
}

/// Why a check could not look. None of its texts holds a payload, an address
/// or a key: the report may be public.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CheckError {
    /// It did not end in time.
    #[error("no answer in time")]
    Timeout,
    /// It panicked; the log says where.
    #[error("the check itself failed")]
    Panicked,
    /// A service does not answer.
    #[error("{0} does not answer")]
    Unreachable(&'static str),
    /// A service answers with an error.
    #[error("{service} answered {code}")]
    Refused {
        /// Which service.
        service: &'static str,
        /// Its code, or the HTTP status.
        code: String,
    },
    /// A service answers with something else than was asked for.
    #[error("the answer of {0} cannot be read")]
    Answer(&'static str),
}

impl CheckError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Panicked => "panicked",
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Answer(_) => "answer_unreadable",
        }
    }

    /// What an SDK says, which is logged whole.
    pub(crate) fn of<E, R>(service: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let told = DisplayErrorContext(error).to_string();
        let short: String = told.chars().take(500).collect();
        tracing::warn!(service, error = short, "a service did not answer a check");
        match error {
            SdkError::ServiceError(answer) => Self::Refused {
                service,
                code: answer.err().code().unwrap_or("an error").to_owned(),
            },
            SdkError::ResponseError(_) => Self::Answer(service),
            SdkError::TimeoutError(_) => Self::Timeout,
            _ => Self::Unreachable(service),
        }
    }
}

/// What a check found, and why it may not be all.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// What it saw.
    pub value: Option<T>,
    /// Why it saw nothing, or not everything.
    pub failure: Option<CheckError>,
}

impl<T> From<Result<T, CheckError>> for Found<T> {
    fn from(result: Result<T, CheckError>) -> Self {
        match result {
            Ok(value) => Self {
                value: Some(value),
                failure: None,
            },
            Err(failure) => Self {
                value: None,
                failure: Some(failure),
            },
        }
    }
}

/// Runs a check until `by`. One that panics or hangs has failed, and nothing
/// else happens.
pub async fn guard<T>(by: Instant, work: impl Future<Output = Found<T>>) -> Found<T> {
    match timeout_at(by, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err(CheckError::Panicked).into(),
        Err(_) => Err(CheckError::Timeout).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn hang() -> Found<u32> {
        futures::future::pending().await
    }

    #[allow(clippy::unused_async)]
    async fn fall() -> Found<u32> {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_check_that_hangs_or_panics_fails_alone() {
        let soon = Instant::now() + Duration::from_millis(50);
        let by = soon + Duration::from_secs(60);
        let late = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            Found::from(Ok(7))
        };
        let (hung, fell, good) =
            tokio::join!(guard(soon, hang()), guard(by, fall()), guard(by, late));
        assert_eq!(hung.failure, Some(CheckError::Timeout));
        assert_eq!(fell.failure, Some(CheckError::Panicked));
        assert_eq!((good.value, good.failure), (Some(7), None));
    }

    #[test]
    fn each_check_ends_within_the_functions_time() {
        for check in Check::ALL {
            assert!(check.time() <= Duration::from_secs(40), "{check:?}");
            let json = serde_json::to_value(check).unwrap();
            assert_eq!(json, check.as_str());
        }
    }
}
