use crate::answer::{EventResult, Response, Status};
use crate::opt_out::Wish;
use crate::prepare::{Sender, prepare};
use crate::request::{CALL_MEDIA_TYPES, DecodeError, MAX_BODY_BYTES, MEDIA_TYPES, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, write::GzEncoder};
use freshet_events::{Limits, Timestamp, wire};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn payload(headers: &Value, query: &str, body: &str, base64: bool) -> String {
    json!({
        "version": "2.0", "routeKey": "POST /v1/events", "rawPath": "/v1/events", "rawQueryString": query,
        "headers": headers, "requestContext": {"stage": "$default", "http": {
            "method": "POST", "path": "/v1/events", "sourceIp": "203.0.113.9", "userAgent": "curl/8"}},
        "body": body, "isBase64Encoded": base64,
    })
    .to_string()
}

fn text(headers: &Value, body: &[u8]) -> Result<String, DecodeError> {
    let payload = payload(headers, "", &STANDARD.encode(body), true);
    let request: Request<'_> = serde_json::from_str(&payload).unwrap();
    request.text(MEDIA_TYPES).map(std::borrow::Cow::into_owned)
}

fn event(user: &str, extra: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","session_id":"s","event_type":"page_view","page_url":"https://a.example/","timestamp":"2026-11-23T18:00:00Z"{extra}}}"#
    )
}

fn run(body: &str) -> crate::prepare::Prepared {
    let sender = Sender {
        source: "shop",
        ip_address: "203.0.113.9",
        user_agent: "curl/8",
        wish: Wish::None,
    };
    let now = Timestamp::parse_iso8601("2026-11-23T18:00:01Z").unwrap();
    let mut next = 0;
    prepare(body, sender, &Limits::DEFAULT, now, || {
        next += 1;
        format!("made-{next}")
    })
    .unwrap()
}

#[test]
fn bodies_are_decoded() {
    let plain = json!({"content-type": "application/json; charset=utf-8"});
    assert_eq!(text(&plain, b"{}").unwrap(), "{}");
    for content_type in [
        "text/plain;charset=UTF-8",
        "application/x-ndjson",
        "APPLICATION/JSON",
    ] {
        assert_eq!(
            text(&json!({"content-type": content_type}), b"{}").unwrap(),
            "{}",
            "{content_type}"
        );
    }
    assert_eq!(text(&json!({}), b"{}").unwrap(), "{}");
    let zipped = json!({"content-encoding": "gzip"});
    assert_eq!(text(&zipped, &gzip(b"{}")).unwrap(), "{}");
    assert_eq!(
        text(&zipped, &[gzip(b"{"), gzip(b"}")].concat()).unwrap(),
        "{}"
    );
    let unencoded = payload(&plain, "", "{\"a\":\"é\"}", false);
    let request: Request<'_> = serde_json::from_str(&unencoded).unwrap();
    assert_eq!(request.text(MEDIA_TYPES).unwrap(), "{\"a\":\"é\"}");
    let form = payload(
        &json!({"content-type": "application/x-www-form-urlencoded"}),
        "",
        "{}",
        false,
    );
    let form: Request<'_> = serde_json::from_str(&form).unwrap();
    assert_eq!(form.text(CALL_MEDIA_TYPES).unwrap(), "{}");
    assert!(form.text(MEDIA_TYPES).is_err());
}

