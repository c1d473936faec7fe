//! When it happened, by a clock that is right.

use crate::call_type::Endpoint;
use crate::calls::Calls;
use crate::fields::Fields;
use crate::refuse;
use crate::value::text;
use freshet_events::{Code, Rejection, Timestamp};
use serde_json::value::RawValue;

/// The times of a call.
pub(crate) struct Times {
    /// When it happened.
    pub(crate) timestamp: Timestamp,
    /// When the client sent it, by the client's clock.
    pub(crate) sent_at: Option<Timestamp>,
}

impl Times {
    /// Segment's correction: `receivedAt - (sentAt - originalTimestamp)`. A
    /// call with both `originalTimestamp` and `timestamp` says itself what is
    /// right, as RudderStack has it; imports are history, and their client's
    /// clock of today tells nothing.
    pub(crate) fn of(
        call: &Fields<'_>,
        calls: &Calls<'_>,
        received_at: Timestamp,
    ) -> Result<Self, Rejection> {
        let original = moment("originalTimestamp", call.get("originalTimestamp"))?;
        let given = moment("timestamp", call.get("timestamp"))?;
        let sent_at = moment("sentAt", call.get("sentAt").or(calls.sent_at))?;
        let corrected = |at: Timestamp| match sent_at {
            Some(sent_at) if calls.endpoint != Endpoint::Import => {
                received_at.saturating_add_millis(at.as_millis() - sent_at.as_millis())
            }
            _ => at,
        };
        let timestamp = match (original, given) {
            (Some(_), Some(right)) => right,
            (Some(at), None) | (None, Some(at)) => corrected(at),
            (None, None) => received_at,
        };
        Ok(Self { timestamp, sent_at })
    }
}

/// ISO 8601, or a whole number of milliseconds since 1970, as a native event
/// may have it.
fn moment(name: &str, value: Option<&RawValue>) -> Result<Option<Timestamp>, Rejection> {
    let Some(value) = value.filter(|value| value.get() != "\"\"") else {
        return Ok(None);
    };
    let json = value.get();
    let read = match json.bytes().next() {
        Some(b'"') => text(value).and_then(|text| Timestamp::parse_iso8601(&text)),
        Some(b'-' | b'0'..=b'9') => json.parse().ok().and_then(Timestamp::from_millis),
        _ => {
            let message = format!("{name} is ISO 8601 text or milliseconds");
            return Err(refuse(Code::FieldWrongType, message));
        }
    };
    read.map(Some).ok_or_else(|| {
        let message = format!("{name} is not an ISO 8601 time between 1970 and 9999");
        refuse(Code::TimestampInvalid, message)
    })
}
