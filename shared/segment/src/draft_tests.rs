//! Every row of the table in docs/segment.md.
#![expect(
    clippy::needless_pass_by_value,
    reason = "rows read best without ampersands"
)]

use super::*;
use freshet_events::{Event, Limits, Metadata, Stage, Stamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// 2026-11-26T12:00:00Z, when every request of these tests arrives.
const NOW: i64 = 1_795_694_400_000;

pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(NOW).unwrap()
}

/// The calls of one request, drafted.
pub(super) fn drafts(endpoint: &str, body: &str) -> Vec<Result<Draft, Rejection>> {
    let calls = Calls::split(body, Endpoint::of(endpoint).unwrap(), 500).unwrap();
    let draft = |call: &&str| Draft::of(call, &calls, &EventTypes::default(), now());
    calls.calls.iter().map(draft).collect()
}

fn draft(endpoint: &str, body: &Value) -> Draft {
    drafts(endpoint, &body.to_string()).remove(0).unwrap()
}

/// What a draft says, as JSON, after it has been judged as an event.
pub(super) fn said(draft: &Draft) -> Value {
    let stamp = Stamp {
        source: "shop".into(),
        received_at: now(),
        stage: Stage::Collect,
    };
    let limits = Limits {
        max_age_ms: None,
        max_future_ms: None,
        ..Limits::DEFAULT
    };
    let event = Event::translated(draft.translated(), &stamp, &limits, now(), || "new".into());
    let event = event.unwrap_or_else(|rejection| panic!("{rejection}"));
    json!({
        "event_id": event.event_id(),
        "user_id": event.user_id(),
        "session_id": event.session_id(),
        "event_type": event.event_type(),
        "page_url": event.page_url(),
        "timestamp": event.timestamp().to_string(),
        "sent_at": event.sent_at().map(|at| at.to_string()),
        "metadata": serde_json::from_str::<Value>(event.metadata().as_json()).unwrap(),
    })
}

/// Compares what `expected` names; null is absent.
fn holds(body: &Value, said: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&said[name], value, "{name} of {body}\n{said}");
    }
}

/// A call with an anonymous visitor, and what its event says.
fn row(endpoint: &str, mut call: Value, expected: Value) {
    let fields = call.as_object_mut().unwrap();
    if !fields.contains_key("userId") {
        fields.entry("anonymousId").or_insert_with(|| "a-1".into());
    }
    if endpoint == "track" {
        fields.entry("event").or_insert_with(|| "E".into());
    }
    holds(&call, &said(&draft(endpoint, &call)), &expected);
}

/// The same for its metadata.
fn metadata(endpoint: &str, mut call: Value, expected: Value) {
    let fields = call.as_object_mut().unwrap();
    fields.entry("anonymousId").or_insert_with(|| "a-1".into());
    if endpoint == "track" {
        fields.entry("event").or_insert_with(|| "E".into());
    }
    holds(&call, &said(&draft(endpoint, &call))["metadata"], &expected);
}

fn fails(endpoint: &str, call: Value) -> String {
    let rejection = drafts(endpoint, &call.to_string()).remove(0).unwrap_err();
    assert_eq!(rejection.stage, Stage::Collect);
    rejection.code.into_owned()
}

#[test]
fn ids() {
    for (call, expected) in [
        (json!({"messageId": "m-1"}), json!({"event_id": "m-1"})),
        (json!({"messageId": 17}), json!({"event_id": "17"})),
        (json!({"messageId": null}), json!({"event_id": "new"})),
        (json!({"messageId": ""}), json!({"event_id": "new"})),
        (json!({}), json!({"event_id": "new", "user_id": "a-1"})),
        (
            json!({"userId": "u", "anonymousId": "a"}),
            json!({"user_id": "u"}),
        ),
        (
            json!({"userId": "", "anonymousId": "a"}),
            json!({"user_id": "a"}),
        ),
        (
            json!({"userId": null, "anonymousId": "a"}),
            json!({"user_id": "a"}),
        ),
        (json!({"userId": 42}), json!({"user_id": "42"})),
        (json!({"userId": 42.0}), json!({"user_id": "42"})),
        (
            json!({"userId": u64::MAX}),
            json!({"user_id": u64::MAX.to_string()}),
        ),
        (
            json!({"anonymousId": "\u{e9}\"\\"}),
            json!({"user_id": "\u{e9}\"\\"}),
        ),
    ] {
        row("track", call, expected);
    }
    metadata(
        "track",
        json!({"userId": "u", "anonymousId": "a"}),
        json!({"anonymous_id": "a"}),
    );
    metadata("track", json!({}), json!({"anonymous_id": null}));
    metadata(
        "alias",
        json!({"userId": "u", "previousId": "a"}),
        json!({"previous_id": "a"}),
    );
    metadata(
        "group",
        json!({"userId": "u", "groupId": 7}),
        json!({"group_id": "7"}),
    );
    metadata(
        "track",
        json!({"previousId": "a", "groupId": 7}),
        json!({"previous_id": null, "group_id": null}),
    );
    assert_eq!(
        fails("page", json!({"userId": "", "anonymousId": null})),
        "field_missing"
    );
    assert_eq!(fails("page", json!({"userId": {}})), "field_wrong_type");
    assert_eq!(fails("page", json!({"userId": 1.5})), "field_wrong_type");
    assert_eq!(fails("page", json!({"userId": true})), "field_wrong_type");
    assert_eq!(
        fails("page", json!({"userId": "u", "messageId": []})),
        "field_wrong_type"
    );
    assert_eq!(
        fails("group", json!({"userId": "u", "groupId": {}})),
        "field_wrong_type"
    );
}

