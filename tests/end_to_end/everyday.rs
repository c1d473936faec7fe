//! A good day: every shape of request, enriched and found once; nothing that
//! people read holds an IP address.

use crate::support::{Bench, event, now};
use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesis::primitives::Blob;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::io::Write as _;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
/// RIPE's own, in Amsterdam.
const V4: &str = "193.0.6.139";
const V6: &str = "2001:67c:2e8:22::c100:68b";
/// The caller's, taken from the request.
const CALLER: &str = "193.0.14.129";

#[tokio::test(flavor = "multi_thread")]
async fn events_are_enriched_and_found_once_and_no_address_is_kept() -> Result<()> {
    let bench = Bench::start("everyday").await?;
    let json = [
        ("content-type", "application/json"),
        ("user-agent", FIREFOX),
        ("x-forwarded-for", CALLER),
    ];

    // One event, an array, an envelope, lines, a beacon, gzip: nine in all.
    let purchase = event(
        "purchase",
        json!({"event_type": "purchase", "page_url": "https://shop.example/thanks?order=7#top",
        "metadata": {"amount": 42.5, "ip_address": V4, "gift": {"wrapped": true}}}),
    );
    let one = bench.post_with(&json, purchase.to_string()).await?;
    ensure!(one.status == 200 && one.statuses() == ["ok"], "{one:?}");
    let array = bench
        .post_with(
            &json,
            json!([event("a1", json!({})), event("a2", json!({"user_id": ""}))]).to_string(),
        )
        .await?;
    ensure!(
        array.status == 200 && array.statuses() == ["ok", "drop"],
        "{array:?}"
    );
    let envelope = json!({"events": [event("e1", json!({"metadata": {"ip_address": V6}})), event("e2", json!({}))]});
    ensure!(
        bench
            .post_with(&json, envelope.to_string())
            .await?
            .statuses()
            == ["ok", "ok"]
    );
    let lines = format!("{}\n{}\n", event("l1", json!({})), event("l2", json!({})));
    ensure!(
        bench
            .post_with(&[("content-type", "application/x-ndjson")], lines)
            .await?
            .status
            == 200
    );
    let beacon = [
        ("content-type", "text/plain;charset=UTF-8"),
        ("origin", "https://shop.example"),
    ];
    ensure!(
        bench
            .post_with(&beacon, event("beacon", json!({})).to_string())
            .await?
            .status
            == 200
    );
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(event("zipped", json!({})).to_string().as_bytes())?;
    let zipped = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    ensure!(bench.post_with(&zipped, gzip.finish()?).await?.status == 200);
    // The same again, as a client does that lost the answer.
    ensure!(bench.post_with(&json, purchase.to_string()).await?.status == 200);
    // One without an id gets one.
    let mut anonymous = event("x", json!({}));
    anonymous
        .as_object_mut()
        .map(|fields| fields.remove("event_id"));
    let made = bench.post_with(&json, anonymous.to_string()).await?;
    ensure!(
        made.body["results"][0]["event_id"]
            .as_str()
            .is_some_and(|id| id.len() == 36),
        "{made:?}"
    );

    // Another producer, plain and unreadable; and an item that the index refuses.
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    let mut foreign = event("x", json!({"metadata": {"ip_address": V4}}));
    foreign
        .as_object_mut()
        .map(|fields| fields.remove("event_id"));
    for (key, data) in [
        ("f", foreign.to_string().into_bytes()),
        ("g", vec![0xff, 0xfe]),
    ] {
        let put = kinesis
            .put_record()
            .stream_name(&bench.stack.endpoints.stream)
            .partition_key(key);
        put.data(Blob::new(data)).send().await?;
    }
    let conflict = event(
        "conflict",
        json!({"metadata": {"referrer": {"not": "text"}, "ip_address": V4}}),
    );
    ensure!(bench.post_with(&json, conflict.to_string()).await?.status == 200);

    bench.settled_at(10).await?;

    let document = bench.document("purchase").await?;
    ensure!(
        document["url_path"] == "/thanks"
            && document["query_params"] == "order=7"
            && document["fragment"] == "top"
    );
    ensure!(
        document["is_conversion"] == true && document["revenue"] == 42.5,
        "{document}"
    );
    ensure!(
        document["user_agent_parsed"]["name"] == "Firefox"
            && document["user_agent_parsed"]["os"] == "Linux"
    );
    ensure!(
        document["geoip"]["country_name"] == "Netherlands"
            && document["geoip"]["location"]["lat"].is_f64()
    );
    ensure!(
        document["metadata"]["other"] == json!({"gift": {"wrapped": true}}),
        "{document}"
    );
    ensure!(document["source"] == "open" && document["date"].as_str() == Some(&now()[..10]));
    ensure!(bench.document("e1").await?["geoip"]["country_name"] == "Netherlands");
    ensure!(
        bench.document("a1").await?["geoip"]["country_name"].is_string(),
        "the caller's own address is looked up"
    );
    let by_path = json!({"query": {"term": {"metadata.other.gift.wrapped": "true"}}});
    let found = bench
        .opensearch("POST", "clickstream/_search", by_path)
        .await?;
    ensure!(
        found["hits"]["total"]["value"] == 1,
        "unknown metadata is searchable: {found}"
    );

    let rejected = bench.dead_letters("rejected/").await?.concat();
    ensure!(
        rejected.contains("mapper_parsing_exception")
            && rejected.contains("\"event_id\":\"conflict\""),
        "{rejected}"
    );
    let undecodable = bench.dead_letters("undecodable/").await?;
    ensure!(
        undecodable.len() == 1 && undecodable[0].contains("record_undecodable"),
        "{undecodable:?}"
    );

    // Nowhere that people read: documents, items' dead letters, logs.
    let all = bench
        .opensearch("POST", "clickstream/_search?size=100", json!({}))
        .await?
        .to_string();
    let logs = bench.logs()?;
    ensure!(
        logs.contains(r#""Stage":"enrich""#) && logs.contains(r#""Stage":"collect""#),
        "the logs were looked at"
    );
    for address in [V4, V6, CALLER] {
        for (what, text) in [
            ("a document", &all),
            ("an item's dead letter", &rejected),
            ("a log", &logs),
        ] {
            ensure!(!text.contains(address), "{address} is in {what}");
        }
        let query = json!({"query": {"query_string": {"query": format!("\"{address}\"")}}});
        let found = bench
            .opensearch("POST", "clickstream/_search", query)
            .await?;
        ensure!(found["hits"]["total"]["value"] == 0, "{found}");
    }
    ensure!(
        !logs.contains("user-") && !logs.contains("shop.example"),
        "logs hold no user and no payload"
    );
    // By the functions' own metrics each event has one final outcome.
    let sums = [
        ("collect", "Received", 12),
        ("collect", "Accepted", 11),
        ("collect", "Rejected.field_empty", 1),
        ("enrich", "OtherProducers", 2),
        ("enrich", "Indexed", 10),
        ("enrich", "Duplicates", 1),
        ("enrich", "Rejected", 1),
        ("enrich", "Rejected.mapper_parsing_exception", 1),
        ("enrich", "Undecodable", 1),
        ("enrich", "DeadLetters", 2),
        ("enrich", "Retried", 0),
        ("aggregate", "Undecodable", 1),
    ];
    for (stage, name, expected) in sums {
        let sum = sum_of(&logs, stage, name)?;
        ensure!(sum == expected, "{stage} {name} is {sum}");
    }
    bench.stop().await
}

/// A metric's sum over all lines of a stage.
fn sum_of(logs: &str, stage: &str, name: &str) -> Result<u64> {
    let mut sum = 0;
    for line in logs.lines().filter(|line| line.starts_with("{\"_aws\"")) {
        let line: Value = serde_json::from_str(line).context("a line is not whole")?;
        ensure!(
            line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Freshet"
                && line["Stack"] == "freshet",
            "{line}"
        );
        if line["Stage"] == stage {
            sum += line[name].as_u64().unwrap_or(0);
        }
    }
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_browsers_and_health_checks() -> Result<()> {
    let bench = Bench::start("api").await?;
    let url = &bench.stack.endpoints.collect_url;
    let preflight = bench
        .http
        .request(reqwest::Method::OPTIONS, url)
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .send()
        .await?;
    ensure!(preflight.status() == 204);
    ensure!(preflight.headers()["access-control-allow-origin"] == "*");
    ensure!(
        preflight.headers()["access-control-allow-headers"]
            .to_str()?
            .contains("x-write-key")
    );
    let health = bench
        .http
        .get(url.replace("/v1/events", "/health"))
        .send()
        .await?;
    ensure!(health.status() == 200 && health.json::<serde_json::Value>().await?["status"] == "ok");
    let missing = bench
        .http
        .get(url.replace("/v1/events", "/nothing"))
        .send()
        .await?;
    ensure!(missing.status() == 404);
    // The shop is served with the client and where to post.
    let shop = &bench.stack.endpoints.shop_url;
    let page = bench.http.get(shop).send().await?;
    ensure!(
        page.status() == 200
            && page.headers()["content-type"]
                .to_str()?
                .starts_with("text/html")
    );
    let config = bench
        .http
        .get(format!("{shop}/config.js"))
        .send()
        .await?
        .text()
        .await?;
    ensure!(
        config.contains(url.trim_end_matches("/v1/events")),
        "{config}"
    );
    ensure!(
        bench
            .http
            .get(format!("{shop}/freshet.js"))
            .send()
            .await?
            .status()
            == 200
    );
    bench.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_key_names_the_source() -> Result<()> {
    let bench =
        Bench::start_with("keys", &[("WRITE_KEYS_SECRET_ID", "freshet-write-keys")]).await?;
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let secrets = aws_sdk_secretsmanager::Client::new(&aws);
    let keys = r#"{"old-key":"shop","new-key":"shop","app-key":"app"}"#;
    secrets
        .create_secret()
        .name("freshet-write-keys")
        .secret_string(keys)
        .send()
        .await?;
    let body = event("same", json!({})).to_string();
    let json_type = ("content-type", "application/json");

    let none = bench.post(body.clone()).await?;
    ensure!(
        none.status == 401 && none.body["code"] == "write_key_missing",
        "{none:?}"
    );
    let wrong = bench
        .post_with(&[json_type, ("x-write-key", "guess")], body.clone())
        .await?;
    ensure!(
        wrong.status == 401 && wrong.body["code"] == "write_key_invalid",
        "{wrong:?}"
    );
    // Before and after the key was rotated: one source, one document.
    ensure!(
        bench
            .post_with(&[json_type, ("x-write-key", "old-key")], body.clone())
            .await?
            .status
            == 200
    );
    ensure!(
        bench
            .post_with(
                &[json_type, ("authorization", "Basic bmV3LWtleTo=")],
                body.clone()
            )
            .await?
            .status
            == 200
    );
    // Another source: another event, though it has the same id.
    let url = format!("{}?writeKey=app-key", bench.stack.endpoints.collect_url);
    ensure!(
        bench
            .http
            .post(url)
            .header("content-type", "text/plain")
            .body(body)
            .send()
            .await?
            .status()
            == 200
    );
    bench.settled_at(2).await?;
    for source in ["shop", "app"] {
        let query = json!({"query": {"term": {"source": source}}});
        let found = bench
            .opensearch("POST", "clickstream/_search", query)
            .await?;
        ensure!(found["hits"]["total"]["value"] == 1, "{source}: {found}");
    }
    let all = bench
        .opensearch("POST", "clickstream/_search?size=10", json!({}))
        .await?
        .to_string();
    ensure!(
        !all.contains("-key") && !bench.logs()?.contains("-key"),
        "a key is never kept"
    );
    bench.stop().await
}
