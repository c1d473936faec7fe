//! Requests as today's SDKs write them.

use super::tests::{drafts, said};
use serde_json::{Value, json};

const UA: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36";

fn all(endpoint: &str, body: &Value) -> Vec<Value> {
    let drafts = drafts(endpoint, &body.to_string());
    drafts
        .iter()
        .map(|draft| said(draft.as_ref().unwrap()))
        .collect()
}

/// `@segment/analytics-next` 1.84 posts one call a request.
#[test]
fn analytics_next() {
    let page = json!({
        "timestamp": "2026-11-26T12:00:00.100Z", "integrations": {}, "type": "page",
        "properties": {"path": "/thanks", "referrer": "https://shop.example/checkout", "search": "?order=1", "title": "Thanks", "url": "https://shop.example/thanks?order=1"},
        "name": null,
        "context": {
            "page": {"path": "/thanks", "referrer": "https://shop.example/checkout", "search": "?order=1", "title": "Thanks", "url": "https://shop.example/thanks?order=1"},
            "userAgent": UA, "userAgentData": {"mobile": false, "platform": "Linux", "brands": [{"brand": "Chromium", "version": "140"}]},
            "locale": "en-US", "library": {"name": "analytics.js", "version": "npm:next-1.84.3"}, "timezone": "UTC",
            "campaign": {"source": "news", "name": "autumn"},
        },
        "messageId": "ajs-next-1795694400100-0a1b", "userId": null, "anonymousId": "5f0c6f9a",
        "writeKey": "k", "sentAt": "2026-11-26T12:00:00.200Z",
        "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
    });
    assert_eq!(
        all("p", &page),
        [json!({
            "event_id": "ajs-next-1795694400100-0a1b", "user_id": "5f0c6f9a", "session_id": null,
            "event_type": "page_view", "page_url": "https://shop.example/thanks?order=1",
            "timestamp": "2026-11-26T11:59:59.900Z", "sent_at": "2026-11-26T12:00:00.200Z",
            "metadata": {
                "title": "Thanks", "referrer": "https://shop.example/checkout", "user_agent": UA, "locale": "en-US",
                "campaign": {"source": "news", "name": "autumn"}, "path": "/thanks", "search": "?order=1",
                "context": {
                    "userAgentData": {"mobile": false, "platform": "Linux", "brands": [{"brand": "Chromium", "version": "140"}]},
                    "library": {"name": "analytics.js", "version": "npm:next-1.84.3"}, "timezone": "UTC",
                },
            },
        })]
    );
    let mut track = page;
    track["type"] = "track".into();
    track["event"] = "Order Completed".into();
    track["userId"] = "u-1".into();
    track["properties"] = json!({"order_id": "O-1", "revenue": 52.5, "currency": "EUR", "products": [{"product_id": "P1", "quantity": 1}]});
    let event = all("t", &track).remove(0);
    assert_eq!(event["event_type"], "purchase");
    assert_eq!(event["page_url"], "https://shop.example/thanks?order=1");
    let metadata = &event["metadata"];
    assert_eq!(
        (
            &metadata["amount"],
            &metadata["currency"],
            &metadata["order_id"]
        ),
        (&json!(52.5), &json!("EUR"), &json!("O-1"))
    );
    assert_eq!(metadata["anonymous_id"], "5f0c6f9a");
    assert_eq!(
        metadata["context"]["page"],
        json!({"path": "/thanks", "search": "?order=1"})
    );
    assert_eq!(metadata["properties"], json!(null));
}

