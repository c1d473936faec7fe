use super::*;
use crate::bots::Bots;
use freshet_events::{Limits, RawEvent, Stamp};
use serde_json::{Value, json};

/// A user-agent table of one browser: the real one has tests of its own.
const REGEXES: &str = r"
user_agent_parsers:
  - regex: '(Firefox)/(\d+)\.(\d+)'
os_parsers:
  - regex: '(Linux)'
device_parsers: []
";

fn enricher() -> Enricher {
    let bots = Bots::from_json(br#"[{"pattern":"Googlebot\\/"}]"#).unwrap();
    Enricher::new(
        UserAgents::from_yaml(REGEXES.as_bytes())
            .unwrap()
            .with_bots(bots),
        Geo::open::<&str>(&[]).unwrap(),
    )
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_iso8601(text).unwrap()
}

fn event(json: &str) -> Event<'_> {
    let stamp = Stamp {
        source: "shop".into(),
        received_at: at("2026-11-23T18:00:01.500Z"),
        stage: Stage::Collect,
    };
    let raw = RawEvent::read(json, Stage::Collect).unwrap();
    Event::parse(raw, &stamp, &Limits::STREAM, stamp.received_at, || {
        "id-1".to_owned()
    })
    .unwrap()
}

fn document(json: &str) -> Value {
    let document = enricher()
        .enrich(&event(json), at("2026-11-23T18:00:03.250Z"))
        .unwrap();
    serde_json::from_slice(&document.json).unwrap()
}

fn with_metadata(event_type: &str, metadata: &str) -> String {
    format!(
        r#"{{"user_id":"u1","session_id":"s1","event_type":"{event_type}","page_url":"https://shop.example/product/mug?colour=blue#reviews","timestamp":"2026-11-23T18:00:00Z","sent_at":"2026-11-23T18:00:01Z","schema_version":2,"metadata":{metadata}}}"#
    )
}

#[test]
fn every_derived_field_is_there() {
    let metadata = r#"{"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0","referrer":"https://search.example/","ip_address":"127.0.0.1","colour":"blue","nested":{"a":[1]}}"#;
    assert_eq!(
        document(&with_metadata("page_view", metadata)),
        json!({
            "@timestamp": "2026-11-23T18:00:00.000Z",
            "date": "2026-11-23", "hour": 18, "day_of_week": 0,
            "event_id": "id-1", "source": "shop", "user_id": "u1", "session_id": "s1",
            "event_type": "page_view",
            "page_url": "https://shop.example/product/mug?colour=blue#reviews",
            "url_path": "/product/mug", "query_params": "colour=blue", "fragment": "reviews",
            "user_agent_parsed": {"name": "Firefox", "version": "145.0", "os": "Linux", "device": "Other"},
            "processing_time": 3.25, "client_delay": 1.5, "stream_delay": 1.75,
            "sent_at": "2026-11-23T18:00:01.000Z",
            "received_at": "2026-11-23T18:00:01.500Z",
            "enriched_at": "2026-11-23T18:00:03.250Z",
            "schema_version": 2,
            "metadata": {
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
                "referrer": "https://search.example/",
                "other": {"colour": "blue", "nested": {"a": [1]}},
            },
        })
    );
}

