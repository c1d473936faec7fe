//! Whose call it is, and of which visit.

use crate::context::Context;
use crate::fields::Fields;
use crate::refuse;
use crate::value::id;
use freshet_events::{Code, Limits, Rejection};
use serde_json::value::RawValue;

/// Where Segment's SDKs put the session of Amplitude's plugin.
const AMPLITUDE: &str = "Actions Amplitude";

/// The ids of a call.
pub(crate) struct Identity {
    /// `userId`, else `anonymousId`.
    pub(crate) user_id: String,
    /// `anonymousId`, where the user has a `userId`.
    pub(crate) anonymous_id: Option<String>,
}

impl Identity {
    pub(crate) fn of(call: &Fields<'_>) -> Result<Self, Rejection> {
        let anonymous_id = id("anonymousId", call.get("anonymousId"))?;
        match (id("userId", call.get("userId"))?, anonymous_id) {
            (Some(user_id), anonymous_id) => Ok(Self {
                user_id,
                anonymous_id,
            }),
            (None, Some(user_id)) => Ok(Self {
                user_id,
                anonymous_id: None,
            }),
            (None, None) => {
                let message = "userId and anonymousId are missing";
                Err(refuse(Code::FieldMissing, message))
            }
        }
    }

    /// The session that the client names, if it names one.
    ///
    /// SDKs number sessions by the clock, so two visitors who begin in the same
    /// moment have the same number: the device's id goes before it, and it is
    /// the same before and after the user signs in.
    pub(crate) fn session_id(
        &self,
        context: &mut Context<'_>,
        integrations: &Fields<'_>,
    ) -> Option<String> {
        let amplitude = || {
            let settings = Fields::lenient(integrations.get(AMPLITUDE));
            session(settings.get("session_id"))
        };
        let given = session(context.take_session()).or_else(amplitude)?;
        if !given.bytes().all(|b| b.is_ascii_digit()) {
            return Some(given);
        }
        let device = self.anonymous_id.as_ref().unwrap_or(&self.user_id);
        let qualified = format!("{device}:{given}");
        let fits = qualified.len() <= Limits::DEFAULT.max_id_bytes;
        Some(if fits { qualified } else { given })
    }
}

/// A session's id; a negative number is how SDKs say that there is none.
fn session(value: Option<&RawValue>) -> Option<String> {
    let session_id = id("sessionId", value).ok()??;
    (!session_id.starts_with('-')).then_some(session_id)
}
