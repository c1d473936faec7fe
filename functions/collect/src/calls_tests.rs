//! The way of a Segment call, from the request to the stream and back.

use crate::handler::Handler;
use crate::opt_out::{OptOut, PseudonymKey};
use crate::stand_in::{answer, collector, collector_with, records};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_events::wire::Contents;
use freshet_telemetry::stages::Collect;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use wiremock::{MockServer, ResponseTemplate};

/// A request, as API Gateway hands it over.
#[derive(Clone)]
struct Asked {
    method: &'static str,
    path: String,
    query: String,
    headers: Value,
    body: String,
    user_agent: &'static str,
}

fn post(path: &str, body: &Value) -> Asked {
    Asked {
        method: "POST",
        path: path.to_owned(),
        query: String::new(),
        headers: json!({"content-type": "application/json", "host": "api.example"}),
        body: body.to_string(),
        user_agent: "Mozilla/5.0 (X11) Firefox/145.0",
    }
}

fn get(path: &str, query: &str) -> Asked {
    Asked {
        method: "GET",
        query: query.to_owned(),
        ..post(path, &Value::Null)
    }
}

impl Asked {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers[name] = json!(value);
        self
    }
}

/// Status, headers and body of the answer; a body that is no JSON as text.
async fn ask(handler: &Handler, asked: Asked) -> (u16, Value, Value) {
    let payload = json!({
        "rawPath": asked.path, "rawQueryString": asked.query, "headers": asked.headers,
        "requestContext": {"stage": "$default", "http": {
            "method": asked.method, "path": asked.path, "sourceIp": "203.0.113.9", "userAgent": asked.user_agent}},
        "body": asked.body, "isBase64Encoded": false,
    });
    let deadline = SystemTime::now() + Duration::from_secs(20);
    let answer = handler
        .handle(&payload.to_string(), deadline, &mut Collect::default())
        .await;
    let shown = serde_json::to_value(&answer).unwrap();
    let body = serde_json::from_str(&answer.body).unwrap_or_else(|_| json!(answer.body));
    (answer.status_code, shown["headers"].clone(), body)
}

/// Every event that the stream has got, in wire form.
async fn put(server: &MockServer) -> Vec<Value> {
    let requests = server.received_requests().await.unwrap();
    let to_stream = requests.iter().filter(|request| {
        request
            .headers
            .get("x-amz-target")
            .is_some_and(|target| target == "Kinesis_20131202.PutRecords")
    });
    let mut events = Vec::new();
    for data in to_stream.flat_map(records) {
        if let Contents::Events(record) = Contents::open(&data).unwrap() {
            let texts = record.split().unwrap();
            events.extend(
                texts
                    .iter()
                    .map(|text| serde_json::from_str::<Value>(text).unwrap()),
            );
        }
    }
    events
}

fn track(message_id: &str) -> Value {
    json!({"type": "track", "messageId": message_id, "userId": "u", "event": "Signed Up", "properties": {"plan": "free"}})
}

async fn good() -> (MockServer, Handler) {
    collector(|request| answer(request, |_| false)).await
}

#[tokio::test]
async fn every_kind_of_call_is_taken_on_its_path() {
    let (server, handler) = good().await;
    let mut expected = Vec::new();
    for (path, kind) in [
        ("track", "signed_up"),
        ("t", "signed_up"),
        ("page", "page_view"),
        ("p", "page_view"),
        ("screen", "screen_view"),
        ("s", "screen_view"),
        ("identify", "identify"),
        ("i", "identify"),
        ("group", "group"),
        ("g", "group"),
        ("alias", "alias"),
        ("a", "alias"),
    ] {
        let call = json!({"messageId": format!("m-{path}"), "userId": "u", "event": "Signed Up",
            "groupId": "g", "previousId": "before"});
        let (status, _, body) = ask(&handler, post(&format!("/v1/{path}"), &call)).await;
        assert_eq!(
            (status, &body["success"]),
            (200, &json!(true)),
            "{path}: {body}"
        );
        assert_eq!(body["results"][0]["event_id"], format!("m-{path}"));
        expected.push(json!([format!("m-{path}"), kind]));
    }
    let events = put(&server).await;
    let seen: Vec<Value> = events
        .iter()
        .map(|event| json!([event["event_id"], event["event_type"]]))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(events[0]["source"], "open");
    assert_eq!(events[0].get("session_id"), None, "it is derived");
    assert_eq!(events[0].get("page_url"), None);
}

