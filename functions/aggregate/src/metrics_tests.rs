//! The line that an invocation writes.

use crate::config::Config;
use crate::handler::Handler;
use crate::invocation::State;
use crate::tests::{enricher, payload, record, view};
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use freshet_tables::{ChainTable, ResultTable};
use freshet_telemetry::{Metrics, Written};
use freshet_windows::Registry;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A table that answers everything so: takes all, and has nothing.
async fn consumer(status: u16) -> (MockServer, Handler) {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(status).set_body_json(json!({})))
        .mount(&server)
        .await;
    let credentials = Credentials::new("test", "test", None, None, "test");
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(server.uri())
        .retry_config(RetryConfig::disabled())
        .build();
    let vars = [
        ("AGGREGATION_TABLE", "t"),
        ("UA_REGEXES_PATH", "r"),
        ("CRAWLERS_PATH", "c"),
    ];
    let vars = vars.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let handler = Handler::new(
        enricher(),
        Registry::builtin(),
        ChainTable::new(&aws, "t"),
        ResultTable::new(&aws, "t"),
        &Config::from_vars(vars).unwrap(),
    );
    (server, handler)
}

/// The line, and whether the invocation succeeded.
async fn invoke(handler: &Handler, payload: String) -> (Value, bool) {
    let (metrics, written) = Metrics::kept("shop");
    let mut context = Context::default();
    context.request_id = "r-1".to_owned();
    let payload = RawValue::from_string(payload).unwrap();
    let answer = handler
        .invoke(LambdaEvent::new(payload, context), &metrics)
        .await;
    let lines = written.lines();
    assert_eq!(lines.len(), 1, "one line an invocation");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["Stage"], &line["requestId"]),
        (&"aggregate".into(), &"r-1".into())
    );
    (line, answer.is_ok())
}

/// A batch whose arrival window is under way.
fn batch(records: &[Value], is_final: bool) -> String {
    let start = freshet_edge::now().as_millis() / 60_000 * 60;
    let mut batch: Value =
        serde_json::from_str(&payload(records, &State::default(), is_final)).unwrap();
    let iso = |seconds: i64| {
        let at = freshet_events::Timestamp::from_millis(seconds * 1000).unwrap();
        json!(at.to_string())
    };
    batch["window"] = json!({"start": iso(start), "end": iso(start + 60)});
    for record in batch["Records"].as_array_mut().unwrap() {
        record["kinesis"]["approximateArrivalTimestamp"] = json!(start as f64 + 0.5);
    }
    batch.to_string()
}

/// A page view of so many minutes ago.
fn view_of(id: &str, ago_minutes: i64) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(&view(id, 0)).unwrap();
    event["timestamp"] = json!(freshet_edge::now().as_millis() - ago_minutes * 60_000);
    event.to_string().into_bytes()
}

#[tokio::test]
async fn a_batch_is_counted_and_timed() {
    let (_server, handler) = consumer(200).await;
    let data = [view_of("a", 0), view_of("old", 60), vec![2, 0xff, 0xff]];
    let records = [1, 2, 3].map(|n| record(n, &data[n as usize - 1]));
    let (line, succeeded) = invoke(&handler, batch(&records, true)).await;
    assert!(succeeded);
    let mut counted = Written::counts(&line).unwrap();
    counted.remove("SlotsWritten");
    let expected = BTreeMap::from([
        ("Received", 3),
        ("Counted", 1),
        ("LateDropped", 1),
        ("Undecodable", 1),
        ("Records", 3),
    ]);
    assert_eq!(counted, expected);
    assert!(line.get("ProcessingLatency").is_some(), "{line}");
    assert!(line.get("ConsumerLag").is_some(), "{line}");
    assert_eq!(line["BytesIn"], data.concat().len());
}

#[tokio::test]
async fn an_invocation_that_fails_has_its_line_too() {
    let (_server, handler) = consumer(400).await;
    let (line, succeeded) = invoke(&handler, batch(&[record(1, &view_of("a", 0))], true)).await;
    assert!(!succeeded);
    let expected = BTreeMap::from([("Received", 1), ("Counted", 1), ("Records", 1)]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
    assert!(line.get("ProcessingLatency").is_none(), "it is not merged");
    let (line, succeeded) = invoke(&handler, "{}".to_owned()).await;
    assert!(!succeeded && Written::counts(&line).unwrap().is_empty());
    let (line, succeeded) = invoke(&handler, batch(&[], true)).await;
    assert!(succeeded && Written::counts(&line).unwrap().is_empty());
}

#[tokio::test]
async fn records_that_nobody_could_read_any_more_are_counted() {
    let (_server, handler) = consumer(200).await;
    let old = payload(&[record(1, &view("a", 0))], &State::default(), true)
        .replace("2026-11-25T18:3", "2020-11-25T18:3");
    let (line, succeeded) = invoke(&handler, old).await;
    assert!(succeeded);
    let expected = BTreeMap::from([("Records", 1), ("RecordsTooOld", 1)]);
    assert_eq!(Written::counts(&line).unwrap(), expected);
}
