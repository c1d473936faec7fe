//! The open object of an event: checked once at the door, carried as text.

use crate::limits::Limits;
use crate::raw::{Key, printable};
use crate::rejection::{Code, Rejection, Stage};
use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// The metadata keys that the index maps by type. All others are kept in
/// `metadata.other`. `ip_address` is known too, but never indexed.
pub const KNOWN_METADATA: [&str; 12] = [
    USER_AGENT,
    "referrer",
    "amount",
    "currency",
    "quantity",
    "product_id",
    "product_name",
    "category",
    "order_id",
    "title",
    "locale",
    "search_query",
];

/// The key that holds the visitor's user agent.
pub const USER_AGENT: &str = "user_agent";

/// The key that holds the visitor's IP address, until it is looked up.
pub const IP_ADDRESS: &str = "ip_address";

/// A JSON object that passed every check of [`Limits`]: its strings are
/// Unicode text, its keys are not empty and unique in their object.
#[derive(Clone)]
pub struct Metadata<'a> {
    json: Cow<'a, str>,
}

impl<'a> Metadata<'a> {
    /// The object without keys.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            json: Cow::Borrowed("{}"),
        }
    }

    /// Checks what a client sent; null is the same as absent.
    ///
    /// # Errors
    /// A rejection that names what is wrong and, cut to a printable length,
    /// at which key.
    pub fn parse(
        json: Option<&'a RawValue>,
        limits: &Limits,
        stage: Stage,
    ) -> Result<Self, Rejection> {
        let Some(json) = json.map(RawValue::get).filter(|text| *text != "null") else {
            return Ok(Self::empty());
        };
        if !json.starts_with('{') {
            return Err(Rejection::new(
                stage,
                Code::FieldWrongType,
                "metadata is an object",
            ));
        }
        let found = RefCell::new(None);
        let check = Check {
            limits,
            path_bytes: 0,
            depth: 0,
            found: &found,
        };
        let mut reader = serde_json::Deserializer::from_str(json);
        match check.deserialize(&mut reader) {
            Ok(()) => Ok(Self {
                json: on_one_line(json),
            }),
            Err(_) => Err(match found.into_inner() {
                Some((code, message)) => Rejection::new(stage, code, message),
                None => Rejection::new(
                    stage,
                    Code::EventMalformed,
                    "metadata has a string that is not Unicode text or a number out of range",
                ),
            }),
        }
    }

    /// Takes text that this crate wrote itself (a packed record).
    pub(crate) fn trusted(json: &'a RawValue) -> Self {
        let text = json.get();
        if text.starts_with('{') {
            Self {
                json: on_one_line(text),
            }
        } else {
            Self::empty()
        }
    }

    /// The object as JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Every key with its value's JSON text, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<(Cow<'_, str>, &RawValue)> {
        let mut entries = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(&self.json);
        // Cannot fail: the text was checked when it was taken.
        let _ = reader.deserialize_map(Entries(&mut entries));
        entries
    }

    /// The value under a key of the object itself, as JSON text.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        let mut reader = serde_json::Deserializer::from_str(&self.json);
        // Cannot fail: the text was checked when it was taken.
        reader.deserialize_map(ValueOf(key)).ok().flatten()
    }

    /// Adds text under keys that are absent or null; keys that the client
    /// filled stay.
    pub fn fill(&mut self, additions: &[(&str, &str)]) {
        let entries = self.entries();
        let missing = |key: &str| {
            !entries
                .iter()
                .any(|(name, value)| name == key && value.get() != "null")
        };
        let wanted: Vec<_> = additions.iter().filter(|(key, _)| missing(key)).collect();
        if wanted.is_empty() {
            return;
        }
        let added = wanted.iter().map(|(key, text)| {
            // Writing text to memory cannot fail.
            (
                *key,
                Cow::Owned(serde_json::to_string(text).unwrap_or_default()),
            )
        });
        let kept = entries
            .iter()
            .filter(|(key, _)| !wanted.iter().any(|(name, _)| name == key)) // it was null
            .map(|(key, value)| (key.as_ref(), Cow::Borrowed(value.get())));
        let json = object(added.chain(kept), self.json.len() + 128);
        self.json = Cow::Owned(json);
    }

    /// Takes these keys out of the object itself.
    pub fn remove(&mut self, keys: &[&str]) {
        let entries = self.entries();
        let kept = entries
            .iter()
            .filter(|(key, _)| !keys.contains(&key.as_ref()))
            .map(|(key, value)| (key.as_ref(), value.get()));
        let json = object(kept, self.json.len());
        self.json = Cow::Owned(json);
    }
}

