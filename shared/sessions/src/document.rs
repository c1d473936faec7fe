//! A session's document in its index.

use crate::session::{Absorbed, Session};
use freshet_events::Timestamp;
use serde::Serialize;

/// A session's document: the whole of it, so that writing it again changes
/// nothing. Of two versions the higher one knows more.
#[derive(Clone, PartialEq)]
pub struct SessionDocument {
    /// Its `_id`, the same as long as the session lives.
    pub id: String,
    /// The day its index is named after, `2026.11.25`.
    pub day: String,
    /// Its external version.
    pub version: u64,
    /// Its `_source` as JSON, on one line.
    pub json: Vec<u8>,
    /// Documents to delete with it.
    pub absorbed: Vec<Absorbed>,
}

impl std::fmt::Debug for SessionDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionDocument({} v{})", self.id, self.version)
    }
}

#[derive(Serialize)]
struct Source<'a> {
    session_id: &'a str,
    source: &'a str,
    user_id: &'a str,
    start: Timestamp,
    end: Timestamp,
    duration: f64,
    events: usize,
    pages: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_page: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_page: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<&'a str>,
    is_conversion: bool,
    conversions: usize,
    revenue: f64,
    bounce: u8,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl SessionDocument {
    /// A derived session has no `session_id` but that of its document.
    pub(crate) fn of(session: &Session, source: &str, session_id: Option<&str>) -> Self {
        let events = session.seen.len();
        let conversions = session.revenues.len();
        let fields = Source {
            session_id: session_id.unwrap_or(&session.id),
            source,
            user_id: &session.user_id,
            start: session.start(),
            end: session.end(),
            duration: session.end().seconds_since(session.start()),
            events,
            pages: session.pages,
            entry_page: session.entry_page.as_ref().map(|(_, page)| page.as_str()),
            exit_page: session.exit_page.as_ref().map(|(_, page)| page.as_str()),
            referrer: session.referrer.as_deref(),
            is_conversion: conversions > 0,
            conversions,
            // Starts at +0: the empty sum of floats is -0.
            revenue: session.revenues.iter().fold(0.0, |sum, (_, r)| sum + r),
            bounce: u8::from(events == 1 && session.pages == 1),
            truncated: session.truncated,
        };
        Self {
            id: session.id.clone(),
            day: session.day.clone(),
            version: session.version,
            // Strings and finite numbers always serialise.
            json: serde_json::to_vec(&fields).unwrap_or_default(),
            absorbed: session.absorbed.clone(),
        }
    }
}
