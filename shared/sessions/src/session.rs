//! One session: everything that is known of it, and how more is taken in.

use crate::event::{EventMark, SessionEvent, SessionKey};
use crate::{MAX_EVENTS, MAX_TEXT_BYTES, TRUNCATED_STEP_MS};
use freshet_events::Timestamp;
use serde::{Deserialize, Serialize};

/// A place in the order of a session's events; the mark decides between events
/// of the same millisecond, so that the order is the same everywhere.
pub(crate) type Place = (Timestamp, EventMark);

/// A document that is no session's any more: its session is part of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absorbed {
    /// Its `_id`.
    pub id: String,
    /// The day it is filed under, `2026.11.25`.
    pub day: String,
    /// The version of its deletion: above every version it was written with.
    pub version: u64,
    /// The version of the session that absorbed it, when it did.
    pub since: u64,
}

/// One session. Its fields are joins - minimum, maximum, union - of its events'.
#[derive(Clone, PartialEq)]
pub struct Session {
    /// The `_id` of its document.
    pub(crate) id: String,
    /// The day its document is filed under, `2026.11.25`: of its start when it
    /// became known. It stays, so that the document never moves.
    pub(crate) day: String,
    /// How often it has changed.
    pub(crate) version: u64,
    pub(crate) first: Place,
    pub(crate) last: Place,
    /// Of the first event.
    pub(crate) user_id: String,
    /// Of the first event.
    pub(crate) referrer: Option<String>,
    /// The first page view's.
    pub(crate) entry_page: Option<(Place, String)>,
    /// The last page view's.
    pub(crate) exit_page: Option<(Place, String)>,
    /// The events that are counted, sorted.
    pub(crate) seen: Vec<EventMark>,
    /// How many of them are page views.
    pub(crate) pages: u32,
    /// What conversions earned, sorted by event: a sum of floating-point
    /// numbers depends on their order.
    pub(crate) revenues: Vec<(EventMark, f64)>,
    /// Whether events were left uncounted.
    pub(crate) truncated: bool,
    /// Documents of sessions that turned out to be part of this one.
    pub(crate) absorbed: Vec<Absorbed>,
    /// Whether it differs from what was read.
    pub(crate) changed: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({} v{})", self.id, self.version)
    }
}

/// For how many changes of the session the documents that it absorbed are
/// remembered, to be deleted again by retries and by writers that overtake.
const ABSORBED_CHANGES: u64 = 32;

impl Session {
    /// The session that begins with `event`, as far as is known.
    pub(crate) fn begin(key: &SessionKey, event: &SessionEvent) -> Self {
        let place = (event.at, event.mark);
        Self {
            id: key.document_id(event.mark).as_str().to_owned(),
            day: event.at.day(),
            version: 0,
            first: place,
            last: place,
            user_id: cut(&event.user_id),
            referrer: event.referrer.as_deref().map(cut),
            entry_page: None,
            exit_page: None,
            seen: Vec::new(),
            pages: 0,
            revenues: Vec::new(),
            truncated: false,
            absorbed: Vec::new(),
            changed: true,
        }
    }

    /// The `_id` of its document, the same as long as the session lives.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When its earliest known event happened.
    #[must_use]
    pub const fn start(&self) -> Timestamp {
        self.first.0
    }

    /// When its latest known event happened.
    #[must_use]
    pub const fn end(&self) -> Timestamp {
        self.last.0
    }

    pub(crate) fn has(&self, mark: EventMark) -> bool {
        self.seen.binary_search(&mark).is_ok()
    }

