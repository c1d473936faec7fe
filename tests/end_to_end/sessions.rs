//! Sessions: one document each, exact whatever the order, retries and
//! rollovers; events without the table are indexed all the same.

use crate::support::{Bench, event};
use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesis::primitives::Blob;
use freshet_events::wire::Packer;
use freshet_local::fault::{Seen, Verdict};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const INACTIVITY_MS: i64 = 30 * MINUTE_MS;

/// An event of the truth: what is posted, and what is expected of it.
#[derive(Clone, Debug)]
struct Hit {
    id: String,
    session: String,
    at_ms: i64,
    kind: &'static str,
    path: String,
    referrer: Option<String>,
    amount: Option<f64>,
}

impl Hit {
    fn json(&self) -> Value {
        let mut metadata = json!({});
        if let Some(referrer) = &self.referrer {
            metadata["referrer"] = json!(referrer);
        }
        if let Some(amount) = self.amount {
            metadata["amount"] = json!(amount);
        }
        event(
            &self.id,
            json!({"user_id": format!("user-of-{}", self.session), "session_id": self.session,
                "event_type": self.kind, "page_url": format!("https://shop.example{}", self.path),
                "timestamp": self.at_ms, "metadata": metadata}),
        )
    }
}

/// A session's events at these minutes after `start_ms`: pages first, and a
/// purchase in the end if there is more than one.
fn visit(session: &str, start_ms: i64, minutes: &[i64]) -> Vec<Hit> {
    let last = minutes.len() - 1;
    let hit = |(n, minute): (usize, &i64)| Hit {
        id: format!("{session}-{minute}"),
        session: session.to_owned(),
        at_ms: start_ms + minute * MINUTE_MS + n as i64,
        kind: if n > 0 && n == last {
            "purchase"
        } else {
            "page_view"
        },
        path: format!("/{session}/{minute}"),
        referrer: (n == 0).then(|| format!("https://from.example/{session}")),
        amount: (n > 0 && n == last).then_some(10.25),
    };
    minutes.iter().enumerate().map(hit).collect()
}

/// The session documents of these events by the definition of a session.
fn by_definition(hits: &[Hit]) -> BTreeSet<String> {
    let mut by_session: BTreeMap<&str, Vec<&Hit>> = BTreeMap::new();
    for hit in hits {
        by_session.entry(&hit.session).or_default().push(hit);
    }
    let mut documents = BTreeSet::new();
    for (session, mut hits) in by_session {
        hits.sort_by_key(|hit| hit.at_ms);
        let runs = hits.chunk_by(|a, b| b.at_ms - a.at_ms <= INACTIVITY_MS);
        documents.extend(runs.map(|run| expected(session, run).to_string()));
    }
    documents
}

fn expected(session: &str, run: &[&Hit]) -> Value {
    let (first, last) = (run[0], run[run.len() - 1]);
    let pages: Vec<&&Hit> = run.iter().filter(|hit| hit.kind == "page_view").collect();
    let earned: Vec<f64> = run.iter().filter_map(|hit| hit.amount).collect();
    let time = |ms: i64| {
        jiff::Timestamp::from_millisecond(ms).map_or_else(|e| e.to_string(), |t| format!("{t:.3}"))
    };
    let mut document = json!({
        "session_id": session, "source": "open", "user_id": format!("user-of-{session}"),
        "start": time(first.at_ms), "end": time(last.at_ms),
        "duration": (last.at_ms - first.at_ms) as f64 / 1000.0,
        "events": run.len(), "pages": pages.len(), "is_conversion": !earned.is_empty(),
        "conversions": earned.len(), "revenue": earned.iter().fold(0.0, |sum, amount| sum + amount),
        "bounce": u8::from(run.len() == 1 && pages.len() == 1),
    });
    if let (Some(entry), Some(exit)) = (pages.first(), pages.last()) {
        document["entry_page"] = json!(entry.path);
        document["exit_page"] = json!(exit.path);
    }
    if let Some(referrer) = &first.referrer {
        document["referrer"] = json!(referrer);
    }
    document
}