#[test]
fn sessions() {
    let amplitude = |session: Value| json!({"Actions Amplitude": {"session_id": session}});
    for (call, session) in [
        (json!({"context": {"sessionId": "s-1"}}), json!("s-1")),
        (
            json!({"context": {"sessionId": 1_795_694_400_123_u64}}),
            json!("a-1:1795694400123"),
        ),
        (
            json!({"context": {"sessionId": "1795694400"}}),
            json!("a-1:1795694400"),
        ),
        (
            json!({"userId": "u", "anonymousId": "a", "context": {"sessionId": 5}}),
            json!("a:5"),
        ),
        (
            json!({"userId": "u", "context": {"sessionId": 5}}),
            json!("u:5"),
        ),
        (
            json!({"userId": "u".repeat(256), "context": {"sessionId": 5}}),
            json!("5"),
        ),
        (json!({"integrations": amplitude(json!(9))}), json!("a-1:9")),
        (json!({"integrations": amplitude(json!("s"))}), json!("s")),
        (json!({"integrations": amplitude(json!(-1))}), json!(null)),
        (json!({"integrations": amplitude(json!(null))}), json!(null)),
        (
            json!({"integrations": {"Actions Amplitude": true, "All": false}}),
            json!(null),
        ),
        (json!({"integrations": [1]}), json!(null)),
        (
            json!({"context": {"sessionId": "s"}, "integrations": amplitude(json!(9))}),
            json!("s"),
        ),
        (
            json!({"context": {"sessionId": -1}, "integrations": amplitude(json!("t"))}),
            json!("t"),
        ),
        (json!({"context": {"sessionId": {}}}), json!(null)),
        (json!({"context": {"sessionId": ""}}), json!(null)),
        (json!({}), json!(null)),
    ] {
        row("track", call, json!({"session_id": session}));
    }
}

#[test]
fn event_types() {
    for (endpoint, call, event_type) in [
        ("track", json!({"event": "Product Added"}), "add_to_cart"),
        ("track", json!({"event": "order completed"}), "purchase"),
        (
            "track",
            json!({"event": "Clicked Sign-Up  Button"}),
            "clicked_sign_up_button",
        ),
        ("page", json!({"name": "Home"}), "page_view"),
        ("screen", json!({"name": "Home"}), "screen_view"),
        ("identify", json!({}), "identify"),
        ("group", json!({}), "group"),
        ("alias", json!({}), "alias"),
        // The path says what it is.
        ("page", json!({"type": "track", "event": "X"}), "page_view"),
    ] {
        row(endpoint, call, json!({"event_type": event_type}));
    }
    metadata(
        "track",
        json!({"event": "Product Added"}),
        json!({"event_name": "Product Added"}),
    );
    metadata("page", json!({"event": "X"}), json!({"event_name": null}));
    let track = |event: Value| json!({"userId": "u", "event": event});
    assert_eq!(fails("track", json!({"userId": "u"})), "field_missing");
    assert_eq!(fails("track", track(json!(null))), "field_missing");
    assert_eq!(fails("track", track(json!(7))), "field_wrong_type");
    assert_eq!(fails("track", track(json!({}))), "field_wrong_type");
    assert_eq!(fails("track", track(json!(""))), "field_empty");
    assert_eq!(fails("track", track(json!("🎉"))), "field_empty");
}

