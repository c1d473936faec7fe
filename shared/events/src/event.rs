//! An event that holds every invariant.

use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::raw::{RawEvent, Scalar};
use crate::rejection::{Code, Rejection, Stage};
use crate::timestamp::Timestamp;
use crate::{DocumentId, SOURCE_STREAM};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A place that an earlier lookup found, as JSON text of the document's
/// `geoip`. Only a replay sets it: its events have lost their IP address.
pub type Place<'a> = &'a RawValue;

/// What the receiver adds to an event while it is parsed.
#[derive(Clone, Debug)]
pub struct Stamp<'a> {
    /// The name configured beside the write key, or one of
    /// [`SOURCE_OPEN`](crate::SOURCE_OPEN) and [`SOURCE_STREAM`].
    pub source: Cow<'a, str>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Where it was received: named in its rejection.
    pub stage: Stage,
}

/// One event: every field present that must be, within its limit, of a
/// readable time and with an http or https URL. It borrows from the body or
/// record it was read from.
#[derive(Clone)]
pub struct Event<'a> {
    pub(crate) event_id: Cow<'a, str>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) user_id: Cow<'a, str>,
    pub(crate) session_id: Cow<'a, str>,
    pub(crate) event_type: Cow<'a, str>,
    pub(crate) page_url: Cow<'a, str>,
    pub(crate) timestamp: Timestamp,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) received_at: Timestamp,
    pub(crate) schema_version: Option<i64>,
    pub(crate) synthetic: bool,
    pub(crate) metadata: Metadata<'a>,
    pub(crate) place: Option<Place<'a>>,
}

impl<'a> Event<'a> {
    /// Judges what a client sent. `now` is the clock for the age limits;
    /// `new_id` is called once if the client sent no `event_id`.
    ///
    /// # Errors
    /// The first thing that is wrong, by a stable code.
    pub fn parse(
        raw: RawEvent<'a>,
        stamp: &Stamp<'a>,
        limits: &Limits,
        now: Timestamp,
        new_id: impl FnOnce() -> String,
    ) -> Result<Self, Rejection> {
        let stage = stamp.stage;
        if let Some(name) = raw.duplicate {
            return Err(Rejection::new(
                stage,
                Code::FieldDuplicate,
                format!("{name} stands twice"),
            ));
        }
        if let Some(name) = raw.unknown {
            let message = format!("there is no field {name:?}; put it in metadata");
            return Err(Rejection::new(stage, Code::FieldUnknown, message));
        }
        let field = |name, value, max| required_text(stage, name, value, max);
        let user_id = field("user_id", raw.user_id, limits.max_id_bytes)?;
        let session_id = field("session_id", raw.session_id, limits.max_id_bytes)?;
        let event_type = field("event_type", raw.event_type, limits.max_event_type_bytes)?;
        let page_url = field("page_url", raw.page_url, limits.max_page_url_bytes)?;
        if !is_web_url(&page_url) {
            let message = "page_url is not an absolute http or https URL";
            return Err(Rejection::new(stage, Code::PageUrlInvalid, message));
        }
        let timestamp = moment(stage, "timestamp", &raw.timestamp)?
            .ok_or_else(|| missing(stage, "timestamp"))?;
        check_age(stage, timestamp, limits, now)?;
        let event_id = match raw.event_id {
            Scalar::Missing => Cow::Owned(new_id()),
            given => field("event_id", given, limits.max_id_bytes)?,
        };
        let schema_version = match raw.schema_version {
            Scalar::Missing => None,
            Scalar::Integer(version) if (0..=i64::from(i32::MAX)).contains(&version) => {
                Some(version)
            }
            _ => {
                return Err(wrong_type(
                    stage,
                    "schema_version",
                    "a whole number from 0 on",
                ));
            }
        };
        let synthetic = match raw.synthetic {
            Scalar::Missing => false,
            Scalar::Boolean(synthetic) => synthetic,
            _ => return Err(wrong_type(stage, "synthetic", "true or false")),
        };
        Ok(Self {
            event_id,
            source: stamp.source.clone(),
            user_id,
            session_id,
            event_type,
            page_url,
            timestamp,
            sent_at: moment(stage, "sent_at", &raw.sent_at)?,
            received_at: stamp.received_at,
            schema_version,
            synthetic,
            metadata: Metadata::parse(raw.metadata, limits, stage)?,
            place: None,
        })
    }

    /// The client's or the collector's identifier of this event.
    #[must_use]
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// Who sent it: the name beside the write key.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The partition key: one user's events keep their order.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The visit it belongs to.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// What happened: `page_view`, `purchase`, …
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Where it happened, as the client wrote it.
    #[must_use]
    pub fn page_url(&self) -> &str {
        &self.page_url
    }

    /// When it happened, by the client's clock.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// When the client sent it, by the client's clock.
    #[must_use]
    pub const fn sent_at(&self) -> Option<Timestamp> {
        self.sent_at
    }

    /// When the collector received it, or when it arrived on the stream.
    #[must_use]
    pub const fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// The version of the client's own schema, if it says one.
    #[must_use]
    pub const fn schema_version(&self) -> Option<i64> {
        self.schema_version
    }

    /// Whether a monitor or a load test made it, and no visitor: it is indexed
    /// and marked, and left out of sessions, numbers and dashboards.
    #[must_use]
    pub const fn is_synthetic(&self) -> bool {
        self.synthetic
    }