/// Every session document, with its version.
async fn session_documents(bench: &Bench) -> Result<BTreeMap<String, u64>> {
    bench
        .opensearch("POST", "clickstream_sessions-*/_refresh", json!({}))
        .await?;
    let query = json!({"size": 1000, "version": true, "query": {"match_all": {}}});
    let answer = bench
        .opensearch("POST", "clickstream_sessions-*/_search", query)
        .await?;
    let hits = answer["hits"]["hits"]
        .as_array()
        .with_context(|| answer.to_string())?;
    hits.iter()
        .map(|hit| {
            // Filed under the day it was first known to start on.
            let day = |time: &str| {
                hit["_source"][time].as_str().unwrap_or_default()[..10].replace('-', ".")
            };
            let index = hit["_index"].as_str().unwrap_or_default();
            let days = [day("start"), day("end")];
            let filed = days.map(|day| index == format!("clickstream_sessions-{day}"));
            ensure!(filed.contains(&true), "{index} holds {}", hit["_source"]);
            let version = hit["_version"].as_u64().context("a version")?;
            Ok((hit["_source"].to_string(), version))
        })
        .collect()
}

async fn check(bench: &Bench, hits: &[Hit]) -> Result<()> {
    let found: BTreeSet<String> = session_documents(bench).await?.into_keys().collect();
    let truth = by_definition(hits);
    let missing: Vec<_> = truth.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&truth).collect();
    ensure!(
        missing.is_empty() && surplus.is_empty(),
        "missing {missing:#?}\nsurplus {surplus:#?}"
    );
    Ok(())
}

async fn post(bench: &Bench, hits: &[Hit]) -> Result<()> {
    let events: Vec<Value> = hits.iter().map(Hit::json).collect();
    let answer = bench.post(json!({"events": events}).to_string()).await?;
    ensure!(
        answer.statuses().iter().all(|status| *status == "ok"),
        "{answer:?}"
    );
    Ok(())
}

/// The same hits in an order that has nothing to do with time.
fn shuffled(hits: &[Hit], salt: u64) -> Vec<Hit> {
    let mut hits = hits.to_vec();
    hits.sort_by_key(|hit| {
        let bytes = hit.id.bytes().map(u64::from);
        bytes.fold(salt, |hash, byte| {
            (hash ^ byte).wrapping_mul(0x0100_0000_01b3)
        })
    });
    hits
}

