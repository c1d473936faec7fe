//! An event becomes a searchable document.

use crate::facets::{self, AMOUNT, text};
use crate::geo::{Geo, Place};
use crate::page_url;
use crate::user_agent::{ParsedUserAgent, UserAgents};
use freshet_events::{
    Code, DocumentId, Event, IP_ADDRESS, KNOWN_METADATA, Rejection, Stage, Timestamp, USER_AGENT,
};
use freshet_sessions::{EventMark, SessionEvent, SessionKey};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The event type that counts as a conversion.
const PURCHASE: &str = "purchase";
/// The event type that looks at a page.
const PAGE_VIEW: &str = "page_view";
/// The metadata key of the page that led here.
const REFERRER: &str = "referrer";

/// One event, ready to be indexed.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Its `_id`: the same for every delivery of the event.
    pub id: DocumentId,
    /// Its `_source` as JSON, on one line.
    pub json: Vec<u8>,
    /// No copy of this event can have been indexed before this moment: the
    /// earlier of when it happened and when it was received. (An arrival time
    /// on the stream may be earlier still; the reader of the stream knows.)
    pub not_before: Timestamp,
    /// When the collector had it, or else the stream.
    pub received_at: Timestamp,
    /// What it says about its session.
    pub session: SessionEvent,
}

impl Document {
    /// Adds what is known only after a batch's events have met their sessions.
    /// `session_duration` is the seconds from the session's earliest known
    /// event, `start`, to this one; never negative. If the session is derived,
    /// the `_id` of its document, `derived_id`, is the `session_id`.
    pub fn set_session(&mut self, start: Timestamp, derived_id: Option<&str>) {
        if let Some(id) = derived_id.filter(|_| self.session.session_id.is_none()) {
            let of_user = last_session_id(self.session.key.as_str());
            if let Some(before) = self.json.strip_suffix(of_user.as_bytes()) {
                self.json.truncate(before.len());
                self.json.extend_from_slice(last_session_id(id).as_bytes());
            }
        }
        let seconds = self.session.at.seconds_since(start).max(0.0);
        if self.json.pop_if(|last| *last == b'}').is_some() {
            let field = format!(",\"session_duration\":{seconds}}}");
            self.json.extend_from_slice(field.as_bytes());
        }
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({}, {} bytes)", self.id, self.json.len())
    }
}

/// Turns events into documents. It is shared by all threads of a function and
/// lives as long as the process, so that its caches stay warm.
pub struct Enricher {
    pub(crate) user_agents: UserAgents,
    pub(crate) geo: Geo,
}

impl Enricher {
    /// An enricher over these lookups.
    #[must_use]
    pub const fn new(user_agents: UserAgents, geo: Geo) -> Self {
        Self { user_agents, geo }
    }

    /// Derives every field of the document: the calendar of `@timestamp`, the
    /// parts of the URL, browser and place, conversion and revenue, and how
    /// many seconds passed until the collector had it (`client_delay`; a wrong
    /// clock makes it large or negative), from there until `now`
    /// (`stream_delay`), and in all (`processing_time`). The IP address is looked up and left
    /// out. Metadata that the index does not map by type goes to
    /// `metadata.other`. An event without a page has none of the URL's fields;
    /// one without a session has `session_derived`, and the text of its
    /// [`SessionKey`] as `session_id` until [`Document::set_session`].
    ///
    /// # Errors
    /// A [`Rejection`] at [`Stage::Enrich`] if the URL cannot be split.
    pub fn enrich(&self, event: &Event<'_>, now: Timestamp) -> Result<Document, Rejection> {
        let url = event.page_url().map(page_url::split).transpose();
        let url = url.map_err(|error| {
            Rejection::new(Stage::Enrich, Code::PageUrlInvalid, error.to_string())
        })?;
        let key = session_key(event);
        let metadata = SortedMetadata::of(event);
        let calendar = event.timestamp().calendar();
        let date = calendar.date.to_string();
        let is_conversion = event.event_type() == PURCHASE;
        let user_agent_parsed = metadata
            .user_agent
            .as_deref()
            .map(|text| self.user_agents.parse(text));
        let bot = user_agent_parsed
            .as_ref()
            .and_then(|parsed| parsed.bot.clone());
        let source = Source {
            timestamp: event.timestamp(),
            date: &date,
            hour: calendar.hour,
            day_of_week: calendar.day_of_week,
            event_id: event.event_id(),
            source: event.source(),
            user_id: event.user_id(),
            session_id: event.session_id(),
            session_derived: event.session_id().is_none().then_some(true),
            event_type: event.event_type(),
            page_url: event.page_url(),
            url_path: url.as_ref().map(|url| url.path.as_ref()),
            query_params: url.as_ref().and_then(|url| url.query.as_deref()),
            fragment: url.as_ref().and_then(|url| url.fragment.as_deref()),
            user_agent_parsed,
            bot: bot.as_deref().map(|reason| Bot {
                is_bot: true,
                reason,
            }),
            geoip: self.place(event, metadata.ip_address.as_deref()),
            is_conversion: is_conversion.then_some(true),
            revenue: is_conversion.then(|| metadata.amount()),
            processing_time: now.seconds_since(event.timestamp()),
            client_delay: event.received_at().seconds_since(event.timestamp()),
            stream_delay: now.seconds_since(event.received_at()),
            sent_at: event.sent_at(),
            received_at: event.received_at(),
            enriched_at: now,
            schema_version: event.schema_version(),
            synthetic: event.is_synthetic().then_some(true),
            metadata: &metadata,
        };
        // Strings, finite numbers and checked JSON always serialise.
        let mut json = serde_json::to_vec(&source).map_err(|error| {
            Rejection::new(Stage::Enrich, Code::EventMalformed, error.to_string())
        })?;
        if event.session_id().is_none() && json.pop_if(|last| *last == b'}').is_some() {
            json.extend_from_slice(last_session_id(key.as_str()).as_bytes());
        }
        let id = event.document_id();
        let session = SessionEvent {
            key,
            mark: EventMark::from(&id),
            at: event.timestamp(),
            source: event.source().to_owned(),
            session_id: event.session_id().map(str::to_owned),
            user_id: event.user_id().to_owned(),
            page: url.map(|url| url.path.into_owned()),
            is_page_view: event.event_type() == PAGE_VIEW,
            referrer: metadata.text(REFERRER).map(Cow::into_owned),
            revenue: is_conversion.then(|| metadata.amount()),
            synthetic: event.is_synthetic(),
            bot: bot.is_some(),
        };
        Ok(Document {
            id,
            json,
            not_before: event.timestamp().min(event.received_at()),
            received_at: event.received_at(),
            session,
        })
    }

