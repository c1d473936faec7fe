//! What aggregators see of an event.

use freshet_events::{Event, Timestamp};
use std::borrow::Cow;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What stands for a path or a browser that is not known.
pub const UNKNOWN: &str = "unknown";

/// Names a user among all: 64 bits of XXH3, a strong hash. (Users are not told
/// apart by source: one person may come by several.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserHash(pub u64);

/// Names a session among all; source and session id together name it, as they
/// do in the index. A derived session is named by source and user: those of
/// one user are not told apart, as a window that is no longer than the pause
/// which ends a session has one at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHash(pub u64);

/// Names an event: the first bytes of its document's `_id`, so that what is
/// one event in the index is one event here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHash(pub u64);

/// An event as aggregators see it. What costs time to find out is asked for
/// by function, and only found out if an aggregator wants it.
pub struct Observation<'a> {
    /// Which event it is.
    pub id: EventHash,
    /// What its client or the collector calls it.
    pub event_id: &'a str,
    /// Whether a monitor or a load test made it, and no visitor.
    pub synthetic: bool,
    /// Whether its user agent is a crawler's or a headless browser's.
    pub bot: bool,
    /// Whose it is.
    pub user: UserHash,
    /// In which session.
    pub session: SessionHash,
    /// When it happened.
    pub at: Timestamp,
    /// `page_view`, `purchase`, …
    pub event_type: &'a str,
    /// The path of its page, as in the index; [`UNKNOWN`] if there is none.
    pub path: Cow<'a, str>,
    /// Family of its browser, as in the index; [`UNKNOWN`] without a user agent.
    pub browser: &'a str,
    /// What is asked for by function.
    pub details: &'a dyn Details,
}

/// What an event says beyond [`Observation`]'s fields.
pub trait Details {
    /// The name of the country it came from.
    fn country(&self) -> Option<String>;
    /// `metadata.amount`, if it is a finite number.
    fn amount(&self) -> Option<f64>;
}

impl Observation<'_> {
    /// The hashes of an event: itself, its user, its session.
    #[must_use]
    pub fn hashes(event: &Event<'_>) -> (EventHash, UserHash, SessionHash) {
        // Seeded by the source, so that sources cannot collide.
        let source = xxh3_64(event.source().as_bytes());
        let session = match event.session_id() {
            Some(given) => xxh3_64_with_seed(given.as_bytes(), source),
            // By another seed: no session id is taken for it.
            None => xxh3_64_with_seed(event.user_id().as_bytes(), !source),
        };
        (
            EventHash(event.document_id().short()),
            UserHash(xxh3_64(event.user_id().as_bytes())),
            SessionHash(session),
        )
    }
}
