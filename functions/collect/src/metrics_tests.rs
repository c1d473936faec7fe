//! The line that an invocation writes.

use crate::answer::Response;
use crate::handler::Handler;
use crate::stand_in::{GOOD, answer, collector, events};
use freshet_telemetry::{Metrics, Written};
use lambda_runtime::{Context, LambdaEvent};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every code that may follow `Rejected.` or `Refused.` here.
const CODES: [&str; 35] = [
    "body_malformed",
    "body_not_decodable",
    "body_not_utf8",
    "body_too_large",
    "body_wrong_shape",
    "call_type_unknown",
    "call_unknown",
    "event_malformed",
    "event_not_an_object",
    "event_too_large",
    "field_duplicate",
    "field_empty",
    "field_missing",
    "field_too_long",
    "field_unknown",
    "field_wrong_type",
    "metadata_key_duplicate",
    "metadata_key_empty",
    "metadata_too_deep",
    "metadata_value_too_long",
    "method_not_allowed",
    "no_events",
    "not_found",
    "opted_out",
    "page_url_invalid",
    "panicked",
    "request_malformed",
    "timestamp_in_future",
    "timestamp_invalid",
    "timestamp_too_old",
    "too_many_events",
    "unsupported_encoding",
    "unsupported_media_type",
    "write_key_invalid",
    "write_key_missing",
];

fn post(path: &str, headers: &Value, body: &str) -> String {
    json!({
        "rawPath": path, "rawQueryString": "", "headers": headers,
        "requestContext": {"stage": "$default", "http": {
            "method": "POST", "path": path, "sourceIp": "203.0.113.9", "userAgent": "curl/8"}},
        "body": body, "isBase64Encoded": false,
    })
    .to_string()
}

async fn invoke(handler: &Handler, payload: String) -> (Response, Value) {
    let (metrics, written) = Metrics::kept("shop");
    let mut context = Context::default();
    context.request_id = "r-1".to_owned();
    let deadline = SystemTime::now() + Duration::from_secs(20);
    let since = deadline.duration_since(UNIX_EPOCH).unwrap();
    context.deadline = u64::try_from(since.as_millis()).unwrap();
    let payload = RawValue::from_string(payload).unwrap();
    let response = handler
        .invoke(LambdaEvent::new(payload, context), &metrics)
        .await;
    let lines = written.lines();
    assert_eq!(lines.len(), 1, "one line an invocation");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["Stack"], &line["Stage"], &line["requestId"]),
        (&"shop".into(), &"collect".into(), &"r-1".into())
    );
    (response, line)
}

#[tokio::test]
async fn each_event_counts_once_by_what_it_was_told() {
    let (_server, handler) = collector(|request| answer(request, |_| false)).await;
    let body = events(&[GOOD, "7", GOOD, r#"{"user_id":"u"}"#, "8"]);
    let (response, line) = invoke(&handler, post("/v1/events", &json!({}), &body)).await;
    assert_eq!(response.status_code, 200);
    let expected = BTreeMap::from([
        ("Received", 5),
        ("Accepted", 2),
        ("Rejected", 3),
        ("Rejected.event_not_an_object", 2),
        ("Rejected.field_missing", 1),
        ("Records", 1),
    ]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
    assert_eq!(line["BytesIn"].as_u64(), Some(body.len() as u64));
    assert!(line["BytesOut"].as_u64().is_some_and(|bytes| bytes > 50));
    assert!(
        line["ProcessingLatency"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0)
    );
}

#[tokio::test]
async fn what_nothing_takes_is_to_be_sent_again_and_a_lost_notice_is_counted() {
    let (_server, handler) = collector(|request| answer(request, |_| true)).await;
    let body = events(&[GOOD, "7"]);
    let (response, line) = invoke(&handler, post("/v1/events", &json!({}), &body)).await;
    assert_eq!(response.status_code, 503);
    let expected = BTreeMap::from([
        ("Received", 2),
        ("Retry", 1),
        ("Rejected", 1),
        ("Rejected.event_not_an_object", 1),
        ("Records", 1),
        ("RejectionsNotNoted", 1),
    ]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
}

#[tokio::test]
async fn requests_that_are_refused_whole_are_counted_by_code() {
    let (_server, handler) = collector(|request| answer(request, |_| false)).await;
    let image = json!({"content-type": "image/png"});
    let cases = [
        ("{}".to_owned(), "request_malformed"),
        (post("/admin", &json!({}), ""), "not_found"),
        (post("/health", &json!({}), ""), "method_not_allowed"),
        (post("/v1/events", &image, "{}"), "unsupported_media_type"),
    ];
    for (payload, code) in cases {
        let (response, line) = invoke(&handler, payload).await;
        assert!((400..500).contains(&response.status_code));
        let name = format!("Refused.{code}");
        let expected = BTreeMap::from([("RequestsRefused", 1), (name.as_str(), 1)]);
        assert_eq!(Written::counts(&line).unwrap(), expected);
    }
    let healthy = post("/health", &json!({}), "").replace("POST", "GET");
    let (response, line) = invoke(&handler, healthy).await;
    assert_eq!(
        (response.status_code, Written::counts(&line).unwrap()),
        (200, BTreeMap::new())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a client sends, it makes no metric of its own.
    #[test]
    fn a_client_cannot_make_a_metric_s_name(
        path in prop_oneof![Just("/v1/events".to_owned()), "/[a-z]{0,8}"],
        header in "[a-z/]{0,12}",
        mut bodies in prop::collection::vec("[\\[\\]{}\":,a-z0-9.]{0,20}", 0..4),
        key in "[A-Za-z.\"]{1,12}",
    ) {
        bodies.push(json!({&key: key, "user_id": "u"}).to_string());
        bodies.push(json!({"event_type": key, "code": key}).to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let known: BTreeSet<String> = CODES
            .iter()
            .flat_map(|code| [format!("Rejected.{code}"), format!("Refused.{code}")])
            .collect();
        runtime.block_on(async {
            let (_server, handler) = collector(|request| answer(request, |_| false)).await;
            for body in [bodies.join("\n"), format!("[{}]", bodies.join(","))] {
                let headers = json!({"content-type": header, &key: key});
                for headers in [headers, json!({})] {
                    let (_, line) = invoke(&handler, post(&path, &headers, &body)).await;
                    for name in Written::counts(&line).unwrap().keys().filter(|name| name.contains('.')) {
                        assert!(known.contains(*name), "{name}");
                    }
                }
            }
        });
    }
}