#[test]
fn a_batch_says_each_calls_type() {
    let call = |kind: &str| json!({"type": kind, "userId": "u", "event": "E"});
    let body = json!({"batch": [
        call("track"), call("PAGE"), call("purchase"), {"userId": "u"}, {"type": 7, "userId": "u"},
        "track", null, [],
    ]});
    let results: Vec<String> = drafts("batch", &body.to_string())
        .into_iter()
        .map(|result| match result {
            Ok(draft) => draft.event_type,
            Err(rejection) => rejection.code.into_owned(),
        })
        .collect();
    assert_eq!(
        results,
        [
            "e",
            "page_view",
            "call_type_unknown",
            "field_missing",
            "field_wrong_type",
            "event_not_an_object",
            "event_not_an_object",
            "event_not_an_object",
        ]
    );
}

#[test]
fn clocks_are_corrected() {
    let at = |time: &str| json!({"timestamp": time});
    for (call, timestamp) in [
        // An hour fast, and ten seconds between happening and sending.
        (
            json!({"timestamp": "2026-11-26T13:00:00Z", "sentAt": "2026-11-26T13:00:10Z"}),
            "2026-11-26T11:59:50.000Z",
        ),
        (
            json!({"originalTimestamp": "2026-11-26T13:00:00Z", "sentAt": "2026-11-26T13:00:10Z"}),
            "2026-11-26T11:59:50.000Z",
        ),
        (
            json!({"timestamp": "2026-11-26T13:00:00+01:00", "sentAt": "2026-11-26T12:00:00Z"}),
            "2026-11-26T12:00:00.000Z",
        ),
        (
            json!({"timestamp": "2026-11-26T11:00:00Z"}),
            "2026-11-26T11:00:00.000Z",
        ),
        (
            json!({"timestamp": "2026-11-26T11:00:00"}),
            "2026-11-26T11:00:00.000Z",
        ),
        (
            json!({"timestamp": "2026-11-26"}),
            "2026-11-26T00:00:00.000Z",
        ),
        (json!({"timestamp": NOW - 1000}), "2026-11-26T11:59:59.000Z"),
        (
            json!({"sentAt": "2026-11-26T13:00:10Z"}),
            "2026-11-26T12:00:00.000Z",
        ),
        (
            json!({"timestamp": null, "sentAt": ""}),
            "2026-11-26T12:00:00.000Z",
        ),
        (json!({}), "2026-11-26T12:00:00.000Z"),
        // Both: the client says what is right.
        (
            json!({"originalTimestamp": "2026-11-26T13:00:00Z", "timestamp": "2026-11-01T00:00:00Z", "sentAt": "2026-11-26T13:00:10Z"}),
            "2026-11-01T00:00:00.000Z",
        ),
        // Saturated.
        (
            json!({"timestamp": "1970-01-01", "sentAt": "9999-12-30"}),
            "1970-01-01T00:00:00.000Z",
        ),
        (
            json!({"timestamp": "9999-12-30", "sentAt": "1970-01-01"}),
            "9999-12-31T23:59:59.999Z",
        ),
    ] {
        row("track", call, at(timestamp));
    }
    row(
        "track",
        json!({"timestamp": "2026-11-26T13:00:00Z", "sentAt": "2026-11-26T13:00:10Z"}),
        json!({"sent_at": "2026-11-26T13:00:10.000Z"}),
    );
    for bad in [
        json!("yesterday"),
        json!("1969-12-31T23:59:59Z"),
        json!("+010000-01-01T00:00:00Z"),
        json!(-1),
        json!(1.5),
        json!(1e30),
    ] {
        for field in ["timestamp", "originalTimestamp", "sentAt"] {
            let call = json!({"userId": "u", field: bad});
            assert_eq!(fails("page", call), "timestamp_invalid", "{field} {bad}");
        }
    }
    for bad in [json!({}), json!([1]), json!(true)] {
        assert_eq!(
            fails("page", json!({"userId": "u", "timestamp": bad})),
            "field_wrong_type"
        );
    }
}

#[test]
fn a_batch_is_sent_at_once() {
    let call = json!({"type": "page", "userId": "u", "timestamp": "2026-11-26T13:00:00Z"});
    let own = json!({"type": "page", "userId": "u", "timestamp": "2026-11-26T13:00:00Z", "sentAt": "2026-11-26T13:00:02Z"});
    let body = json!({"batch": [call, own], "sentAt": "2026-11-26T13:00:10Z"}).to_string();
    let times = |endpoint| -> Vec<String> {
        let drafts = drafts(endpoint, &body);
        drafts
            .into_iter()
            .map(|d| d.unwrap().timestamp.to_string())
            .collect()
    };
    assert_eq!(
        times("batch"),
        ["2026-11-26T11:59:50.000Z", "2026-11-26T11:59:58.000Z"]
    );
    // History is not corrected by today's clock.
    assert_eq!(times("import"), ["2026-11-26T13:00:00.000Z"; 2]);
}