#[test]
fn bodies_that_cannot_be_read_have_a_status_and_a_code() {
    let zipped = json!({"content-encoding": "gzip"});
    let whole = gzip(&[b'a'; 10_000]);
    let cases: Vec<(Value, Vec<u8>, u16, &str)> = vec![
        (
            json!({"content-type": "image/png"}),
            b"{}".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            json!({"content-type": "text/plain; charset=utf-16"}),
            b"{}".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            json!({"content-encoding": "br"}),
            b"{}".to_vec(),
            415,
            "unsupported_encoding",
        ),
        (
            zipped.clone(),
            b"not gzip".to_vec(),
            400,
            "body_not_decodable",
        ),
        (
            zipped.clone(),
            whole[..whole.len() - 4].to_vec(),
            400,
            "body_not_decodable",
        ),
        (
            zipped,
            gzip(&vec![0; MAX_BODY_BYTES * 20]),
            413,
            "body_too_large",
        ),
        (
            json!({}),
            vec![b' '; MAX_BODY_BYTES + 1],
            413,
            "body_too_large",
        ),
        (json!({}), vec![0xff, 0xfe], 400, "body_not_utf8"),
    ];
    for (headers, body, status, code) in cases {
        let error = text(&headers, &body).unwrap_err();
        assert_eq!((error.status(), error.code()), (status, code), "{headers}");
    }
    let broken = payload(&json!({}), "", "%%%", true);
    let request: Request<'_> = serde_json::from_str(&broken).unwrap();
    assert_eq!(
        request.text(MEDIA_TYPES).unwrap_err(),
        DecodeError::NotDecodable
    );
}

#[test]
fn a_write_key_is_found_in_each_place() {
    let key = |headers: Value, query: &str| {
        let payload = payload(&headers, query, "", false);
        let request: Request<'_> = serde_json::from_str(&payload).unwrap();
        request.write_key().map(std::borrow::Cow::into_owned)
    };
    assert_eq!(
        key(json!({"x-write-key": "h"}), "writeKey=q").as_deref(),
        Some("h")
    );
    let basic = format!("Basic {}", STANDARD.encode("b:"));
    assert_eq!(
        key(json!({"authorization": basic}), "writeKey=q").as_deref(),
        Some("b")
    );
    assert_eq!(
        key(json!({"authorization": "Bearer x"}), "a=1&writeKey=q%2Fz").as_deref(),
        Some("q/z")
    );
    assert_eq!(key(json!({"authorization": "Basic !"}), ""), None);
}

#[test]
fn the_stage_is_no_part_of_the_path() {
    let payload = payload(&json!({}), "", "", false)
        .replace("$default", "prod")
        .replace("\"rawPath\":\"/", "\"rawPath\":\"/prod/");
    let request: Request<'_> = serde_json::from_str(&payload).unwrap();
    assert_eq!(request.route(), ("POST", "/v1/events"));
}

