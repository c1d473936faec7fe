//! Whatever is posted gets an answer with a code: never a 5xx, never a panic.

use crate::support::{Bench, event};
use anyhow::{Result, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// What is posted with which headers, and the status and code of the answer.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, &'a str);

/// The code of a whole-request error, or else of the first result.
fn code(body: &Value) -> &str {
    body["code"]
        .as_str()
        .or_else(|| body["results"][0]["code"].as_str())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_get_an_answer_with_a_code() -> Result<()> {
    let bench = Bench::start("hostile").await?;
    let json = vec![("content-type", "application/json")];
    let zipped = vec![
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let with = |extra: Value| event("x", extra).to_string().into_bytes();
    let whole = gzip(event("x", json!({})).to_string().as_bytes())?;
    let deep = |open: &str, close: &str| {
        format!("{}1{}", open.repeat(20_000), close.repeat(20_000)).into_bytes()
    };
    let surrogate = event("x", json!({"user_id": "SURROGATE"}))
        .to_string()
        .replace("SURROGATE", "\\udead");
    let cases: Vec<Case<'_>> = vec![
        (
            "garbage",
            json.clone(),
            (0..=255).cycle().take(5_000).collect(),
            400,
            "body_not_utf8",
        ),
        (
            "text",
            json.clone(),
            b"hello there".to_vec(),
            400,
            "body_malformed",
        ),
        ("nothing", json.clone(), Vec::new(), 400, "no_events"),
        (
            "truncated gzip",
            zipped.clone(),
            whole[..whole.len() - 6].to_vec(),
            400,
            "body_not_decodable",
        ),
        (
            "no gzip",
            zipped.clone(),
            b"{}".to_vec(),
            400,
            "body_not_decodable",
        ),
        (
            "a gzip bomb",
            zipped.clone(),
            gzip(&vec![b' '; 200 << 20])?,
            413,
            "body_too_large",
        ),
        ("7 MB", json.clone(), vec![b' '; 7 << 20], 413, ""),
        ("11 MB", json.clone(), vec![b' '; 11 << 20], 413, ""),
        (
            "deep arrays",
            json.clone(),
            deep("[", "]"),
            400,
            "event_not_an_object",
        ),
        ("deep objects", json.clone(), deep("{\"a\":", "}"), 400, ""),
        (
            "a lone surrogate",
            json.clone(),
            surrogate.into_bytes(),
            400,
            "event_malformed",
        ),
        (
            "an image",
            vec![("content-type", "image/png")],
            b"x".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            "brotli",
            vec![
                ("content-type", "application/json"),
                ("content-encoding", "br"),
            ],
            b"x".to_vec(),
            415,
            "unsupported_encoding",
        ),
        (
            "2,501 events",
            json.clone(),
            format!("[{}1]", "1,".repeat(2_500)).into_bytes(),
            413,
            "too_many_events",
        ),
        (
            "a relative URL",
            json.clone(),
            with(json!({"page_url": "/cart"})),
            400,
            "page_url_invalid",
        ),
        (
            "another scheme",
            json.clone(),
            with(json!({"page_url": "javascript:alert(1)"})),
            400,
            "page_url_invalid",
        ),
        (
            "the year 12026",
            json.clone(),
            with(json!({"timestamp": "+012026-01-01T00:00:00Z"})),
            400,
            "timestamp_invalid",
        ),
        (
            "an hour ahead",
            json.clone(),
            with(
                json!({"timestamp": (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string()}),
            ),
            400,
            "timestamp_in_future",
        ),
        (
            "eight days old",
            json.clone(),
            with(
                json!({"timestamp": (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(192)).to_string()}),
            ),
            400,
            "timestamp_too_old",
        ),
        (
            "300 KB",
            json.clone(),
            with(json!({"metadata": {"a": vec!["x".repeat(30_000); 10]}})),
            400,
            "event_too_large",
        ),
        (
            "a term too long",
            json.clone(),
            with(json!({"metadata": {"a": "x".repeat(32_500)}})),
            400,
            "metadata_value_too_long",
        ),
        (
            "a forged source",
            json.clone(),
            with(json!({"source": "shop"})),
            400,
            "field_unknown",
        ),
    ];
    for (what, headers, body, status, expected) in cases {
        let answer = bench.post_with(&headers, body).await?;
        ensure!(answer.status == status, "{what}: {answer:?}");
        ensure!(
            code(&answer.body) == expected || expected.is_empty(),
            "{what}: {answer:?}"
        );
    }
    // Odd, but events like any other.
    let fine = json!([
        event(
            "nul",
            json!({"user_id": "a\u{0}b", "metadata": {"k": "\u{0}"}})
        ),
        event(
            "long-url",
            json!({"page_url": format!("https://shop.example/{}?q={}", "p".repeat(2_500), "é".repeat(500))})
        ),
        event(
            "ipv6",
            json!({"metadata": {"ip_address": "2001:4860:4860::8888"}})
        ),
        event("private", json!({"metadata": {"ip_address": "10.1.2.3"}})),
        event(
            "nonsense",
            json!({"metadata": {"ip_address": "999.1.1.1", "user_agent": "x".repeat(20_000)}})
        ),
        event(
            "ipv6-host",
            json!({"page_url": "https://[2001:db8::1]:8443/x"})
        ),
        event(
            "emoji",
            json!({"user_id": "🦀", "session_id": "日本", "metadata": {"🦀.x": "\u{ffff}"}})
        ),
        event(
            "nested",
            json!({"metadata": {"a": {"b": {"c": [[1, [2, {"d": null}]]]}}}})
        ),
        event(
            "numbers",
            json!({"metadata": {"big": 1e300, "amount": "19.99", "quantity": 3.0}})
        ),
        event("empty", json!({"metadata": {}})),
    ]);
    let answer = bench.post(fine.to_string()).await?;
    ensure!(
        answer.status == 200 && answer.statuses() == vec!["ok"; 10],
        "{answer:?}"
    );
    bench.settled_at(10).await?;
    ensure!(bench.document("private").await?.get("geoip").is_none());
    ensure!(
        bench.document("long-url").await?["page_url"]
            .as_str()
            .is_some_and(|url| url.len() > 2_500)
    );
    ensure!(bench.document("numbers").await?["metadata"]["amount"] == "19.99");
    let logs = bench.logs()?;
    ensure!(!logs.contains("panicked"), "{logs}");
    ensure!(bench.dead_letters("").await?.is_empty());
    bench.stop().await
}
