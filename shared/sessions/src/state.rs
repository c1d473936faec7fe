//! All sessions known under one key.

use crate::document::SessionDocument;
use crate::event::{SessionEvent, SessionKey};
use crate::session::Session;
use crate::{MAX_SESSIONS, MAX_STATE_BYTES, SessionPolicy};
use freshet_events::Timestamp;

/// All sessions known under one key: in order of time, and further apart than
/// the inactivity that ends a session.
#[derive(Clone, Default, PartialEq)]
pub struct SessionState {
    pub(crate) sessions: Vec<Session>,
}

impl std::fmt::Debug for SessionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionState({} sessions)", self.sessions.len())
    }
}

impl SessionState {
    /// Takes events in, all of `key`. Those it has seen change nothing, and
    /// those that the policy does not cover are left out. Says whether
    /// anything changed.
    pub fn merge<'e>(
        &mut self,
        key: &SessionKey,
        events: impl IntoIterator<Item = &'e SessionEvent>,
        policy: &SessionPolicy,
        now: Timestamp,
    ) -> bool {
        // An event just within the horizon may continue a session just beyond.
        let gone = policy
            .horizon(now)
            .saturating_add_millis(-policy.inactivity_ms);
        self.sessions.retain(|session| session.end() >= gone);
        for event in events {
            if policy.covers(event, now) && !self.sessions.iter().any(|s| s.has(event.mark)) {
                self.session_for(key, event, policy.inactivity_ms)
                    .add(event);
            }
        }
        self.forget_oldest();
        let mut changed = false;
        for session in &mut self.sessions {
            changed |= session.settle();
        }
        changed
    }

    /// Keeps the state within its bounds; the newest session stays.
    fn forget_oldest(&mut self) {
        let over = self.sessions.len().saturating_sub(MAX_SESSIONS);
        self.sessions.drain(..over);
        while self.sessions.len() > 1 && self.stored_bytes() > MAX_STATE_BYTES {
            self.sessions.remove(0);
        }
    }

    /// The session that `event` belongs to: one that is there, two that it
    /// makes one, or a new one.
    fn session_for(
        &mut self,
        key: &SessionKey,
        event: &SessionEvent,
        inactivity_ms: i64,
    ) -> &mut Session {
        let from = event.at.saturating_add_millis(-inactivity_ms);
        let to = event.at.saturating_add_millis(inactivity_ms);
        // In order and apart, so those within reach stand side by side.
        let first = self.sessions.partition_point(|s| s.end() < from);
        let within = self.sessions[first..]
            .iter()
            .take_while(|s| s.start() <= to)
            .count();
        if within == 0 {
            self.sessions.insert(first, Session::begin(key, event));
        } else {
            let later: Vec<Session> = self.sessions.drain(first + 1..first + within).collect();
            let session = &mut self.sessions[first];
            later.into_iter().for_each(|later| session.absorb(later));
        }
        &mut self.sessions[first]
    }

    /// The session around a moment, after an event of that moment was taken in.
    #[must_use]
    pub fn session_at(&self, at: Timestamp) -> Option<&Session> {
        let place = self.sessions.partition_point(|s| s.reach() <= at);
        self.sessions.get(place).filter(|s| s.start() <= at)
    }

    /// Whether it knows no session.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The documents of the sessions that these events belong to, each once,
    /// with the place of the first event that belongs to it.
    #[must_use]
    pub fn documents<'e>(
        &self,
        events: impl IntoIterator<Item = &'e SessionEvent>,
    ) -> Vec<(usize, SessionDocument)> {
        let mut documents: Vec<(usize, SessionDocument)> = Vec::new();
        for (place, event) in events.into_iter().enumerate() {
            if let Some(session) = self.session_at(event.at)
                && !documents.iter().any(|(_, known)| known.id == session.id)
            {
                let session_id = event.session_id.as_deref();
                let document = SessionDocument::of(session, &event.source, session_id);
                documents.push((place, document));
            }
        }
        documents
    }

    /// When it may be forgotten as a whole.
    #[must_use]
    pub fn expires_at(&self, policy: &SessionPolicy) -> Timestamp {
        let last = self.sessions.last().map_or(Timestamp::EPOCH, Session::end);
        last.saturating_add_millis(policy.retention_ms + policy.inactivity_ms)
    }

    /// At most how many bytes [`to_text`](Self::to_text) gives; about what it
    /// takes in memory.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        let sessions = self.sessions.iter().map(Session::stored_bytes);
        32 + sessions.sum::<usize>()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
