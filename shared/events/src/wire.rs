//! The wire form: how events travel in a stream record.
//!
//! A packed record is one header byte and then, plain or zstd-compressed, each
//! event's JSON behind its length (four bytes, little-endian). A record that
//! begins with [`HEADER_NOTICE`] holds no event but a [`Notice`]. One that
//! begins with none of these headers is plain JSON that another producer put
//! there. [`Contents`] tells them apart.

use crate::SOURCE_STREAM;
use crate::body;
use crate::event::{Event, Place, Stamp};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::notice::{HEADER_NOTICE, Notice, NoticeError};
use crate::raw::{Key, RawEvent};
use crate::rejection::{Code, Rejection, Stage};
use crate::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Read as _;
use thiserror::Error;

/// First byte of a packed record whose events follow as they are.
pub const HEADER_PLAIN: u8 = 0x01;
/// First byte of a packed record whose events are one zstd frame.
pub const HEADER_ZSTD: u8 = 0x02;

/// A record is filled with events up to this many bytes: Kinesis bills puts in
/// units of 25 KB. A larger event travels alone.
pub const RECORD_TARGET_BYTES: usize = 25_000;
/// A record inflates to at most this many bytes.
pub const MAX_INFLATED_BYTES: usize = 8 * 1024 * 1024;
/// The most events that one plain JSON record of another producer may hold.
const MAX_PLAIN_EVENTS: usize = 10_000;
/// Below this a zstd frame's own overhead leaves nothing to win.
const MIN_COMPRESSED_BYTES: usize = 256;
const ZSTD_LEVEL: i32 = 3;

/// Fills records with the events of one user, in the order they are pushed.
pub struct Packer {
    framed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// An empty record. Reuse it: the compressor is the costly part.
    #[must_use]
    pub fn new() -> Self {
        // Without a compressor (no memory) records simply travel plain.
        Self {
            framed: vec![HEADER_PLAIN],
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL).ok(),
        }
    }

    /// Whether an event of `json_bytes` bytes still belongs into this record.
    #[must_use]
    pub fn has_room_for(&self, json_bytes: usize) -> bool {
        self.is_empty() || self.framed.len() + 4 + json_bytes <= RECORD_TARGET_BYTES
    }

    /// Whether no event was pushed since the last [`finish`](Self::finish).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.framed.len() == 1
    }

    /// Adds an event's wire JSON.
    pub fn push(&mut self, event_json: &[u8]) {
        // An event is at most 1 MiB, so its length fits.
        #[allow(clippy::cast_possible_truncation)]
        self.framed
            .extend_from_slice(&(event_json.len() as u32).to_le_bytes());
        self.framed.extend_from_slice(event_json);
    }

    /// The record's bytes, compressed if that makes them fewer; the packer is
    /// empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        let compressed = (self.framed.len() >= MIN_COMPRESSED_BYTES)
            .then(|| self.compressor.as_mut()?.compress(&self.framed[1..]).ok())
            .flatten()
            .filter(|bytes| bytes.len() + 1 < self.framed.len());
        let record = match compressed {
            Some(bytes) => {
                let mut record = Vec::with_capacity(bytes.len() + 1);
                record.push(HEADER_ZSTD);
                record.extend_from_slice(&bytes);
                record
            }
            None => self.framed.clone(),
        };
        self.framed.truncate(1);
        record
    }
}

/// Where a record stood on the stream.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// The shard it was read from.
    pub shard_id: &'a str,
    /// Its sequence number in that shard.
    pub sequence_number: &'a str,
    /// When the stream received it.
    pub arrived_at: Timestamp,
}

