use super::*;
use crate::{SAVED_OBJECTS, SavedObjects};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The sources in the checkout.
fn sources() -> Sources {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards");
    let mut sources = Sources::new();
    for (inside, prefix) in [("", ""), ("panels", "panels/")] {
        for entry in fs::read_dir(folder.join(inside)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.ends_with(".json") {
                sources.insert(format!("{prefix}{name}"), fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

#[test]
fn the_file_is_what_the_sources_say() {
    assert!(
        generate(&sources()).unwrap() == SAVED_OBJECTS,
        "dashboards/freshet.ndjson and its sources disagree: \
         cargo run -p freshet-dashboards --example generate"
    );
}

#[test]
fn a_changed_source_is_a_changed_file() {
    let mut changed = sources();
    let panel = changed.get_mut("panels/top-pages.json").unwrap();
    *panel = panel.replace("\"url_path\"", "\"page_url\"");
    assert!(generate(&changed).unwrap() != SAVED_OBJECTS);
}

#[test]
fn ids_are_the_names_of_the_files() {
    let sources = sources();
    let objects = SavedObjects::parse(SAVED_OBJECTS).unwrap();
    let names: BTreeSet<String> = sources
        .keys()
        .filter_map(|file| file.strip_prefix("panels/")?.strip_suffix(".json"))
        .map(|name| format!("freshet-{name}"))
        .collect();
    assert!(objects.panels.keys().eq(&names));
    let dashboards: Vec<&str> = objects.dashboards.iter().map(|d| d.id.as_str()).collect();
    // provision, the page and people's bookmarks name these.
    assert_eq!(
        dashboards,
        ["realtime-clickstream-dashboard", "freshet-data-quality"]
    );
    assert!(objects.patterns.keys().eq([
        "freshet-events",
        "freshet-rejections",
        "freshet-sessions"
    ]));
}

#[test]
fn a_source_that_is_wrong_is_named() {
    for (file, from, to, why) in [
        (
            "panels/events.json",
            "\"type\": \"metric\"",
            "\"type\": \"gauge\"",
            "no type gauge",
        ),
        (
            "panels/events.json",
            "freshet-events",
            "freshet-visits",
            "no index pattern freshet-visits",
        ),
        (
            "panels/events.json",
            "\"description\"",
            "\"descripton\"",
            "unknown descripton",
        ),
        (
            "panels/top-pages.json",
            "\"axis\"",
            "\"query2\"",
            "unknown query2",
        ),
        (
            "clickstream.json",
            "\"refresh_ms\"",
            "\"refresh\"",
            "unknown refresh",
        ),
        ("data-quality.json", "{", "", "expected value"),
    ] {
        let mut changed = sources();
        let text = changed.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        *text = text.replacen(from, to, 1);
        let error = generate(&changed).unwrap_err();
        assert_eq!(error.code(), "dashboard_source");
        let text = error.to_string();
        assert!(
            text.starts_with(file) || file == "data-quality.json",
            "{text}"
        );
        assert!(text.contains(why) || file == "data-quality.json", "{text}");
    }
}

#[test]
fn what_a_panel_leaves_out_comes_from_its_type() {
    let objects = SavedObjects::parse(SAVED_OBJECTS).unwrap();
    let bars = &objects.panels["freshet-top-pages"].state["params"];
    assert_eq!(bars["categoryAxes"][0]["position"], "left");
    assert_eq!(bars["categoryAxes"][0]["labels"]["truncate"], 100);
    assert_eq!(bars["valueAxes"][0]["title"]["text"], "Page views");
    assert_eq!(
        bars["seriesParams"][0]["data"],
        json!({"id": "1", "label": "Page views"})
    );
    let line = &objects.panels["freshet-events-per-minute"].state["params"];
    assert_eq!(line["categoryAxes"][0]["position"], "bottom");
    assert_eq!(line["addLegend"], true);
    assert_eq!(
        objects.panels["freshet-revenue-per-minute"].state["params"]["addLegend"],
        false
    );
}

#[test]
fn a_patterns_query_narrows_each_of_its_panels() {
    let objects = SavedObjects::parse(SAVED_OBJECTS).unwrap();
    for (panel, query) in [
        ("events", "not synthetic:true and not bot.is_bot:true"),
        (
            "top-pages",
            "event_type:page_view and not synthetic:true and not bot.is_bot:true",
        ),
        ("rejections", ""),
        ("truncated-sessions", "truncated:true"),
    ] {
        assert_eq!(objects.panels[&format!("freshet-{panel}")].query, query);
    }
}

#[test]
fn the_vega_panel_holds_its_index_and_the_world() {
    let objects = SavedObjects::parse(SAVED_OBJECTS).unwrap();
    let spec = objects.panels["freshet-activity-map"].spec.clone().unwrap();
    let url = &spec["data"][0]["url"];
    assert_eq!(
        (&url["index"], &url["%timefield%"]),
        (&json!("clickstream-*"), &json!("@timestamp"))
    );
    let outline: Value = serde_json::from_str(crate::WORLD_OUTLINE).unwrap();
    assert_eq!(spec["data"][1]["values"], outline);
    assert_eq!(outline["type"], "Topology");
}
