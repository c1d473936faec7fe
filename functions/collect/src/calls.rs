//! Calls of Segment's and RudderStack's SDKs, judged like events.

use crate::opt_out::Wish;
use crate::prepare::{Accepted, Prepared, Sender, check_size, stamp};
use freshet_events::{Event, Limits, Rejection, Timestamp};
use freshet_segment::{Calls, Draft, EventTypes, MAX_CALL_BYTES, claimed_message_id};

/// What calls are judged by.
#[derive(Clone, Debug)]
pub struct CallRules {
    /// Names of events, and the types they become.
    pub event_types: EventTypes,
    /// How old a call of `/v1/import` may be, in milliseconds.
    pub max_import_age_ms: i64,
}

impl CallRules {
    /// Judges each call by itself and packs the good ones.
    pub fn prepare(
        &self,
        calls: &Calls<'_>,
        sender: Sender<'_>,
        limits: &Limits,
        now: Timestamp,
        mut new_id: impl FnMut() -> String,
    ) -> Prepared {
        let mut limits = Limits {
            max_event_bytes: limits.max_event_bytes.min(MAX_CALL_BYTES),
            ..limits.clone()
        };
        if calls.is_import() {
            limits.max_age_ms = Some(self.max_import_age_ms);
        }
        let stamp = stamp(sender.source, now);
        Prepared::judge(&calls.calls, sender.source, now, |json, claimed| {
            *claimed = claimed_message_id(json);
            check_size(json.len() + calls.shared_bytes(), limits.max_event_bytes)?;
            sender.wish.check()?;
            let draft = self.draft(json, calls, sender.wish, now)?;
            let event = Event::translated(draft.translated(), &stamp, &limits, now, &mut new_id)?;
            Ok(if draft.from_visitor(sender.user_agent) {
                Accepted::from_visitor(event, &sender)
            } else {
                Accepted::from_elsewhere(&event)
            })
        })
    }

    /// A call as the event it becomes, as its visitor wishes.
    fn draft(
        &self,
        json: &str,
        calls: &Calls<'_>,
        wish: Wish<'_>,
        now: Timestamp,
    ) -> Result<Draft, Rejection> {
        let mut draft = Draft::of(json, calls, &self.event_types, now)?;
        if let Wish::Anonymise(key) = wish {
            draft.anonymise(|user_id| key.pseudonym(user_id));
        }
        Ok(draft)
    }
}
