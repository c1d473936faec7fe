//! All sessions known under one key.

use crate::document::SessionDocument;
use crate::event::{SessionEvent, SessionKey};
use crate::session::Session;
use crate::{MAX_EVENTS, MAX_SESSIONS, SessionPolicy};
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
    /// those that are older than the policy remembers are left out. Says
    /// whether anything changed.
    pub fn merge<'e>(
        &mut self,
        key: &SessionKey,
        events: impl IntoIterator<Item = &'e SessionEvent>,
        policy: &SessionPolicy,
        now: Timestamp,
    ) -> bool {
        let horizon = horizon(policy, now);
        self.sessions.retain(|session| session.end() >= horizon);
        let mut counted: usize = self.sessions.iter().map(|s| s.seen.len()).sum();
        for event in events {
            if event.at < horizon || self.sessions.iter().any(|s| s.has(event.mark)) {
                continue;
            }
            let room = counted < MAX_EVENTS;
            counted += usize::from(room);
            let session = self.session_for(key, event, policy.inactivity_ms);
            session.add(event, room);
        }
        let over = self.sessions.len().saturating_sub(MAX_SESSIONS);
        self.sessions.drain(..over);
        let mut changed = false;
        for session in &mut self.sessions {
            session.version += u64::from(session.changed);
            changed |= std::mem::take(&mut session.changed);
        }
        changed
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
        let place = self.sessions.partition_point(|s| s.end() < at);
        self.sessions.get(place).filter(|s| s.start() <= at)
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
                let document = SessionDocument::of(session, &event.source, &event.session_id);
                documents.push((place, document));
            }
        }
        documents
    }

    /// When it may be forgotten as a whole.
    #[must_use]
    pub fn expires_at(&self, policy: &SessionPolicy) -> Timestamp {
        let last = self.sessions.last().map_or(Timestamp::EPOCH, Session::end);
        last.saturating_add_millis(policy.retention_ms)
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let of = |session: &Session| 512 + session.seen.len() * 8 + session.revenues.len() * 16;
        self.sessions.iter().map(of).sum()
    }
}

/// Sessions that ended before are forgotten.
fn horizon(policy: &SessionPolicy, now: Timestamp) -> Timestamp {
    now.saturating_add_millis(-policy.retention_ms)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