/// Why a record as a whole cannot be opened.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The compressed part is not a zstd frame, or ends early.
    #[error("the record is not a whole zstd frame")]
    Inflate(#[source] std::io::Error),
    /// It inflates to more than [`MAX_INFLATED_BYTES`].
    #[error("the record inflates to more than {MAX_INFLATED_BYTES} bytes")]
    TooLarge,
    /// A length points past the end.
    #[error("the record ends inside an event")]
    Truncated,
    /// Neither packed nor text.
    #[error("the record is neither packed nor UTF-8 text")]
    NotText,
    /// Text that is no JSON.
    #[error("the record is not JSON: {0}")]
    NotJson(#[source] body::BodyError),
    /// It begins as a notice and is none.
    #[error("the record is not a notice: {0}")]
    NotANotice(#[source] NoticeError),
    /// It is a notice, and events were wanted.
    #[error("the record is a notice and holds no events")]
    NoEvents,
}

impl RecordError {
    /// This error as the rejection of the record.
    #[must_use]
    pub fn to_rejection(&self) -> Rejection {
        let code = match self {
            Self::TooLarge => Code::RecordTooLarge,
            _ => Code::RecordUndecodable,
        };
        Rejection::new(Stage::Unpack, code, self.to_string())
    }
}

/// What a record of the stream is.
#[derive(Debug)]
pub enum Contents<'a> {
    /// Events.
    Events(Record<'a>),
    /// What the collector refused, in numbers. No events.
    Notice(Notice),
}

impl<'a> Contents<'a> {
    /// Tells events from a notice, and opens either.
    ///
    /// # Errors
    /// [`RecordError`] if it is a notice that cannot be read, or what
    /// [`Record::open`] says of events.
    pub fn open(data: &'a [u8]) -> Result<Self, RecordError> {
        if data.first() == Some(&HEADER_NOTICE) {
            let notice = Notice::decode(data).map_err(RecordError::NotANotice)?;
            return Ok(Self::Notice(notice));
        }
        Record::open(data).map(Self::Events)
    }
}

/// An opened record: it owns what was inflated, so that its events can borrow.
#[derive(Debug)]
pub struct Record<'a> {
    bytes: Cow<'a, [u8]>,
    packed: bool,
}

impl<'a> Record<'a> {
    /// Reads the header and inflates what follows it, up to the cap.
    ///
    /// # Errors
    /// [`RecordError`] if it cannot be inflated or is larger than the cap, or
    /// is a notice.
    pub fn open(data: &'a [u8]) -> Result<Self, RecordError> {
        match data.first() {
            Some(&HEADER_PLAIN) => Ok(Self {
                bytes: Cow::Borrowed(&data[1..]),
                packed: true,
            }),
            Some(&HEADER_ZSTD) => Ok(Self {
                bytes: Cow::Owned(inflate(&data[1..])?),
                packed: true,
            }),
            Some(&HEADER_NOTICE) => Err(RecordError::NoEvents),
            _ => Ok(Self {
                bytes: Cow::Borrowed(data),
                packed: false,
            }),
        }
    }

    /// Whether its events are in wire form, and not another producer's own.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.packed
    }

    /// The JSON text of each event.
    ///
    /// # Errors
    /// [`RecordError`] if there is no telling where an event ends.
    pub fn split(&self) -> Result<Vec<&str>, RecordError> {
        if self.packed {
            return frames(&self.bytes);
        }
        let text = std::str::from_utf8(&self.bytes).map_err(|_| RecordError::NotText)?;
        body::split(text, MAX_PLAIN_EVENTS).map_err(RecordError::NotJson)
    }

    /// Reads one of this record's events, the `index`-th of [`split`](Self::split).
    ///
    /// # Errors
    /// A [`Rejection`] if it is not an event.
    pub fn read<'e>(
        &self,
        json: &'e str,
        index: usize,
        position: &Position<'_>,
    ) -> Result<Event<'e>, Rejection> {
        if self.packed {
            return Event::from_wire(json);
        }
        let stamp = Stamp {
            source: Cow::Borrowed(SOURCE_STREAM),
            received_at: position.arrived_at,
            stage: Stage::Unpack,
        };
        let raw = RawEvent::read(json, Stage::Unpack)?;
        Event::parse(raw, &stamp, &Limits::STREAM, position.arrived_at, || {
            Event::stream_id(position.shard_id, position.sequence_number, index)
        })
    }
}

thread_local! {
    /// Making one for each record took longer than inflating it.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        RefCell::new(zstd::bulk::Decompressor::new().ok());
}

