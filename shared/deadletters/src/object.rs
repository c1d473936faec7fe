//! What enrich stores of a batch: one object for the items that the index
//! refused, one for what could not be read at all. Both are gzipped JSON lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use freshet_events::{Rejection, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io::{Read as _, Write as _};
use thiserror::Error;

/// Prefix of objects with refused items. No IP address is in them.
pub const REJECTED: &str = "rejected/";
/// Prefix of objects with what could not be read.
pub const UNDECODABLE: &str = "undecodable/";

/// Where a batch stood on the stream. It names the batch's objects, so that a
/// second attempt at the same batch overwrites what the first one stored.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The shard it was read from.
    pub shard_id: &'a str,
    /// Its first record's sequence number.
    pub first_sequence_number: &'a str,
    /// When its first record arrived.
    pub arrived_at: Timestamp,
}

impl Batch<'_> {
    /// `rejected/2026/11/23/shardId-000000000000/4957….jsonl.gz`
    #[must_use]
    pub fn key(&self, prefix: &str) -> String {
        let day = self.arrived_at.to_string()[..10].replace('-', "/");
        format!(
            "{prefix}{day}/{}/{}.jsonl.gz",
            self.shard_id, self.first_sequence_number
        )
    }
}

/// An item that the index, or enrichment, refused.
#[derive(Serialize, Deserialize)]
pub struct RejectedItem<'a> {
    /// Where it was refused.
    pub stage: Cow<'a, str>,
    /// Why: a stable code, or the index's error type.
    pub code: Cow<'a, str>,
    /// In words, without values.
    pub message: Cow<'a, str>,
    /// Its record.
    pub sequence_number: Cow<'a, str>,
    /// Its place in the record.
    pub position: usize,
    /// The enriched document: its place known, its IP address gone.
    #[serde(borrow)]
    pub event: &'a RawValue,
}

impl fmt::Debug for RejectedItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectedItem")
            .field("code", &self.code)
            .field("sequence_number", &self.sequence_number)
            .field("event_bytes", &self.event.get().len())
            .finish_non_exhaustive()
    }
}

/// Where an event stood in a record that could itself be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// Counted from 0.
    pub position: usize,
    /// Whether it is in wire form, and not another producer's own.
    pub packed: bool,
}

/// A record, or one event of a record, that could not be read.
#[derive(Serialize, Deserialize)]
pub struct UndecodableItem<'a> {
    /// Where it was refused.
    pub stage: Cow<'a, str>,
    /// Why: a stable code.
    pub code: Cow<'a, str>,
    /// In words, without values.
    pub message: Cow<'a, str>,
    /// The shard it was read from.
    pub shard_id: Cow<'a, str>,
    /// Its record.
    pub sequence_number: Cow<'a, str>,
    /// When it arrived, in milliseconds since the epoch.
    pub arrived_at: i64,
    /// Its place in the record; absent if the record as a whole is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// With a position: whether the bytes are an event in wire form.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// The bytes, in base64.
    pub data: String,
}

impl fmt::Debug for UndecodableItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UndecodableItem")
            .field("code", &self.code)
            .field("sequence_number", &self.sequence_number)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl<'a> UndecodableItem<'a> {
    /// What could not be read, and why.
    #[must_use]
    pub fn new(
        rejection: &'a Rejection,
        batch: &Batch<'a>,
        sequence_number: &'a str,
        place: Option<EventPlace>,
        data: &[u8],
    ) -> Self {
        Self {
            stage: rejection.stage.as_str().into(),
            code: Cow::Borrowed(&rejection.code),
            message: Cow::Borrowed(&rejection.message),
            shard_id: Cow::Borrowed(batch.shard_id),
            sequence_number: Cow::Borrowed(sequence_number),
            arrived_at: batch.arrived_at.as_millis(),
            position: place.map(|place| place.position),
            packed: place.is_some_and(|place| place.packed),
            data: STANDARD.encode(data),
        }
    }

    /// The event's place in its record; none if this is the record itself.
    #[must_use]
    pub fn place(&self) -> Option<EventPlace> {
        let packed = self.packed;
        self.position
            .map(|position| EventPlace { position, packed })
    }

    /// The bytes as they were.
    ///
    /// # Errors
    /// [`ObjectError::Base64`] if the line was tampered with.
    pub fn bytes(&self) -> Result<Vec<u8>, ObjectError> {
        STANDARD.decode(&self.data).map_err(ObjectError::Base64)
    }
}

