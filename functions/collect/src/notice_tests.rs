//! The way of notices, from the request to the stream.

use crate::config::Config;
use crate::handler::Handler;
use crate::write_keys::WriteKeys;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_events::Notice;
use freshet_events::wire::Contents;
use freshet_streams::{DeadLetterQueue, Stream};
use freshet_telemetry::stages::Collect;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) const GOOD: &str = r#"{"user_id":"u","session_id":"s","event_type":"page_view","page_url":"https://a.example/","timestamp":"NOW"}"#;

pub(crate) fn events(events: &[&str]) -> String {
    let now = freshet_edge::now().to_string();
    format!("[{}]", events.join(",").replace("NOW", &now))
}

/// A stream that answers so, and a collector in front of it. The queue takes
/// nothing: no test here may need it.
pub(crate) async fn collector(
    stream: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, Handler) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("x-amz-target", "Kinesis_20131202.PutRecords"))
        .respond_with(stream)
        .mount(&server)
        .await;
    let credentials = Credentials::new("test", "test", None, None, "test");
    let kinesis = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials.clone())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(server.uri())
        .build();
    let sqs = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .endpoint_url(server.uri())
        .build();
    let vars = [("STREAM_NAME", "s"), ("DEAD_LETTER_QUEUE_URL", "q")];
    let vars = vars.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let handler = Handler::new(
        Stream::new(aws_sdk_kinesis::Client::from_conf(kinesis), "s"),
        DeadLetterQueue::new(aws_sdk_sqs::Client::from_conf(sqs), "q"),
        WriteKeys::open(),
        &Config::from_vars(vars).unwrap(),
    );
    (server, handler)
}

/// Takes every record but those that `refuse` is true for.
pub(crate) fn answer(request: &Request, refuse: impl Fn(&[u8]) -> bool) -> ResponseTemplate {
    let entry = |data: Vec<u8>| {
        if refuse(&data) {
            json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
        } else {
            json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        }
    };
    let answers: Vec<Value> = records(request).into_iter().map(entry).collect();
    ResponseTemplate::new(200).set_body_json(json!({"FailedRecordCount": 0, "Records": answers}))
}

fn records(request: &Request) -> Vec<Vec<u8>> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let records = body["Records"].as_array().unwrap();
    records
        .iter()
        .map(|record| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap())
        .collect()
}

async fn post(handler: &Handler, body: &str) -> (u16, Vec<String>) {
    let payload = json!({
        "rawPath": "/v1/events", "rawQueryString": "", "headers": {"content-type": "application/json"},
        "requestContext": {"stage": "$default", "http": {
            "method": "POST", "path": "/v1/events", "sourceIp": "203.0.113.9", "userAgent": "curl/8"}},
        "body": body, "isBase64Encoded": false,
    });
    let deadline = SystemTime::now() + Duration::from_secs(20);
    let mut line = Collect::default();
    let answer = handler
        .handle(&payload.to_string(), deadline, &mut line)
        .await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let results = body["results"].as_array().cloned().unwrap_or_default();
    let status = |result: &Value| result["status"].as_str().unwrap().to_owned();
    (answer.status_code, results.iter().map(status).collect())
}

/// Every request that the stream saw: its records, and the notices of them.
async fn seen(server: &MockServer) -> Vec<(usize, Vec<Notice>)> {
    let requests = server.received_requests().await.unwrap();
    let each = requests.iter().map(|request| {
        let records = records(request);
        let notices = records.iter().filter_map(|data| {
            assert!(
                !data
                    .windows(11)
                    .any(|bytes| bytes == b"203.0.113.9" && data[0] == 3)
            );
            match Contents::open(data).unwrap() {
                Contents::Notice(notice) => Some(notice),
                Contents::Events(_) => None,
            }
        });
        (records.len(), notices.collect())
    });
    each.collect()
}

fn counts(notice: &Notice) -> Vec<(&str, u32)> {
    let counts = notice.rejected().iter();
    counts
        .map(|(code, count)| (code.as_str(), *count))
        .collect()
}

#[tokio::test]
async fn what_is_dropped_goes_along_with_what_is_not() {
    let (server, handler) = collector(|request| answer(request, |_| false)).await;
    let body = events(&["{}", GOOD, "17", "{}"]);
    let (status, results) = post(&handler, &body).await;
    assert_eq!(
        (status, results.join(",").as_str()),
        (200, "drop,ok,drop,drop")
    );
    let seen = seen(&server).await;
    assert_eq!((seen.len(), seen[0].0, seen[0].1.len()), (1, 2, 1));
    let notice = &seen[0].1[0];
    assert_eq!(
        counts(notice),
        [("event_not_an_object", 1), ("field_missing", 2)]
    );
    assert_eq!(notice.source(), "open");
    let last = records(&server.received_requests().await.unwrap()[0])
        .pop()
        .unwrap();
    assert_eq!(last, notice.encode(), "it is the last record");
}

#[tokio::test]
async fn a_request_of_bad_events_alone_puts_only_a_notice() {
    let (server, handler) = collector(|request| answer(request, |_| false)).await;
    let (status, results) = post(&handler, &events(&["{}", "{}"])).await;
    assert_eq!((status, results.join(",").as_str()), (400, "drop,drop"));
    let seen = seen(&server).await;
    assert_eq!(
        (seen.len(), seen[0].0, counts(&seen[0].1[0])),
        (1, 1, vec![("field_missing", 2)])
    );
}

#[tokio::test]
async fn nothing_dropped_and_nothing_readable_send_no_notice() {
    let (server, handler) = collector(|request| answer(request, |_| false)).await;
    assert_eq!(post(&handler, &events(&[GOOD])).await.0, 200);
    for body in [
        "",
        "[]",
        "hello",
        "[{",
        &format!("[{}1]", "1,".repeat(2_500)),
    ] {
        assert!(post(&handler, body).await.0 >= 400, "{body:.20}");
    }
    let seen = seen(&server).await;
    assert_eq!((seen.len(), seen[0].0, seen[0].1.len()), (1, 1, 0));
}

#[tokio::test]
async fn a_notice_that_is_refused_changes_no_answer_and_is_not_queued() {
    // Only notices are refused, always.
    let (server, handler) = collector(|request| answer(request, |data| data[0] == 3)).await;
    let (status, results) = post(&handler, &events(&["{}", GOOD])).await;
    assert_eq!((status, results.join(",").as_str()), (200, "drop,ok"));
    let (status, results) = post(&handler, &events(&["{}"])).await;
    assert_eq!((status, results.join(",").as_str()), (400, "drop"));
    let requests = server.received_requests().await.unwrap();
    assert_eq!(
        requests.len(),
        2,
        "one try each, and no message to the queue"
    );
}

#[tokio::test]
async fn a_stream_that_does_not_answer_holds_no_refusal() {
    let (_server, handler) =
        collector(|_| ResponseTemplate::new(200).set_delay(Duration::from_secs(60))).await;
    let asked = Instant::now();
    let (status, results) = post(&handler, &events(&["{}"])).await;
    assert_eq!((status, results.join(",").as_str()), (400, "drop"));
    // With good events in it, the stream would have six of its ten seconds.
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}
