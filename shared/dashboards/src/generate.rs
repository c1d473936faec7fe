//! Saved objects, made of the readable sources in `dashboards/`.

use crate::error::DashboardError;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The version of Dashboards whose panel shapes these are; both 2.19 and 3.x
/// import them.
const PANEL_VERSION: &str = "2.19.4";
const PREFIX: &str = "freshet-";
const INDEX_REFERENCE: &str = "kibanaSavedObjectMeta.searchSourceJSON.index";

/// The source files: text by path relative to `dashboards/`.
pub type Sources = BTreeMap<String, String>;

/// The saved objects as NDJSON: index patterns, panels, dashboards, each kind
/// in order of its files' names. The same sources give the same bytes.
///
/// `panels/<name>.json` becomes the visualization `freshet-<name>`; what it
/// leaves out comes from `defaults.json`, and a `query` of its index pattern
/// narrows its own (but not a Vega panel, which has none). Every other file is a dashboard but
/// for `index-patterns.json` and what a panel names.
///
/// # Errors
/// [`DashboardError::Source`] names the file that is not what it should be.
pub fn generate(sources: &Sources) -> Result<String, DashboardError> {
    let read = |file: &str| Source::read(sources, file);
    let defaults = read("defaults.json")?;
    let patterns = read("index-patterns.json")?;
    let mut panels = Vec::new();
    let mut dashboards = Vec::new();
    let mut others = vec!["defaults.json".to_owned(), "index-patterns.json".to_owned()];
    for file in sources.keys().filter(|file| file.starts_with("panels/")) {
        let source = read(file)?;
        if let Some(outline) = source.value["outline"]["file"].as_str() {
            others.push(outline.to_owned());
        }
        panels.push(panel(&source, &defaults, &patterns, sources)?);
    }
    for file in sources.keys() {
        if !file.starts_with("panels/") && !others.contains(file) {
            dashboards.push(dashboard(&read(file)?)?);
        }
    }
    let mut lines = String::new();
    let patterns = index_patterns(&patterns)?;
    for mut object in patterns.into_iter().chain(panels).chain(dashboards) {
        // In order even where another crate asks serde_json to keep insertion order.
        object.sort_all_objects();
        lines.push_str(&object.to_string());
        lines.push('\n');
    }
    Ok(lines)
}

/// One file, read.
struct Source<'a> {
    file: &'a str,
    value: Value,
}

impl<'a> Source<'a> {
    fn read(sources: &'a Sources, file: &str) -> Result<Self, DashboardError> {
        let Some((file, text)) = sources.get_key_value(file) else {
            return Err(DashboardError::Source {
                file: file.to_owned(),
                why: "it is missing".to_owned(),
            });
        };
        let value = serde_json::from_str(text).map_err(|error| DashboardError::Source {
            file: file.clone(),
            why: error.to_string(),
        })?;
        Ok(Self { file, value })
    }

    fn wrong(&self, why: impl Into<String>) -> DashboardError {
        DashboardError::Source {
            file: self.file.to_owned(),
            why: why.into(),
        }
    }

    fn text(&self, key: &str) -> Result<&str, DashboardError> {
        self.value[key]
            .as_str()
            .ok_or_else(|| self.wrong(format!("it has no {key}")))
    }

    fn list(&self, key: &str) -> Result<&Vec<Value>, DashboardError> {
        self.value[key]
            .as_array()
            .ok_or_else(|| self.wrong(format!("it has no {key}")))
    }

    /// A misspelt key must not be a setting that silently does nothing.
    fn only(&self, known: &[&str]) -> Result<(), DashboardError> {
        let object = self.value.as_object();
        let keys = object.map(Map::keys).into_iter().flatten();
        match keys.into_iter().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.wrong(format!("it has an unknown {key}"))),
            None => Ok(()),
        }
    }
}

/// JSON as text inside of JSON, its keys in order.
fn packed(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}

fn index_patterns(source: &Source<'_>) -> Result<Vec<Value>, DashboardError> {
    let patterns = source.value.as_object();
    let mut objects = Vec::new();
    for (id, pattern) in patterns.into_iter().flatten() {
        let mut attributes = json!({
            "title": pattern["title"],
            "timeFieldName": pattern["timeFieldName"],
        });
        if pattern["fieldFormatMap"].is_object() {
            attributes["fieldFormatMap"] = packed(pattern["fieldFormatMap"].clone()).into();
        }
        objects.push(json!({
            "type": "index-pattern", "id": id, "attributes": attributes, "references": [],
        }));
    }
    if objects.is_empty() {
        return Err(source.wrong("it has no patterns"));
    }
    Ok(objects)
}

fn panel(
    source: &Source<'_>,
    defaults: &Source<'_>,
    patterns: &Source<'_>,
    sources: &Sources,
) -> Result<Value, DashboardError> {
    let name = source
        .file
        .trim_start_matches("panels/")
        .trim_end_matches(".json");
    let kind = source.text("type")?;
    let index = source.text("index")?;
    let pattern = &patterns.value[index];
    if !pattern.is_object() {
        return Err(source.wrong(format!("there is no index pattern {index}")));
    }
    let (params, aggs) = if kind == "vega" {
        source.only(&["title", "description", "index", "type", "outline", "spec"])?;
        let spec = specification(source, pattern, sources)?;
        (json!({"spec": packed(spec)}), Vec::new())
    } else {
        source.only(&[
            "title",
            "description",
            "index",
            "type",
            "query",
            "axis",
            "params",
            "aggs",
        ])?;
        let aggs = aggregations(source, defaults)?;
        (params(source, kind, &aggs, defaults)?, aggs)
    };
    let title = source.text("title")?;
    let state = json!({"title": title, "type": kind, "params": params, "aggs": aggs});
    let mut search = json!({"query": {"query": "", "language": "kuery"}, "filter": []});
    let mut references = Vec::new();
    // A Vega panel names its index itself, and its query is its search's.
    if kind != "vega" {
        let queries = [&source.value["query"], &pattern["query"]];
        search["query"]["query"] = narrowed(queries.map(|query| query.as_str())).into();
        search["indexRefName"] = INDEX_REFERENCE.into();
        references.push(json!({"name": INDEX_REFERENCE, "type": "index-pattern", "id": index}));
    }
    Ok(json!({
        "type": "visualization",
        "id": format!("{PREFIX}{name}"),
        "attributes": {
            "title": title,
            "description": source.text("description")?,
            "visState": packed(state),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": packed(search)},
        },
        "references": references,
    }))
}