    /// Takes an event in that it has not seen; it is counted if there is room.
    pub(crate) fn add(&mut self, event: &SessionEvent) {
        let room = self.seen.len() < MAX_EVENTS;
        if self.truncated && event.at >= self.start() && event.at < self.reach() {
            return;
        }
        let place = (event.at, event.mark);
        if place < self.first {
            self.first = place;
            self.user_id = cut(&event.user_id);
            self.referrer = event.referrer.as_deref().map(cut);
            self.changed = true;
        }
        if place > self.last {
            self.last = place;
            self.changed = true;
        }
        if let Some(page) = event.page.as_deref().filter(|_| event.is_page_view) {
            self.view(place, page);
        }
        if !room {
            self.changed |= !self.truncated;
            self.truncated = true;
            return;
        }
        if let Err(at) = self.seen.binary_search(&event.mark) {
            self.seen.insert(at, event.mark);
            self.pages += u32::from(event.is_page_view);
            if let Some(revenue) = event.revenue {
                let at = self
                    .revenues
                    .partition_point(|(mark, _)| *mark < event.mark);
                self.revenues.insert(at, (event.mark, revenue));
            }
            self.changed = true;
        }
    }

    /// Events before this moment are within the session: up to its end, or to
    /// the next step of one that is truncated.
    pub(crate) fn reach(&self) -> Timestamp {
        let step = if self.truncated { TRUNCATED_STEP_MS } else { 1 };
        self.end().saturating_add_millis(step)
    }

    /// Counts the changes since it was read as one.
    pub(crate) fn settle(&mut self) -> bool {
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        self.version += 1;
        let version = self.version;
        for gone in &mut self.absorbed {
            gone.since = gone.since.min(version);
        }
        self.absorbed
            .retain(|gone| version - gone.since < ABSORBED_CHANGES);
        true
    }

    /// At most how many bytes it takes in a state's text.
    pub(crate) fn stored_bytes(&self) -> usize {
        let page = |page: &Option<(Place, String)>| {
            page.as_ref().map_or(0, |(_, text)| 48 + escaped(text))
        };
        let texts = escaped(&self.user_id) + self.referrer.as_deref().map_or(0, escaped);
        384 + texts
            + page(&self.entry_page)
            + page(&self.exit_page)
            + self.seen.len() * 11
            + self.revenues.len() * 45
            + self.absorbed.len() * 128
    }

    fn view(&mut self, place: Place, page: &str) {
        if self.entry_page.as_ref().is_none_or(|(at, _)| place < *at) {
            self.entry_page = Some((place, cut(page)));
            self.changed = true;
        }
        if self.exit_page.as_ref().is_none_or(|(at, _)| place > *at) {
            self.exit_page = Some((place, cut(page)));
            self.changed = true;
        }
    }

    /// Joins a later session to this one: they were one all along. Its
    /// document is to be deleted.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.last = self.last.max(later.last);
        self.entry_page = earlier(self.entry_page.take(), later.entry_page);
        self.exit_page = match (self.exit_page.take(), later.exit_page) {
            (Some(mine), Some(other)) if mine.0 > other.0 => Some(mine),
            (mine, other) => other.or(mine),
        };
        self.seen.extend(later.seen);
        self.seen.sort_unstable();
        self.pages += later.pages;
        self.revenues.extend(later.revenues);
        self.revenues.sort_unstable_by_key(|(mark, _)| *mark);
        self.truncated |= later.truncated;
        self.version = self.version.max(later.version);
        // One that began in this very merge was never written.
        if later.version > 0 {
            self.absorbed.push(Absorbed {
                id: later.id,
                day: later.day,
                version: later.version + 1,
                since: u64::MAX,
            });
        }
        let as_mine = |gone| Absorbed {
            since: u64::MAX,
            ..gone
        };
        self.absorbed
            .extend(later.absorbed.into_iter().map(as_mine));
        self.changed = true;
    }
}

fn earlier(
    mine: Option<(Place, String)>,
    other: Option<(Place, String)>,
) -> Option<(Place, String)> {
    match (mine, other) {
        (Some(mine), Some(other)) => Some(if mine.0 < other.0 { mine } else { other }),
        (mine, other) => mine.or(other),
    }
}

/// At most how many bytes a text takes in JSON.
fn escaped(text: &str) -> usize {
    let of = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    2 + text.bytes().map(of).sum::<usize>()
}

/// The beginning of a text, as far as a state remembers it.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
