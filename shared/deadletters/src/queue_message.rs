//! What collect sends to the queue when the stream refuses events.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// The code of events that the stream refused.
pub const STREAM_REFUSED: &str = "stream_refused";

/// One message: events with their wire JSON, untouched.
#[derive(Serialize, Deserialize)]
pub struct QueueMessage<'a> {
    /// Version of this shape.
    pub version: u8,
    /// Where the events were: always `collect`.
    pub stage: &'a str,
    /// Why they are here: [`STREAM_REFUSED`].
    pub code: &'a str,
    /// What the stream said, without any payload.
    pub message: String,
    /// The events' wire JSON.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
}

impl fmt::Debug for QueueMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "QueueMessage({}, {} events)",
            self.code,
            self.events.len()
        )
    }
}

impl<'a> QueueMessage<'a> {
    /// A message for `events`.
    #[must_use]
    pub fn new(message: impl Into<String>, events: Vec<&'a RawValue>) -> Self {
        Self {
            version: 1,
            stage: "collect",
            code: STREAM_REFUSED,
            message: message.into(),
            events,
        }
    }

    /// The message's body. SQS refuses two characters that JSON allows; they
    /// are written as escapes, which read back as the same text.
    #[must_use]
    pub fn to_body(&self) -> String {
        // Strings and checked JSON always serialise.
        let body = serde_json::to_string(self).unwrap_or_default();
        if body.contains(['\u{fffe}', '\u{ffff}']) {
            return body
                .replace('\u{fffe}', "\\ufffe")
                .replace('\u{ffff}', "\\uffff");
        }
        body
    }

    /// Reads a body.
    ///
    /// # Errors
    /// If it is not this shape.
    pub fn read(body: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bodies_are_refused_and_none_is_printed() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"version":1,"stage":"collect","code":"c","message":"m","events":{}}"#,
        ] {
            assert!(QueueMessage::read(body).is_err(), "{body}");
        }
        let event = serde_json::value::to_raw_value("203.0.113.7").unwrap();
        let shown = format!("{:?}", QueueMessage::new("throttled", vec![&event]));
        assert_eq!(shown, "QueueMessage(stream_refused, 1 events)");
    }

    proptest::proptest! {
        #[test]
        fn any_event_survives_in_characters_that_sqs_takes(text in ".{0,40}") {
            let text = ["\u{fffe}", &text, "\u{ffff}"].concat();
            let event = serde_json::value::to_raw_value(&text).unwrap();
            let body = QueueMessage::new("throttled", vec![&event, &event]).to_body();
            let refused = body.contains(['\u{fffe}', '\u{ffff}']);
            proptest::prop_assert!(!refused);
            let back = QueueMessage::read(&body).unwrap();
            proptest::prop_assert_eq!(back.events.len(), 2);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(back.events[1].get()).unwrap(), text);
        }
    }
}
