//! The way of notices, from the request to the stream.

use crate::handler::Handler;
use crate::stand_in::{GOOD, answer, collector, events, records};
use freshet_events::Notice;
use freshet_events::wire::Contents;
use freshet_telemetry::stages::Collect;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use wiremock::{MockServer, ResponseTemplate};

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
