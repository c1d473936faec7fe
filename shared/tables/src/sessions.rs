//! The table of sessions: one item a session key.
//!
//! | attribute | |
//! |---|---|
//! | `session_key` (S, partition key) | [`SessionKey`] |
//! | `revision` (N) | 1 when created, one more with each write |
//! | `sessions` (S) | [`SessionState::to_text`] |
//! | `expires_at` (N) | TTL in seconds since 1970; only cleans up |

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure,
};
use freshet_sessions::{SessionKey, SessionState, StoredError};
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::HashMap;
use std::time::Duration;
use thiserror::Error;

/// Keys that one `BatchGetItem` may ask for.
const BATCH_KEYS: usize = 100;
/// Requests of one batch read that are under way at once.
const READS_AT_ONCE: usize = 4;
/// How often keys that DynamoDB left unprocessed are asked for again.
const UNPROCESSED_RETRIES: u32 = 3;
/// Sessions are worth little waiting: events are indexed without them.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);

type Item = HashMap<String, AttributeValue>;

/// Why the table gave or took nothing.
#[derive(Debug, Error)]
pub enum TableError {
    /// It does not answer, or refuses.
    #[error("the session table is not available: {reason}")]
    Unavailable {
        /// The service's code and message, or what the connection failed of.
        /// (The whole error would print the answer, which may hold an item.)
        reason: String,
        /// The SDK's error.
        #[source]
        source: BoxError,
    },
    /// It answers, but takes no more at the moment.
    #[error("the session table is throttled")]
    Throttled,
    /// It does not take this item.
    #[error("the session table refuses an item: {reason}")]
    Refused {
        /// The service's code and message.
        reason: String,
    },
    /// An item is not one that this or an older release wrote.
    #[error("an item of the session table cannot be read: {0}")]
    Item(#[source] StoredError),
    /// An item lacks an attribute.
    #[error("an item of the session table has no {0}")]
    Attribute(&'static str),
}

impl TableError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "sessions_unavailable",
            Self::Throttled => "sessions_throttled",
            Self::Refused { .. } => "sessions_refused",
            Self::Item(_) | Self::Attribute(_) => "sessions_unreadable",
        }
    }

    /// Whether it is about the table, not about one item.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

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

/// A state and the revision it was read or written as; 0 is not yet stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Versioned {
    /// The revision.
    pub revision: u64,
    /// The state.
    pub state: SessionState,
}

/// What became of a write.
#[derive(Debug, PartialEq)]
pub enum Saved {
    /// It is stored, as this revision.
    Written(u64),
    /// Another writer was faster: what is there now.
    Overtaken(Versioned),
}

/// The table of sessions.
#[derive(Clone, Debug)]
pub struct SessionTable {
    client: Client,
    name: String,
}

impl SessionTable {
    /// The table `name`.
    #[must_use]
    pub fn new(aws: &SdkConfig, name: impl Into<String>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let config = aws_sdk_dynamodb::config::Builder::from(aws)
            .timeout_config(timeouts)
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.into(),
        }
    }

    /// What is stored of these keys; keys without a state are left out, and one
    /// whose item cannot be read fails alone. Reads need not be consistent:
    /// whoever writes upon an old one is overtaken.
    ///
    /// # Errors
    /// [`TableError`] if not every key could be asked for.
    pub async fn load(
        &self,
        keys: &[SessionKey],
    ) -> Result<HashMap<SessionKey, Result<Versioned, TableError>>, TableError> {
        let by_text: HashMap<&str, SessionKey> =
            keys.iter().map(|key| (key.as_str(), *key)).collect();
        let texts: Vec<&str> = by_text.keys().copied().collect();
        let chunks = texts.chunks(BATCH_KEYS).map(|chunk| self.read(chunk));
        let items: Vec<Vec<Item>> = futures::stream::iter(chunks)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let mut loaded = HashMap::new();
        for item in items.into_iter().flatten() {
            let text = attribute(&item, "session_key", AttributeValue::as_s)?;
            if let Some(key) = by_text.get(text.as_str()) {
                loaded.insert(*key, versioned(&item));
            }
        }
        Ok(loaded)
    }

    async fn read(&self, keys: &[&str]) -> Result<Vec<Item>, TableError> {
        let key = |text: &&str| {
            let value = AttributeValue::S((*text).to_owned());
            HashMap::from([("session_key".to_owned(), value)])
        };
        // Cannot fail: the keys are set.
        let asked = KeysAndAttributes::builder().set_keys(Some(keys.iter().map(key).collect()));
        let mut open = asked.build().ok();
        let mut items = Vec::new();
        let mut attempt = 0;
        while let Some(asked) = open.take() {
            let request = self
                .client
                .batch_get_item()
                .request_items(&self.name, asked);
            let answer = request.send().await.map_err(TableError::of)?;
            let found = answer.responses.unwrap_or_default();
            items.extend(found.into_values().flatten());
            open = answer
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.name);
            if open.is_some() {
                if attempt == UNPROCESSED_RETRIES {
                    return Err(TableError::Throttled);
                }
                tokio::time::sleep(backoff(attempt)).await;
                attempt += 1;
            }
        }
        Ok(items)
    }

    /// Stores a state based on `revision`, unless another writer has stored
    /// one meanwhile.
    ///
    /// # Errors
    /// [`TableError`] if it is not known whether the table has it.
    pub async fn save(
        &self,
        key: &SessionKey,
        revision: u64,
        state: &SessionState,
        expires_at_s: i64,
    ) -> Result<Saved, TableError> {
        let next = revision + 1;
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("session_key", AttributeValue::S(key.as_str().to_owned()))
            .item("revision", AttributeValue::N(next.to_string()))
            .item("sessions", AttributeValue::S(state.to_text()))
            .item("expires_at", AttributeValue::N(expires_at_s.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = if revision == 0 {
            request.condition_expression("attribute_not_exists(session_key)")
        } else {
            request
                .condition_expression("revision = :revision")
                .expression_attribute_values(":revision", AttributeValue::N(revision.to_string()))
        };
        let Err(error) = request.send().await else {
            return Ok(Saved::Written(next));
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                // Without an item the TTL has deleted what was known: begin anew.
                let now = failed.item().filter(|item| !item.is_empty()).map(versioned);
                Ok(Saved::Overtaken(now.transpose()?.unwrap_or_default()))
            }
            _ => Err(TableError::of(error)),
        }
    }
}

/// Full jitter under 50 ms, doubled with each attempt.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(6)).mul_f64(rand::random::<f64>())
}

fn attribute<'i, T>(
    item: &'i Item,
    name: &'static str,
    read: impl Fn(&'i AttributeValue) -> Result<T, &'i AttributeValue>,
) -> Result<T, TableError> {
    item.get(name)
        .and_then(|value| read(value).ok())
        .ok_or(TableError::Attribute(name))
}

fn versioned(item: &Item) -> Result<Versioned, TableError> {
    let revision = attribute(item, "revision", AttributeValue::as_n)?;
    let text = attribute(item, "sessions", AttributeValue::as_s)?;
    Ok(Versioned {
        revision: revision
            .parse()
            .map_err(|_| TableError::Attribute("revision"))?,
        state: SessionState::from_text(text).map_err(TableError::Item)?,
    })
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