#[test]
fn pages() {
    let shop = "https://shop.example/a?b=1";
    let context = |url: &str| json!({"page": {"url": url}});
    for (endpoint, call, page_url) in [
        ("page", json!({"properties": {"url": shop}}), json!(shop)),
        (
            "page",
            json!({"properties": {"url": shop}, "context": context("https://other.example/")}),
            json!(shop),
        ),
        (
            "page",
            json!({"properties": {"url": "/a"}, "context": context(shop)}),
            json!(shop),
        ),
        ("page", json!({"context": context(shop)}), json!(shop)),
        ("track", json!({"context": context(shop)}), json!(shop)),
        ("track", json!({"properties": {"url": shop}}), json!(null)),
        (
            "track",
            json!({"context": context("file:///a.html")}),
            json!(null),
        ),
        (
            "track",
            json!({"context": context("app://home")}),
            json!(null),
        ),
        ("track", json!({"context": context("/a")}), json!(null)),
        ("track", json!({"context": context("")}), json!(null)),
        (
            "track",
            json!({"context": context(&format!("{shop}{}", "x".repeat(16_384)))}),
            json!(null),
        ),
        ("page", json!({"properties": {"url": 7}}), json!(null)),
        ("screen", json!({}), json!(null)),
    ] {
        row(endpoint, call, json!({"page_url": page_url}));
    }
    // What cannot be a page's URL is kept.
    metadata(
        "track",
        json!({"context": context("file:///a.html")}),
        json!({"context": {"page": {"url": "file:///a.html"}}}),
    );
    metadata(
        "page",
        json!({"properties": {"url": "/a"}}),
        json!({"url": "/a"}),
    );
    metadata("page", json!({"properties": {"url": 7}}), json!({"url": 7}));
    metadata(
        "page",
        json!({"properties": {"url": shop}}),
        json!({"url": null}),
    );
    metadata(
        "page",
        json!({"properties": {"url": shop, "path": "/a", "title": "A", "referrer": ""}, "context": {"page": {"url": shop, "path": "/a", "title": "A", "referrer": "", "initial_referrer": "x"}}}),
        json!({"title": "A", "referrer": null, "path": "/a", "context": {"page": {"initial_referrer": "x"}}}),
    );
    metadata(
        "track",
        json!({"properties": {"title": "Mine"}, "context": {"page": {"title": "A", "referrer": "$direct"}}}),
        json!({"title": "A", "referrer": null, "properties": {"title": "Mine"}}),
    );
    metadata(
        "page",
        json!({"context": {"page": {"referrer": "https://r.example/"}}}),
        json!({"referrer": "https://r.example/"}),
    );
    metadata(
        "page",
        json!({"name": "Home", "category": "Docs"}),
        json!({"page_name": "Home", "category": "Docs"}),
    );
    metadata(
        "page",
        json!({"name": "Home", "category": "Docs", "properties": {"name": "Home", "category": "Docs"}}),
        json!({"page_name": "Home", "category": "Docs", "name": null, "properties": null}),
    );
    metadata(
        "page",
        json!({"name": "Home", "properties": {"name": "Mine"}}),
        json!({"page_name": "Home", "name": "Mine"}),
    );
    metadata(
        "page",
        json!({"name": null, "properties": {"name": "Mine"}}),
        json!({"page_name": "Mine", "name": null}),
    );
    metadata(
        "screen",
        json!({"name": "Home", "category": {"a": 1}}),
        json!({"screen_name": "Home", "category": null, "properties": {"category": {"a": 1}}}),
    );
}