#[test]
fn events_are_stamped_and_packed_by_user_in_order() {
    let body = format!(
        "[{},{},{},{}]",
        event("a", ""),
        event("b", ""),
        event("a", r#","event_id":"x""#),
        "{}"
    );
    let prepared = run(&body);
    assert_eq!(prepared.records.len(), 2);
    assert_eq!(prepared.events_of_record, [vec![0, 2], vec![1]]);
    assert_eq!(prepared.records[0].partition_key, "a");
    let ids: Vec<_> = prepared
        .results
        .iter()
        .map(|r| r.event_id.as_deref())
        .collect();
    assert_eq!(ids, [Some("made-1"), Some("made-2"), Some("x"), None]);
    let record = wire::Record::open(&prepared.records[0].data).unwrap();
    let packed = record.split().unwrap();
    let first: Value = serde_json::from_str(packed[0]).unwrap();
    assert_eq!(first["source"], "shop");
    assert_eq!(
        first["metadata"],
        json!({"ip_address": "203.0.113.9", "user_agent": "curl/8"})
    );
    assert_eq!(first["received_at"], 1_795_456_801_000_i64);
    assert_eq!(prepared.results[3].status, Status::Drop);
    assert_eq!(prepared.results[3].code.as_deref(), Some("field_missing"));
}

#[test]
fn what_the_client_sent_stays() {
    let body = event(
        "a",
        r#","metadata":{"ip_address":"2001:db8::1","user_agent":"mine"}"#,
    );
    let record = run(&body).records.remove(0);
    let record = wire::Record::open(&record.data).unwrap();
    assert!(
        record.split().unwrap()[0].contains(r#"{"ip_address":"2001:db8::1","user_agent":"mine"}"#)
    );
}

#[test]
fn hostile_events_are_refused_one_by_one() {
    let deep = format!(
        r#","metadata":{}1{}"#,
        r#"{"a":"#.repeat(5_000),
        "}".repeat(5_000)
    );
    let large = format!(
        r#","metadata":{{"a":["{}"]}}"#,
        "x".repeat(30_000) + "\",\"" + &"y".repeat(240_000)
    );
    let cases = [
        (event("a", &deep), "metadata_too_deep"),
        (event("a", &large), "event_too_large"),
        (event("\\ud800", ""), "event_malformed"),
        ("17".to_owned(), "event_not_an_object"),
        ("null".to_owned(), "event_not_an_object"),
    ];
    let bodies: Vec<&str> = cases.iter().map(|(body, _)| body.as_str()).collect();
    let prepared = run(&format!(
        "[{},{}]",
        bodies.join(","),
        event("good\\u0000", "")
    ));
    let codes: Vec<_> = prepared
        .results
        .iter()
        .map(|r| r.code.clone().unwrap_or_default())
        .collect();
    let expected: Vec<_> = cases.iter().map(|(_, code)| *code).chain([""]).collect();
    assert_eq!(codes, expected);
    assert_eq!(prepared.records.len(), 1);
}

#[test]
fn the_status_follows_from_the_results() {
    let result = |status| EventResult {
        index: 0,
        event_id: None,
        status,
        code: None,
        message: None,
    };
    let status = |all: &[Status]| {
        Response::results(&all.iter().map(|s| result(*s)).collect::<Vec<_>>()).status_code
    };
    assert_eq!(status(&[Status::Ok, Status::Drop]), 200);
    assert_eq!(status(&[Status::Drop, Status::Drop]), 400);
    assert_eq!(status(&[Status::Ok, Status::Retry, Status::Drop]), 503);
    let shown = serde_json::to_value(Response::results(&[result(Status::Retry)])).unwrap();
    assert_eq!(shown["headers"]["retry-after"], "1");
    assert_eq!(
        shown["body"],
        r#"{"results":[{"index":0,"status":"retry"}]}"#
    );
    let shown = serde_json::to_value(Response::results(&[result(Status::Ok)])).unwrap();
    assert_eq!(shown["headers"].get("retry-after"), None);
}

proptest! {
    #[test]
    fn one_event_in_exactly_one_outcome_out(kinds in prop::collection::vec((0_u8..4, 0_u8..5), 1..60)) {
        let events: Vec<String> = kinds
            .iter()
            .map(|(kind, user)| match kind {
                0 | 1 => event(&format!("u{user}"), ""),
                2 => event("", ""),
                _ => "[]".to_owned(),
            })
            .collect();
        let prepared = run(&format!("[{}]", events.join(",")));
        prop_assert_eq!(prepared.results.len(), events.len());
        let mut packed: Vec<usize> = prepared.events_of_record.concat();
        packed.sort_unstable();
        let accepted: Vec<usize> =
            prepared.results.iter().filter(|r| r.status == Status::Ok).map(|r| r.index).collect();
        prop_assert_eq!(packed, accepted);
        let in_records: usize = prepared
            .records
            .iter()
            .map(|r| wire::Record::open(&r.data).unwrap().split().unwrap().len())
            .sum();
        prop_assert_eq!(in_records, kinds.iter().filter(|(kind, _)| *kind < 2).count());
        let noticed = prepared.notice.as_ref().map_or(0, freshet_events::Notice::total);
        prop_assert_eq!(in_records as u64 + noticed, events.len() as u64);
        prop_assert_eq!(prepared.notice.is_some(), noticed > 0);
    }

    #[test]
    fn no_bytes_make_decoding_panic(body in prop::collection::vec(any::<u8>(), 0..300), zipped in any::<bool>(), cut in 0_usize..50) {
        let mut bytes = if zipped { gzip(&body) } else { body };
        bytes.truncate(bytes.len().saturating_sub(cut));
        let headers = if zipped { json!({"content-encoding": "gzip"}) } else { json!({}) };
        let _ = text(&headers, &bytes);
    }

    #[test]
    fn no_content_type_makes_decoding_panic(content_type in ".{0,40}", encoding in ".{0,10}") {
        let _ = text(&json!({"content-type": content_type, "content-encoding": encoding}), b"{}");
    }
}
