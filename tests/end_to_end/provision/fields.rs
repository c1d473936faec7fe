//! Every field of every template, and the queries that panels need.

use super::node::{Node, settings};
use anyhow::{Context as _, Result, ensure};
use provision::templates::{Kind, render};
use serde_json::{Map, Value, json};

/// A value for a field of this mapping.
fn sample(name: &str, field: &Value) -> Result<Value> {
    if let Some(fields) = field["properties"].as_object() {
        let values = fields
            .iter()
            .map(|(name, field)| Ok((name.clone(), sample(name, field)?)));
        return Ok(Value::Object(
            values.collect::<Result<Map<String, Value>>>()?,
        ));
    }
    Ok(match field["type"].as_str().context("no type")? {
        "date" if name == "date" => json!("2026-11-25"),
        "date" => json!("2026-11-25T12:00:00.000Z"),
        "byte" | "integer" | "long" => json!(3),
        "double" => json!(12.5),
        "boolean" => json!(true),
        "geo_point" => json!({"lat": 52.37, "lon": 4.9}),
        "flat_object" => json!({"theme": "dark", "cart": {"size": 4}}),
        "text" if name == "page_url" => json!("https://Shop.Example/products?x=1"),
        "text" | "keyword" => json!(format!("a {name}")),
        other => anyhow::bail!("no sample of {other}"),
    })
}

