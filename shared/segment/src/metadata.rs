//! The metadata of an event, put together so that the index takes it.

use crate::refuse;
use crate::value::{fits_keyword, fits_long, number};
use freshet_events::{Code, KNOWN_METADATA, Rejection};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The key of what cannot stand under its own name.
const PROPERTIES: &str = "properties";

/// The metadata as far as it has been written: what the mapping makes first,
/// then the client's properties.
#[derive(Default)]
pub(crate) struct Builder<'a> {
    ours: Vec<(&'static str, Cow<'a, str>)>,
    properties: Vec<(&'a str, &'a RawValue)>,
    displaced: Vec<(&'a str, &'a RawValue)>,
}

impl<'a> Builder<'a> {
    /// Sets what the mapping makes: JSON under one of our keys.
    pub(crate) fn ours(&mut self, key: &'static str, json: impl Into<Cow<'a, str>>) {
        self.ours.push((key, json.into()));
    }

    /// Sets text under one of our keys.
    pub(crate) fn text(&mut self, key: &'static str, text: &str) {
        self.ours(key, string(text));
    }

    /// Sets a client's value under one of our keys, or under its own name `name`
    /// among the displaced if the index would not take it there.
    pub(crate) fn renamed(&mut self, key: &'static str, name: &'a str, value: &'a RawValue) {
        if fits(key, value) {
            self.ours(key, value.get());
        } else {
            self.displaced.push((name, value));
        }
    }

    /// Whether the mapping has set this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.ours.iter().any(|(ours, _)| *ours == key)
    }

    /// Sets a property under its own name, if that is free and the index takes
    /// it there. All of ours come before.
    pub(crate) fn property(&mut self, name: &'a str, value: &'a RawValue) {
        let taken = name == PROPERTIES || self.has(name);
        if !taken && fits(name, value) {
            self.properties.push((name, value));
        } else if name != freshet_events::IP_ADDRESS {
            // The context's address wins, and no address is kept.
            self.displaced.push((name, value));
        }
    }

    /// The object, and how many of its first keys are ours.
    pub(crate) fn finish(self) -> Result<(Box<RawValue>, usize), Rejection> {
        let displaced = object(
            self.displaced
                .iter()
                .map(|(name, json)| (*name, json.get())),
        );
        let ours = self.ours.iter().map(|(key, json)| (*key, json.as_ref()));
        let properties = self
            .properties
            .iter()
            .map(|(name, json)| (*name, json.get()));
        let rest = (!self.displaced.is_empty()).then_some((PROPERTIES, displaced.as_str()));
        let json = object(ours.chain(properties).chain(rest));
        Ok((raw(json)?, self.ours.len()))
    }
}

/// JSON text that was checked when it was read, as a value.
pub(crate) fn raw(json: String) -> Result<Box<RawValue>, Rejection> {
    RawValue::from_string(json)
        .map_err(|_| refuse(Code::EventMalformed, "the call is not valid JSON"))
}

/// An object's JSON text.
pub(crate) fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (name, json) in fields {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&string(name));
        out.push(':');
        out.push_str(json);
    }
    out.push('}');
    out
}

/// A string's JSON text.
fn string(text: &str) -> String {
    // Writing text to a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// Whether the index takes the value under this key of metadata. What it does
/// not know goes into one field that takes everything.
fn fits(key: &str, value: &RawValue) -> bool {
    if value.get() == "null" {
        return true;
    }
    match key {
        "amount" => number(value).is_some(),
        "quantity" => fits_long(value),
        _ if KNOWN_METADATA.contains(&key) => fits_keyword(value),
        _ => true,
    }
}
