//! A request body becomes the events in it, each by itself.

use crate::raw::Key;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use thiserror::Error;

/// Why a body as a whole cannot be split into events.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// It is not JSON, nor JSON lines.
    #[error("the body is neither JSON nor newline-delimited JSON")]
    Malformed,
    /// It is JSON, but neither an event, nor an array, nor an object with `events`.
    #[error("the body is one event, an array of events, or an object with an array `events`")]
    WrongShape,
    /// It holds no event.
    #[error("the body holds no event")]
    NoEvents,
    /// It holds more events than one request may.
    #[error("a request holds at most {limit} events")]
    TooManyEvents {
        /// The most a request may hold.
        limit: usize,
    },
}

impl BodyError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "body_malformed",
            Self::WrongShape => "body_wrong_shape",
            Self::NoEvents => "no_events",
            Self::TooManyEvents { .. } => "too_many_events",
        }
    }
}

/// Splits a body into the JSON text of each event, in order: one event, an
/// array of events, `{"events":[…]}`, or one event a line (NDJSON; empty lines
/// are passed over). The events themselves are not judged, and a bad line of
/// NDJSON is an event that [`RawEvent::read`](crate::RawEvent::read) refuses.
///
/// # Errors
/// A [`BodyError`] if there is no telling which events it holds.
pub fn split(body: &str, max_events: usize) -> Result<Vec<&str>, BodyError> {
    let body = body.strip_prefix('\u{feff}').unwrap_or(body);
    let first = body
        .trim_ascii_start()
        .bytes()
        .next()
        .ok_or(BodyError::NoEvents)?;
    let whole = match first {
        b'[' => elements(body, max_events),
        b'{' => object(body, max_events),
        _ if serde_json::from_str::<IgnoredAny>(body).is_ok() => return Err(BodyError::WrongShape),
        _ => Err(BodyError::Malformed),
    };
    let events = match whole {
        Err(BodyError::Malformed) => lines(body, max_events)?,
        other => other?,
    };
    if events.is_empty() {
        Err(BodyError::NoEvents)
    } else {
        Ok(events)
    }
}

fn object(body: &str, max_events: usize) -> Result<Vec<&str>, BodyError> {
    match serde_json::from_str::<Envelope<'_>>(body) {
        Ok(Envelope { events: None }) => Ok(vec![body]),
        Ok(Envelope {
            events: Some(events),
        }) => {
            if !events.get().starts_with('[') {
                return Err(BodyError::WrongShape);
            }
            elements(events.get(), max_events)
        }
        Err(_) => Err(BodyError::Malformed),
    }
}

/// The JSON text of each element of an array, in order; the elements are not
/// judged.
///
/// # Errors
/// [`BodyError::TooManyEvents`], or [`BodyError::Malformed`] if it is no array.
pub fn elements(array: &str, max_events: usize) -> Result<Vec<&str>, BodyError> {
    let mut events = Vec::new();
    let mut too_many = false;
    let mut reader = serde_json::Deserializer::from_str(array);
    let read = reader.deserialize_seq(Elements {
        events: &mut events,
        max_events,
        too_many: &mut too_many,
    });
    if too_many {
        return Err(BodyError::TooManyEvents { limit: max_events });
    }
    read.and_then(|()| reader.end())
        .map_err(|_| BodyError::Malformed)?;
    Ok(events)
}

/// NDJSON needs at least one line that is JSON: without it the body is just
/// broken, and one error says so better than one for each line.
fn lines(body: &str, max_events: usize) -> Result<Vec<&str>, BodyError> {
    let mut events = Vec::new();
    for line in body
        .lines()
        .map(str::trim_ascii)
        .filter(|line| !line.is_empty())
    {
        if events.len() == max_events {
            return Err(BodyError::TooManyEvents { limit: max_events });
        }
        events.push(line);
    }
    let any_json = events
        .iter()
        .any(|line| serde_json::from_str::<IgnoredAny>(line).is_ok());
    if events.len() > 1 && any_json {
        Ok(events)
    } else {
        Err(BodyError::Malformed)
    }
}

struct Envelope<'a> {
    events: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;
        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut events = None;
                while let Some(Key(key)) = map.next_key()? {
                    if key == "events" {
                        events = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Envelope { events })
            }
        }
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct Elements<'v, 'de> {
    events: &'v mut Vec<&'de str>,
    max_events: usize,
    too_many: &'v mut bool,
}

impl<'de> Visitor<'de> for Elements<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            if self.events.len() == self.max_events {
                *self.too_many = true;
                return Err(serde::de::Error::custom("too many events"));
            }
            self.events.push(element.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_every_shape() {
        assert_eq!(split(r#" {"a":1} "#, 9).unwrap(), [r#" {"a":1} "#]);
        assert_eq!(
            split(r#"[{"a":1}, 2 ,"x"]"#, 9).unwrap(),
            [r#"{"a":1}"#, "2", r#""x""#]
        );
        assert_eq!(
            split(r#"{"sent":1,"events":[{"a":1},{}]}"#, 9).unwrap(),
            [r#"{"a":1}"#, "{}"]
        );
        assert_eq!(
            split("{\"a\":1}\r\n\n{\"b\":2}\n", 9).unwrap(),
            [r#"{"a":1}"#, r#"{"b":2}"#]
        );
        assert_eq!(
            split("{\"a\":1}\n{broken\n", 9).unwrap(),
            [r#"{"a":1}"#, "{broken"]
        );
        assert_eq!(split("\u{feff}{}", 9).unwrap(), ["{}"]);
    }

    #[test]
    fn says_what_is_wrong_with_the_whole() {
        assert_eq!(split("", 9), Err(BodyError::NoEvents));
        assert_eq!(split(" \n ", 9), Err(BodyError::NoEvents));
        assert_eq!(split("[]", 9), Err(BodyError::NoEvents));
        assert_eq!(split("hello", 9), Err(BodyError::Malformed));
        assert_eq!(split("{", 9), Err(BodyError::Malformed));
        assert_eq!(split("[{}", 9), Err(BodyError::Malformed));
        assert_eq!(split("{x\n{y\n", 9), Err(BodyError::Malformed));
        assert_eq!(split("17", 9), Err(BodyError::WrongShape));
        assert_eq!(split(r#"{"events":{}}"#, 9), Err(BodyError::WrongShape));
        assert_eq!(
            split("[1,2,3]", 2),
            Err(BodyError::TooManyEvents { limit: 2 })
        );
        assert_eq!(
            split("{}\n{}\n{}", 2),
            Err(BodyError::TooManyEvents { limit: 2 })
        );
    }

    #[test]
    fn a_deep_body_is_split_without_recursion() {
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(split(&deep, 9).unwrap().len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in r#"[\[\]{}",:a0\\u d8n\n.-]{0,80}"#) {
            let _ = split(&body, 4);
        }

        #[test]
        fn an_array_gives_back_its_elements(values in proptest::collection::vec("[a-z]{0,9}", 1..20)) {
            let body = serde_json::to_string(&values).unwrap();
            let parts = split(&body, 20).unwrap();
            let back: Vec<String> = parts.iter().map(|p| serde_json::from_str(p).unwrap()).collect();
            proptest::prop_assert_eq!(back, values);
        }
    }
}