/// The leaves of a document with every field, as dotted names.
fn leaves(path: &str, field: &Value, into: &mut Vec<String>) {
    for (name, field) in field["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if field.get("properties").is_some() {
            leaves(&path, field, into);
        } else {
            into.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_taken_and_every_panel_answered() -> Result<()> {
    let node = Node::start("provision-fields").await?;
    node.provision(&settings()).await?;
    let indices = [
        (Kind::Events, "clickstream"),
        (Kind::Sessions, "clickstream_sessions-2026.11.25"),
        (Kind::Rejections, "clickstream_rejections-2026.11.25"),
    ];
    for (kind, index) in indices {
        let template = render(kind, &settings(), false)?;
        let mapping = &template["template"]["mappings"];
        let document = sample("", mapping)?;
        node.send("POST", &format!("{index}/_doc?refresh=true"), document)
            .await?;
        let mut names = Vec::new();
        leaves("", mapping, &mut names);
        for name in names {
            // Two ways to be there: as a term or value, or only in the source.
            let query = json!({"query": {"exists": {"field": name}}, "_source": [name]});
            let found = node
                .send("POST", &format!("{index}/_search"), query)
                .await?;
            let is_found = found["hits"]["total"]["value"] == 1;
            ensure!(
                is_found || name == "query_params",
                "{index} {name}: {found}"
            );
        }
        // A field that nobody planned is refused.
        let (status, answer) = node
            .answer("POST", &format!("{index}/_doc"), json!({"surprise": 1}))
            .await?;
        ensure!(
            status == 400
                && answer
                    .to_string()
                    .contains("strict_dynamic_mapping_exception"),
            "{answer}"
        );
    }
    node.panels().await?;
    node.templates_match_their_own_indices().await?;
    node.url_analyzer().await?;
    node.stop().await
}

impl Node {
    /// One representative query of each kind.
    async fn panels(&self) -> Result<()> {
        let size = |aggregations: Value| json!({"size": 0, "aggs": {"a": aggregations}});
        let queries = [
            (
                "terms",
                size(json!({"terms": {"field": "url_path"}})),
                "/buckets/0/doc_count",
                json!(1),
            ),
            (
                "a histogram by type",
                size(
                    json!({"date_histogram": {"field": "@timestamp", "fixed_interval": "1m"},
                "aggs": {"by": {"terms": {"field": "event_type"}}}}),
                ),
                "/buckets/0/by/buckets/0/doc_count",
                json!(1),
            ),
            (
                "a map",
                size(json!({"geohash_grid": {"field": "geoip.location", "precision": 4}})),
                "/buckets/0/key",
                json!("u173"),
            ),
            (
                "p95",
                size(json!({"percentiles": {"field": "processing_time", "percents": [95]}})),
                "/values/95.0",
                json!(12.5),
            ),
            (
                "users",
                size(json!({"cardinality": {"field": "user_id"}})),
                "/value",
                json!(1),
            ),
            (
                "revenue",
                size(json!({"sum": {"field": "revenue"}})),
                "/value",
                json!(12.5),
            ),
            (
                "a funnel",
                size(
                    json!({"filters": {"filters": {"bought": {"term": {"is_conversion": true}},
                "landed": {"term": {"event_type": "landing"}}}}}),
                ),
                "/buckets/bought/doc_count",
                json!(1),
            ),
            (
                "an hour of the day",
                size(json!({"terms": {"field": "hour"}})),
                "/buckets/0/key",
                json!(3),
            ),
            (
                "a delay",
                size(json!({"max": {"field": "stream_delay"}})),
                "/value",
                json!(12.5),
            ),
        ];
        for (what, query, pointer, expected) in queries {
            let answer = self.send("POST", "clickstream/_search", query).await?;
            let value = answer["aggregations"]["a"].pointer(pointer);
            ensure!(value == Some(&expected), "{what}: {answer}");
        }
        let sessions = size(json!({"avg": {"field": "bounce"}}));
        let answer = self
            .send("POST", "clickstream_sessions-*/_search", sessions)
            .await?;
        ensure!(answer["aggregations"]["a"]["value"] == 3.0, "{answer}");
        for (field, value, hits) in [
            ("metadata.other.theme", "dark", 1),
            ("metadata.other.cart.size", "4", 1),
            ("metadata.other.theme", "light", 0),
            ("page_url", "https://shop.example/products?x=1", 1),
            ("page_url.keyword", "https://Shop.Example/products?x=1", 1),
        ] {
            let query = json!({"query": {"term": {field: value}}});
            let answer = self.send("POST", "clickstream/_search", query).await?;
            ensure!(
                answer["hits"]["total"]["value"] == hits,
                "{field}={value}: {answer}"
            );
        }
        Ok(())
    }

    /// No index gets two of the templates, and daily ones come by themselves.
    async fn templates_match_their_own_indices(&self) -> Result<()> {
        for (index, name) in [
            ("clickstream-2026.11.25-000001", "freshet-clickstream"),
            (
                "clickstream_sessions-2026.11.25",
                "freshet-clickstream_sessions",
            ),
            (
                "clickstream_rejections-2026.11.25",
                "freshet-clickstream_rejections",
            ),
        ] {
            let path = format!("_index_template/_simulate_index/{index}");
            let answer = self.send("POST", &path, Value::Null).await?;
            ensure!(answer["overlapping"] == json!([]), "{index}: {answer}");
            let of_template = self
                .send("GET", &format!("_index_template/{name}"), Value::Null)
                .await?;
            let wanted = &of_template["index_templates"][0]["index_template"]["template"]["mappings"]
                ["properties"];
            let simulated = &answer["template"]["mappings"]["properties"];
            ensure!(
                simulated.as_object().map(Map::len) == wanted.as_object().map(Map::len),
                "{index}: {answer}"
            );
        }
        // A backing index must not come back by a write; others may.
        for (index, status) in [
            ("clickstream-2000.01.01-000001", 404),
            ("clickstream2", 404),
            ("somebody-elses", 201),
        ] {
            let (found, answer) = self
                .answer("POST", &format!("{index}/_doc"), json!({"a": 1}))
                .await?;
            ensure!(found == status, "{index}: {found} {answer}");
        }
        Ok(())
    }

    async fn url_analyzer(&self) -> Result<()> {
        let request = json!({"analyzer": "url_analyzer", "text": "The page https://Shop.Example/Products?Sort=new is of the shop"});
        let answer = self.send("POST", "clickstream/_analyze", request).await?;
        let tokens = answer["tokens"].as_array().context("no tokens")?;
        let tokens: Vec<&str> = tokens
            .iter()
            .filter_map(|token| token["token"].as_str())
            .collect();
        ensure!(
            tokens == ["page", "https://shop.example/products?sort=new", "shop"],
            "{tokens:?}"
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_distinct_metadata_keys_leave_the_mapping_as_it_is() -> Result<()> {
    const EVENTS: usize = 2_000;
    const KEYS: usize = 500;
    let node = Node::start("provision-keys").await?;
    node.provision(&settings()).await?;
    let before = node.mapping().await?;
    let mut indexed = 0;
    let events: Vec<usize> = (0..EVENTS).collect();
    for chunk in events.chunks(50) {
        let mut lines = String::new();
        for event in chunk {
            let other: Map<String, Value> = (0..KEYS)
                .map(|key| (format!("k{event}x{key}"), json!(key)))
                .collect();
            let document =
                json!({"@timestamp": "2026-11-25T12:00:00Z", "metadata": {"other": other}});
            lines.push_str("{\"create\":{\"_index\":\"clickstream\"}}\n");
            lines.push_str(&format!("{document}\n"));
        }
        indexed += node.bulk(lines).await?;
    }
    ensure!(indexed == EVENTS);
    ensure!(node.mapping().await? == before, "the mapping has grown");
    node.send("POST", "clickstream/_refresh", Value::Null)
        .await?;
    for (key, value) in [("k0x0", "0"), ("k1999x499", "499")] {
        let query = json!({"query": {"term": {format!("metadata.other.{key}"): value}}});
        let answer = node
            .send("POST", "clickstream/_search?_source=false", query)
            .await?;
        ensure!(answer["hits"]["total"]["value"] == 1, "{key}: {answer}");
    }
    node.stop().await
}

impl Node {
    async fn mapping(&self) -> Result<Value> {
        let answer = self
            .send("GET", "clickstream/_mapping", Value::Null)
            .await?;
        let index = answer
            .as_object()
            .and_then(|indices| indices.values().next());
        Ok(index.context("no index")?["mappings"].clone())
    }
}