#[tokio::test]
async fn a_batch_of_400_with_three_bad_ones() {
    let (server, handler) = good().await;
    let mut batch: Vec<Value> = (0..400).map(|n| track(&format!("m-{n}"))).collect();
    batch[7] = json!({"type": "track", "messageId": "m-7", "userId": "u"});
    batch[150] = json!({"type": "merge", "messageId": "m-150", "userId": "u"});
    batch[399] = json!([1]);
    let (status, _, body) = ask(&handler, post("/v1/batch", &json!({"batch": batch}))).await;
    assert_eq!((status, &body["success"]), (200, &json!(true)));
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), 400);
    let dropped: Vec<Value> = results
        .iter()
        .filter(|result| result["status"] == "drop")
        .map(|result| json!([result["index"], result["event_id"], result["code"]]))
        .collect();
    assert_eq!(
        dropped,
        [
            json!([7, "m-7", "field_missing"]),
            json!([150, "m-150", "call_type_unknown"]),
            json!([399, null, "event_not_an_object"]),
        ]
    );
    assert_eq!(put(&server).await.len(), 397);
}

#[tokio::test]
async fn a_write_key_is_needed_and_found_in_each_place() {
    let keys = json!({"k-1": "web"});
    let (server, handler) = collector_with(
        |request| answer(request, |_| false),
        Some(keys),
        OptOut::Ignore,
        &[],
    )
    .await;
    let call = track("m");
    let basic = format!("Basic {}", STANDARD.encode("k-1:"));
    let mut in_body = call.clone();
    in_body["writeKey"] = json!("k-1");
    let batch = json!({"batch": [call], "writeKey": "k-1"});
    let mut in_query = post("/beacon/v1/batch", &json!({"batch": [call]}));
    in_query.query = "writeKey=k%2D1".to_owned();
    for good in [
        post("/v1/t", &call).with("authorization", &basic),
        post("/v1/t", &call).with("x-write-key", "k-1"),
        post("/v1/t", &in_body).with("content-type", "text/plain"),
        post("/v1/batch", &batch),
        in_query,
    ] {
        let (status, _, body) = ask(&handler, good).await;
        assert_eq!((status, &body["success"]), (200, &json!(true)), "{body}");
    }
    assert!(
        put(&server)
            .await
            .iter()
            .all(|event| event["source"] == "web")
    );

    in_body["writeKey"] = json!("k-2");
    for (bad, code) in [
        (post("/v1/t", &call), "write_key_missing"),
        (post("/v1/t", &in_body), "write_key_invalid"),
        (get("/v1/projects/k-2/settings", ""), "write_key_invalid"),
        (get("/sourceConfig/", "writeKey=k-2"), "write_key_invalid"),
    ] {
        let (status, _, body) = ask(&handler, bad).await;
        assert_eq!(
            (status, &body["success"], &body["code"]),
            (401, &json!(false), &json!(code))
        );
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    let (status, headers, _) = ask(&handler, get("/pixel/v1/page", "anonymousId=a")).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (401, &json!("image/gif"))
    );
}

#[tokio::test]
async fn limits_are_segments() {
    let (server, handler) = good().await;
    let large = |bytes: usize| {
        let mut call = track("large");
        call["properties"] = json!({"a": ["x".repeat(16_000), "y".repeat(bytes - 16_000)]});
        call
    };
    let (status, _, body) = ask(&handler, post("/v1/t", &large(31_000))).await;
    assert_eq!(status, 200, "{body}");
    let (status, _, body) = ask(&handler, post("/v1/t", &large(33_000))).await;
    assert_eq!((status, &body["code"]), (400, &json!("event_too_large")));
    assert_eq!(body["results"][0]["event_id"], "large");
    let batch = |count: usize| json!({"batch": vec![large(31_000); count]});
    let (status, _, body) = ask(&handler, post("/v1/b", &batch(17))).await;
    assert_eq!(
        (status, &body["code"], body.get("results")),
        (400, &json!("body_too_large"), None)
    );
    // What a batch says for all of them is in each of them.
    let shared = |bytes: usize, calls: usize| json!({"batch": vec![track("m"); calls], "context": {"a": "x".repeat(bytes)}});
    let (status, _, body) = ask(&handler, post("/v1/b", &shared(32_768, 1))).await;
    assert_eq!((status, &body["code"]), (400, &json!("event_too_large")));
    let (status, _, body) = ask(&handler, post("/v1/b", &shared(30_000, 300))).await;
    assert_eq!(
        (status, &body["code"], body.get("results")),
        (400, &json!("body_too_large"), None)
    );
    let (status, _, body) = ask(&handler, post("/v1/b", &json!({"batch": []}))).await;
    assert_eq!((status, &body["code"]), (400, &json!("no_events")));
    assert_eq!(put(&server).await.len(), 1);
}

