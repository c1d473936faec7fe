//! The search that Dashboards sends for a panel.

use crate::error::DashboardError;
use crate::kuery;
use crate::objects::{Panel, SavedObjects};
use serde_json::{Map, Value, json};

/// From and to, both included, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first moment.
    pub from_ms: i64,
    /// The last moment.
    pub to_ms: i64,
}

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The indices to search, a pattern.
    pub index: String,
    /// The body of `_search`.
    pub body: Value,
}

impl SavedObjects {
    /// The search of a panel over a time range. Buckets nest in the order of
    /// the panel's aggregations, metrics are innermost, and each is named by
    /// its id: as Dashboards does it, so that an answer can be read the same way.
    ///
    /// Two things differ without a difference in the answer: the range is in
    /// milliseconds instead of text, and a minute is a fixed interval instead
    /// of a calendar's.
    ///
    /// # Errors
    /// [`DashboardError::NoSuchPanel`]; [`DashboardError::Unsupported`] for
    /// whatever is not known to be translated right: nothing is guessed.
    pub fn query(&self, id: &str, range: TimeRange) -> Result<Query, DashboardError> {
        let panel = self
            .panels
            .get(id)
            .ok_or_else(|| DashboardError::NoSuchPanel(id.to_owned()))?;
        let translated = match &panel.spec {
            Some(spec) => vega(spec, range),
            None => self.aggregations(panel, range),
        };
        translated.map_err(|what| DashboardError::Unsupported {
            id: id.to_owned(),
            what,
        })
    }

    fn aggregations(&self, panel: &Panel, range: TimeRange) -> Result<Query, String> {
        let pattern = panel
            .pattern
            .as_ref()
            .and_then(|id| self.patterns.get(id))
            .ok_or("a panel without an index pattern")?;
        let mut filter = Vec::new();
        if !panel.query.is_empty() {
            filter.push(kuery::to_search(&panel.query)?);
        }
        filter.push(within(&pattern.time_field, range));
        let mut body = json!({
            "size": 0,
            "track_total_hits": true,
            "query": {"bool": {"filter": filter}},
        });
        let aggs = nested(panel)?;
        if !aggs.is_empty() {
            body["aggs"] = Value::Object(aggs);
        }
        Ok(Query {
            index: pattern.title.clone(),
            body,
        })
    }
}

fn within(field: &str, range: TimeRange) -> Value {
    json!({"range": {field: {"gte": range.from_ms, "lte": range.to_ms, "format": "epoch_millis"}}})
}

/// One aggregation of a panel.
struct Agg<'a> {
    id: &'a str,
    kind: &'a str,
    params: &'a Value,
    is_metric: bool,
}

impl<'a> Agg<'a> {
    fn of(value: &'a Value) -> Result<Self, String> {
        let text = |key: &str| {
            value[key]
                .as_str()
                .ok_or_else(|| format!("an aggregation without {key}"))
        };
        Ok(Self {
            id: text("id")?,
            kind: text("type")?,
            params: &value["params"],
            is_metric: text("schema")? == "metric",
        })
    }

    fn field(&self) -> Result<&'a str, String> {
        self.params["field"]
            .as_str()
            .ok_or_else(|| format!("{} without a field", self.kind))
    }
}

fn nested(panel: &Panel) -> Result<Map<String, Value>, String> {
    let all = panel.state["aggs"].as_array();
    let all: Vec<Agg<'_>> = all
        .into_iter()
        .flatten()
        .filter(|agg| agg["enabled"] != false)
        .map(Agg::of)
        .collect::<Result<_, _>>()?;
    let (metrics, buckets): (Vec<_>, Vec<_>) = all.into_iter().partition(|agg| agg.is_metric);
    if metrics.is_empty() {
        return Err("a panel without a metric".to_owned());
    }
    if panel.kind() == "pie" && buckets.len() > 1 {
        return Err("a pie of several levels".to_owned());
    }
    let mut inner = Map::new();
    for agg in &metrics {
        if let Some(search) = metric(agg)? {
            inner.insert(agg.id.to_owned(), search);
        }
    }
    for agg in buckets.iter().rev() {
        let (mut search, also) = bucket(agg, &metrics)?;
        if let Some((id, metric)) = also {
            inner.entry(id).or_insert(metric);
        }
        if !inner.is_empty() {
            search["aggs"] = Value::Object(std::mem::take(&mut inner));
        }
        inner.insert(agg.id.to_owned(), search);
    }
    Ok(inner)
}