    /// Everything else about it.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata<'a> {
        &self.metadata
    }

    /// To fill in what the request itself knows.
    pub const fn metadata_mut(&mut self) -> &mut Metadata<'a> {
        &mut self.metadata
    }

    /// Gives it to somebody else: to a pseudonym of its user.
    pub fn set_user_id(&mut self, user_id: String) {
        self.user_id = Cow::Owned(user_id);
    }

    /// The place found before its IP address was dropped, on a replay.
    #[must_use]
    pub const fn place(&self) -> Option<Place<'a>> {
        self.place
    }

    /// Marks where it was, for an event whose IP address is gone.
    #[must_use]
    pub const fn with_place(mut self, place: Option<Place<'a>>) -> Self {
        self.place = place;
        self
    }

    /// The `_id` of its document.
    #[must_use]
    pub fn document_id(&self) -> DocumentId {
        DocumentId::new(&self.source, &self.event_id)
    }

    /// The identifier of an event that another producer put without one: its
    /// place on the stream, which no re-delivery changes.
    #[must_use]
    pub fn stream_id(shard_id: &str, sequence_number: &str, position: usize) -> String {
        format!("{SOURCE_STREAM}:{shard_id}:{sequence_number}:{position}")
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.event_id)
            .field("page_url_bytes", &self.page_url.len())
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// The wire form of one event: what [`wire`](crate::wire) packs. Times are
/// milliseconds since the epoch.
impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event_id", &self.event_id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("user_id", &self.user_id)?;
        map.serialize_entry("session_id", &self.session_id)?;
        map.serialize_entry("event_type", &self.event_type)?;
        map.serialize_entry("page_url", &self.page_url)?;
        map.serialize_entry("timestamp", &self.timestamp.as_millis())?;
        if let Some(sent_at) = self.sent_at {
            map.serialize_entry("sent_at", &sent_at.as_millis())?;
        }
        map.serialize_entry("received_at", &self.received_at.as_millis())?;
        if let Some(version) = self.schema_version {
            map.serialize_entry("schema_version", &version)?;
        }
        if self.synthetic {
            map.serialize_entry("synthetic", &true)?;
        }
        let metadata: &RawValue =
            serde_json::from_str(self.metadata.as_json()).map_err(serde::ser::Error::custom)?;
        map.serialize_entry("metadata", metadata)?;
        if let Some(place) = self.place {
            map.serialize_entry("geoip", place)?;
        }
        map.end()
    }
}

fn missing(stage: Stage, name: &str) -> Rejection {
    Rejection::new(stage, Code::FieldMissing, format!("{name} is missing"))
}

fn wrong_type(stage: Stage, name: &str, wanted: &str) -> Rejection {
    Rejection::new(stage, Code::FieldWrongType, format!("{name} is {wanted}"))
}

fn required_text<'a>(
    stage: Stage,
    name: &str,
    value: Scalar<'a>,
    max_bytes: usize,
) -> Result<Cow<'a, str>, Rejection> {
    match value {
        Scalar::Missing => Err(missing(stage, name)),
        Scalar::Text(text) if text.is_empty() => Err(Rejection::new(
            stage,
            Code::FieldEmpty,
            format!("{name} is empty"),
        )),
        Scalar::Text(text) if text.len() > max_bytes => {
            let message = format!("{name} is longer than {max_bytes} bytes");
            Err(Rejection::new(stage, Code::FieldTooLong, message))
        }
        Scalar::Text(text) => Ok(text),
        Scalar::Integer(_) | Scalar::Boolean(_) | Scalar::Other(_) => {
            Err(wrong_type(stage, name, "a string"))
        }
    }
}

/// ISO 8601, or a whole number of milliseconds since the epoch.
fn moment(stage: Stage, name: &str, value: &Scalar<'_>) -> Result<Option<Timestamp>, Rejection> {
    let read = match value {
        Scalar::Missing => return Ok(None),
        Scalar::Text(text) => Timestamp::parse_iso8601(text),
        Scalar::Integer(ms) => Timestamp::from_millis(*ms),
        Scalar::Boolean(_) | Scalar::Other(_) => {
            return Err(wrong_type(stage, name, "ISO 8601 text or milliseconds"));
        }
    };
    read.map(Some).ok_or_else(|| {
        let message = format!("{name} is not an ISO 8601 time between 1970 and 9999");
        Rejection::new(stage, Code::TimestampInvalid, message)
    })
}

fn check_age(
    stage: Stage,
    timestamp: Timestamp,
    limits: &Limits,
    now: Timestamp,
) -> Result<(), Rejection> {
    let age_ms = now.as_millis() - timestamp.as_millis();
    if let Some(max) = limits.max_age_ms.filter(|max| age_ms > *max) {
        let message = format!("timestamp is more than {} s old", max / 1000);
        return Err(Rejection::new(stage, Code::TimestampTooOld, message));
    }
    if let Some(max) = limits.max_future_ms.filter(|max| -age_ms > *max) {
        let message = format!("timestamp is more than {} s in the future", max / 1000);
        return Err(Rejection::new(stage, Code::TimestampInFuture, message));
    }
    Ok(())
}

fn is_web_url(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
