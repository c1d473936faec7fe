//! Calls of Segment's HTTP API on the real servers: what becomes of good ones,
//! of wrong ones, and of those of visitors who ask not to be followed.

use crate::support::{Answer, Bench};
use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use freshet_events::Timestamp;
use serde_json::{Value, json};
use std::io::Write as _;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
/// RIPE's own, in Amsterdam.
const ADDRESS: &str = "193.0.6.139";
const HOUR_MS: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_segments_api_are_events() -> Result<()> {
    let variables = [
        ("WRITE_KEYS_SECRET_ID", "freshet-write-keys"),
        ("OPT_OUT", "anonymise"),
        ("OPT_OUT_KEY_SECRET_ID", "freshet-pseudonyms"),
        ("CALL_EVENT_TYPES", r#"{"Wine Tasted":"tasting"}"#),
    ];
    let bench = Bench::start_with("calls", &variables).await?;
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let secrets = aws_sdk_secretsmanager::Client::new(&aws);
    for (name, text) in [
        ("freshet-write-keys", r#"{"web-key":"web","app-key":"app"}"#),
        ("freshet-pseudonyms", "a secret of this test"),
    ] {
        let secret = secrets.create_secret().name(name).secret_string(text);
        secret.send().await?;
    }
    let api = Api { bench: &bench };

    let mut documents = identity(&api).await?;
    documents += times(&api).await?;
    documents += shapes(&api).await?;
    documents += transports(&api).await?;
    documents += a_batch_with_three_bad_ones(&api).await?;
    let opted_out = opt_out(&api).await?;
    documents += opted_out.len() as u64;
    bench.settled_at(documents).await?;

    kept_apart_and_once(&api).await?;
    times_are_corrected(&api).await?;
    sessions_are_derived(&api).await?;
    shapes_are_kept(&api).await?;
    nobody_is_named(&api, &opted_out).await?;
    bench.stop().await
}

/// The API as an SDK sees it.
struct Api<'b> {
    bench: &'b Bench,
}

impl Api<'_> {
    fn url(&self, path: &str) -> Result<String> {
        let events = self.bench.stack.endpoints.collect_url.as_str();
        let api = events.strip_suffix("/v1/events").context("its address")?;
        Ok(format!("{api}{path}"))
    }

    async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer> {
        let mut request = self.bench.http.post(self.url(path)?).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = serde_json::from_slice(&answer.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer { status, body })
    }

    /// Posts a call as the source `web`.
    async fn call(&self, path: &str, call: &Value) -> Result<Answer> {
        let headers = [
            ("content-type", "application/json"),
            ("x-write-key", "web-key"),
            ("user-agent", FIREFOX),
        ];
        self.post(path, &headers, call.to_string()).await
    }

    async fn taken(&self, path: &str, call: &Value) -> Result<()> {
        let answer = self.call(path, call).await?;
        ensure!(
            answer.status == 200 && answer.body["success"] == true,
            "{call}: {answer:?}"
        );
        ensure!(
            answer.statuses().iter().all(|status| *status == "ok"),
            "{answer:?}"
        );
        Ok(())
    }

    async fn refused(&self, path: &str, call: &Value, code: &str) -> Result<()> {
        let answer = self.call(path, call).await?;
        ensure!(
            answer.status == 400 && answer.body["success"] == false,
            "{call}: {answer:?}"
        );
        ensure!(
            answer.body["code"] == code,
            "{call}: {code} instead of {answer:?}"
        );
        ensure!(answer.body["message"].is_string(), "{answer:?}");
        Ok(())
    }

    async fn document(&self, event_id: &str) -> Result<Value> {
        self.bench.document(event_id).await
    }
}

fn track(message_id: &str, more: Value) -> Value {
    let mut call =
        json!({"type": "track", "messageId": message_id, "userId": "u-1", "event": "Wine Tasted"});
    if let (Some(fields), Value::Object(more)) = (call.as_object_mut(), more) {
        fields.extend(more);
    }
    call
}

fn ago(ms: i64) -> String {
    moment_now().saturating_add_millis(-ms).to_string()
}