/// Keys and their values' JSON text as an object of about so many bytes.
fn object<'k>(entries: impl Iterator<Item = (&'k str, impl AsRef<str>)>, bytes: usize) -> String {
    let mut json = String::with_capacity(bytes);
    json.push('{');
    for (key, value) in entries {
        if json.len() > 1 {
            json.push(',');
        }
        push_json_string(&mut json, key);
        json.push(':');
        json.push_str(value.as_ref());
    }
    json.push('}');
    json
}

/// JSON without line breaks, which stand only between its tokens: a document
/// is one line of a bulk request.
fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        Cow::Owned(json.replace(['\n', '\r'], ""))
    } else {
        Cow::Borrowed(json)
    }
}

fn push_json_string(out: &mut String, text: &str) {
    // Writing text to a string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

impl fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.json.len())
    }
}

/// Finds one key's value.
struct ValueOf<'k>(&'k str);

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Key(key)) = map.next_key()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Entries<'v, 'de>(&'v mut Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Visitor<'de> for Entries<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Key(key), value)) = map.next_entry()? {
            self.0.push((key, value));
        }
        Ok(())
    }
}

/// Walks a value once and stops at the first thing that is not allowed.
#[derive(Clone, Copy)]
struct Check<'c> {
    limits: &'c Limits,
    path_bytes: usize,
    depth: usize,
    found: &'c RefCell<Option<(Code, String)>>,
}