/// Why an object cannot be read back.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// It is not gzip, not text, or ends early.
    #[error("the object is not gzipped text")]
    Gzip(#[source] std::io::Error),
    /// A line is not of the expected shape.
    #[error("line {line} is not a dead letter")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// An item's bytes are not base64.
    #[error("an item's data is not base64")]
    Base64(#[source] base64::DecodeError),
}

/// Gzips one JSON line for each item.
///
/// # Errors
/// [`ObjectError`] only if memory cannot be written.
pub fn write<T: Serialize>(items: &[T]) -> Result<Vec<u8>, ObjectError> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for item in items {
        serde_json::to_writer(&mut gzip, item).map_err(|e| ObjectError::Gzip(e.into()))?;
        gzip.write_all(b"\n").map_err(ObjectError::Gzip)?;
    }
    gzip.finish().map_err(ObjectError::Gzip)
}

/// The text of an object that [`write`] made; its lines are read by [`lines`].
///
/// # Errors
/// [`ObjectError::Gzip`] if it is not gzipped text.
pub fn text(object: &[u8]) -> Result<String, ObjectError> {
    let mut text = String::new();
    MultiGzDecoder::new(object)
        .read_to_string(&mut text)
        .map_err(ObjectError::Gzip)?;
    Ok(text)
}

/// Reads the items of an object's text.
pub fn lines<'a, T: Deserialize<'a>>(
    text: &'a str,
) -> impl Iterator<Item = Result<T, ObjectError>> {
    text.lines().enumerate().map(|(index, line)| {
        serde_json::from_str(line).map_err(|source| ObjectError::Line {
            line: index + 1,
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_events::{Code, Stage};

    fn batch() -> Batch<'static> {
        Batch {
            shard_id: "shardId-000000000003",
            first_sequence_number: "4957",
            arrived_at: Timestamp::parse_iso8601("2026-11-23T23:59:59Z").unwrap(),
        }
    }

    #[test]
    fn a_retry_overwrites_its_own_object() {
        assert_eq!(
            batch().key(REJECTED),
            "rejected/2026/11/23/shardId-000000000003/4957.jsonl.gz"
        );
    }

    #[test]
    fn items_come_back_as_they_were() {
        let document = serde_json::value::to_raw_value(&serde_json::json!({"a": "é\n"})).unwrap();
        let items = [RejectedItem {
            stage: "index".into(),
            code: "mapper_parsing_exception".into(),
            message: "m".into(),
            sequence_number: "1".into(),
            position: 2,
            event: &document,
        }];
        let text = text(&write(&items).unwrap()).unwrap();
        let back: Vec<RejectedItem<'_>> = lines(&text).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            (back.len(), back[0].event.get(), back[0].position),
            (1, document.get(), 2)
        );
    }

    #[test]
    fn unreadable_bytes_come_back_as_they_were() {
        let rejection = Rejection::new(Stage::Unpack, Code::RecordUndecodable, "no");
        for place in [None, Some((0, false)), Some((7, true))] {
            let place = place.map(|(position, packed)| EventPlace { position, packed });
            let item = UndecodableItem::new(&rejection, &batch(), "17", place, &[0, 255, 1]);
            let text = text(&write(&[item]).unwrap()).unwrap();
            let back: UndecodableItem<'_> = lines(&text).next().unwrap().unwrap();
            assert_eq!(back.bytes().unwrap(), [0, 255, 1]);
            assert_eq!(
                (back.code.as_ref(), back.place()),
                ("record_undecodable", place)
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), line in ".{0,80}") {
            let _ = super::text(&bytes);
            let _ = lines::<RejectedItem<'_>>(&line).count();
            let _ = lines::<UndecodableItem<'_>>(&line).count();
        }
    }

    #[test]
    fn broken_objects_are_told() {
        assert!(matches!(super::text(b"no gzip"), Err(ObjectError::Gzip(_))));
        let bad: Vec<Result<RejectedItem<'_>, _>> = lines("{}\n").collect();
        assert!(matches!(bad[0], Err(ObjectError::Line { line: 1, .. })));
    }
}
