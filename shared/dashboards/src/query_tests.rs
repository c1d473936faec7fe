use super::*;
use crate::SAVED_OBJECTS;

const RANGE: TimeRange = TimeRange {
    from_ms: 1_000,
    to_ms: 2_000,
};

fn ours() -> SavedObjects {
    SavedObjects::parse(SAVED_OBJECTS).unwrap()
}

fn of(name: &str) -> Query {
    ours().query(&format!("freshet-{name}"), RANGE).unwrap()
}

/// `not synthetic:true`, `not bot.is_bot:true`, as every panel of events says.
fn nobody() -> [Value; 2] {
    ["synthetic", "bot.is_bot"].map(|field| {
        json!({"bool": {"must_not": {"bool": {"should": [{"match": {field: true}}], "minimum_should_match": 1}}}})
    })
}

fn range(field: &str) -> Value {
    json!({"range": {field: {"gte": 1_000, "lte": 2_000, "format": "epoch_millis"}}})
}

#[test]
fn a_line_split_by_type_nests_terms_in_minutes() {
    let Query { index, body } = of("events-per-minute");
    assert_eq!(index, "clickstream-*");
    let expected = json!({
        "size": 0,
        "track_total_hits": true,
        "query": {"bool": {"filter": [{"bool": {"filter": nobody()}}, range("@timestamp")]}},
        "aggs": {"2": {
            "date_histogram": {"field": "@timestamp", "fixed_interval": "1m", "min_doc_count": 1},
            "aggs": {"3": {"terms": {"field": "event_type", "size": 6, "order": {"_count": "desc"}}}},
        }},
    });
    assert_eq!(body, expected);
}

#[test]
fn a_count_with_a_filter_is_all_query() {
    let body = of("conversions").body;
    assert!(body.get("aggs").is_none());
    let [synthetic, bot] = nobody();
    let conversion = json!({"bool": {"should": [{"match": {"is_conversion": true}}], "minimum_should_match": 1}});
    assert_eq!(
        body["query"]["bool"]["filter"],
        json!([{"bool": {"filter": [conversion, synthetic, bot]}}, range("@timestamp")])
    );
}

#[test]
fn terms_may_come_rarest_first() {
    let types = of("event-types").body["aggs"]["2"].clone();
    assert_eq!(
        types["terms"],
        json!({"field": "event_type", "size": 50, "order": {"_count": "asc"}})
    );
}

#[test]
fn terms_by_a_metric_are_ordered_by_it() {
    let countries = of("countries").body["aggs"]["2"].clone();
    assert_eq!(countries["terms"]["order"], json!({"1": "desc"}));
    assert_eq!(
        countries["aggs"],
        json!({"1": {"cardinality": {"field": "user_id"}}})
    );
    // The outer level needs the metric that it is ordered by, too.
    let stages = of("rejections-by-stage").body["aggs"]["2"].clone();
    let sum = json!({"sum": {"field": "count"}});
    assert_eq!(stages["aggs"]["1"], sum);
    assert_eq!(stages["aggs"]["3"]["aggs"]["1"], sum);
    let referrers = of("referrers");
    assert_eq!(
        referrers.body["aggs"]["2"]["terms"]["missing"],
        "__missing__"
    );
    assert_eq!(
        referrers.body["query"]["bool"]["filter"],
        json!([range("end")])
    );
}

#[test]
fn percentiles_and_filters_are_as_dashboards_sends_them() {
    let p95 = of("processing-time-p95").body;
    let expected = json!({"1": {"percentiles": {"field": "processing_time", "percents": [95], "keyed": false}}});
    assert_eq!(p95["aggs"], expected);
    let funnel = of("conversion-funnel").body["aggs"]["2"].clone();
    let steps = funnel["filters"]["filters"].as_object().unwrap();
    assert_eq!(steps.len(), 5);
    assert_eq!(
        steps["landing"]["bool"]["should"][0],
        json!({"match": {"event_type": "page_view"}})
    );
    assert_eq!(
        funnel["aggs"]["1"],
        json!({"cardinality": {"field": "user_id"}})
    );
}

