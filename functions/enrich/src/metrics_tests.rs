//! The line that an invocation writes.

use crate::handler::Handler;
use crate::tests::{batch, notice, packed, servers, wire_event};
use freshet_events::wire;
use freshet_telemetry::{Metrics, Written};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

async fn invoke(handler: &Handler, payload: String) -> Value {
    let (metrics, written) = Metrics::kept("shop");
    let mut context = Context::default();
    context.request_id = "r-1".to_owned();
    let deadline = SystemTime::now() + Duration::from_secs(12);
    let since = deadline.duration_since(UNIX_EPOCH).unwrap();
    context.deadline = u64::try_from(since.as_millis()).unwrap();
    let payload = RawValue::from_string(payload).unwrap();
    let _ = handler
        .invoke(LambdaEvent::new(payload, context), &metrics)
        .await;
    let lines = written.lines();
    assert_eq!(lines.len(), 1, "one line an invocation");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["Stack"], &line["Stage"], &line["requestId"]),
        (&"shop".into(), &"enrich".into(), &"r-1".into())
    );
    line
}

/// How many times a distribution holds.
fn times(line: &Value, name: &str) -> u64 {
    match &line[name] {
        Value::Null => 0,
        Value::Number(_) => 1,
        value => {
            let counts = value["Counts"].as_array().unwrap();
            counts.iter().filter_map(Value::as_u64).sum()
        }
    }
}

#[tokio::test]
async fn every_final_outcome_is_counted_by_its_kind() {
    let (_server, handler) = servers(200).await;
    let plain = wire_event("x")
        .replace("\"source\":\"shop\",", "")
        .replace("\"received_at\":2000,", "");
    let records = [
        packed(&["a", "b", "dup1"]),
        packed(&["bad1", "c"]),
        plain.into_bytes(),
        vec![0xff, 0],
        br#"{"user_id":7}"#.to_vec(),
        notice("shop", &[("field_missing", 3)]),
    ];
    let line = invoke(&handler, batch(&records)).await;
    let expected = BTreeMap::from([
        ("Received", 8),
        ("Indexed", 4),
        ("Duplicates", 1),
        ("Rejected", 1),
        ("Undecodable", 2),
        ("DeadLetters", 3),
        ("OtherProducers", 3),
        ("Records", 6),
        ("Rejected.mapper_parsing_exception", 1),
        ("Rejected.record_undecodable", 1),
        ("Rejected.field_wrong_type", 1),
    ]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
    assert_eq!(line["notices"], 1);
    assert_eq!(
        times(&line, "ProcessingLatency"),
        4,
        "each newly indexed one"
    );
    assert_eq!(times(&line, "ConsumerLag"), 1);
    assert_eq!(times(&line, "OpenSearch.alias.ok"), 1);
    assert_eq!(times(&line, "OpenSearch.bulk.ok"), 2, "events and lines");
    let bytes: usize = records.iter().map(Vec::len).sum();
    assert_eq!(line["BytesIn"].as_u64(), Some(bytes as u64));
}

#[tokio::test]
async fn a_bot_s_event_counts_among_the_indexed_and_only_once() {
    let (_server, handler) = servers(200).await;
    let of_a_bot = |id: &str| {
        let agent = r#""metadata":{"user_agent":"HeadlessChrome/142","#;
        wire_event(id).replacen(r#""metadata":{"#, agent, 1)
    };
    let mut packer = wire::Packer::new();
    for event in [of_a_bot("a"), of_a_bot("dup1"), wire_event("b")] {
        packer.push(event.as_bytes());
    }
    let line = invoke(&handler, batch(&[packer.finish()])).await;
    let expected = BTreeMap::from([
        ("Received", 3),
        ("Indexed", 2),
        ("Bots", 1),
        ("Duplicates", 1),
        ("Records", 1),
    ]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
}

#[tokio::test]
async fn what_comes_again_counts_when_it_is_final() {
    let (_server, handler) = servers(200).await;
    let records = [packed(&["a"]), packed(&["retry1", "b"]), packed(&["bad1"])];
    let line = invoke(&handler, batch(&records)).await;
    let expected = BTreeMap::from([
        ("Received", 4),
        ("Indexed", 1),
        ("Retried", 3),
        ("Records", 3),
    ]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
    assert_eq!(line["retryCode"], "rejected_execution_exception");
    // It is in the index, and the next time it is a duplicate.
    assert_eq!(times(&line, "ProcessingLatency"), 2);
}

#[tokio::test]
async fn requests_are_told_by_their_outcome() {
    let (server, handler) = servers(200).await;
    server.reset().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(503))
        .mount(&server)
        .await;
    let line = invoke(&handler, batch(&[packed(&["a"])])).await;
    assert!(times(&line, "OpenSearch.alias.failed") >= 1, "{line}");
    assert_eq!(Written::counts(&line).unwrap()["Retried"], 1);
    // Nothing is there: 404.
    server.reset().await;
    let line = invoke(&handler, batch(&[packed(&["a"])])).await;
    assert!(times(&line, "OpenSearch.alias.refused") >= 1, "{line}");
    assert_eq!(times(&line, "OpenSearch.alias.failed"), 0, "taken once");
}

#[tokio::test]
async fn an_invocation_that_fails_has_its_line_too() {
    let (_server, handler): (MockServer, Handler) = servers(200).await;
    let line = invoke(&handler, "{}".to_owned()).await;
    assert_eq!(line["ColdStarts"], 1);
    assert_eq!(Written::counts(&line).unwrap(), BTreeMap::new());
}