#[tokio::test]
async fn old_calls_are_imported_and_not_taken_otherwise() {
    let (server, handler) = collector_with(
        |request| answer(request, |_| false),
        None,
        OptOut::Ignore,
        &[("MAX_IMPORT_AGE_S", "100000000")],
    )
    .await;
    let ago = |seconds: i64| {
        let then = freshet_edge::now().saturating_add_millis(-1000 * seconds);
        let mut call = track("old");
        call["timestamp"] = json!(then.to_string());
        json!({"batch": [call]})
    };
    let (status, _, body) = ask(&handler, post("/v1/batch", &ago(90_000_000))).await;
    assert_eq!((status, &body["code"]), (400, &json!("timestamp_too_old")));
    let (status, _, body) = ask(&handler, post("/v1/import", &ago(90_000_000))).await;
    assert_eq!(status, 200, "{body}");
    let (status, _, body) = ask(&handler, post("/v1/import", &ago(110_000_000))).await;
    assert_eq!((status, &body["code"]), (400, &json!("timestamp_too_old")));
    assert_eq!(put(&server).await.len(), 1);
}

#[tokio::test]
async fn what_no_call_is_has_a_code() {
    let (_server, handler) = good().await;
    for (path, body, status, code) in [
        ("/v1/merge", track("m"), 404, "call_unknown"),
        ("/v1/batch", json!({"batch": {}}), 400, "body_wrong_shape"),
        ("/v1/batch", json!("x"), 400, "body_wrong_shape"),
    ] {
        let (answered, _, body) = ask(&handler, post(path, &body)).await;
        assert_eq!(
            (answered, &body["success"], &body["code"]),
            (status, &json!(false), &json!(code)),
            "{path}"
        );
    }
    let mut broken = post("/v1/t", &json!({}));
    broken.body = "{".to_owned();
    let (status, _, body) = ask(&handler, broken).await;
    assert_eq!((status, &body["code"]), (400, &json!("body_malformed")));
}

#[tokio::test]
async fn a_stream_that_refuses_is_asked_again_by_the_sdk() {
    let (_server, handler) = collector(|request| answer(request, |data| data[0] != 3)).await;
    let batch = json!({"batch": [track("m-1"), {"type": "merge"}]});
    let (status, headers, body) = ask(&handler, post("/v1/batch", &batch)).await;
    assert_eq!((status, &headers["retry-after"]), (503, &json!("1")));
    assert_eq!(
        (&body["success"], &body["code"]),
        (&json!(false), &json!("stream_unavailable"))
    );
    assert_eq!(body["results"][0]["status"], "retry");
    assert_eq!(body["results"][1]["status"], "drop");
}

#[tokio::test]
async fn a_pixel_is_a_call_and_a_picture() {
    let (server, handler) = good().await;
    let query = "writeKey=any&anonymousId=a-1&event=Order%20Completed&properties.revenue=42.5\
                 &context.page.url=https%3A%2F%2Fshop.example%2Fthanks";
    let (status, headers, body) = ask(&handler, get("/pixel/v1/track", query)).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &json!("image/gif"))
    );
    let picture = STANDARD.decode(body.as_str().unwrap()).unwrap();
    assert!(picture.starts_with(b"GIF89a") && picture.len() == 42);
    let events = put(&server).await;
    assert_eq!(events[0]["event_type"], "purchase");
    assert_eq!(events[0]["page_url"], "https://shop.example/thanks");
    assert_eq!(events[0]["metadata"]["amount"], "42.5");
    let (status, headers, _) = ask(&handler, get("/pixel/v1/track", "anonymousId=a")).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (400, &json!("image/gif"))
    );
}

