//! An event that holds every invariant; [`judge`](crate::judge) makes it.

use crate::metadata::Metadata;
use crate::rejection::Stage;
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
/// readable time and with an http or https URL if it has one. It borrows from
/// the body or record it was read from.
#[derive(Clone)]
pub struct Event<'a> {
    pub(crate) event_id: Cow<'a, str>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) user_id: Cow<'a, str>,
    pub(crate) session_id: Option<Cow<'a, str>>,
    pub(crate) event_type: Cow<'a, str>,
    pub(crate) page_url: Option<Cow<'a, str>>,
    pub(crate) timestamp: Timestamp,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) received_at: Timestamp,
    pub(crate) schema_version: Option<i64>,
    pub(crate) synthetic: bool,
    pub(crate) metadata: Metadata<'a>,
    pub(crate) place: Option<Place<'a>>,
}

impl<'a> Event<'a> {
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

    /// The visit it belongs to, if its client names visits.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// What happened: `page_view`, `purchase`, …
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Where it happened, as the client wrote it; a server has no page.
    #[must_use]
    pub fn page_url(&self) -> Option<&str> {
        self.page_url.as_deref()
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
            .field("page_url_bytes", &self.page_url().map_or(0, str::len))
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// The wire form of one event: what [`wire`](crate::wire) packs. Times are
/// milliseconds since the epoch; what an event does not have is not there.
impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event_id", &self.event_id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("user_id", &self.user_id)?;
        if let Some(session_id) = &self.session_id {
            map.serialize_entry("session_id", session_id)?;
        }
        map.serialize_entry("event_type", &self.event_type)?;
        if let Some(page_url) = &self.page_url {
            map.serialize_entry("page_url", page_url)?;
        }
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