#[test]
fn commerce() {
    let order = |properties: Value| json!({"event": "Order Completed", "properties": properties});
    for (properties, expected) in [
        (
            json!({"revenue": 39.5, "total": 41}),
            json!({"amount": 39.5, "revenue": null, "total": 41}),
        ),
        (json!({"revenue": "39.50"}), json!({"amount": "39.50"})),
        (
            json!({"revenue": "free", "total": 41}),
            json!({"amount": 41, "revenue": "free"}),
        ),
        (json!({"revenue": null, "value": 1}), json!({"amount": 1})),
        (
            json!({"revenue": 2, "amount": 1}),
            json!({"amount": 2, "properties": {"amount": 1}}),
        ),
        (json!({"amount": 1}), json!({"amount": 1})),
        (
            json!({"amount": "much"}),
            json!({"amount": null, "properties": {"amount": "much"}}),
        ),
        (
            json!({"revenue": {}}),
            json!({"amount": null, "revenue": {}}),
        ),
        (
            json!({"order_id": "o", "orderId": "p"}),
            json!({"order_id": "o", "orderId": "p"}),
        ),
        (
            json!({"orderId": "p", "order_id": null}),
            json!({"order_id": "p", "orderId": null}),
        ),
        (
            json!({"products": [{"sku": "s"}]}),
            json!({"products": [{"sku": "s"}], "product_id": null}),
        ),
        (
            json!({"currency": "EUR", "coupon": "c"}),
            json!({"currency": "EUR", "coupon": "c"}),
        ),
    ] {
        metadata("track", order(properties), expected);
    }
    let product = |properties: Value| json!({"event": "Product Added", "properties": properties});
    for (properties, expected) in [
        (
            json!({"product_id": "p", "name": "Mug", "sku": "s"}),
            json!({"product_id": "p", "product_name": "Mug", "sku": "s", "name": null}),
        ),
        (
            json!({"sku": "s", "name": "Mug"}),
            json!({"product_id": "s", "product_name": "Mug"}),
        ),
        (
            json!({"productId": 7, "sku": "s"}),
            json!({"product_id": 7, "sku": "s"}),
        ),
        (
            json!({"name": "Mug"}),
            json!({"name": "Mug", "product_name": null}),
        ),
        (
            json!({"sku": {"a": 1}}),
            json!({"product_id": null, "properties": {"sku": {"a": 1}}}),
        ),
        (
            json!({"price": 18, "quantity": 2}),
            json!({"amount": null, "quantity": 2}),
        ),
        (
            json!({"revenue": 18}),
            json!({"amount": null, "revenue": 18}),
        ),
        (json!({"amount": 18}), json!({"amount": 18})),
    ] {
        metadata("track", product(properties), expected);
    }
    let search = json!({"event": "Products Searched", "properties": {"query": "mug"}});
    metadata(
        "track",
        search,
        json!({"search_query": "mug", "query": null}),
    );
    metadata(
        "track",
        json!({"event": "X", "properties": {"query": "mug"}}),
        json!({"query": "mug"}),
    );
}

#[test]
fn what_the_index_would_refuse_is_kept_elsewhere() {
    for (key, value) in [
        ("amount", json!("")),
        ("amount", json!("12 EUR")),
        ("amount", json!("NaN")),
        ("amount", json!("1e999")),
        ("amount", json!([1])),
        ("amount", json!(true)),
        ("quantity", json!("two")),
        ("quantity", json!(" 2")),
        ("quantity", json!("1e-999999999")),
        ("quantity", json!(1e19)),
        ("category", json!({"a": 1})),
        ("category", json!(["a", [{"b": 1}]])),
        ("currency", json!({})),
        ("properties", json!(1)),
    ] {
        metadata(
            "track",
            json!({"properties": {key: value}}),
            json!({"properties": {key: value}}),
        );
    }
    for (key, value) in [
        ("amount", json!("-1.5e3")),
        ("quantity", json!("2.5")),
        ("quantity", json!(2.5)),
        ("category", json!(["a", ["{", 1, true, null]])),
        ("category", json!(7)),
        ("category", json!("a\"{")),
        ("currency", json!(null)),
        ("mine", json!({"a": [{"b": 1}]})),
        ("context", json!("x")),
    ] {
        metadata(
            "track",
            json!({"properties": {key: value}}),
            json!({key: value, "properties": null}),
        );
    }
}