#[test]
fn a_purchase_is_a_conversion_with_its_revenue() {
    for (amount, revenue) in [
        ("19.5", 19.5),
        ("\"19.50\"", 19.5),
        ("null", 0.0),
        ("\"much\"", 0.0),
        ("[]", 0.0),
    ] {
        let document = document(&with_metadata(
            "purchase",
            &format!(r#"{{"amount":{amount}}}"#),
        ));
        assert_eq!(
            (&document["is_conversion"], &document["revenue"]),
            (&json!(true), &json!(revenue)),
            "{amount}"
        );
    }
    assert_eq!(
        document(&with_metadata("purchase", "{}"))["revenue"],
        json!(0.0)
    );
    let view = document(&with_metadata("page_view", r#"{"amount":5}"#));
    assert_eq!(
        (view.get("is_conversion"), view.get("revenue")),
        (None, None)
    );
}

#[test]
fn a_synthetic_event_is_marked_and_has_no_session() {
    let json = with_metadata("purchase", r#"{"amount":5}"#);
    let marked = json.replacen('{', r#"{"synthetic":true,"#, 1);
    let (plain, synthetic) = (document(&json), document(&marked));
    assert_eq!(plain.get("synthetic"), None);
    assert_eq!(synthetic["synthetic"], json!(true));
    // It is a document like any other.
    let mut unmarked = synthetic;
    unmarked.as_object_mut().unwrap().remove("synthetic");
    assert_eq!(unmarked, plain);
    let enriched = enricher()
        .enrich(&event(&marked), at("2026-11-23T18:00:03Z"))
        .unwrap();
    assert!(enriched.session.synthetic);
}

#[test]
fn a_bot_s_event_says_why_and_has_no_session() {
    let json = |user_agent: &str| {
        let metadata = json!({"amount": 5, "user_agent": user_agent});
        with_metadata("purchase", &metadata.to_string())
    };
    let googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    for (user_agent, bot) in [
        ("Mozilla/5.0 Firefox/145.0", Value::Null),
        ("curl/8.5.0", Value::Null),
        (
            googlebot,
            json!({"is_bot": true, "reason": "crawler:Googlebot"}),
        ),
        (
            "Mozilla/5.0 HeadlessChrome/142.0.0.0",
            json!({"is_bot": true, "reason": "headless:HeadlessChrome"}),
        ),
    ] {
        let json = json(user_agent);
        let source = document(&json);
        assert_eq!(source.get("bot").unwrap_or(&Value::Null), &bot);
        // It is a document like any other.
        assert_eq!(source["revenue"], 5.0);
        assert_eq!(source["metadata"]["user_agent"], user_agent);
        let enriched = enricher().enrich(&event(&json), at("2026-11-23T18:00:03Z"));
        assert_eq!(enriched.unwrap().session.bot, !bot.is_null());
    }
    // Nobody is one without a user agent, or with one that is no text.
    for metadata in ["{}", r#"{"user_agent":["Googlebot/2.1"]}"#] {
        let source = document(&with_metadata("page_view", metadata));
        assert_eq!(source.get("bot"), None);
    }
}

#[test]
fn the_ip_address_is_in_no_part_of_the_document() {
    for ip in ["203.0.113.77", "2001:db8::77", "not an address"] {
        let json = with_metadata("page_view", &format!(r#"{{"ip_address":"{ip}","x":1}}"#));
        let text = document(&json).to_string();
        assert!(!text.contains(ip) && !text.contains("ip_address"), "{text}");
    }
}

#[test]
fn a_replayed_event_keeps_its_place() {
    let place = serde_json::value::to_raw_value(&json!({"country_name": "Peru"})).unwrap();
    let json = with_metadata("page_view", "{}");
    let event = event(&json).with_place(Some(&place));
    let document = enricher()
        .enrich(&event, at("2026-11-23T18:00:03Z"))
        .unwrap();
    let source: Value = serde_json::from_slice(&document.json).unwrap();
    assert_eq!(source["geoip"], json!({"country_name": "Peru"}));
}

/// An event whose client has no page, no session, or neither.
fn without(fields: &[&str]) -> String {
    let wire = event(&with_metadata("page_view", r#"{"session_id":"m"}"#)).to_wire();
    let mut wire: Value = serde_json::from_slice(&wire).unwrap();
    for field in fields {
        wire.as_object_mut().unwrap().remove(*field).unwrap();
    }
    wire.to_string()
}

fn enriched(wire: &str) -> Document {
    let event = Event::from_wire(wire).unwrap();
    let now = at("2026-11-23T18:00:03.250Z");
    enricher().enrich(&event, now).unwrap()
}

#[test]
fn an_event_without_a_page_has_nothing_of_a_url() {
    let page = enriched(&without(&[]));
    let none = enriched(&without(&["page_url"]));
    let mut expected: Value = serde_json::from_slice(&page.json).unwrap();
    for field in ["page_url", "url_path", "query_params", "fragment"] {
        expected.as_object_mut().unwrap().remove(field).unwrap();
    }
    let source: Value = serde_json::from_slice(&none.json).unwrap();
    assert_eq!(source, expected);
    assert_eq!((none.session.page, none.session.is_page_view), (None, true));
    let wire = without(&["page_url"]);
    let event = Event::from_wire(&wire).unwrap();
    assert_eq!(enricher().path(&event), None);
}

#[test]
fn an_event_without_a_session_has_the_id_of_its_user_until_it_meets_one() {
    let named: Value = serde_json::from_slice(&enriched(&without(&[])).json).unwrap();
    assert_eq!(named.get("session_derived"), None);
    let mut document = enriched(&without(&["session_id"]));
    let key = SessionKey::of_user("shop", "u1");
    assert_eq!(
        (document.session.key, &document.session.session_id),
        (key, &None)
    );
    let read = |document: &Document| -> Value {
        let text = std::str::from_utf8(&document.json).unwrap();
        // One is metadata's.
        assert_eq!(text.matches(r#""session_id":"#).count(), 2, "{text}");
        serde_json::from_str(text).unwrap()
    };
    let mut expected = named;
    expected["session_derived"] = json!(true);
    expected["session_id"] = json!(key.as_str());
    assert_eq!(read(&document), expected);
    document.set_session(at("2026-11-23T17:58:59.500Z"), Some("an id of \"22\""));
    expected["session_id"] = json!("an id of \"22\"");
    expected["session_duration"] = json!(60.5);
    assert_eq!(read(&document), expected);
}

#[test]
fn a_session_id_that_was_given_stays() {
    let mut document = enriched(&without(&["page_url"]));
    document.set_session(at("2026-11-23T18:00:00Z"), Some("another"));
    let source: Value = serde_json::from_slice(&document.json).unwrap();
    assert_eq!(
        (&source["session_id"], source.get("session_derived")),
        (&json!("s1"), None)
    );
}

#[test]
fn not_before_is_the_earlier_of_both_clocks() {
    let json = with_metadata("page_view", "{}");
    let document = enricher()
        .enrich(&event(&json), at("2026-11-23T18:00:03Z"))
        .unwrap();
    assert_eq!(document.not_before, at("2026-11-23T18:00:00Z"));
    assert_eq!(document.id, freshet_events::DocumentId::new("shop", "id-1"));
}

#[test]
fn it_tells_its_session_what_happened() {
    let of = |event_type, metadata| {
        let json = with_metadata(event_type, metadata);
        let enriched = enricher().enrich(&event(&json), at("2026-11-23T18:00:03Z"));
        enriched.unwrap().session
    };
    let view = of("page_view", r#"{"referrer":"https://search.example/"}"#);
    let expected = SessionEvent {
        key: SessionKey::new("shop", "s1"),
        mark: EventMark::from(&freshet_events::DocumentId::new("shop", "id-1")),
        at: at("2026-11-23T18:00:00Z"),
        source: "shop".to_owned(),
        session_id: Some("s1".to_owned()),
        user_id: "u1".to_owned(),
        page: Some("/product/mug".to_owned()),
        is_page_view: true,
        referrer: Some("https://search.example/".to_owned()),
        revenue: None,
        synthetic: false,
        bot: false,
    };
    assert_eq!(view, expected);
    let purchase = of("purchase", r#"{"amount":"19.50","referrer":7}"#);
    let expected = SessionEvent {
        is_page_view: false,
        referrer: None,
        revenue: Some(19.5),
        ..expected
    };
    assert_eq!(purchase, expected);
}

#[test]
fn the_session_duration_is_added_and_never_negative() {
    let json = with_metadata("page_view", "{}");
    for (start, duration) in [
        ("2026-11-23T17:59:00.500Z", 59.5),
        ("2026-11-23T18:00:00Z", 0.0),
        ("2026-11-23T18:00:09Z", 0.0),
    ] {
        let mut document = enricher()
            .enrich(&event(&json), at("2026-11-23T18:00:03Z"))
            .unwrap();
        let mut expected: Value = serde_json::from_slice(&document.json).unwrap();
        expected["session_duration"] = json!(duration);
        document.set_session(at(start), None);
        let source: Value = serde_json::from_slice(&document.json).unwrap();
        assert_eq!(
            source.as_object().unwrap().len(),
            expected.as_object().unwrap().len()
        );
        assert_eq!(
            source["session_duration"].as_f64(),
            Some(duration),
            "{start}"
        );
    }
}