/// A panel's query and that of its index pattern, which narrows all of its panels.
fn narrowed(queries: [Option<&str>; 2]) -> String {
    let stated: Vec<&str> = queries.into_iter().flatten().collect();
    stated.join(" and ")
}

fn aggregations(source: &Source<'_>, defaults: &Source<'_>) -> Result<Vec<Value>, DashboardError> {
    let mut aggs = Vec::new();
    for agg in source.list("aggs")? {
        let kind = agg["type"].as_str().unwrap_or_default();
        let mut params = defaults.value["aggs"][kind].clone();
        if params.is_null() {
            params = json!({});
        }
        merge(&mut params, &agg["params"]);
        aggs.push(json!({
            "id": agg["id"], "enabled": true, "type": kind, "schema": agg["schema"], "params": params,
        }));
    }
    Ok(aggs)
}

/// The type's parameters, changed by the panel's own, with one series a metric.
fn params(
    source: &Source<'_>,
    kind: &str,
    aggs: &[Value],
    defaults: &Source<'_>,
) -> Result<Value, DashboardError> {
    let mut of_type = defaults.value["types"][kind].clone();
    if !of_type.is_object() {
        return Err(source.wrong(format!("defaults.json has no type {kind}")));
    }
    if let Some(like) = of_type["like"].as_str() {
        let mut base = defaults.value["types"][like].clone();
        merge(&mut base, &of_type);
        of_type = base;
    }
    let mut params = of_type["params"].clone();
    merge(&mut params, &source.value["params"]);
    if of_type["series"].is_object() {
        params["valueAxes"][0]["title"]["text"] = source.text("axis")?.into();
        let metrics = aggs.iter().filter(|agg| agg["schema"] == "metric");
        let series = metrics.map(|agg| {
            let mut series = of_type["series"].clone();
            let label = agg["params"]["customLabel"].as_str().unwrap_or("Count");
            series["data"] = json!({"id": agg["id"], "label": label});
            series
        });
        params["seriesParams"] = series.collect();
    }
    Ok(params)
}

/// The Vega specification with the index, its time field and the outline put in.
fn specification(
    source: &Source<'_>,
    pattern: &Value,
    sources: &Sources,
) -> Result<Value, DashboardError> {
    let mut spec = source.value["spec"].clone();
    let outline = Source::read(
        sources,
        source.value["outline"]["file"].as_str().unwrap_or_default(),
    )?;
    let outline_name = &source.value["outline"]["data"];
    let sets = spec["data"].as_array_mut();
    for set in sets.into_iter().flatten() {
        if set["url"].is_object() {
            set["url"]["index"] = pattern["title"].clone();
            set["url"]["%timefield%"] = pattern["timeFieldName"].clone();
        }
        if &set["name"] == outline_name {
            set["values"] = outline.value.clone();
        }
    }
    Ok(spec)
}

/// Puts `changes` over `base`: objects key by key, lists of objects item by
/// item, anything else whole.
fn merge(base: &mut Value, changes: &Value) {
    match (base, changes) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(base.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (Value::Array(base), Value::Array(changes))
            if base.len() == changes.len() && changes.iter().all(Value::is_object) =>
        {
            for (item, change) in base.iter_mut().zip(changes) {
                merge(item, change);
            }
        }
        (base, changes) => *base = changes.clone(),
    }
}

fn dashboard(source: &Source<'_>) -> Result<Value, DashboardError> {
    source.only(&[
        "id",
        "title",
        "description",
        "from",
        "to",
        "refresh_ms",
        "panels",
    ])?;
    let mut panels = Vec::new();
    let mut references = Vec::new();
    for (n, at) in source.list("panels")?.iter().enumerate() {
        let name = format!("panel_{n}");
        let panel = at["panel"].as_str().unwrap_or_default();
        references.push(json!({
            "name": name, "type": "visualization", "id": format!("{PREFIX}{panel}"),
        }));
        let index = n.to_string();
        panels.push(json!({
            "version": PANEL_VERSION,
            "panelIndex": index,
            "panelRefName": name,
            "gridData": {"i": index, "x": at["x"], "y": at["y"], "w": at["w"], "h": at["h"]},
            "embeddableConfig": {},
        }));
    }
    let search = json!({"query": {"query": "", "language": "kuery"}, "filter": []});
    Ok(json!({
        "type": "dashboard",
        "id": source.text("id")?,
        "attributes": {
            "title": source.text("title")?,
            "description": source.text("description")?,
            "hits": 0,
            "version": 1,
            "panelsJSON": packed(panels.into()),
            "optionsJSON": packed(json!({"useMargins": true, "hidePanelTitles": false})),
            "timeRestore": true,
            "timeFrom": source.text("from")?,
            "timeTo": source.text("to")?,
            "refreshInterval": {"pause": false, "value": source.value["refresh_ms"]},
            "kibanaSavedObjectMeta": {"searchSourceJSON": packed(search)},
        },
        "references": references,
    }))
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