impl Check<'_> {
    fn refuse<E: serde::de::Error>(&self, code: Code, message: String) -> E {
        self.found.replace(Some((code, message)));
        E::custom("refused")
    }

    fn inside(self, key_bytes: usize) -> Self {
        Self {
            path_bytes: self.path_bytes + key_bytes + 1,
            depth: self.depth + 1,
            ..self
        }
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if self.path_bytes + text.len() > self.limits.max_metadata_term_bytes {
            let limit = self.limits.max_metadata_term_bytes;
            return Err(self.refuse(
                Code::MetadataValueTooLong,
                format!("a metadata string with its path is longer than {limit} bytes"),
            ));
        }
        Ok(())
    }

    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth >= self.limits.max_metadata_depth {
            let limit = self.limits.max_metadata_depth;
            return Err(self.refuse(
                Code::MetadataTooDeep,
                format!("metadata nests deeper than {limit} levels"),
            ));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// From how many keys on a set finds duplicates faster than a look at each.
const MANY_KEYS: usize = 16;

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<(), E> {
        self.text(v)
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.enter()?;
        while seq.next_element_seed(self.inside(0))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut few: Vec<Cow<'de, str>> = Vec::new();
        let mut many: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            if key.is_empty() {
                return Err(
                    self.refuse(Code::MetadataKeyEmpty, "a metadata key is empty".to_owned())
                );
            }
            if self.path_bytes + key.len() > self.limits.max_metadata_term_bytes {
                return Err(self
                    .text::<A::Error>(&key)
                    .err()
                    .unwrap_or_else(|| A::Error::custom("refused")));
            }
            map.next_value_seed(self.inside(key.len()))?;
            if few.contains(&key) || many.contains(&key) {
                let message = format!(
                    "the metadata key {:?} stands twice in one object",
                    printable(&key)
                );
                return Err(self.refuse(Code::MetadataKeyDuplicate, message));
            }
            if few.len() < MANY_KEYS {
                few.push(key);
            } else {
                many.insert(key);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<String, String> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        Metadata::parse(Some(raw), &Limits::DEFAULT, Stage::Collect)
            .map(|m| m.as_json().to_owned())
            .map_err(|r| r.code.into_owned())
    }

    fn fails(json: &str) -> String {
        parse(json).unwrap_err()
    }

    #[test]
    fn keeps_what_is_sound_as_it_is() {
        let json = r#"{"a":1,"b":{"c":[1,2,{"d":"\u00e9"}]},"e":null,"f":-1.5e3}"#;
        assert_eq!(parse(json).unwrap(), json);
        assert_eq!(parse("null").unwrap(), "{}");
    }

    #[test]
    fn what_a_client_indented_stands_on_one_line() {
        let json = "{\r\n  \"a\": [\n    1,\n    {\"b\": \"c\\n\"}\n  ]\n}";
        let line = r#"{  "a": [    1,    {"b": "c\n"}  ]}"#;
        assert_eq!(parse(json).unwrap(), line);
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(Metadata::trusted(raw).as_json(), line);
    }

    #[test]
    fn refuses_what_the_index_could_not_hold() {
        assert_eq!(fails("[1]"), "field_wrong_type");
        assert_eq!(fails(r#"{"a":"\ud800"}"#), "event_malformed");
        assert_eq!(fails(r#"{"":1}"#), "metadata_key_empty");
        assert_eq!(fails(r#"{"a":{"b":1,"b":2}}"#), "metadata_key_duplicate");
        assert_eq!(
            fails(&format!(r#"{{"a":"{}"}}"#, "x".repeat(32_000))),
            "metadata_value_too_long"
        );
        assert!(parse(&format!(r#"{{"a":"{}"}}"#, "x".repeat(31_998))).is_ok());
        assert_eq!(
            fails(&format!(r#"{{"{}":1}}"#, "x".repeat(32_001))),
            "metadata_value_too_long"
        );
        assert_eq!(
            fails(&format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17))),
            "metadata_too_deep"
        );
        assert!(parse(&format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16))).is_ok());
        let array = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
        assert_eq!(fails(&array), "metadata_too_deep");
    }

    #[test]
    fn finds_duplicates_among_many_keys() {
        let keys: Vec<String> = (0..100).map(|n| format!("\"k{n}\":1")).collect();
        assert!(parse(&format!("{{{}}}", keys.join(","))).is_ok());
        assert_eq!(
            fails(&format!("{{{},\"k77\":2}}", keys.join(","))),
            "metadata_key_duplicate"
        );
        assert_eq!(
            fails(&format!("{{{},\"k3\":2}}", keys.join(","))),
            "metadata_key_duplicate"
        );
    }

    #[test]
    fn fills_only_what_is_absent() {
        let filled = |json: &str| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let mut metadata =
                Metadata::parse(Some(raw), &Limits::DEFAULT, Stage::Collect).unwrap();
            metadata.fill(&[("ip_address", "192.0.2.1"), ("user_agent", "a\"b")]);
            metadata.as_json().to_owned()
        };
        assert_eq!(
            filled("{}"),
            r#"{"ip_address":"192.0.2.1","user_agent":"a\"b"}"#
        );
        assert_eq!(
            filled(r#"{"x":[1]}"#),
            r#"{"ip_address":"192.0.2.1","user_agent":"a\"b","x":[1]}"#
        );
        assert_eq!(
            filled(r#"{"ip_address":null,"x":1}"#),
            r#"{"ip_address":"192.0.2.1","user_agent":"a\"b","x":1}"#
        );
        let own = r#"{"user_agent":"me","ip_address":"::1"}"#;
        assert_eq!(filled(own), own);
    }

    #[test]
    fn keys_are_taken_out() {
        let without = |json: &str| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let mut metadata =
                Metadata::parse(Some(raw), &Limits::DEFAULT, Stage::Collect).unwrap();
            metadata.remove(&["ip_address", "email"]);
            metadata.as_json().to_owned()
        };
        assert_eq!(
            without(r#"{"a":{"email":1},"ip_address":"::1","b\"":[ 2 ],"email":"x"}"#),
            r#"{"a":{"email":1},"b\"":[ 2 ]}"#
        );
        assert_eq!(without(r#"{"email":null}"#), "{}");
        assert_eq!(without("{}"), "{}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\]{}",:a0\\u d8n.-]{0,60}"#) {
            if let Ok(raw) = serde_json::from_str::<&RawValue>(&text) {
                let _ = Metadata::parse(Some(raw), &Limits::DEFAULT, Stage::Collect);
            }
        }
    }
}