/// `@segment/analytics-node` 3.1.
#[test]
fn analytics_node() {
    let body = json!({
        "batch": [
            {
                "timestamp": "2026-11-26T12:00:00.000Z", "integrations": {}, "type": "track", "userId": "u-1", "event": "Checkout Started",
                "properties": {"value": 10}, "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}},
                "messageId": "node-next-1795694400000-6a1f", "_metadata": {"nodeVersion": "v22.1.0", "jsRuntime": "node"},
            },
            {
                "timestamp": "2026-11-26T12:00:00.000Z", "type": "identify", "userId": "u-1", "traits": {"email": "a@example.com"},
                "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}}, "messageId": "node-next-2",
            },
        ],
        "writeKey": "k", "sentAt": "2026-11-26T12:00:10.000Z",
    });
    let events = all("batch", &body);
    assert_eq!(events[0]["event_type"], "checkout_start");
    assert_eq!(events[0]["timestamp"], "2026-11-26T11:59:50.000Z");
    assert_eq!(events[0]["page_url"], json!(null));
    assert_eq!(
        events[0]["metadata"],
        json!({"event_name": "Checkout Started", "value": 10, "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}}})
    );
    assert_eq!(
        (&events[1]["event_type"], &events[1]["metadata"]["email"]),
        (&json!("identify"), &json!("a@example.com"))
    );
    let drafts = drafts("batch", &body.to_string());
    assert!(
        !drafts[0]
            .as_ref()
            .unwrap()
            .from_visitor("analytics-node-next/latest")
    );
}

/// `segment-analytics-python` 2.4: null ids, and offsets in its times.
#[test]
fn analytics_python() {
    let body = json!({
        "batch": [{
            "integrations": {}, "anonymousId": null, "properties": {"sku": "P1", "name": "Mug", "price": 18.0, "quantity": 1},
            "timestamp": "2026-11-26T13:00:00.000+01:00", "context": {"library": {"name": "analytics-python", "version": "2.4.0"}, "page": {"url": "https://shop.example/product/mug"}, "userAgent": UA, "ip": "203.0.113.9"},
            "userId": "42", "type": "track", "event": "Product Added", "messageId": "6e8c2f4e-8b0d-4a5e-9b43-2d6d4f6a1c11",
        }],
        "sentAt": "2026-11-26T12:00:00.500000+00:00", "writeKey": "k",
    });
    let event = all("batch", &body).remove(0);
    assert_eq!(event["timestamp"], "2026-11-26T11:59:59.500Z");
    assert_eq!(
        (&event["user_id"], &event["event_type"]),
        (&json!("42"), &json!("add_to_cart"))
    );
    assert_eq!(event["page_url"], "https://shop.example/product/mug");
    assert_eq!(
        event["metadata"],
        json!({
            "event_name": "Product Added", "product_id": "P1", "product_name": "Mug", "price": 18.0, "quantity": 1,
            "user_agent": UA, "ip_address": "203.0.113.9", "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        })
    );
}

/// `@rudderstack/analytics-js` 3.34: a session, null properties, traits of
/// identify in the context, `$direct`.
#[test]
fn rudder_js() {
    let context = |traits: Value| {
        json!({
            "traits": traits, "sessionId": 1_795_694_390_000_u64, "sessionStart": true, "ua-ch": null,
            "app": {"name": "RudderLabs JavaScript SDK", "version": "3.34.1", "namespace": "com.rudderlabs.javascript", "installType": "npm"},
            "library": {"name": "RudderLabs JavaScript SDK", "version": "3.34.1"}, "userAgent": UA, "os": {"name": "", "version": ""}, "locale": "en-US",
            "screen": {"width": 800, "height": 600, "density": 1, "innerWidth": 800, "innerHeight": 600}, "campaign": {},
            "page": {"path": "/", "referrer": "$direct", "referring_domain": "", "search": "", "title": "Shop", "url": "https://shop.example/", "tab_url": "https://shop.example/", "initial_referrer": "$direct", "initial_referring_domain": ""},
            "timezone": "GMT+0000",
        })
    };
    let body = json!({
        "batch": [
            {"userId": "u-1", "type": "identify", "channel": "web", "context": context(json!({"email": "a@example.com"})), "originalTimestamp": "2026-11-26T12:00:00.000Z",
             "messageId": "b5c1", "anonymousId": "an-1", "event": null, "properties": null, "integrations": {"All": true}, "sentAt": "2026-11-26T12:00:01.000Z"},
            {"properties": {"name": "Home", "path": "/", "referrer": "$direct", "search": "", "title": "Shop", "url": "https://shop.example/", "tab_url": "https://shop.example/", "referring_domain": "", "initial_referrer": "$direct", "initial_referring_domain": ""},
             "name": "Home", "type": "page", "channel": "web", "context": context(json!({})), "originalTimestamp": "2026-11-26T12:00:00.000Z",
             "messageId": "b5c2", "userId": "", "anonymousId": "an-1", "event": null, "integrations": {"All": true}, "sentAt": "2026-11-26T12:00:01.000Z"},
        ],
        "sentAt": "2026-11-26T12:00:01.000Z",
    });
    let events = all("batch", &body);
    for event in &events {
        assert_eq!(event["session_id"], "an-1:1795694390000");
        assert_eq!(event["timestamp"], "2026-11-26T11:59:59.000Z");
        assert_eq!(event["page_url"], "https://shop.example/");
        assert_eq!(
            (&event["metadata"]["title"], &event["metadata"]["referrer"]),
            (&json!("Shop"), &json!(null))
        );
        assert_eq!(event["metadata"]["user_agent"], UA);
    }
    assert_eq!(
        (&events[0]["user_id"], &events[0]["event_type"]),
        (&json!("u-1"), &json!("identify"))
    );
    assert_eq!(
        (
            &events[0]["metadata"]["email"],
            &events[0]["metadata"]["traits"]
        ),
        (&json!("a@example.com"), &json!(null))
    );
    assert_eq!(
        (&events[1]["user_id"], &events[1]["event_type"]),
        (&json!("an-1"), &json!("page_view"))
    );
    assert_eq!(
        (
            &events[1]["metadata"]["page_name"],
            &events[1]["metadata"]["name"]
        ),
        (&json!("Home"), &json!(null))
    );
    assert_eq!(
        events[1]["metadata"]["context"]["page"],
        json!(null),
        "its properties say it"
    );
    let drafts = drafts("batch", &body.to_string());
    assert!(drafts[0].as_ref().unwrap().from_visitor(""));
}

/// `@rudderstack/rudder-sdk-node` 3.0: channel `server`, traits said twice, and
/// a `timestamp` only if the program gives one.
#[test]
fn rudder_node() {
    let library = json!({"name": "analytics-node", "version": "3.0.13"});
    let body = json!({
        "batch": [
            {"userId": "u-1", "traits": {"plan": "x"}, "context": {"traits": {"plan": "x"}, "library": library}, "type": "identify", "channel": "server",
             "_metadata": {"nodeVersion": "22.1.0"}, "originalTimestamp": "2026-11-26T12:00:00.000Z", "messageId": "r1", "sentAt": "2026-11-26T12:00:02.000Z"},
            {"userId": "u-1", "event": "Order Completed", "properties": {"total": "41.00"}, "timestamp": "2026-11-20T08:00:00.000Z", "context": {"library": library}, "type": "track",
             "channel": "server", "originalTimestamp": "2026-11-26T12:00:00.000Z", "messageId": "r2", "sentAt": "2026-11-26T12:00:02.000Z"},
        ],
        "timestamp": "2026-11-26T12:00:02.000Z", "sentAt": "2026-11-26T12:00:02.000Z",
    });
    let events = all("batch", &body);
    assert_eq!(events[0]["timestamp"], "2026-11-26T11:59:58.000Z");
    assert_eq!(
        events[0]["metadata"],
        json!({"plan": "x", "context": {"library": library}})
    );
    assert_eq!(events[1]["timestamp"], "2026-11-20T08:00:00.000Z");
    assert_eq!(
        (&events[1]["event_type"], &events[1]["metadata"]["amount"]),
        (&json!("purchase"), &json!("41.00"))
    );
    let drafts = drafts("batch", &body.to_string());
    assert!(
        !drafts[0].as_ref().unwrap().from_visitor(UA),
        "a server may write any user agent"
    );
}

/// A pixel's query, as an e-mail or AMP has it.
#[test]
fn a_pixel() {
    let query = "writeKey=k&anonymousId=a-1&event=Order+Completed&properties.revenue=5.5&context.page.url=https%3A%2F%2Fshop.example%2F";
    let body = crate::pixel(query, crate::CallType::Track).unwrap();
    let event = said(drafts("track", &body)[0].as_ref().unwrap());
    assert_eq!(
        (&event["event_type"], &event["metadata"]["amount"]),
        (&json!("purchase"), &json!("5.5"))
    );
    assert_eq!(event["page_url"], "https://shop.example/");
}

/// What a person writes for curl.
#[test]
fn an_indented_call() {
    let body = serde_json::to_string_pretty(&json!({
        "userId": "u", "event": "E", "properties": {"a": {"b": [1, "c\nd"]}}, "context": {"app": {"name": "A"}},
    }));
    let event = said(drafts("track", &body.unwrap())[0].as_ref().unwrap());
    assert_eq!(event["metadata"]["a"], json!({"b": [1, "c\nd"]}));
    assert_eq!(event["metadata"]["context"], json!({"app": {"name": "A"}}));
}
