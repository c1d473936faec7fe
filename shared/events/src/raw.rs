//! What a client sent, before anything is believed about it.

use crate::rejection::{Code, Rejection, Stage};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Whole numbers below 2^53 are exact in floating point.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// A JSON value where an event has text, a number or a truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scalar<'a> {
    /// Not there, or null.
    #[default]
    Missing,
    /// A string; borrowed from the body unless it has escapes.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// Anything else: what it is, in words.
    Other(&'static str),
}

/// The fields of an event as they stand in the body. Every field may be
/// missing or of any type; [`Event::parse`](crate::Event::parse) judges them.
#[derive(Clone, Default)]
pub struct RawEvent<'a> {
    pub(crate) event_id: Scalar<'a>,
    pub(crate) user_id: Scalar<'a>,
    pub(crate) session_id: Scalar<'a>,
    pub(crate) event_type: Scalar<'a>,
    pub(crate) page_url: Scalar<'a>,
    pub(crate) timestamp: Scalar<'a>,
    pub(crate) sent_at: Scalar<'a>,
    pub(crate) schema_version: Scalar<'a>,
    pub(crate) synthetic: Scalar<'a>,
    pub(crate) metadata: Option<&'a RawValue>,
    /// The first field that stands there twice.
    pub(crate) duplicate: Option<&'static str>,
    /// The first field that no event has, cut to a printable length.
    pub(crate) unknown: Option<String>,
}

impl<'a> RawEvent<'a> {
    /// Reads one event's JSON.
    ///
    /// # Errors
    /// [`Code::EventMalformed`] if it is not JSON or holds a string that is
    /// not Unicode text, [`Code::EventNotAnObject`] if it is another value.
    pub fn read(json: &'a str, stage: Stage) -> Result<Self, Rejection> {
        if !json.trim_ascii_start().starts_with('{') {
            let kind = if serde_json::from_str::<IgnoredAny>(json).is_ok() {
                (Code::EventNotAnObject, "an event is a JSON object")
            } else {
                (Code::EventMalformed, "the event is not JSON")
            };
            return Err(Rejection::new(stage, kind.0, kind.1));
        }
        serde_json::from_str(json).map_err(|error| {
            Rejection::new(
                stage,
                Code::EventMalformed,
                format!(
                    "the event is not valid JSON at line {} column {}",
                    error.line(),
                    error.column()
                ),
            )
        })
    }

    /// The client's own `event_id`, if it is usable text: for answers about
    /// events that were refused.
    #[must_use]
    pub fn claimed_event_id(&self) -> Option<&str> {
        match &self.event_id {
            Scalar::Text(id) if !id.is_empty() && id.len() <= 256 => Some(id),
            _ => None,
        }
    }
}

impl fmt::Debug for RawEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata_bytes = self.metadata.map_or(0, |m| m.get().len());
        f.debug_struct("RawEvent")
            .field("metadata_bytes", &metadata_bytes)
            .finish_non_exhaustive()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawEventVisitor)
    }
}

struct RawEventVisitor;

impl<'de> Visitor<'de> for RawEventVisitor {
    type Value = RawEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEvent<'de>, A::Error> {
        let mut event = RawEvent::default();
        let mut seen = 0_u16;
        while let Some(Key(key)) = map.next_key()? {
            let (bit, name, slot) = match key.as_ref() {
                "event_id" => (1, "event_id", &mut event.event_id),
                "user_id" => (2, "user_id", &mut event.user_id),
                "session_id" => (4, "session_id", &mut event.session_id),
                "event_type" => (8, "event_type", &mut event.event_type),
                "page_url" => (16, "page_url", &mut event.page_url),
                "timestamp" => (32, "timestamp", &mut event.timestamp),
                "sent_at" => (64, "sent_at", &mut event.sent_at),
                "schema_version" => (128, "schema_version", &mut event.schema_version),
                "synthetic" => (512, "synthetic", &mut event.synthetic),
                "metadata" => {
                    if seen & 256 != 0 {
                        event.duplicate.get_or_insert("metadata");
                    }
                    seen |= 256;
                    event.metadata = map.next_value()?;
                    continue;
                }
                other => {
                    event.unknown.get_or_insert_with(|| printable(other));
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = map.next_value()?;
            if seen & bit != 0 {
                event.duplicate.get_or_insert(name);
            }
            seen |= bit;
        }
        Ok(event)
    }
}

/// A JSON string's text; `None` for other values, and for strings that are not
/// Unicode text.
#[must_use]
pub fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// At most 64 characters of a client's key, without control characters.
#[must_use]
pub fn printable(key: &str) -> String {
    key.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(64)
        .collect()
}

/// A key or string that borrows from the input where it can. (Serde's own
/// `Cow` copies inside `Option` and as a map key.)
pub struct Key<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(v.to_owned())))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(v).map_or(Scalar::Other("number"), Scalar::Integer))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Scalar<'de>, E> {
        // To JSON 5 and 5.0 are one number, and some languages write the second.
        if v.fract() == 0.0 && v.abs() < EXACT_BELOW {
            #[allow(clippy::cast_possible_truncation)] // whole, and below 2^53
            return Ok(Scalar::Integer(v as i64));
        }
        Ok(Scalar::Other("number"))
    }
    fn visit_bool<E>(self, v: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Boolean(v))
    }
    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Missing)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("array"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("object"))
    }
}