#[tokio::test(flavor = "multi_thread")]
async fn session_documents_are_exact_whatever_the_order_retries_and_rollovers() -> Result<()> {
    let bench = Bench::start("sessions").await?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    // The last one that is long enough ago for events after it.
    let hour_ago = now_ms - 60 * MINUTE_MS;
    let midnight_ms = hour_ago - hour_ago % DAY_MS;
    let mut hits = Vec::new();
    for n in 0..20 {
        let hour_ago = hour_ago - n * 1_000;
        hits.extend(visit(&format!("short-{n}"), hour_ago, &[0, 1, 3, 7]));
        hits.extend(visit(&format!("bounce-{n}"), hour_ago, &[0]));
        // A pause of 40 minutes: two sessions of one id.
        hits.extend(visit(
            &format!("pause-{n}"),
            hour_ago - 3_600_000,
            &[0, 5, 45, 50],
        ));
        // A chain that holds together by the events in between.
        hits.extend(visit(
            &format!("long-{n}"),
            hour_ago - 7_200_000,
            &[0, 29, 58, 87, 116],
        ));
        hits.extend(visit(&format!("night-{n}"), midnight_ms, &[-10, -2, 4, 9]));
    }
    let bulks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&bulks);
    bench.kill_enrich_after(move |seen| {
        seen.path.contains("/_bulk") && counted.fetch_add(1, Ordering::AcqRel) % 9 == 4
    });
    let arriving = shuffled(&hits, 1);
    for (n, chunk) in arriving.chunks(40).enumerate() {
        post(&bench, chunk).await?;
        if n == 4 {
            let rolled = bench
                .opensearch("POST", "clickstream/_rollover", json!({}))
                .await?;
            ensure!(rolled["rolled_over"] == true, "{rolled}");
        }
        // Clients that lost an answer send again.
        post(&bench, &chunk[..7.min(chunk.len())]).await?;
    }
    bench.settled_at(hits.len() as u64).await?;
    ensure!(
        bulks.load(Ordering::Acquire) > 5,
        "enrich was killed now and then"
    );
    bench.search.clear();
    check(&bench, &hits).await?;
    let stats = &bench.stack.cloud.mappings["EnrichMapping"].stats;
    ensure!(stats.errors.load(Ordering::Acquire) >= 1);

    // Everything once more, in another order: nothing changes, versions included.
    let before = session_documents(&bench).await?;
    for chunk in shuffled(&hits, 2).chunks(100) {
        post(&bench, chunk).await?;
    }
    bench.settled_at(hits.len() as u64).await?;
    ensure!(
        session_documents(&bench).await? == before,
        "a replay changed a session"
    );

    // No duration is negative or longer than the truth.
    let all = json!({"size": 1000, "_source": ["event_id", "session_duration"], "query": {"match_all": {}}});
    let answer = bench.opensearch("POST", "clickstream/_search", all).await?;
    let documents = answer["hits"]["hits"].as_array().context("hits")?;
    ensure!(documents.len() == hits.len());
    for document in documents {
        let source = &document["_source"];
        let duration = source["session_duration"].as_f64();
        let duration = duration.with_context(|| format!("no duration in {source}"))?;
        ensure!((0.0..=116.0 * 60.0 + 1.0).contains(&duration), "{source}");
    }
    bench.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn durations_hold_across_batches_and_cold_functions() -> Result<()> {
    let bench = Bench::start("durations").await?;
    let start_ms = jiff::Timestamp::now().as_millisecond() - 20 * MINUTE_MS;
    let hits = visit("v", start_ms, &[0, 2, 5, 11]);
    for (n, hit) in hits.iter().enumerate() {
        post(&bench, std::slice::from_ref(hit)).await?;
        bench.settled_at(n as u64 + 1).await?;
        // The next one meets a function that remembers nothing.
        bench.stack.cloud.functions["EnrichFunction"].kill_environments();
        let document = bench.document(&hit.id).await?;
        let expected = (hit.at_ms - start_ms) as f64 / 1000.0;
        ensure!(
            document["session_duration"].as_f64() == Some(expected),
            "{document}"
        );
    }
    // An event from before all of them: it starts the session now.
    let earlier = Hit {
        id: "earlier".to_owned(),
        at_ms: start_ms - MINUTE_MS,
        ..hits[0].clone()
    };
    let later = Hit {
        id: "later".to_owned(),
        at_ms: start_ms + 12 * MINUTE_MS,
        ..hits[1].clone()
    };
    let mut all = hits;
    for (hit, expected) in [(earlier, 0.0), (later, 13.0 * 60.0)] {
        post(&bench, std::slice::from_ref(&hit)).await?;
        all.push(hit.clone());
        bench.settled_at(all.len() as u64).await?;
        let document = bench.document(&hit.id).await?;
        ensure!(document["session_duration"] == expected, "{document}");
    }
    check(&bench, &all).await?;

    // Two sources with the same session id, and many writers of one id.
    let crowd: Vec<Hit> = (0..1_200)
        .map(|n| Hit {
            id: format!("crowd-{n}"),
            session: "crowd".to_owned(),
            at_ms: start_ms + n * 100,
            kind: "page_view",
            path: format!("/{n}"),
            referrer: None,
            amount: None,
        })
        .collect();
    let bodies: Vec<String> = crowd
        .chunks(20)
        .map(|chunk| {
            // Each event another user's, so that they spread over all shards.
            let events = chunk.iter().map(|hit| {
                let mut json = hit.json();
                json["user_id"] = json!(format!("crowd-user-{}", hit.id));
                json
            });
            json!({"events": events.collect::<Vec<_>>()}).to_string()
        })
        .collect();
    for answer in
        futures::future::join_all(bodies.iter().map(|body| bench.post(body.clone()))).await
    {
        ensure!(answer?.status == 200);
    }
    bench.settled_at(all.len() as u64 + 1_200).await?;
    let found = session_documents(&bench).await?;
    let crowd = found
        .keys()
        .find(|json| json.contains(r#""session_id":"crowd""#));
    let crowd: Value = serde_json::from_str(crowd.context("no session of the crowd")?)?;
    ensure!(
        crowd["events"] == 1_200 && crowd["pages"] == 1_200 && found.len() == 2,
        "{found:#?}"
    );
    bench.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_events_are_indexed_and_the_metric_says_so() -> Result<()> {
    let bench = Bench::start("no-table").await?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    bench.tables.set(|seen: &Seen<'_>| match seen.operation {
        "PutItem" | "BatchGetItem" => Verdict::Answer(500, b"{}".as_slice().into()),
        _ => Verdict::Forward,
    });
    let lost = visit("lost", now_ms - 20 * MINUTE_MS, &[0, 1, 2]);
    post(&bench, &lost).await?;
    bench.settled_at(3).await?;
    for hit in &lost {
        let document = bench.document(&hit.id).await?;
        ensure!(document.get("session_duration").is_none(), "{document}");
    }
    let metric: Value = bench
        .logs()?
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|line: &Value| line.get("EventsWithoutSession").is_some())
        .context("no metric")?;
    ensure!(
        metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Freshet"
            && metric["Stage"] == "enrich",
        "{metric}"
    );
    ensure!(bench.dead_letters("").await?.is_empty());

    bench.tables.clear();
    // A function that failed leaves the table alone for a while; a new one does not.
    bench.stack.cloud.functions["EnrichFunction"].kill_environments();
    let back = visit("back", now_ms - 20 * MINUTE_MS, &[0, 1, 2]);
    post(&bench, &back).await?;
    bench.settled_at(6).await?;
    let document = bench.document(&back[2].id).await?;
    ensure!(
        document["session_duration"].as_f64() == Some(120.002),
        "{document}"
    );
    check(&bench, &back).await?;
    bench.stop().await
}

/// What a server says of its users: no page, no session, and no more than
/// collect would put on the stream.
async fn put_of_servers(bench: &Bench, user: &str, events: &[(&str, i64)]) -> Result<()> {
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    let mut packer = Packer::new();
    for (id, at_ms) in events {
        let event = json!({
            "event_id": id, "source": "server", "user_id": user, "event_type": "order_completed",
            "timestamp": at_ms, "received_at": at_ms, "metadata": {"plan": "pro"},
        });
        packer.push(event.to_string().as_bytes());
    }
    let put = kinesis
        .put_record()
        .stream_name(&bench.stack.endpoints.stream)
        .partition_key(user);
    put.data(Blob::new(packer.finish())).send().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_derived_of_users_whose_clients_name_none() -> Result<()> {
    let bench = Bench::start("derived").await?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let ago = |minutes: i64| now_ms - minutes * MINUTE_MS;
    // One batch after the other, each to a function that remembers nothing.
    let batches: [&[(&str, i64)]; 4] = [
        &[("d60", ago(60)), ("d50", ago(50))],
        &[("d10", ago(10))],
        &[("d5", ago(5)), ("d15", ago(15))],
        &[("old", ago(9 * 24 * 60))],
    ];
    let mut indexed = 0;
    for batch in batches {
        put_of_servers(&bench, "u", batch).await?;
        indexed += batch.len() as u64;
        bench.settled_at(indexed).await?;
        bench.stack.cloud.functions["EnrichFunction"].kill_environments();
    }
    put_of_servers(&bench, "v", &[("other", ago(10))]).await?;
    bench.settled_at(indexed + 1).await?;

    let mut ids = BTreeMap::new();
    for id in ["d60", "d50", "d15", "d10", "d5", "other", "old"] {
        let document = bench.document(id).await?;
        let absent = ["page_url", "url_path"].map(|field| document.get(field));
        ensure!(
            document["session_derived"] == true && absent == [None, None],
            "{document}"
        );
        let session = document["session_id"].as_str().context("no session_id")?;
        ids.insert(id, session.to_owned());
    }
    ensure!(
        ids["d60"] == ids["d50"] && ids["d50"] != ids["d10"],
        "{ids:?}"
    );
    ensure!(
        ids["d15"] == ids["d10"] && ids["d10"] == ids["d5"],
        "{ids:?}"
    );
    ensure!(
        bench.document("d50").await?["session_duration"].as_f64() == Some(600.0)
            && bench
                .document("old")
                .await?
                .get("session_duration")
                .is_none()
    );

    let query = json!({"size": 100, "query": {"match_all": {}}});
    bench
        .opensearch("POST", "clickstream_sessions-*/_refresh", json!({}))
        .await?;
    let answer = bench
        .opensearch("POST", "clickstream_sessions-*/_search", query)
        .await?;
    let hits = answer["hits"]["hits"].as_array().context("hits")?;
    let found: BTreeMap<&str, u64> = hits
        .iter()
        .filter(|hit| hit["_id"] == hit["_source"]["session_id"])
        .filter_map(|hit| Some((hit["_id"].as_str()?, hit["_source"]["events"].as_u64()?)))
        .collect();
    let expected = [("d60", 2), ("d10", 3), ("other", 1)];
    let expected: BTreeMap<&str, u64> = expected
        .iter()
        .map(|(id, events)| (ids[id].as_str(), *events))
        .collect();
    ensure!(hits.len() == 3 && found == expected, "{answer}");
    ensure!(bench.dead_letters("").await?.is_empty());
    bench.stop().await
}
