//! Whether a live mapping takes what a template says, and whether it has it.

use serde_json::{Map, Value};
use std::fmt;

/// A field that a live index has otherwise, and cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The live index.
    pub index: String,
    /// The field's dotted name.
    pub field: String,
    /// What it is there.
    pub live: String,
    /// What the template says.
    pub wanted: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            field,
            live,
            wanted,
        } = self;
        write!(f, "{field} is {live} in {index} and would be {wanted}")
    }
}

/// Parameters that can be changed on a live field. Every other one is fixed
/// when the field is made.
const UPDATABLE: [&str; 12] = [
    "boost",
    "coerce",
    "copy_to",
    "dynamic",
    "eager_global_ordinals",
    "fielddata",
    "fielddata_frequency_filter",
    "ignore_above",
    "ignore_malformed",
    "meta",
    "search_analyzer",
    "search_quote_analyzer",
];

/// Says of every field of `wanted` that `live` has otherwise what it is in
/// both. Fields that only one of them has are none of its business: the
/// template's are added, the index's own stay.
pub(crate) fn conflicts(index: &str, live: &Value, wanted: &Value) -> Vec<Conflict> {
    let mut found = Vec::new();
    compare_all(
        index,
        "",
        &live["properties"],
        &wanted["properties"],
        &mut found,
    );
    found
}

fn compare_all(index: &str, path: &str, live: &Value, wanted: &Value, found: &mut Vec<Conflict>) {
    for (name, wanted) in wanted.as_object().into_iter().flatten() {
        if let Some(live) = live.get(name) {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            compare(index, &path, live, wanted, found);
        }
    }
}

fn compare(index: &str, path: &str, live: &Value, wanted: &Value, found: &mut Vec<Conflict>) {
    let mut conflict = |live: String, wanted: String| {
        found.push(Conflict {
            index: index.to_owned(),
            field: path.to_owned(),
            live,
            wanted,
        });
    };
    let (live_kind, wanted_kind) = (kind(live), kind(wanted));
    if live_kind != wanted_kind {
        conflict(live_kind.to_owned(), wanted_kind.to_owned());
        return;
    }
    for parameter in parameters(live, wanted) {
        if UPDATABLE.contains(&parameter) {
            continue;
        }
        let (live, wanted) = (value(live, parameter), value(wanted, parameter));
        if live != wanted {
            conflict(
                format!("{live_kind} with {parameter} {live}"),
                format!("{wanted_kind} with {parameter} {wanted}"),
            );
        }
    }
    compare_all(
        index,
        path,
        &live["properties"],
        &wanted["properties"],
        found,
    );
    compare_all(index, path, &live["fields"], &wanted["fields"], found);
}

/// Whether `live` already has every field of `wanted`, with its parameters.
pub(crate) fn covers(live: &Value, wanted: &Value) -> bool {
    let has_all = |of: &str| {
        let wanted = wanted[of].as_object().into_iter().flatten();
        wanted.into_iter().all(|(name, wanted)| {
            live[of]
                .get(name)
                .is_some_and(|live| kind(live) == kind(wanted) && covers(live, wanted))
        })
    };
    parameters(live, wanted).all(|parameter| value(live, parameter) == value(wanted, parameter))
        && has_all("properties")
        && has_all("fields")
}

/// What a field is, in a word. Without a type it is an object.
fn kind(field: &Value) -> &str {
    field["type"].as_str().unwrap_or("object")
}

/// The names of the parameters that either has, without its fields.
fn parameters<'v>(live: &'v Value, wanted: &'v Value) -> impl Iterator<Item = &'v str> {
    fn keys(field: &Value) -> impl Iterator<Item = &str> {
        field
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
    }
    let only_in_wanted = keys(wanted).filter(|key| live.get(*key).is_none());
    keys(live)
        .chain(only_in_wanted)
        .filter(|key| !matches!(*key, "type" | "properties" | "fields"))
}

/// A parameter's value as text, or its default: the server leaves some of
/// them out.
fn value(field: &Value, parameter: &str) -> String {
    match field.get(parameter) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => default(kind(field), parameter).to_owned(),
    }
}

fn default(kind: &str, parameter: &str) -> &'static str {
    match (kind, parameter) {
        ("text", "doc_values" | "store")
        | (_, "store" | "ignore_malformed" | "eager_global_ordinals") => "false",
        ("keyword", "norms") => "false",
        (_, "index" | "doc_values" | "norms" | "coerce") => "true",
        ("date", "format") => "strict_date_optional_time||epoch_millis",
        ("text", "analyzer") => "default",
        ("keyword", "ignore_above") => "2147483647",
        _ => "default",
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
