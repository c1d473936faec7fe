//! The fields of a JSON object, in order, each with its value's text.

use crate::refuse;
use crate::value::is_empty;
use freshet_events::{Code, Key, Rejection, printable};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// An object's fields. Names are not empty-checked and values are not read.
#[derive(Clone, Default)]
pub(crate) struct Fields<'a> {
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// The fields of JSON text, which may not be an object.
    pub(crate) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The fields of the object under `name`. Absent, null and an empty array
    /// are objects without fields: PHP writes `[]` for an empty map.
    ///
    /// # Errors
    /// [`Code::FieldWrongType`] for other values, [`Code::MetadataKeyDuplicate`]
    /// if a key stands twice.
    pub(crate) fn open(name: &str, value: Option<&'a RawValue>) -> Result<Self, Rejection> {
        let Some(value) = value.filter(|value| !is_empty(value)) else {
            return Ok(Self::default());
        };
        if !value.get().starts_with('{') {
            let message = format!("{name} is an object");
            return Err(refuse(Code::FieldWrongType, message));
        }
        let fields = Self::read(value.get()).ok_or_else(|| {
            let message = format!("{name} has a key that is not Unicode text");
            refuse(Code::EventMalformed, message)
        })?;
        match fields.duplicate() {
            Some(key) => {
                let key = printable(key);
                let message = format!("{key:?} stands twice in {name}");
                Err(refuse(Code::MetadataKeyDuplicate, message))
            }
            None => Ok(fields),
        }
    }

    /// The same, if it is a sound object; otherwise none of its fields.
    pub(crate) fn lenient(value: Option<&'a RawValue>) -> Self {
        value
            .and_then(|value| Self::read(value.get()))
            .unwrap_or_default()
    }

    /// The first name that stands twice.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.list.len());
        let mut names = self.list.iter().map(|(name, _)| name.as_ref());
        names.find(|name| !seen.insert(*name))
    }

    /// The value under `name`; null is absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut list = self.list.iter();
        let (_, value) = list.find(|(key, _)| key == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// Takes the value under `name` out; null is absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.list.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.list.remove(at);
        (value.get() != "null").then_some(value)
    }

    /// Keeps the fields that `wanted` says.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str, &RawValue) -> bool) {
        self.list.retain(|(name, value)| wanted(name, value));
    }

    /// Adds the fields of `others` whose names are absent or null here.
    pub(crate) fn fill(&mut self, others: Self) {
        // A batch may have thousands of names, for each of its calls.
        let is_null = |value: &RawValue| value.get() == "null";
        self.list.retain(|(_, value)| !is_null(value));
        let mine: HashSet<Cow<'_, str>> = self.list.iter().map(|(name, _)| name.clone()).collect();
        let missing = others.list.into_iter();
        self.list
            .extend(missing.filter(|(name, value)| !is_null(value) && !mine.contains(name)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.list
            .iter()
            .map(|(name, value)| (name.as_ref(), *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut list = Vec::new();
                while let Some(Key(name)) = map.next_key()? {
                    list.push((name, map.next_value()?));
                }
                Ok(Fields { list })
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}