fn moment_now() -> Timestamp {
    let now = jiff::Timestamp::now().as_millisecond();
    Timestamp::from_millis(now).unwrap_or(Timestamp::EPOCH)
}

/// Two documents: the same id of two write keys, and once more of one.
async fn identity(api: &Api<'_>) -> Result<u64> {
    let call = track("same", json!({}));
    api.taken("/v1/t", &call).await?;
    api.taken("/v1/track", &call).await?;
    let by_app = [
        ("content-type", "text/plain"),
        ("authorization", "Basic YXBwLWtleTo="),
    ];
    let answer = api.post("/v1/t", &by_app, call.to_string()).await?;
    ensure!(answer.status == 200, "{answer:?}");
    for (headers, code) in [
        (&[("content-type", "text/plain")][..], "write_key_missing"),
        (&[("x-write-key", "guess")][..], "write_key_invalid"),
    ] {
        let answer = api.post("/v1/t", headers, call.to_string()).await?;
        ensure!(
            answer.status == 401 && answer.body["success"] == false,
            "{answer:?}"
        );
        ensure!(
            answer.body["code"] == code && answer.body["message"].is_string(),
            "{answer:?}"
        );
    }
    Ok(2)
}

async fn kept_apart_and_once(api: &Api<'_>) -> Result<()> {
    for source in ["web", "app"] {
        let both = json!({"query": {"bool": {"filter": [{"term": {"event_id": "same"}}, {"term": {"source": source}}]}}});
        let found = api
            .bench
            .opensearch("POST", "clickstream/_search", both)
            .await?;
        ensure!(found["hits"]["total"]["value"] == 1, "{source}: {found}");
    }
    Ok(())
}

async fn times(api: &Api<'_>) -> Result<u64> {
    let at = |id: &str, timestamp: Value| track(id, json!({"timestamp": timestamp}));
    let local = ago(HOUR_MS).trim_end_matches('Z').to_owned();
    api.taken("/v1/t", &at("zoneless", json!(local))).await?;
    for never in [
        "1969-12-31T23:59:59Z",
        "+010000-01-01T00:00:00Z",
        "yesterday",
    ] {
        api.refused("/v1/t", &at("never", json!(never)), "timestamp_invalid")
            .await?;
    }
    // Three days late by its own clock, five seconds before it was sent.
    let skewed = track(
        "skewed",
        json!({"timestamp": ago(72 * HOUR_MS + 5_000), "sentAt": ago(72 * HOUR_MS)}),
    );
    api.taken("/v1/t", &skewed).await?;
    let old = json!({"batch": [at("old", json!(ago(400 * 24 * HOUR_MS)))]});
    api.refused("/v1/batch", &old, "timestamp_too_old").await?;
    api.taken("/v1/import", &old).await?;
    Ok(3)
}

async fn times_are_corrected(api: &Api<'_>) -> Result<()> {
    let skewed = api.document("skewed").await?;
    let moment = |field: &str| {
        let text = skewed[field].as_str().unwrap_or_default();
        Timestamp::parse_iso8601(text).with_context(|| format!("{field} of {skewed}"))
    };
    // Between the two `ago` a millisecond or two may have passed.
    let before = moment("received_at")?.seconds_since(moment("@timestamp")?);
    ensure!((4.9..=5.1).contains(&before), "{before} s before: {skewed}");
    let zoneless = api.document("zoneless").await?;
    let kept = zoneless["@timestamp"].as_str().unwrap_or_default();
    let age = moment_now().seconds_since(Timestamp::parse_iso8601(kept).context("a time")?);
    ensure!((3_500.0..4_200.0).contains(&age), "{age} s old: {zoneless}");
    let old = api.document("old").await?;
    ensure!(
        old["session_id"].is_string() && old.get("session_duration").is_none(),
        "{old}"
    );
    Ok(())
}

