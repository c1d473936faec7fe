use super::*;
use crate::{DashboardError, SAVED_OBJECTS};
use serde_json::json;

const TEMPLATES: [&str; 3] = [
    include_str!("../../../infra/opensearch/events-template.json"),
    include_str!("../../../infra/opensearch/sessions-template.json"),
    include_str!("../../../infra/opensearch/rejections-template.json"),
];

fn mappings() -> BTreeMap<String, Mapping> {
    let templates = TEMPLATES
        .iter()
        .map(|text| serde_json::from_str(text).unwrap());
    templates
        .flat_map(|template: Value| Mapping::by_pattern(&template))
        .collect()
}

fn ours() -> SavedObjects {
    SavedObjects::parse(SAVED_OBJECTS).unwrap()
}

#[test]
fn nothing_is_wrong_with_ours() {
    assert_eq!(check(&ours(), &mappings()), Vec::<String>::new());
}

#[test]
fn dashboards_open_on_live_data() {
    for dashboard in ours().dashboards {
        assert_eq!(
            (dashboard.from.as_str(), dashboard.to.as_str()),
            ("now-15m", "now")
        );
        assert_eq!(dashboard.refresh_ms, 5_000, "{}", dashboard.id);
    }
}

#[test]
fn every_panel_says_what_its_numbers_mean() {
    for panel in ours().panels.values() {
        assert!(
            !panel.title.is_empty() && panel.description.ends_with('.'),
            "{}",
            panel.id
        );
        assert_eq!(panel.state["title"], panel.title.as_str());
    }
}

/// What `check` says of ours after one change.
fn after(change: impl FnOnce(&mut SavedObjects)) -> String {
    let mut objects = ours();
    change(&mut objects);
    check(&objects, &mappings()).join("; ")
}

fn field(name: &str, n: usize, to: &str) -> impl FnOnce(&mut SavedObjects) {
    move |objects| {
        let panel = objects.panels.get_mut(&format!("freshet-{name}")).unwrap();
        panel.state["aggs"][n]["params"]["field"] = to.into();
    }
}

fn query(name: &str, to: &str) -> impl FnOnce(&mut SavedObjects) {
    move |objects| {
        to.clone_into(
            &mut objects
                .panels
                .get_mut(&format!("freshet-{name}"))
                .unwrap()
                .query,
        );
    }
}

fn spec(objects: &mut SavedObjects) -> &mut Value {
    let panel = objects.panels.get_mut("freshet-activity-map").unwrap();
    panel.spec.as_mut().unwrap()
}

#[test]
fn a_broken_panel_is_found() {
    let cases = [
        (
            after(field("top-pages", 1, "url_pth")),
            "no field url_pth in clickstream-*",
        ),
        (
            after(field("top-pages", 1, "page_url")),
            "terms does not take page_url, which is text",
        ),
        (
            after(field("top-pages", 1, "query_params")),
            "no field query_params",
        ),
        (
            after(field("top-pages", 1, "metadata.other")),
            "terms does not take metadata.other, which is flat_object",
        ),
        (
            after(field("revenue", 0, "event_type")),
            "sum does not take event_type, which is keyword",
        ),
        (
            after(field("visitors", 0, "page_url")),
            "cardinality does not take page_url",
        ),
        (
            after(field("processing-time", 0, "user_id")),
            "percentiles does not take user_id",
        ),
        (
            after(field("processing-time", 1, "processing_time")),
            "date_histogram does not take processing_time",
        ),
        (
            after(field("bounce-rate", 0, "truncated")),
            "avg does not take truncated, which is boolean",
        ),
        (
            after(field("rejections", 0, "revenue")),
            "no field revenue in clickstream_rejections-*",
        ),
        (
            after(query("top-pages", "event_typ:page_view")),
            "no field event_typ ",
        ),
        (
            after(query("top-pages", "geoip.location:here")),
            "match does not take geoip.location",
        ),
        (
            after(query("top-pages", "processing_time:1*")),
            "query_string does not take processing_time",
        ),
        (
            after(query("unplanned-events", "metadata.others:*")),
            "no field metadata.others",
        ),
        (
            after(|o| spec(o)["autosize"]["type"] = "none".into()),
            "autosize fit",
        ),
        (
            after(|o| spec(o)["data"][0]["url"]["%timefield%"] = "received_at".into()),
            "its time field is not @timestamp",
        ),
        (
            after(|o| spec(o)["data"][0]["url"]["index"] = "clicks".into()),
            "no index pattern or mapping clicks",
        ),
        (
            after(|o| {
                spec(o)["data"][0]["url"]["body"]["aggs"]["visitors"]["aggs"]["cells"]["geohash_grid"]
                    ["field"] = "geoip.city_name".into();
            }),
            "geohash_grid does not take geoip.city_name",
        ),
        (
            after(|o| o.patterns.get_mut("freshet-sessions").unwrap().time_field = "ended".into()),
            "no field ended",
        ),
        (
            after(|o| o.patterns.get_mut("freshet-sessions").unwrap().title = "sessions".into()),
            "no mapping for sessions",
        ),
        (
            after(|o| {
                drop(
                    o.patterns
                        .get_mut("freshet-events")
                        .unwrap()
                        .formats
                        .insert("price".into(), json!({})),
                );
            }),
            "no field price",
        ),
    ];
    for (said, what) in cases {
        assert!(said.contains(what), "{said:?} does not say {what:?}");
    }
}

