//! Why a table gave or took nothing.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use thiserror::Error;

/// Why a table gave or took nothing.
#[derive(Debug, Error)]
pub enum TableError {
    /// It does not answer, or refuses.
    #[error("the table is not available: {reason}")]
    Unavailable {
        /// The service's code and message, or what the connection failed of.
        /// (The whole error would print the answer, which may hold an item.)
        reason: String,
        /// The SDK's error.
        #[source]
        source: BoxError,
    },
    /// It answers, but takes no more at the moment.
    #[error("the table is throttled")]
    Throttled,
    /// It does not take this item.
    #[error("the table refuses an item: {reason}")]
    Refused {
        /// The service's code and message.
        reason: String,
    },
    /// An item would be larger than the table takes; it was not sent.
    #[error("{what} of {bytes} bytes is larger than the {limit} that an item may hold")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most there may be.
        limit: usize,
    },
    /// An item is not one that this or an older release wrote.
    #[error("an item of the table cannot be read: {0}")]
    Item(#[source] BoxError),
    /// An item lacks an attribute.
    #[error("an item of the table has no {0}")]
    Attribute(&'static str),
}

impl TableError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "table_unavailable",
            Self::Throttled => "table_throttled",
            Self::Refused { .. } => "table_refused",
            Self::TooLarge { .. } => "item_too_large",
            Self::Item(_) | Self::Attribute(_) => "item_unreadable",
        }
    }

    /// Whether it is about the table, not about one item.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Throttled)
    }

    /// An item that cannot be read, and why.
    pub(crate) fn item(why: impl Into<BoxError>) -> Self {
        Self::Item(why.into())
    }

    /// What the SDK says about a request.
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let Some(answer) = error.as_service_error() else {
            return Self::Unavailable {
                reason: DisplayErrorContext(&error).to_string(),
                source: error.into(),
            };
        };
        let code = answer.code().unwrap_or("an answer without a code");
        let reason = format!("{code} {}", answer.message().unwrap_or_default());
        match code {
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded" => Self::Throttled,
            "ValidationException" | "ItemCollectionSizeLimitExceededException" => {
                Self::Refused { reason }
            }
            _ => Self::Unavailable {
                reason,
                source: error.into(),
            },
        }
    }
}