#[test]
fn contexts() {
    let context = json!({
        "userAgent": "UA", "ip": "203.0.113.9", "locale": "de-DE", "campaign": {"source": "s"},
        "screen": {"width": 1}, "traits": {"plan": "x"}, "app": {"name": "A"}, "timezone": "Europe/Berlin",
        "network": {}, "device": null, "library": {"name": "l"}, "page": {"search": "?a", "title": "T"},
    });
    metadata(
        "track",
        json!({"context": context, "properties": {"user_agent": 1, "ip_address": "198.51.100.1", "locale": "x", "screen": "big"}}),
        json!({
            "user_agent": "UA", "ip_address": "203.0.113.9", "locale": "de-DE", "campaign": {"source": "s"},
            "screen": {"width": 1}, "traits": {"plan": "x"}, "title": "T",
            "context": {"app": {"name": "A"}, "timezone": "Europe/Berlin", "library": {"name": "l"}, "page": {"search": "?a"}},
            "properties": {"user_agent": 1, "locale": "x", "screen": "big"},
        }),
    );
    metadata(
        "track",
        json!({"context": {"userAgent": 7, "ip": 7, "locale": ["x"]}}),
        json!({"user_agent": null, "ip_address": null, "locale": null, "context": {"userAgent": 7, "locale": ["x"]}}),
    );
    metadata(
        "track",
        json!({"context": {"ip": "", "page": "x"}}),
        json!({"ip_address": null, "context": {"page": "x"}}),
    );
    for nothing in [json!(null), json!([]), json!({})] {
        metadata(
            "track",
            json!({"context": nothing, "properties": nothing}),
            json!({"context": null, "properties": null}),
        );
        metadata(
            "identify",
            json!({"traits": nothing}),
            json!({"traits": null}),
        );
    }
    for wrong in [json!([1]), json!("x"), json!(7), json!(true)] {
        assert_eq!(
            fails("page", json!({"userId": "u", "context": wrong})),
            "field_wrong_type"
        );
        assert_eq!(
            fails("page", json!({"userId": "u", "properties": wrong})),
            "field_wrong_type"
        );
        assert_eq!(
            fails("identify", json!({"userId": "u", "traits": wrong})),
            "field_wrong_type"
        );
    }
    let twice = r#"{"userId":"u","context":{"ip":"203.0.113.9","ip":"203.0.113.9"}}"#;
    let rejection = drafts("page", twice).remove(0).unwrap_err();
    assert_eq!(rejection.code, "metadata_key_duplicate");
    let twice = r#"{"userId":"u","userId":"v"}"#;
    assert_eq!(
        drafts("page", twice).remove(0).unwrap_err().code,
        "field_duplicate"
    );
}

#[test]
fn a_batchs_context_fills_each_calls() {
    let body = json!({
        "batch": [
            {"type": "page", "userId": "u", "context": {"locale": "de-DE", "ip": null}},
            {"type": "page", "userId": "u"},
        ],
        "context": {"locale": "fr-FR", "ip": "203.0.113.9"},
        "integrations": {"Actions Amplitude": {"session_id": "s"}},
    });
    let drafts = drafts("batch", &body.to_string());
    let said: Vec<Value> = drafts.iter().map(|d| said(d.as_ref().unwrap())).collect();
    assert_eq!(
        said[0]["metadata"],
        json!({"locale": "de-DE", "ip_address": "203.0.113.9"})
    );
    assert_eq!(
        said[1]["metadata"],
        json!({"locale": "fr-FR", "ip_address": "203.0.113.9"})
    );
    assert_eq!(said[1]["session_id"], "s");
}

#[test]
fn traits() {
    metadata(
        "identify",
        json!({"traits": {"plan": "x"}}),
        json!({"plan": "x"}),
    );
    metadata(
        "identify",
        json!({"context": {"traits": {"plan": "x"}}}),
        json!({"plan": "x", "traits": null}),
    );
    metadata(
        "identify",
        json!({"traits": {"plan": "x"}, "context": {"traits": {"plan": "x"}}}),
        json!({"plan": "x", "traits": null}),
    );
    metadata(
        "identify",
        json!({"traits": {"plan": "x"}, "context": {"traits": {"plan": "y"}}}),
        json!({"plan": "x", "traits": {"plan": "y"}}),
    );
    metadata(
        "group",
        json!({"traits": {"name": "N"}, "context": {"traits": {"plan": "y"}}}),
        json!({"name": "N", "traits": {"plan": "y"}}),
    );
    metadata(
        "group",
        json!({"context": {"traits": {"plan": "y"}}}),
        json!({"plan": null, "traits": {"plan": "y"}}),
    );
    metadata(
        "track",
        json!({"traits": {"plan": "y"}}),
        json!({"plan": null, "traits": null}),
    );
    metadata(
        "identify",
        json!({"properties": {"a": 1}}),
        json!({"a": null}),
    );
}

