//! What is wrong with saved objects that can be read.

use crate::mapping::Mapping;
use crate::objects::{Dashboard, Panel, SavedObjects};
use crate::query::TimeRange;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is true of an event that no visitor made, and what counting it is.
const NO_VISITORS: [(&str, &str); 2] = [
    ("synthetic", "it counts synthetic events"),
    ("bot.is_bot", "it counts the events of bots"),
];
/// Dashboards' grid.
const COLUMNS: u64 = 48;

/// Everything that is wrong, each with the object's id: a panel whose query
/// cannot be made, asks for a field that its index does not have, or for one of
/// a type that the aggregation does not take; a pattern without a mapping; a
/// Vega panel that would not draw; one that counts events that no visitor
/// made, if its index has the fields `synthetic` and `bot.is_bot`; a layout that overlaps or leaves the grid; a
/// panel on no dashboard. `mappings` are by the title of the index pattern.
#[must_use]
pub fn check(objects: &SavedObjects, mappings: &BTreeMap<String, Mapping>) -> Vec<String> {
    let mut problems = Vec::new();
    for (id, pattern) in &objects.patterns {
        match mappings.get(&pattern.title) {
            None => problems.push(format!("{id}: no mapping for {}", pattern.title)),
            Some(mapping) => {
                let fields = pattern.formats.keys();
                let unknown = fields.filter(|field| mapping.type_of(field).is_none());
                problems.extend(unknown.map(|field| format!("{id}: no field {field}")));
            }
        }
    }
    for panel in objects.panels.values() {
        check_panel(objects, panel, mappings, &mut problems);
    }
    let mut placed = BTreeSet::new();
    for dashboard in &objects.dashboards {
        check_layout(dashboard, &mut problems);
        placed.extend(dashboard.panels.iter().map(|at| at.panel.as_str()));
    }
    let unplaced = objects
        .panels
        .keys()
        .filter(|id| !placed.contains(id.as_str()));
    problems.extend(unplaced.map(|id| format!("{id}: it is on no dashboard")));
    problems
}

fn check_panel(
    objects: &SavedObjects,
    panel: &Panel,
    mappings: &BTreeMap<String, Mapping>,
    problems: &mut Vec<String>,
) {
    let id = &panel.id;
    if let Some(spec) = &panel.spec
        && spec["autosize"]["type"] != "fit"
    {
        problems.push(format!(
            "{id}: Dashboards draws nothing without autosize fit"
        ));
    }
    let any = TimeRange {
        from_ms: 0,
        to_ms: 1,
    };
    let query = match objects.query(id, any) {
        Ok(query) => query,
        Err(error) => return problems.push(error.to_string()),
    };
    let pattern = objects.patterns.values().find(|p| p.title == query.index);
    let (Some(pattern), Some(mapping)) = (pattern, mappings.get(&query.index)) else {
        return problems.push(format!("{id}: no index pattern or mapping {}", query.index));
    };
    let mut uses = Vec::new();
    fields(&query.body, &mut uses);
    let ranged = uses
        .iter()
        .any(|used| used.what == "range" && used.field == pattern.time_field);
    if !ranged {
        problems.push(format!(
            "{id}: its time field is not {}",
            pattern.time_field
        ));
    }
    for (field, counted) in NO_VISITORS {
        if mapping.type_of(field).is_some() && !leaves_out(field, &query.body) {
            problems.push(format!("{id}: {counted}"));
        }
    }
    for Use { what, field } in uses {
        match mapping.type_of(field) {
            None => problems.push(format!("{id}: no field {field} in {}", query.index)),
            Some(kind) if !takes(what, kind) => {
                problems.push(format!(
                    "{id}: {what} does not take {field}, which is {kind}"
                ));
            }
            Some(_) => {}
        }
    }
}

/// Whether no event of which `field` is true is in what a search answers: its
/// query leaves them out, or it answers aggregations alone and each of them
/// does. (The number of hits is then no number that is drawn.)
fn leaves_out(field: &str, body: &Value) -> bool {
    if excludes(field, &body["query"]) {
        return true;
    }
    let filtered = |agg: &Value| excludes(field, &agg["filter"]);
    let aggs = body["aggs"].as_object();
    body["size"] == 0 && aggs.is_some_and(|aggs| !aggs.is_empty() && aggs.values().all(filtered))
}

/// Whether a clause, or one of those that must hold beside others, is that
/// `field` is not true.
fn excludes(field: &str, clause: &Value) -> bool {
    let clause = &clause["bool"];
    let filters = clause["filter"].as_array().into_iter().flatten();
    one_or_many(&clause["must_not"]).any(|none| is_true(field, none))
        || filters.into_iter().any(|part| excludes(field, part))
}

/// A clause, or those of a list.
fn one_or_many(clauses: &Value) -> impl Iterator<Item = &Value> {
    let list = clauses.as_array();
    let one = list.is_none().then_some(clauses);
    one.into_iter().chain(list.into_iter().flatten())
}

fn is_true(field: &str, clause: &Value) -> bool {
    let only = clause["bool"]["should"].as_array();
    let only = only.filter(|should| should.len() == 1);
    clause["match"][field] == true || only.is_some_and(|should| is_true(field, &should[0]))
}

/// A field that a search asks for, and by which clause.
struct Use<'a> {
    what: &'a str,
    field: &'a str,
}

/// Every field in a search body, wherever it stands.
fn fields<'a>(value: &'a Value, found: &mut Vec<Use<'a>>) {
    for (what, inner) in value.as_object().into_iter().flatten() {
        if let Some(field) = inner["field"].as_str() {
            found.push(Use { what, field });
        }
        for field in inner["fields"].as_array().into_iter().flatten() {
            found.extend(field.as_str().map(|field| Use { what, field }));
        }
        if let ("match" | "range", Some(clause)) = (what.as_str(), inner.as_object()) {
            found.extend(clause.keys().map(|field| Use { what, field }));
        }
        fields(inner, found);
    }
    for inner in value.as_array().into_iter().flatten() {
        fields(inner, found);
    }
}

/// Whether a clause or aggregation takes a field of this type.
fn takes(what: &str, kind: &str) -> bool {
    let number = matches!(
        kind,
        "byte" | "short" | "integer" | "long" | "float" | "double"
    );
    match what {
        "terms" | "cardinality" => number || matches!(kind, "keyword" | "boolean" | "date"),
        "sum" | "avg" => number,
        "percentiles" => number || kind == "date",
        "date_histogram" | "range" => kind == "date",
        "geohash_grid" | "geo_centroid" => kind == "geo_point",
        "query_string" => kind == "keyword",
        "match" => number || matches!(kind, "keyword" | "boolean" | "text"),
        "exists" => true,
        _ => false,
    }
}

fn check_layout(dashboard: &Dashboard, problems: &mut Vec<String>) {
    let id = &dashboard.id;
    if dashboard.panels.is_empty() {
        problems.push(format!("{id}: it has no panels"));
    }
    for (n, a) in dashboard.panels.iter().enumerate() {
        if a.w == 0 || a.h == 0 || a.x + a.w > COLUMNS {
            problems.push(format!("{id}: {} is not within {COLUMNS} columns", a.panel));
        }
        for b in &dashboard.panels[n + 1..] {
            let apart =
                a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
            if !apart {
                problems.push(format!("{id}: {} overlaps {}", a.panel, b.panel));
            }
            if a.panel == b.panel {
                problems.push(format!("{id}: {} is there twice", a.panel));
            }
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
