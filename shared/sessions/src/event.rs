//! What one event says about its session.

use freshet_events::{DocumentId, Timestamp};
use std::fmt;

/// Names a session id of a source: the same function of both as the `_id` of
/// a document is of source and event id, so that sources cannot collide. Or
/// names a user of a source, of whose events sessions are derived.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey(DocumentId);

impl SessionKey {
    /// The key of `session_id` as sent by `source`.
    #[must_use]
    pub fn new(source: &str, session_id: &str) -> Self {
        Self(DocumentId::new(source, session_id))
    }

    /// The key of all sessions that are derived of what `user_id` of `source`
    /// does: that of no session id, whatever a client sends.
    #[must_use]
    pub fn of_user(source: &str, user_id: &str) -> Self {
        Self(DocumentId::of_user(source, user_id))
    }

    /// The 22 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The `_id` of the document of the session that `first_known` began: the
    /// event that made the session known, which need not be its earliest.
    #[must_use]
    pub fn document_id(&self, first_known: EventMark) -> DocumentId {
        DocumentId::new(self.as_str(), &first_known.0.to_string())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells events of one session apart: the first 8 bytes of the event's
/// document id. Among 4,000 events two are alike with a chance of 1 in 10¹².
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventMark(pub u64);

impl From<&DocumentId> for EventMark {
    fn from(id: &DocumentId) -> Self {
        Self(id.short())
    }
}

/// What one event says about its session.
#[derive(Clone, PartialEq)]
pub struct SessionEvent {
    /// Whose event it is.
    pub key: SessionKey,
    /// Which event it is.
    pub mark: EventMark,
    /// When it happened.
    pub at: Timestamp,
    /// Its source.
    pub source: String,
    /// Its session id; none if its session is derived.
    pub session_id: Option<String>,
    /// Its user.
    pub user_id: String,
    /// The path of its page, if it has one.
    pub page: Option<String>,
    /// Whether it is a page view.
    pub is_page_view: bool,
    /// Where the visitor came from.
    pub referrer: Option<String>,
    /// What it earned, if it is a conversion.
    pub revenue: Option<f64>,
    /// Whether no visitor made it: it belongs to no session.
    pub synthetic: bool,
    /// Whether a crawler or a headless browser sent it: no more than that.
    pub bot: bool,
}

impl fmt::Debug for SessionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEvent")
            .field("key", &self.key)
            .field("mark", &self.mark)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