#[test]
fn a_vega_search_gets_its_context() {
    let Query { index, body } = of("activity-map");
    assert_eq!(index, "clickstream-*");
    assert_eq!(
        body["query"],
        json!({"bool": {"filter": [range("@timestamp")]}})
    );
    // A query of its own would take the context's place.
    let visitors = &body["aggs"]["visitors"];
    assert_eq!(
        visitors["filter"],
        json!({"bool": {"must_not": [{"match": {"synthetic": true}}, {"match": {"bot.is_bot": true}}]}})
    );
    assert_eq!(visitors["aggs"]["cells"]["geohash_grid"]["precision"], 3);
    assert_eq!(
        visitors["aggs"]["cells"]["aggs"]["middle"],
        json!({"geo_centroid": {"field": "geoip.location"}})
    );
}

/// Changes one panel of ours and says why its query is refused.
fn refused(panel: &str, change: impl FnOnce(&mut Panel)) -> String {
    let mut objects = ours();
    let id = format!("freshet-{panel}");
    change(objects.panels.get_mut(&id).unwrap());
    let error = objects.query(&id, RANGE).unwrap_err();
    assert_eq!(error.code(), "dashboard_unsupported");
    error.to_string()
}

#[test]
fn what_is_not_known_is_refused() {
    let agg = |panel: &mut Panel, n: usize, key: &str, value: Value| {
        panel.state["aggs"][n][key] = value;
    };
    let param = |panel: &mut Panel, n: usize, key: &str, value: Value| {
        panel.state["aggs"][n]["params"][key] = value;
    };
    let cases = [
        (
            refused("events-per-minute", |p| {
                param(p, 1, "interval", "auto".into());
            }),
            "interval",
        ),
        (
            refused("events-per-minute", |p| agg(p, 1, "type", "range".into())),
            "the bucket range",
        ),
        (
            refused("events-per-minute", |p| {
                agg(p, 0, "type", "derivative".into());
            }),
            "the metric derivative",
        ),
        (
            refused("events-per-minute", |p| agg(p, 0, "enabled", false.into())),
            "without a metric",
        ),
        (
            refused("top-pages", |p| param(p, 1, "otherBucket", true.into())),
            "all others",
        ),
        (
            refused("top-pages", |p| param(p, 1, "orderBy", "7".into())),
            "ordered by",
        ),
        (
            refused("top-pages", |p| param(p, 1, "exclude", "/x".into())),
            "exclude",
        ),
        (
            refused("top-pages", |p| param(p, 1, "field", Value::Null)),
            "without a field",
        ),
        (
            refused("top-pages", |p| p.query = "a:b or c:d".to_owned()),
            "\"or\"",
        ),
        (
            refused("processing-time", |p| param(p, 0, "percents", json!([]))),
            "percents",
        ),
        (
            refused("browsers", |p| agg(p, 0, "schema", "segment".into())),
            "metric",
        ),
        (
            refused("activity-map", |p| {
                p.spec.as_mut().unwrap()["data"][0]["url"]["body"]["query"] = json!({});
            }),
            "of its own",
        ),
        (
            refused("activity-map", |p| {
                p.spec.as_mut().unwrap()["data"][0]["url"]["body"]["x"] = "%autointerval%".into();
            }),
            "placeholders",
        ),
        (
            refused("activity-map", |p| {
                p.spec.as_mut().unwrap()["data"] = json!([]);
            }),
            "no search",
        ),
    ];
    for (said, why) in cases {
        assert!(said.contains(why), "{said:?} does not say {why:?}");
    }
    let unknown = ours().query("freshet-nothing", RANGE).unwrap_err();
    assert_eq!(unknown.code(), "dashboard_no_such_panel");
}

#[test]
fn an_aggregation_that_is_off_is_left_out() {
    let mut objects = ours();
    let panel = objects.panels.get_mut("freshet-events-per-minute").unwrap();
    panel.state["aggs"][2]["enabled"] = false.into();
    let body = objects
        .query("freshet-events-per-minute", RANGE)
        .unwrap()
        .body;
    assert!(body["aggs"]["2"].get("aggs").is_none());
}