#[tokio::test]
async fn settings_name_this_api() {
    let (_server, handler) = good().await;
    let asked = get("/v1/projects/k-1/settings", "").with("x-forwarded-proto", "http");
    let (status, headers, body) = ask(&handler, asked).await;
    assert_eq!(
        (status, &headers["cache-control"]),
        (200, &json!("private, max-age=300"))
    );
    let destination = &body["integrations"]["Segment.io"];
    assert_eq!(
        (
            &destination["apiKey"],
            &destination["apiHost"],
            &destination["protocol"]
        ),
        (&json!("k-1"), &json!("api.example/v1"), &json!("http"))
    );
    let (status, _, body) = ask(&handler, get("/sourceConfig/", "writeKey=k-1")).await;
    assert_eq!((status, &body["source"]["enabled"]), (200, &json!(true)));
    assert_eq!(body["source"]["destinations"], json!([]));
}

#[tokio::test]
async fn the_request_is_the_visitors_only_if_a_visitors_device_sends_it() {
    let (server, handler) = good().await;
    let browser = post("/v1/t", &track("browser"));
    let mut by_server = post("/v1/t", &track("server"));
    by_server.user_agent = "node-fetch/1.0";
    ask(&handler, browser).await;
    ask(&handler, by_server).await;
    let events = put(&server).await;
    assert_eq!(
        (
            &events[0]["metadata"]["user_agent"],
            &events[0]["metadata"]["ip_address"]
        ),
        (
            &json!("Mozilla/5.0 (X11) Firefox/145.0"),
            &json!("203.0.113.9")
        )
    );
    for key in ["user_agent", "ip_address"] {
        assert_eq!(events[1]["metadata"].get(key), None, "{}", events[1]);
    }
}

#[tokio::test]
async fn who_asks_not_to_be_followed_is_dropped_or_nobody() {
    let native = r#"{"event_id":"n","user_id":"u","session_id":"s","event_type":"page_view","page_url":"https://a.example/","timestamp":"NOW","metadata":{"ip_address":"203.0.113.7"}}"#;
    let native = native.replace("NOW", &freshet_edge::now().to_string());
    let native: Value = serde_json::from_str(&native).unwrap();
    let mut call = track("c");
    call["anonymousId"] = json!("a-77");
    call["context"] = json!({"ip": "203.0.113.7", "traits": {"email": "who@example.org"}});
    let ask_both = async |opt_out| {
        let stream =
            |request: &wiremock::Request| -> ResponseTemplate { answer(request, |_| false) };
        let (server, handler) = collector_with(stream, None, opt_out, &[]).await;
        let mut answers = Vec::new();
        for (path, body) in [("/v1/events", &native), ("/v1/t", &call)] {
            answers.push(ask(&handler, post(path, body).with("sec-gpc", "1")).await);
            // Nobody else is concerned.
            let (status, _, _) = ask(&handler, post(path, body).with("dnt", "0")).await;
            assert_eq!(status, 200);
        }
        (answers, put(&server).await)
    };

    let (answers, events) = ask_both(OptOut::Drop).await;
    for (status, _, body) in &answers {
        assert_eq!(
            (*status, &body["results"][0]["code"]),
            (400, &json!("opted_out"))
        );
    }
    assert_eq!(events.len(), 2, "those of the others");

    let key = PseudonymKey::new("secret").unwrap();
    let pseudonym = key.pseudonym("u");
    let (answers, events) = ask_both(OptOut::Anonymise(key)).await;
    assert!(answers.iter().all(|(status, _, _)| *status == 200));
    let (anonymous, others): (Vec<_>, Vec<_>) = events
        .iter()
        .partition(|event| event["user_id"] == json!(pseudonym));
    assert_eq!((anonymous.len(), others.len()), (2, 2));
    for event in anonymous {
        let text = event.to_string();
        for personal in ["203.0.113", "who@example.org", "a-77", "\"u\""] {
            assert!(!text.contains(personal), "{personal} in {text}");
        }
        assert!(event["metadata"]["user_agent"].is_string());
    }
    assert!(
        others
            .iter()
            .all(|event| event["metadata"]["ip_address"] == "203.0.113.7")
    );
}