/// Of an event that no visitor made: what is true, and what is said of a panel
/// that counts it.
const NOBODY: [(&str, &str); 2] = [
    ("synthetic", "it counts synthetic events"),
    ("bot.is_bot", "it counts the events of bots"),
];

#[test]
fn a_panel_that_counts_what_no_visitor_made_is_found() {
    let objects = ours();
    let of_events = objects.panels.values().filter(|panel| {
        let pattern = panel.pattern.as_deref();
        pattern.is_none_or(|pattern| pattern == "freshet-events")
    });
    let ids: Vec<&str> = of_events.map(|panel| panel.id.as_str()).collect();
    assert!(ids.len() > 20, "{ids:?}");
    for (n, (field, counted)) in NOBODY.into_iter().enumerate() {
        for id in &ids {
            let said = after(|objects| {
                let panel = objects.panels.get_mut(*id).unwrap();
                let terms = panel.query.split(" and ");
                let forgot = format!("not {field}:true");
                let terms: Vec<&str> = terms.filter(|term| *term != forgot).collect();
                panel.query = terms.join(" and ");
                if let Some(spec) = &mut panel.spec {
                    let visitors = &mut spec["data"][0]["url"]["body"]["aggs"]["visitors"];
                    let nobody = &mut visitors["filter"]["bool"]["must_not"];
                    nobody.as_array_mut().unwrap().remove(n);
                }
            });
            assert_eq!(said, format!("{id}: {counted}"));
        }
        // What looks like leaving them out, and is not.
        for query in [
            format!("{field}:true"),
            format!("not {field}:false"),
            "not event_type:page_view".to_owned(),
        ] {
            let said = after(self::query("events", &query));
            assert!(said.contains(counted), "{query}: {said}");
        }
    }
    let both = NOBODY.map(|(_, counted)| format!("freshet-activity-map: {counted}"));
    let both = both.join("; ");
    let said = after(|o| {
        let body = &mut spec(o)["data"][0]["url"]["body"];
        body["aggs"]["all"] = json!({"cardinality": {"field": "user_id"}});
    });
    assert_eq!(said, both);
    let said = after(|o| {
        let aggs = &mut spec(o)["data"][0]["url"]["body"]["aggs"];
        *aggs = aggs["visitors"]["aggs"].take();
    });
    assert_eq!(said, both);
    let said = after(|o| spec(o)["data"][0]["url"]["body"]["size"] = 10.into());
    assert_eq!(said, both);
}

#[test]
fn a_broken_layout_is_found() {
    let cases = [
        (
            after(|o| o.dashboards[0].panels[1].x -= 1),
            "freshet-events overlaps freshet-visitors",
        ),
        (
            after(|o| o.dashboards[0].panels[5].w += 1),
            "freshet-processing-time-p95 is not within 48 columns",
        ),
        (after(|o| o.dashboards[0].panels[5].h = 0), "not within"),
        (
            after(|o| drop(o.dashboards[0].panels.pop())),
            "freshet-session-duration: it is on no dashboard",
        ),
        (
            after(|o| o.dashboards[1].panels[0].panel = "freshet-lag".into()),
            "freshet-lag is there twice",
        ),
        (
            after(|o| o.dashboards[1].panels.clear()),
            "it has no panels",
        ),
    ];
    for (said, what) in cases {
        assert!(said.contains(what), "{said:?} does not say {what:?}");
    }
}

/// Why a file of ours with one change cannot be read.
fn unreadable(from: &str, to: &str) -> DashboardError {
    assert!(SAVED_OBJECTS.contains(from), "{from}");
    SavedObjects::parse(&SAVED_OBJECTS.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn a_broken_file_is_found() {
    let cases = [
        (
            unreadable(
                r#""id":"freshet-events","references""#,
                r#""id":"freshet-event","references""#,
            ),
            "refers to freshet-events",
        ),
        (
            unreadable(
                r#""id":"freshet-lag","name""#,
                r#""id":"freshet-lags","name""#,
            ),
            "refers to freshet-lags",
        ),
        (
            unreadable(
                r#""id":"freshet-visitors","references""#,
                r#""id":"freshet-events","references""#,
            ),
            "there twice",
        ),
        (
            unreadable(
                r#"kibanaSavedObjectMeta.searchSourceJSON.index","type""#,
                r#"index","type""#,
            ),
            "has no reference",
        ),
        (
            unreadable(r#""visState":"{"#, r#""visState":"{{"#),
            "visState",
        ),
        (
            unreadable(r#""panelsJSON":"["#, r#""panelsJSON":"[["#),
            "panelsJSON",
        ),
        (unreadable(r#"{\"spec\":\"{"#, r#"{\"spec\":\"{{"#), "spec"),
        (
            unreadable(r#""fieldFormatMap":"{"#, r#""fieldFormatMap":"[{"#),
            "fieldFormatMap",
        ),
        (
            unreadable(r#""timeRestore":true"#, r#""timeRestore":false"#),
            "timeRestore",
        ),
        (
            unreadable(r#"\"language\":\"kuery\""#, r#"\"language\":\"lucene\""#),
            "language",
        ),
        (
            unreadable(r#""type":"dashboard""#, r#""type":"canvas""#),
            "its type is",
        ),
    ];
    for (error, why) in cases {
        assert_eq!(error.code(), "dashboard_object");
        assert!(
            error.to_string().contains(why),
            "{error} does not say {why}"
        );
    }
}
