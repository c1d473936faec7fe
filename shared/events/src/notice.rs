//! Notices: what the collector refused, in numbers, told to who reads the
//! stream.
//!
//! A record that begins with [`HEADER_NOTICE`] holds no event but one JSON
//! object: `{"at":1795456800000,"source":"shop","rejected":{"field_empty":2}}`.
//! It says nothing of a visitor: no payload, no user id, no address.

use crate::timestamp::Timestamp;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use thiserror::Error;

/// First byte of a record that is a notice.
pub const HEADER_NOTICE: u8 = 0x03;

/// The most codes that one notice may count.
pub const MAX_CODES: usize = 64;
/// The longest code.
pub const MAX_CODE_BYTES: usize = 64;
/// The longest source name.
pub const MAX_SOURCE_BYTES: usize = 64;
/// The highest count: the index keeps it as an `integer`.
#[allow(clippy::cast_sign_loss)] // it is positive
pub const MAX_COUNT: u32 = i32::MAX as u32;

/// How many events of one request were refused, by code. At least one, and all
/// within this module's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    at: Timestamp,
    source: String,
    rejected: BTreeMap<String, u32>,
}

/// Why something is not a notice. The texts quote nothing of it.
#[derive(Debug, Error)]
pub enum NoticeError {
    /// It does not begin with [`HEADER_NOTICE`].
    #[error("the record is not a notice")]
    Header,
    /// Not JSON, or not of its shape.
    #[error("the notice is not JSON of its shape")]
    Json(#[source] serde_json::Error),
    /// `at` is outside 1970 to 9999.
    #[error("the notice's time is out of range")]
    Time,
    /// The source is empty or too long.
    #[error("the notice's source is empty or longer than {MAX_SOURCE_BYTES} bytes")]
    Source,
    /// No code at all, or too many.
    #[error("the notice counts no code or more than {MAX_CODES}")]
    Codes,
    /// A code is not `snake_case`, or too long.
    #[error("a code is not snake_case of at most {MAX_CODE_BYTES} bytes")]
    Code,
    /// A count is 0 or too high.
    #[error("a count is 0 or more than {MAX_COUNT}")]
    Count,
}

#[derive(Deserialize)]
struct Wire {
    at: i64,
    source: String,
    rejected: BTreeMap<String, u32>,
}

impl Notice {
    /// So many events of `source` were refused at `at`, by code.
    ///
    /// # Errors
    /// [`NoticeError`] if that is out of bounds; nothing refused is, too.
    pub fn new(
        at: Timestamp,
        source: impl Into<String>,
        rejected: BTreeMap<String, u32>,
    ) -> Result<Self, NoticeError> {
        let source = source.into();
        if source.is_empty() || source.len() > MAX_SOURCE_BYTES {
            return Err(NoticeError::Source);
        }
        if rejected.is_empty() || rejected.len() > MAX_CODES {
            return Err(NoticeError::Codes);
        }
        if !rejected.keys().all(|code| is_code(code)) {
            return Err(NoticeError::Code);
        }
        if !rejected
            .values()
            .all(|count| (1..=MAX_COUNT).contains(count))
        {
            return Err(NoticeError::Count);
        }
        Ok(Self {
            at,
            source,
            rejected,
        })
    }

    /// When the collector refused them.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whose events they were.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Codes and how often each was the reason, in the codes' order.
    #[must_use]
    pub const fn rejected(&self) -> &BTreeMap<String, u32> {
        &self.rejected
    }

    /// How many events in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rejected.values().map(|count| u64::from(*count)).sum()
    }

    /// The record's bytes, the header included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut record = vec![HEADER_NOTICE];
        // Writing strings and numbers to memory cannot fail.
        record.extend(serde_json::to_vec(self).unwrap_or_default());
        record
    }

    /// Reads a record. Fields that a later version may add are passed over.
    ///
    /// # Errors
    /// [`NoticeError`] if it is not a notice or out of bounds.
    pub fn decode(record: &[u8]) -> Result<Self, NoticeError> {
        let Some((&HEADER_NOTICE, json)) = record.split_first() else {
            return Err(NoticeError::Header);
        };
        let wire: Wire = serde_json::from_slice(json).map_err(NoticeError::Json)?;
        let at = Timestamp::from_millis(wire.at).ok_or(NoticeError::Time)?;
        Self::new(at, wire.source, wire.rejected)
    }
}

impl Serialize for Notice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Notice", 3)?;
        fields.serialize_field("at", &self.at.as_millis())?;
        fields.serialize_field("source", &self.source)?;
        fields.serialize_field("rejected", &self.rejected)?;
        fields.end()
    }
}

fn is_code(text: &str) -> bool {
    let snake = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_CODE_BYTES).contains(&text.len()) && text.bytes().all(snake)
}

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