fn inflate(frame: &[u8]) -> Result<Vec<u8>, RecordError> {
    inflate_at_once(frame).map_or_else(|| inflate_bit_by_bit(frame), Ok)
}

/// The common case: one frame, that says how long it is. `None` is for the
/// long way to judge.
fn inflate_at_once(frame: &[u8]) -> Option<Vec<u8>> {
    let length = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
    let length = usize::try_from(length).ok()?;
    if length > MAX_INFLATED_BYTES {
        return None;
    }
    DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(frame, length).ok())
}

fn inflate_bit_by_bit(frame: &[u8]) -> Result<Vec<u8>, RecordError> {
    let reader = zstd::stream::read::Decoder::with_buffer(frame).map_err(RecordError::Inflate)?;
    let mut bytes = Vec::with_capacity(frame.len().saturating_mul(4).min(MAX_INFLATED_BYTES));
    reader
        .take(MAX_INFLATED_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(RecordError::Inflate)?;
    if bytes.len() > MAX_INFLATED_BYTES {
        Err(RecordError::TooLarge)
    } else {
        Ok(bytes)
    }
}

fn frames(mut bytes: &[u8]) -> Result<Vec<&str>, RecordError> {
    let mut events = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let json = rest.get(..length).ok_or(RecordError::Truncated)?;
        events.push(std::str::from_utf8(json).map_err(|_| RecordError::NotText)?);
        bytes = &rest[length..];
    }
    if bytes.is_empty() {
        Ok(events)
    } else {
        Err(RecordError::Truncated)
    }
}

/// Whether `json` is one event's wire JSON: for tools that put events back.
///
/// # Errors
/// What [`Event::from_wire`] would say.
pub fn check(json: &[u8]) -> Result<(), Rejection> {
    let not_text = |_| Rejection::new(Stage::Unpack, Code::EventMalformed, "not UTF-8 text");
    Event::from_wire(std::str::from_utf8(json).map_err(not_text)?).map(|_| ())
}

/// The fields of [`Event`]'s wire form.
#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(borrow)]
    event_id: Key<'a>,
    #[serde(borrow)]
    source: Key<'a>,
    #[serde(borrow)]
    user_id: Key<'a>,
    #[serde(borrow)]
    session_id: Option<Key<'a>>,
    #[serde(borrow)]
    event_type: Key<'a>,
    #[serde(borrow)]
    page_url: Option<Key<'a>>,
    timestamp: i64,
    sent_at: Option<i64>,
    received_at: i64,
    schema_version: Option<i64>,
    #[serde(default)]
    synthetic: bool,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    geoip: Option<Place<'a>>,
}

impl<'a> Event<'a> {
    /// Reads an event from its wire JSON, whose limits the writer has checked.
    ///
    /// # Errors
    /// [`Code::EventMalformed`] if it is not what [`Event`] serialises to.
    pub fn from_wire(json: &'a str) -> Result<Self, Rejection> {
        let bad = |message: String| Rejection::new(Stage::Unpack, Code::EventMalformed, message);
        let wire: WireEvent<'a> = serde_json::from_str(json).map_err(|e| {
            bad(format!(
                "not a packed event at line {} column {}",
                e.line(),
                e.column()
            ))
        })?;
        let moment =
            |ms| Timestamp::from_millis(ms).ok_or_else(|| bad("a time is out of range".to_owned()));
        Ok(Self {
            event_id: wire.event_id.0,
            source: wire.source.0,
            user_id: wire.user_id.0,
            session_id: wire.session_id.map(|key| key.0),
            event_type: wire.event_type.0,
            page_url: wire.page_url.map(|key| key.0),
            timestamp: moment(wire.timestamp)?,
            sent_at: wire.sent_at.map(moment).transpose()?,
            received_at: moment(wire.received_at)?,
            schema_version: wire.schema_version,
            synthetic: wire.synthetic,
            metadata: Metadata::trusted(wire.metadata),
            place: wire.geoip,
        })
    }

    /// This event's wire JSON.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        // Writing strings and numbers to memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
