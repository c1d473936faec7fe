//! What collect refuses reaches the data-quality dashboard: its sums by source
//! and code are what the answers said, also when enrich is killed between a
//! write and its answer.

use crate::support::{Answer, Bench, event};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use freshet_local::fault::Verdict;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const JSON: (&str, &str) = ("content-type", "application/json");

/// By stage, source and code, as the index joins them.
type Sums = BTreeMap<String, u64>;

/// Events that are refused, with the code of each.
fn bad() -> Vec<(Value, &'static str)> {
    vec![
        (event("b1", json!({"user_id": ""})), "field_empty"),
        (
            event("b2", json!({"page_url": "/cart"})),
            "page_url_invalid",
        ),
        (json!(17), "event_not_an_object"),
        (event("b3", json!({"session_id": ""})), "field_empty"),
        (event("b4", json!({"source": "app"})), "field_unknown"),
    ]
}

/// Adds what an answer says was dropped.
fn add(sums: &mut Sums, source: &str, answer: &Answer) -> Result<()> {
    let results = answer.body["results"].as_array().context("no results")?;
    for result in results.iter().filter(|result| result["status"] == "drop") {
        let code = result["code"].as_str().context("no code")?;
        *sums.entry(format!("collect|{source}|{code}")).or_default() += 1;
    }
    Ok(())
}

/// Posts good events of a new id each and every bad one, as two sources, and a
/// request of bad events alone; adds what the answers said.
async fn post_round(bench: &Bench, round: &str, sums: &mut Sums) -> Result<()> {
    let codes: Vec<&str> = bad().into_iter().map(|(_, code)| code).collect();
    for source in ["shop", "app"] {
        let key = format!("{source}-key");
        let headers = [JSON, ("x-write-key", key.as_str())];
        let good = (0..3).map(|n| event(&format!("{round}-{source}-{n}"), json!({})));
        let mixed: Vec<Value> = good
            .chain(bad().into_iter().map(|(json, _)| json))
            .collect();
        let answer = bench.post_with(&headers, json!(mixed).to_string()).await?;
        let expected = ["ok", "ok", "ok", "drop", "drop", "drop", "drop", "drop"];
        ensure!(
            answer.status == 200 && answer.statuses() == expected,
            "{answer:?}"
        );
        add(sums, source, &answer)?;
    }
    let alone: Vec<Value> = bad().into_iter().map(|(json, _)| json).collect();
    let headers = [JSON, ("x-write-key", "shop-key")];
    let answer = bench.post_with(&headers, json!(alone).to_string()).await?;
    ensure!(
        answer.status == 400 && answer.statuses() == ["drop"; 5],
        "{answer:?}"
    );
    let results = answer.body["results"].as_array().context("no results")?;
    let told: Vec<&str> = results.iter().filter_map(|r| r["code"].as_str()).collect();
    ensure!(told == codes, "{answer:?}");
    add(sums, "shop", &answer)
}

/// What the dashboard would show.
async fn shown(bench: &Bench) -> Result<Sums> {
    let indices = "clickstream_rejections-*";
    bench
        .opensearch("POST", &format!("{indices}/_refresh"), json!({}))
        .await?;
    let fields = ["stage", "source", "code"].map(|field| json!({"field": field}));
    let query = json!({"size": 0, "aggs": {"by": {
        "multi_terms": {"terms": fields, "size": 1_000},
        "aggs": {"events": {"sum": {"field": "count"}}}}}});
    let answer = bench
        .opensearch("POST", &format!("{indices}/_search"), query)
        .await?;
    ensure!(answer.get("error").is_none(), "{answer}");
    // Before the first rejection there is no index, and no aggregation.
    let buckets = answer["aggregations"]["by"]["buckets"].as_array();
    let buckets = buckets.map(Vec::as_slice).unwrap_or_default();
    let sum = |bucket: &Value| {
        let key = bucket["key_as_string"].as_str()?.to_owned();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some((key, bucket["events"]["value"].as_f64()? as u64))
    };
    let sums = buckets.iter().map(|bucket| sum(bucket).context("no sum"));
    sums.collect()
}

/// Waits for these sums, and makes sure that they stay.
async fn settled_at(bench: &Bench, events: u64, expected: &Sums) -> Result<()> {
    bench.settled_at(events).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let sums = shown(bench).await?;
        if sums == *expected {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{sums:?} instead of {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let after = shown(bench).await?;
    ensure!(after == *expected, "{after:?} instead of {expected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_at_the_door_is_counted_once() -> Result<()> {
    let bench =
        Bench::start_with("noticed", &[("WRITE_KEYS_SECRET_ID", "freshet-write-keys")]).await?;
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    aws_sdk_secretsmanager::Client::new(&aws)
        .create_secret()
        .name("freshet-write-keys")
        .secret_string(r#"{"shop-key":"shop","app-key":"app"}"#)
        .send()
        .await?;

    // Neither of these may reach the stream.
    let guess = [JSON, ("x-write-key", "guess")];
    let unauthorised = bench.post_with(&guess, r#"[{},17]"#).await?;
    ensure!(unauthorised.status == 401, "{unauthorised:?}");
    let known = [JSON, ("x-write-key", "shop-key")];
    let unreadable = bench.post_with(&known, "hello there").await?;
    ensure!(unreadable.status == 400, "{unreadable:?}");

    let mut expected = Sums::new();
    let mut events = 0;
    // The answer to which write enrich does not live to hear.
    let rounds = [
        ("plain", None),
        ("after-events", Some("\"event_id\"")),
        ("after-rejections", Some("_rejections-")),
    ];
    for (round, mark) in rounds {
        let killed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&killed);
        bench.kill_enrich_after(move |seen| {
            let body = String::from_utf8_lossy(seen.body);
            let meant = mark.is_some_and(|mark| body.contains(mark));
            seen.path.contains("_bulk") && meant && !flag.swap(true, Ordering::AcqRel)
        });
        post_round(&bench, round, &mut expected).await?;
        events += 6;
        settled_at(&bench, events, &expected).await?;
        ensure!(
            killed.load(Ordering::Acquire) == mark.is_some(),
            "{round}: enrich was killed"
        );
    }
    let total: u64 = expected.values().sum();
    ensure!(total == 3 * 15 && expected.len() == 8, "{expected:?}");

    // The stream takes nothing: a notice is lost, and nobody waits or is told.
    bench.search.clear();
    bench.aws.set(|seen| {
        if seen.operation == "PutRecords" {
            Verdict::Answer(500, Bytes::from_static(b"{}"))
        } else {
            Verdict::Forward
        }
    });
    let answer = bench.post_with(&known, "[{}]").await?;
    ensure!(
        answer.status == 400 && answer.statuses() == ["drop"],
        "{answer:?}"
    );
    bench.aws.clear();
    ensure!(bench.queued().await?.is_empty(), "a notice is never queued");
    settled_at(&bench, events, &expected).await?;
    ensure!(
        bench.logs()?.contains("the stream refused a notice"),
        "it is logged"
    );
    ensure!(bench.dead_letters("").await?.is_empty());
    bench.stop().await
}