    fn place<'e>(&self, event: &Event<'e>, ip_address: Option<&str>) -> Option<Whereabouts<'e>> {
        match ip_address.and_then(|text| self.geo.lookup_str(text)) {
            Some(place) => Some(Whereabouts::Found(place)),
            None => event.place().map(Whereabouts::Known),
        }
    }
}

/// Names the event's session, or its user where sessions are derived.
fn session_key(event: &Event<'_>) -> SessionKey {
    match event.session_id() {
        Some(given) => SessionKey::new(event.source(), given),
        None => SessionKey::of_user(event.source(), event.user_id()),
    }
}

/// The end of a document whose session is derived: its `session_id` stands
/// last, where another can be put in its place.
fn last_session_id(id: &str) -> String {
    format!(",\"session_id\":{}}}", serde_json::Value::from(id))
}

/// Looked up now, or known from before the address was dropped.
#[derive(Serialize)]
#[serde(untagged)]
enum Whereabouts<'a> {
    Found(Place),
    Known(&'a RawValue),
}

/// Written of bots alone: who is none has no such field.
#[derive(Serialize)]
struct Bot<'a> {
    is_bot: bool,
    reason: &'a str,
}

/// The document's fields, in the order they are written.
#[derive(Serialize)]
struct Source<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    date: &'a str,
    hour: u8,
    day_of_week: u8,
    event_id: &'a str,
    source: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_derived: Option<bool>,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_params: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent_parsed: Option<Arc<ParsedUserAgent>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bot: Option<Bot<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    geoip: Option<Whereabouts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_conversion: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revenue: Option<f64>,
    processing_time: f64,
    client_delay: f64,
    stream_delay: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
    enriched_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synthetic: Option<bool>,
    metadata: &'a SortedMetadata<'a>,
}

/// Metadata by what becomes of it.
struct SortedMetadata<'a> {
    known: Vec<(Cow<'a, str>, &'a RawValue)>,
    other: Vec<(Cow<'a, str>, &'a RawValue)>,
    ip_address: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
}

impl<'a> SortedMetadata<'a> {
    fn of(event: &'a Event<'_>) -> Self {
        let mut sorted = Self {
            known: Vec::new(),
            other: Vec::new(),
            ip_address: None,
            user_agent: None,
        };
        for (key, value) in event.metadata().entries() {
            if key == IP_ADDRESS {
                sorted.ip_address = text(value);
                continue;
            }
            if key == USER_AGENT {
                sorted.user_agent = text(value);
            }
            if KNOWN_METADATA.contains(&key.as_ref()) {
                sorted.known.push((key, value));
            } else {
                sorted.other.push((key, value));
            }
        }
        sorted
    }

    fn known(&self, name: &str) -> Option<&'a RawValue> {
        let mut known = self.known.iter();
        known.find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// A known key's text; `None` if it is absent or no string.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.known(name).and_then(text)
    }

    /// `amount`, or 0.
    fn amount(&self) -> f64 {
        self.known(AMOUNT).and_then(facets::amount).unwrap_or(0.0)
    }
}

impl Serialize for SortedMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.known {
            map.serialize_entry(key, value)?;
        }
        if !self.other.is_empty() {
            map.serialize_entry("other", &Other(&self.other))?;
        }
        map.end()
    }
}

struct Other<'a>(&'a [(Cow<'a, str>, &'a RawValue)]);

impl Serialize for Other<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
