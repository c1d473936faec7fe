//! What the event source mapping hands over: records of a shard.
//!
//! (The types of `aws_lambda_events` decode every record's base64 at once, so
//! that one bad record fails the batch; here each record stands for itself.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_events::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A batch of one shard's records.
#[derive(Deserialize)]
pub struct Batch<'a> {
    /// In the order of the shard.
    #[serde(rename = "Records", borrow)]
    pub records: Vec<Envelope<'a>>,
}

/// One record.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    #[serde(rename = "eventID", borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    kinesis: Kinesis<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'a> {
    #[serde(borrow)]
    sequence_number: SequenceNumber<'a>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    approximate_arrival_timestamp: f64,
}

/// A record's sequence number. It is never empty: an empty one in an answer
/// would make Lambda fail the whole batch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Cow<'a, str>", into = "Cow<'a, str>")]
pub struct SequenceNumber<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> TryFrom<Cow<'a, str>> for SequenceNumber<'a> {
    type Error = &'static str;

    fn try_from(text: Cow<'a, str>) -> Result<Self, Self::Error> {
        let decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if decimal {
            Ok(Self(text))
        } else {
            Err("a sequence number is a decimal number")
        }
    }
}

impl<'a> From<SequenceNumber<'a>> for Cow<'a, str> {
    fn from(number: SequenceNumber<'a>) -> Self {
        number.0
    }
}

impl SequenceNumber<'_> {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy that outlives the batch.
    #[must_use]
    pub fn into_owned(self) -> SequenceNumber<'static> {
        SequenceNumber(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> Envelope<'a> {
    /// The shard it was read from. (An event id is `<shard>:<sequence number>`.)
    #[must_use]
    pub fn shard_id(&self) -> &str {
        self.event_id
            .split_once(':')
            .map_or("unknown", |(shard, _)| shard)
    }

    /// Its place in the shard.
    #[must_use]
    pub const fn sequence_number(&self) -> &SequenceNumber<'a> {
        &self.kinesis.sequence_number
    }

    /// When the stream received it.
    #[must_use]
    pub fn arrived_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.kinesis.approximate_arrival_timestamp)
            .unwrap_or(Timestamp::EPOCH)
    }

    /// How many bytes its data has, told by its base64 without undoing that.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        let text = self.kinesis.data.as_bytes();
        let padding = text.iter().rev().take(2).filter(|byte| **byte == b'=');
        (text.len() / 4 * 3).saturating_sub(padding.count())
    }

    /// Its bytes; if they are not base64, the text itself.
    ///
    /// # Errors
    /// The text, so that it can be kept.
    pub fn data(&self) -> Result<Vec<u8>, &[u8]> {
        STANDARD
            .decode(self.kinesis.data.as_bytes())
            .map_err(|_| self.kinesis.data.as_bytes())
    }
}