/// A count needs no aggregation: every answer has it.
fn metric(agg: &Agg<'_>) -> Result<Option<Value>, String> {
    Ok(Some(match agg.kind {
        "count" => return Ok(None),
        "avg" | "sum" | "cardinality" => json!({agg.kind: {"field": agg.field()?}}),
        "percentiles" => {
            let percents = agg.params["percents"].as_array();
            let percents = percents
                .filter(|p| !p.is_empty() && p.iter().all(Value::is_number))
                .ok_or("percentiles without percents")?;
            json!({"percentiles": {"field": agg.field()?, "percents": percents, "keyed": false}})
        }
        other => return Err(format!("the metric {other}")),
    }))
}

/// The aggregation, and the metric that it is ordered by, if any.
fn bucket(agg: &Agg<'_>, metrics: &[Agg<'_>]) -> Result<(Value, Option<(String, Value)>), String> {
    match agg.kind {
        "date_histogram" => {
            let interval = agg.params["interval"].as_str().unwrap_or_default();
            if interval != "m" {
                return Err(format!("the interval {interval:?}"));
            }
            let least = agg.params["min_doc_count"].as_u64().unwrap_or(1);
            let search =
                json!({"field": agg.field()?, "fixed_interval": "1m", "min_doc_count": least});
            Ok((json!({"date_histogram": search}), None))
        }
        "terms" => terms(agg, metrics),
        "filters" => {
            let mut filters = Map::new();
            for filter in agg.params["filters"].as_array().into_iter().flatten() {
                let label = filter["label"].as_str().filter(|label| !label.is_empty());
                let query = filter["input"]["query"].as_str().unwrap_or_default();
                if filter["input"]["language"] != "kuery" {
                    return Err("a filter in another language".to_owned());
                }
                let search = kuery::to_search(query)?;
                if filters
                    .insert(label.unwrap_or(query).to_owned(), search)
                    .is_some()
                {
                    return Err("two filters of the same name".to_owned());
                }
            }
            if filters.is_empty() {
                return Err("no filters".to_owned());
            }
            Ok((json!({"filters": {"filters": filters}}), None))
        }
        other => Err(format!("the bucket {other}")),
    }
}

fn terms(agg: &Agg<'_>, metrics: &[Agg<'_>]) -> Result<(Value, Option<(String, Value)>), String> {
    let direction = agg.params["order"].as_str().unwrap_or("desc");
    let by = agg.params["orderBy"].as_str().unwrap_or("_count");
    let metric_id = by.split('.').next().unwrap_or(by);
    let order_metric = metrics.iter().find(|metric| metric.id == metric_id);
    let (key, also) = match order_metric {
        None if matches!(by, "_count" | "_key") => (by, None),
        None => return Err(format!("terms ordered by {by:?}")),
        Some(by_metric) => match metric(by_metric)? {
            None => ("_count", None),
            Some(search) => (by, Some((by_metric.id.to_owned(), search))),
        },
    };
    for untranslated in ["include", "exclude"] {
        if agg.params[untranslated].is_string() {
            return Err(format!("terms with {untranslated}"));
        }
    }
    if agg.params["otherBucket"] == true {
        return Err("the bucket of all others".to_owned());
    }
    let size = agg.params["size"].as_u64().unwrap_or(5);
    let mut search = json!({"field": agg.field()?, "size": size, "order": {key: direction}});
    if agg.params["missingBucket"] == true {
        search["missing"] = "__missing__".into();
    }
    Ok((json!({"terms": search}), also))
}

/// The one search of a Vega specification, its `%context%` being the time range.
fn vega(spec: &Value, range: TimeRange) -> Result<Query, String> {
    let data = spec["data"].as_array().into_iter().flatten();
    let mut searches = data.filter_map(|set| set["url"].as_object());
    let (Some(url), None) = (searches.next(), searches.next()) else {
        return Err("a Vega panel with no search or several".to_owned());
    };
    let (Some(index), Some(time_field)) = (
        url.get("index").and_then(Value::as_str),
        url.get("%timefield%").and_then(Value::as_str),
    ) else {
        return Err("a Vega search without index or time field".to_owned());
    };
    let mut body = url.get("body").cloned().unwrap_or_default();
    if url.get("%context%") != Some(&Value::Bool(true)) || !body["query"].is_null() {
        return Err("a Vega search with a query of its own".to_owned());
    }
    if !body.is_object() {
        return Err("a Vega search without a body".to_owned());
    }
    if body.to_string().contains("\"%") {
        return Err("a Vega search with other placeholders".to_owned());
    }
    body["query"] = json!({"bool": {"filter": [within(time_field, range)]}});
    body["track_total_hits"] = true.into();
    Ok(Query {
        index: index.to_owned(),
        body,
    })
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
