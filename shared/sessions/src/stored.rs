//! A state as text: JSON with the events' marks packed, and a version number
//! in front, so that what an older release wrote is read by a newer one.

use crate::event::EventMark;
use crate::session::{Absorbed, Place, Session};
use crate::state::SessionState;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use freshet_events::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version this release writes.
const VERSION: u32 = 1;

/// Why a stored state cannot be read.
#[derive(Debug, Error)]
pub enum StoredError {
    /// It is not JSON of the known shape.
    #[error("the stored sessions cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// A newer release wrote it.
    #[error("the stored sessions have version {0}, which is not known here")]
    Version(u32),
    /// A time or a mark in it is none.
    #[error("the stored sessions have no valid {0}")]
    Value(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u32,
    sessions: Vec<StoredSession>,
}

type StoredPlace = (i64, u64);

#[derive(Serialize, Deserialize)]
struct StoredSession {
    id: String,
    day: String,
    version: u64,
    first: StoredPlace,
    last: StoredPlace,
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_page: Option<(StoredPlace, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_page: Option<(StoredPlace, String)>,
    /// The marks, 8 bytes each, big-endian, in base64.
    seen: String,
    pages: u32,
    /// Marks, and the bits of what each earned: decimal text may round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revenues: Vec<(u64, u64)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    absorbed: Vec<Absorbed>,
}

impl SessionState {
    /// The state as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let stored = Stored {
            v: VERSION,
            sessions: self.sessions.iter().map(stored).collect(),
        };
        // Strings and finite numbers always serialise.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The state that [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// [`StoredError`] if it is not one, or a newer release's.
    pub fn from_text(text: &str) -> Result<Self, StoredError> {
        #[derive(Deserialize)]
        struct Header {
            v: u32,
        }
        let header: Header = serde_json::from_str(text).map_err(StoredError::Malformed)?;
        if header.v != VERSION {
            return Err(StoredError::Version(header.v));
        }
        let stored: Stored = serde_json::from_str(text).map_err(StoredError::Malformed)?;
        let sessions = stored.sessions.into_iter().map(read);
        let mut sessions: Vec<Session> = sessions.collect::<Result<_, _>>()?;
        // An order that everything else relies on is not taken on trust.
        sessions.sort_by_key(|session| session.first);
        Ok(Self { sessions })
    }
}

fn stored(session: &Session) -> StoredSession {
    let place = |(at, mark): Place| (at.as_millis(), mark.0);
    let page =
        |page: &Option<(Place, String)>| page.as_ref().map(|(at, text)| (place(*at), text.clone()));
    let seen: Vec<u8> = session
        .seen
        .iter()
        .flat_map(|mark| mark.0.to_be_bytes())
        .collect();
    StoredSession {
        id: session.id.clone(),
        day: session.day.clone(),
        version: session.version,
        first: place(session.first),
        last: place(session.last),
        user_id: session.user_id.clone(),
        referrer: session.referrer.clone(),
        entry_page: page(&session.entry_page),
        exit_page: page(&session.exit_page),
        seen: STANDARD_NO_PAD.encode(seen),
        pages: session.pages,
        revenues: session
            .revenues
            .iter()
            .map(|(mark, revenue)| (mark.0, revenue.to_bits()))
            .collect(),
        truncated: session.truncated,
        absorbed: session.absorbed.clone(),
    }
}

fn read(stored: StoredSession) -> Result<Session, StoredError> {
    let place = |(ms, mark): StoredPlace| {
        let at = Timestamp::from_millis(ms).ok_or(StoredError::Value("time"))?;
        Ok::<Place, StoredError>((at, EventMark(mark)))
    };
    let page = |page: Option<(StoredPlace, String)>| {
        page.map(|(at, text)| Ok::<_, StoredError>((place(at)?, text)))
            .transpose()
    };
    let seen = STANDARD_NO_PAD
        .decode(&stored.seen)
        .map_err(|_| StoredError::Value("marks"))?;
    let (marks, rest) = seen.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(StoredError::Value("marks"));
    }
    let mut seen: Vec<EventMark> = marks
        .iter()
        .map(|bytes| EventMark(u64::from_be_bytes(*bytes)))
        .collect();
    seen.sort_unstable();
    Ok(Session {
        id: stored.id,
        day: stored.day,
        version: stored.version,
        first: place(stored.first)?,
        last: place(stored.last)?,
        user_id: stored.user_id,
        referrer: stored.referrer,
        entry_page: page(stored.entry_page)?,
        exit_page: page(stored.exit_page)?,
        seen,
        pages: stored.pages,
        revenues: stored
            .revenues
            .into_iter()
            .map(|(mark, bits)| (EventMark(mark), f64::from_bits(bits)))
            .collect(),
        truncated: stored.truncated,
        absorbed: stored.absorbed,
        changed: false,
    })
}
