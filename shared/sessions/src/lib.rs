//! Core: sessions made of events, in whatever order these arrive.
//!
//! A *session* is a run of events of one source and session id in which no
//! pause is longer than [`SessionPolicy::inactivity_ms`], judged by the events'
//! own times. Of events without a session id sessions are *derived*: runs of
//! events of one source and user. All sessions known under one [`SessionKey`] are a
//! [`SessionState`]. [`SessionState::merge`] takes events into it, and the
//! result depends on which events were taken, not on their order, their
//! batches or how often each came:
//!
//! - an event counts once, by its identity;
//! - the first and last event are a minimum and a maximum;
//! - an event between two sessions that bridges their pause makes them one.
//!
//! So a state may be written with a condition on its revision, and merged and
//! written again when another writer was faster; see `shared/tables`.

mod document;
mod event;
mod session;
mod state;
mod stored;

pub use document::SessionDocument;
pub use event::{EventMark, SessionEvent, SessionKey};
pub use session::{Absorbed, Session};
pub use state::SessionState;
pub use stored::StoredError;

use freshet_events::Timestamp;

/// Events of one session that are counted; later ones only move its ends, and
/// its document says so by `truncated`.
pub const MAX_EVENTS: usize = 2_000;

/// Sessions that are remembered under one key. Beyond it the oldest is
/// forgotten; its document stays as it is.
pub const MAX_SESSIONS: usize = 64;

/// Bytes of a page, a referrer or a user id that a state remembers.
pub const MAX_TEXT_BYTES: usize = 1_024;

/// Bytes of a state as text, beyond which the oldest sessions are forgotten.
/// DynamoDB takes items of 400 KB.
pub const MAX_STATE_BYTES: usize = 256 * 1024;

/// The end of a truncated session moves in steps of this many milliseconds, so
/// that its large state is not written for each of its events.
pub const TRUNCATED_STEP_MS: i64 = 60_000;

/// How far in the future an event may be that belongs to a session. A
/// producer that writes to the stream itself may have any clock.
const MAX_FUTURE_MS: i64 = 24 * 3_600_000;

/// What decides where sessions end and how long they are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    /// The longest pause within a session, in milliseconds.
    pub inactivity_ms: i64,
    /// How long after its last event a session is remembered, in milliseconds.
    /// An event that is older than this belongs to no session.
    pub retention_ms: i64,
}

impl SessionPolicy {
    /// 30 minutes, and 8 days: a day more than the oldest event that collect
    /// accepts by default.
    pub const DEFAULT: Self = Self {
        inactivity_ms: 30 * 60_000,
        retention_ms: 8 * 24 * 3_600_000,
    };
}

impl SessionPolicy {
    /// Whether an event belongs to a session at all: a visitor made it, and it
    /// is neither older than what is remembered nor from another age.
    #[must_use]
    pub fn covers(&self, event: &SessionEvent, now: Timestamp) -> bool {
        let at = event.at;
        !event.synthetic
            && !event.bot
            && at >= self.horizon(now)
            && at <= now.saturating_add_millis(MAX_FUTURE_MS)
    }

    /// Events from before belong to no session.
    pub(crate) fn horizon(&self, now: Timestamp) -> Timestamp {
        now.saturating_add_millis(-self.retention_ms)
    }
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}
