use super::*;
use crate::templates::{EVENTS, mappings};
use serde_json::json;

/// The template's mapping, and a live one that a change was made to.
fn changed(change: impl FnOnce(&mut Value)) -> (Value, Value) {
    let template: Value = serde_json::from_str(EVENTS).unwrap();
    let wanted = mappings(&template).clone();
    let mut live = wanted.clone();
    change(&mut live);
    (live, wanted)
}

fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let (live, wanted) = changed(change);
    conflicts("i", &live, &wanted)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn remove(mapping: &mut Value, pointer: &str, name: &str) {
    let fields = mapping.pointer_mut(pointer).and_then(Value::as_object_mut);
    fields.unwrap().remove(name).unwrap();
}

#[test]
fn the_same_mapping_fits_and_covers() {
    let (live, wanted) = changed(|_| {});
    assert!(conflicts("i", &live, &wanted).is_empty() && covers(&live, &wanted));
    // As the server says it: defaults left out.
    let (live, wanted) = changed(|live| remove(live, "/properties/@timestamp", "format"));
    assert!(conflicts("i", &live, &wanted).is_empty() && covers(&live, &wanted));
}

#[test]
fn another_type_is_named_with_both() {
    let of =
        |pointer: &str, field: Value| found(|live| *live.pointer_mut(pointer).unwrap() = field);
    assert_eq!(
        of("/properties/revenue", json!({"type": "long"})),
        ["revenue is long in i and would be double"]
    );
    assert_eq!(
        of(
            "/properties/metadata/properties/amount",
            json!({"type": "keyword"})
        ),
        ["metadata.amount is keyword in i and would be double"]
    );
    assert_eq!(
        of("/properties/geoip", json!({"type": "keyword"})),
        ["geoip is keyword in i and would be object"]
    );
    assert_eq!(
        of(
            "/properties/hour",
            json!({"properties": {"a": {"type": "byte"}}})
        ),
        ["hour is object in i and would be byte"]
    );
    assert_eq!(
        of(
            "/properties/page_url/fields/keyword",
            json!({"type": "text"})
        ),
        ["page_url.keyword is text in i and would be keyword"]
    );
}

#[test]
fn parameters_that_are_fixed_conflict() {
    for (pointer, name, value, expected) in [
        (
            "/properties/page_url",
            "analyzer",
            json!("standard"),
            "page_url is text with analyzer standard in i and would be text with analyzer url_analyzer",
        ),
        (
            "/properties/query_params",
            "index",
            json!(true),
            "query_params is text with index true in i and would be text with index false",
        ),
        (
            "/properties/user_id",
            "store",
            json!(false),
            "user_id is keyword with store false in i and would be keyword with store true",
        ),
        (
            "/properties/date",
            "format",
            json!("basic_date"),
            "date is date with format basic_date in i and would be date with format strict_date",
        ),
        (
            "/properties/hour",
            "doc_values",
            json!(false),
            "hour is byte with doc_values false in i and would be byte with doc_values true",
        ),
    ] {
        assert_eq!(
            found(|live| live.pointer_mut(pointer).unwrap()[name] = value),
            [expected]
        );
    }
    // Absent is the default, which differs too.
    assert_eq!(
        found(|live| remove(live, "/properties/user_id", "store")).len(),
        1
    );
}

#[test]
fn what_is_added_or_updatable_fits_and_is_not_covered() {
    let changes: [fn(&mut Value); 6] = [
        |live| remove(live, "/properties", "session_duration"),
        |live| remove(live, "/properties/metadata/properties", "locale"),
        |live| remove(live, "/properties", "geoip"),
        |live| remove(live, "/properties/page_url", "fields"),
        |live| live["properties"]["url_path"]["ignore_above"] = json!(256),
        |live| live["_meta"]["version"] = json!(0),
    ];
    for change in changes {
        let (live, wanted) = changed(change);
        assert_eq!(conflicts("i", &live, &wanted), []);
        assert!(!covers(&live, &wanted), "{live}");
    }
}

#[test]
fn fields_that_only_the_index_has_are_left_alone() {
    let (live, wanted) = changed(|live| live["properties"]["old"] = json!({"type": "keyword"}));
    assert!(conflicts("i", &live, &wanted).is_empty() && covers(&live, &wanted));
}