#[test]
fn who_sent_it() {
    let library = |name: &str| json!({"context": {"library": {"name": name}}});
    let channel = |name: &str| json!({"channel": name, "context": {"library": {"name": "x"}}});
    for (call, curl, browser) in [
        (json!({}), false, true),
        (channel("web"), true, true),
        (channel("browser"), true, true),
        (channel("mobile"), true, true),
        (channel("server"), false, false),
        (channel("sources"), false, false),
        (channel("other"), false, true),
        (library("analytics.js"), true, true),
        (library("RudderLabs JavaScript SDK"), true, true),
        (library("Rudderstack AMP SDK"), true, true),
        (library("analytics-ios"), true, true),
        (library("analytics-swift"), true, true),
        (library("analytics-android"), true, true),
        (library("analytics-kotlin"), true, true),
        (library("@segment/analytics-react-native"), true, true),
        (library("analytics_flutter"), true, true),
        (library("rudder-ios-library"), true, true),
        (library("com.rudderstack.android.sdk.core"), true, true),
        (library("@segment/analytics-node"), false, false),
        (library("analytics-node"), false, false),
        (library("analytics-python"), false, false),
        (library("analytics-go"), false, false),
        (library("analytics-java"), false, false),
        (library("analytics-ruby"), false, false),
        (library("Analytics.NET"), false, false),
        (library("rudder-sdk-ruby-sync"), false, false),
        (library("unheard-of"), false, true),
        (
            json!({"context": {"library": "x"}, "channel": 7}),
            false,
            true,
        ),
    ] {
        let mut call = call;
        call["userId"] = "u".into();
        let draft = draft("page", &call);
        assert_eq!(draft.from_visitor("curl/8"), curl, "{call}");
        assert_eq!(draft.from_visitor("Mozilla/5.0 (X11)"), browser, "{call}");
    }
}

#[test]
fn nobody_is_left_after_anonymising() {
    let context = json!({
        "ip": "203.0.113.9", "userAgent": "UA", "locale": "de-DE", "sessionId": 5, "traits": {"email": "SECRET"},
        "device": {"id": "SECRET", "advertisingId": "SECRET", "name": "SECRET", "model": "M"}, "externalId": "SECRET",
        "library": {"name": "l"}, "groupId": "SECRET", "amp": {"id": "SECRET"}, "page": {"title": "T", "path": "/p"},
    });
    let hash = |id: &str| format!("h{}", id.len());
    let anonymous = |endpoint: &str, call: Value| {
        let mut draft = draft(endpoint, &call);
        draft.anonymise(hash);
        let said = said(&draft);
        assert!(!said.to_string().contains("SECRET"), "{said}");
        said
    };
    let track = anonymous(
        "track",
        json!({"event": "Product Added", "userId": "SECRET", "anonymousId": "SECRET-2", "context": context, "properties": {"sku": "s"}}),
    );
    assert_eq!(track["user_id"], "h6");
    assert_eq!(track["session_id"], "h10");
    assert_eq!(
        track["metadata"],
        json!({
            "event_name": "Product Added", "title": "T", "product_id": "s", "user_agent": "UA", "locale": "de-DE",
            "context": {"library": {"name": "l"}, "page": {"path": "/p"}, "device": {"model": "M"}},
        })
    );
    let identify = anonymous(
        "identify",
        json!({"userId": "u", "traits": {"email": "SECRET", "title": "SECRET", "sku": "SECRET", "context": "SECRET"}}),
    );
    assert_eq!(identify["metadata"], json!({}));
    assert_eq!(identify["session_id"], json!(null), "derived");
    let group = anonymous(
        "group",
        json!({"userId": "u", "groupId": "SECRET", "traits": {"name": "SECRET", "properties": "SECRET"}, "context": {"locale": "x"}}),
    );
    assert_eq!(group["metadata"], json!({"locale": "x"}));
    let alias = anonymous("alias", json!({"userId": "u", "previousId": "SECRET"}));
    assert_eq!(alias["metadata"], json!({}));
}