/// Null, arrays and numbers where objects and texts belong.
async fn shapes(api: &Api<'_>) -> Result<u64> {
    for (n, more) in [
        json!({"properties": null, "context": null, "integrations": null}),
        json!({"properties": []}),
        json!({"userId": 17, "anonymousId": null}),
        json!({"userId": "", "anonymousId": "a-1"}),
        json!({"properties": {"category": {"a": 1}, "quantity": "two", "title": ["a", "b"], "amount": [1]}}),
    ]
    .into_iter()
    .enumerate()
    {
        api.taken("/v1/t", &track(&format!("shape-{n}"), more)).await?;
    }
    for (more, code) in [
        (json!({"properties": [1]}), "field_wrong_type"),
        (json!({"properties": "x"}), "field_wrong_type"),
        (json!({"event": null}), "field_missing"),
        (json!({"userId": null}), "field_missing"),
        (json!({"userId": "x".repeat(300)}), "field_too_long"),
    ] {
        api.refused("/v1/t", &track("bad", more), code).await?;
    }
    let batch = json!({"batch": [{"type": "merge", "userId": "u"}]});
    api.refused("/v1/batch", &batch, "call_type_unknown")
        .await?;
    let unknown = api.call("/v1/merge", &track("x", json!({}))).await?;
    ensure!(
        unknown.status == 404 && unknown.body["code"] == "call_unknown",
        "{unknown:?}"
    );
    Ok(5)
}

async fn shapes_are_kept(api: &Api<'_>) -> Result<()> {
    ensure!(api.document("shape-2").await?["user_id"] == "17");
    ensure!(api.document("shape-3").await?["user_id"] == "a-1");
    let odd = api.document("shape-4").await?;
    let other = odd["metadata"]["other"].to_string();
    ensure!(
        other.contains("two") && other.contains(r#"{"a":1}"#),
        "nothing is lost: {odd}"
    );
    ensure!(
        odd["event_type"] == "tasting" && odd.get("page_url").is_none(),
        "{odd}"
    );
    Ok(())
}

/// A gzipped form, a beacon, a picture, and a page with all its context.
async fn transports(api: &Api<'_>) -> Result<u64> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let batch = json!({"batch": [track("zipped", json!({"userId": "visitor"}))]});
    gzip.write_all(batch.to_string().as_bytes())?;
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "gzip"),
        ("authorization", "Basic d2ViLWtleTo="),
    ];
    let answer = api.post("/v1/batch", &headers, gzip.finish()?).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let beacon = json!({"batch": [track("beacon", json!({"userId": "visitor"}))]});
    let headers = [("content-type", "text/plain;charset=UTF-8")];
    let answer = api
        .post(
            "/beacon/v1/batch?writeKey=web-key",
            &headers,
            beacon.to_string(),
        )
        .await?;
    ensure!(answer.status == 200, "{answer:?}");
    let pixel = "/pixel/v1/page?writeKey=web-key&messageId=pixel&userId=visitor&name=Mail&context.page.url=https%3A%2F%2Fshop.example%2Fmail";
    let picture = api.bench.http.get(api.url(pixel)?).send().await?;
    ensure!(
        picture.status() == 200 && picture.headers()["content-type"] == "image/gif",
        "{picture:?}"
    );
    ensure!(picture.bytes().await?.starts_with(b"GIF89a"));
    let page = json!({"type": "page", "messageId": "page", "userId": "visitor", "name": "Home", "context": {
        "ip": ADDRESS, "userAgent": FIREFOX, "locale": "nl-NL", "campaign": {"source": "mail", "name": "may"},
        "screen": {"width": 800}, "page": {"url": "https://shop.example/?a=1", "title": "Shop", "referrer": "https://search.example/"}}});
    api.taken("/v1/p", &page).await?;
    Ok(4)
}