#[test]
fn what_is_no_call_is_refused() {
    let calls = Calls::split(r#"{"batch":[1]}"#, Endpoint::Batch, 9).unwrap();
    let fails = |json: &str| {
        let rejection = Draft::of(json, &calls, &EventTypes::default(), now()).unwrap_err();
        rejection.code.into_owned()
    };
    for json in ["", "{", r#"{"\ud800":1}"#, "nul"] {
        assert_eq!(fails(json), "event_malformed", "{json}");
    }
    for json in ["[]", "7", r#""x""#] {
        assert_eq!(fails(json), "event_not_an_object", "{json}");
    }
    for json in [
        r#"{"type":"page","userId":"\ud800"}"#,
        r#"{"type":"track","userId":"u","event":"\ud800"}"#,
        r#"{"type":"page","userId":"u","context":{"\ud800":1}}"#,
    ] {
        assert_eq!(fails(json), "event_malformed", "{json}");
    }
    assert!(!format!("{:?}", draft("page", &json!({"userId": "SECRET"}))).contains("SECRET"));
}

#[test]
fn two_categories_that_the_index_does_not_take_are_both_kept() {
    let call = json!({"userId": "u", "category": {"a": 1}, "properties": {"category": {"b": 1}}});
    for endpoint in ["page", "screen"] {
        let draft = drafts(endpoint, &call.to_string()).remove(0).unwrap();
        let metadata: Value = serde_json::from_str(draft.metadata.get()).unwrap();
        assert_eq!(
            metadata["properties"],
            json!({"call_category": {"a": 1}, "category": {"b": 1}})
        );
    }
}

/// JSON as a client may write it: any types anywhere, few names.
fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,8}",
        Just("https://shop.example/a".to_owned()),
        Just("2026-11-26T12:00:00Z".to_owned()),
        Just("track".to_owned()),
        Just("203.0.113.9".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "type",
        "event",
        "userId",
        "anonymousId",
        "messageId",
        "context",
        "properties",
        "traits",
        "page",
        "url",
        "title",
        "referrer",
        "name",
        "category",
        "amount",
        "revenue",
        "quantity",
        "sku",
        "product_id",
        "order_id",
        "orderId",
        "query",
        "ip",
        "ip_address",
        "userAgent",
        "user_agent",
        "locale",
        "screen",
        "campaign",
        "sessionId",
        "integrations",
        "session_id",
        "Actions Amplitude",
        "sentAt",
        "timestamp",
        "originalTimestamp",
        "library",
        "device",
        "channel",
        "é",
        "a.b",
    ])
    .prop_map(str::to_owned)
}

fn passes(draft: &Draft) {
    let json: Value = serde_json::from_str(draft.metadata.get()).unwrap();
    assert!(json.is_object(), "{json}");
    Metadata::parse(Some(&draft.metadata), &Limits::DEFAULT, Stage::Collect)
        .unwrap_or_else(|rejection| panic!("{rejection}: {json}"));
}

proptest! {
    #[test]
    fn whatever_a_call_holds_its_metadata_is_sound(
        fields in prop::collection::btree_map(name(), json_value(), 0..12),
        batch in json_value(),
        endpoint in prop::sample::select(vec!["t", "p", "s", "i", "g", "a", "batch", "import"]),
        who in prop::option::of("[a-z]{1,5}"),
        event in prop::option::of("[A-Za-z ]{1,9}"),
    ) {
        let mut call = Value::Object(fields.into_iter().collect());
        if let Some(who) = who { call["userId"] = who.into(); }
        if let Some(event) = event { call["event"] = event.into(); }
        let body = if matches!(endpoint, "batch" | "import") {
            json!({"batch": [call], "context": batch, "sentAt": null})
        } else {
            call
        };
        let result = drafts(endpoint, &body.to_string()).remove(0);
        if let Ok(mut draft) = result {
            passes(&draft);
            prop_assert!(draft.page_url.as_deref().is_none_or(freshet_events::is_web_url));
            draft.anonymise(|id| format!("h{}", id.len()));
            passes(&draft);
            let left: Value = serde_json::from_str(draft.metadata.get()).unwrap();
            for key in ["ip_address", "traits", "anonymous_id", "previous_id", "group_id"] {
                prop_assert!(left.get(key).is_none(), "{} in {}", key, left);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"[\[\]{}",:a0\\u d8n.-]{0,60}"#) {
        if let Ok(calls) = Calls::split(&text, Endpoint::Batch, 4) {
            let _ = Draft::of(&text, &calls, &EventTypes::default(), now());
        }
        let calls = Calls::split("{}", Endpoint::One(CallType::Page), 4).unwrap();
        let _ = Draft::of(&text, &calls, &EventTypes::default(), now());
        let _ = crate::claimed_message_id(&text);
    }

    #[test]
    fn a_clock_is_corrected_by_any_shift(shift in -1_000_000_000_i64..1_000_000_000, waited in 0_i64..1_000_000) {
        let call = json!({"userId": "u", "timestamp": NOW + shift - waited, "sentAt": NOW + shift});
        let draft = draft("page", &call);
        prop_assert_eq!(draft.timestamp.as_millis(), NOW - waited);
    }
}