async fn sessions_are_derived(api: &Api<'_>) -> Result<()> {
    let page = api.document("page").await?;
    ensure!(
        page["event_type"] == "page_view" && page["url_path"] == "/",
        "{page}"
    );
    ensure!(!page.to_string().contains(ADDRESS), "{page}");
    ensure!(page["geoip"]["country_name"] == "Netherlands", "{page}");
    ensure!(page["user_agent_parsed"]["name"] == "Firefox", "{page}");
    for (key, value) in [
        ("title", "Shop"),
        ("referrer", "https://search.example/"),
        ("locale", "nl-NL"),
    ] {
        ensure!(page["metadata"][key] == value, "{key}: {page}");
    }
    let found = json!({"query": {"term": {"metadata.other.campaign.source": "mail"}}});
    let found = api
        .bench
        .opensearch("POST", "clickstream/_count", found)
        .await?;
    ensure!(found["count"] == 1, "{found}");
    // Four events of one user, of one session that nobody named.
    let session = page["session_id"].as_str().context("no session_id")?;
    for id in ["zipped", "beacon", "pixel"] {
        let document = api.document(id).await?;
        ensure!(document["session_id"] == session, "{id}: {document}");
    }
    api.bench
        .opensearch("POST", "clickstream_sessions-*/_refresh", json!({}))
        .await?;
    let query = json!({"query": {"term": {"session_id": session}}});
    let found = api
        .bench
        .opensearch("POST", "clickstream_sessions-*/_search", query)
        .await?;
    let hits = found["hits"]["hits"].as_array().context("no hits")?;
    ensure!(hits.len() == 1 && hits[0]["_id"] == session, "{found}");
    let source = &hits[0]["_source"];
    ensure!(
        source["user_id"] == "visitor" && source["events"] == 4 && source["pages"] == 2,
        "{source}"
    );
    Ok(())
}

async fn a_batch_with_three_bad_ones(api: &Api<'_>) -> Result<u64> {
    let mut batch: Vec<Value> = (0..400)
        .map(|n| {
            track(
                &format!("batch-{n}"),
                json!({"userId": format!("u-{}", n % 40)}),
            )
        })
        .collect();
    batch[0] = json!({"type": "track", "userId": "u"});
    batch[211] = json!(null);
    batch[399] = track("late", json!({"timestamp": "1999-01-01"}));
    let answer = api
        .call("/v1/batch", &json!({"batch": batch, "sentAt": ago(0)}))
        .await?;
    ensure!(
        answer.status == 200 && answer.body["success"] == true,
        "{answer:?}"
    );
    let statuses = answer.statuses();
    let dropped: Vec<usize> = (0..400).filter(|n| statuses[*n] == "drop").collect();
    ensure!(
        statuses.len() == 400 && dropped == [0, 211, 399],
        "{dropped:?}"
    );
    Ok(397)
}

/// The ids of events whose visitors asked not to be followed.
async fn opt_out(api: &Api<'_>) -> Result<Vec<&'static str>> {
    let personal = json!({"userId": "Ada Lovelace", "anonymousId": "a-99", "context": {
        "ip": ADDRESS, "userAgent": FIREFOX, "traits": {"email": "ada@example.org"}}});
    let call = track("opted-out", personal);
    let key = ("x-write-key", "web-key");
    let answer = api
        .post(
            "/v1/t",
            &[key, ("sec-gpc", "1"), ("user-agent", FIREFOX)],
            call.to_string(),
        )
        .await?;
    ensure!(answer.status == 200, "{answer:?}");
    let native = json!({"event_id": "opted-out-native", "user_id": "Ada Lovelace", "session_id": "s-99", "event_type": "page_view",
        "page_url": "https://shop.example/", "timestamp": ago(0), "metadata": {"ip_address": ADDRESS}});
    let headers = [
        key,
        ("dnt", "1"),
        ("user-agent", FIREFOX),
        ("x-forwarded-for", ADDRESS),
    ];
    let answer = api.post("/v1/events", &headers, native.to_string()).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(vec!["opted-out", "opted-out-native"])
}

async fn nobody_is_named(api: &Api<'_>, opted_out: &[&str]) -> Result<()> {
    let mut users = Vec::new();
    for id in opted_out {
        let document = api.document(id).await?;
        let text = document.to_string();
        for personal in ["Lovelace", "a-99", "ada@example.org", ADDRESS] {
            ensure!(!text.contains(personal), "{personal} in {text}");
        }
        ensure!(
            document.get("geoip").is_none() && document["user_agent_parsed"]["name"] == "Firefox",
            "{text}"
        );
        users.push(document["user_id"].clone());
    }
    let user = users[0].as_str().unwrap_or_default();
    ensure!(
        user.starts_with("anon-") && users[0] == users[1],
        "{users:?}"
    );
    Ok(())
}
