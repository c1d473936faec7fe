//! Dead letters of each of the three shapes are replayed, twice: everything is
//! there once.

use crate::support::{Bench, event};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use freshet::replay::{Kind, Options, Target, run};
use freshet_local::batch::FailurePolicy;
use freshet_local::fault::{Seen, Verdict};
use freshet_local::function::InvokeError;
use freshet_local::kinesis::{KinesisSource, ReadFrom};
use freshet_local::mapping::{Invoke, Mapping, MappingConfig, S3OnFailure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A function that always fails.
struct Broken;

impl Invoke for Broken {
    async fn invoke(&self, _: Bytes) -> Result<Bytes, InvokeError> {
        Err(InvokeError::Exited)
    }
    fn arn(&self) -> String {
        "arn:aws:lambda:us-east-1:000000000000:function:broken".to_owned()
    }
}

/// The index refuses the documents of these events, as for a type conflict.
fn refuse_item(seen: &Seen<'_>, event_id: &'static str) -> Verdict {
    let text = String::from_utf8_lossy(seen.body).into_owned();
    let mark = format!("\"event_id\":\"{event_id}\"");
    if !seen.path.contains("/_bulk") || !text.contains(&mark) {
        return Verdict::Forward;
    }
    let lines: Vec<&str> = text.lines().collect();
    let pairs: Vec<[&str; 2]> = lines
        .chunks_exact(2)
        .map(|pair| [pair[0], pair[1]])
        .collect();
    let Some(place) = pairs.iter().position(|pair| pair[1].contains(&mark)) else {
        return Verdict::Forward;
    };
    let id = serde_json::from_str::<Value>(pairs[place][0])
        .map(|action| action["create"]["_id"].clone())
        .unwrap_or_default();
    let rest: String = pairs
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != place)
        .map(|(_, p)| format!("{}\n{}\n", p[0], p[1]))
        .collect();
    let refusal = json!({"create": {"_id": id, "status": 400, "error": {"type": "mapper_parsing_exception", "reason": "r"}}});
    if rest.is_empty() {
        return Verdict::Answer(200, json!({"items": [refusal]}).to_string().into());
    }
    Verdict::Change(
        rest.into(),
        Box::new(move |answer| {
            let mut answer: Value = serde_json::from_slice(&answer).ok()?;
            answer["items"].as_array_mut()?.insert(place, refusal);
            Some(answer.to_string().into())
        }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_dead_letter_is_replayed_and_doubles_nothing() -> Result<()> {
    let bench = Bench::start("replay").await?;
    let endpoints = &bench.stack.endpoints;

    // The queue: an event that the stream refused.
    bench.aws.set(|seen| {
        if seen.operation == "PutRecords" {
            Verdict::Answer(500, Bytes::from_static(b"{}"))
        } else {
            Verdict::Forward
        }
    });
    let queued = event("queued", json!({"metadata": {"ip_address": "193.0.6.139"}}));
    ensure!(bench.post(queued.to_string()).await?.statuses() == ["ok"]);
    bench.aws.clear();

    // A rejection: the index refuses one item of a batch.
    bench.search.set(|seen| refuse_item(seen, "rejected"));
    let both = json!([
        event(
            "rejected",
            json!({"user_id": "u", "metadata": {"ip_address": "193.0.6.139", "note": "kept"}})
        ),
        event("neighbour", json!({"user_id": "u"})),
    ]);
    ensure!(bench.post(both.to_string()).await?.status == 200);
    bench.settled_at(1).await?;
    bench.search.clear();
    ensure!(bench.dead_letters("rejected/").await?.len() == 1);

    // On-failure objects: a mapping on the same stream whose function always
    // fails gives up everything it reads; the index then loses what it had.
    let aws = freshet_local::cloud::aws_config(&endpoints.aws_endpoint).await;
    ensure!(
        bench
            .post(event("given-up", json!({})).to_string())
            .await?
            .status
            == 200
    );
    let mut foreign = event("x", json!({"page_url": "https://foreign.example/"}));
    foreign
        .as_object_mut()
        .map(|fields| fields.remove("event_id"));
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    let put = kinesis
        .put_record()
        .stream_name(&endpoints.stream)
        .partition_key("f");
    put.data(aws_sdk_kinesis::primitives::Blob::new(foreign.to_string()))
        .send()
        .await?;
    bench.settled_at(3).await?;
    let config = MappingConfig {
        id: "broken".to_owned(),
        batch_size: 10,
        window: Duration::from_millis(100),
        parallelization_factor: 1,
        tumbling_window: None,
        start: ReadFrom::Oldest,
        policy: FailurePolicy {
            max_retries: Some(0),
            ..FailurePolicy::default()
        },
        checkpoint_file: bench.stack.paths.state().join("broken.json"),
    };
    let source = KinesisSource::new(kinesis, &endpoints.stream).await?;
    let bucket = S3OnFailure::new(
        freshet_local::cloud::s3(&aws),
        &endpoints.dead_letter_bucket,
    );
    let broken = Mapping::start(config, source, Arc::new(Broken), Some(bucket)).await?;
    for _ in 0..200 {
        if broken.stats.given_up.load(Ordering::Acquire) >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(broken);
    let delete = json!({"query": {"terms": {"page_url.keyword": ["https://foreign.example/", "https://shop.example/products?sort=new"]}}});
    let deleted = bench
        .opensearch("POST", "clickstream/_delete_by_query?refresh=true", delete)
        .await?;
    ensure!(deleted["deleted"] == 3, "{deleted}");

    let (target, aws) = Target::local(bench.stack.paths.state()).await?;
    let clients = target.clients(&aws);
    let dry = Options {
        dry_run: true,
        ..Options::default()
    };
    let counted = run(&dry, &clients, &mut |_| {}).await?;
    ensure!(
        counted.of(Kind::Queue).letters == 1 && counted.of(Kind::Rejected).letters == 1,
        "{counted}"
    );
    ensure!(
        bench.queued().await?.len() == 1,
        "a dry run changes nothing"
    );
    for round in 1..=2 {
        let summary = run(&Options::default(), &clients, &mut |_| {}).await?;
        ensure!(summary.is_complete(), "round {round}: {summary}");
        ensure!(
            round == 2 || summary.of(Kind::Queue).letters == 1,
            "{summary}"
        );
        ensure!(
            summary.of(Kind::Rejected).letters == 1 && summary.of(Kind::OnFailure).events() >= 3,
            "{summary}"
        );
        bench.settled_at(5).await?;
    }
    ensure!(
        bench.queued().await?.is_empty(),
        "what the stream has is deleted from the queue"
    );
    ensure!(bench.document("queued").await?["geoip"]["country_name"] == "Netherlands");
    let rejected = bench.document("rejected").await?;
    ensure!(
        rejected["geoip"]["country_name"] == "Netherlands",
        "its place is kept: {rejected}"
    );
    ensure!(rejected["metadata"]["other"]["note"] == "kept");
    bench.document("given-up").await?;
    let query = json!({"query": {"term": {"source": "stream"}}});
    let foreign = bench
        .opensearch("POST", "clickstream/_search", query)
        .await?;
    let id = foreign["hits"]["hits"][0]["_source"]["event_id"]
        .as_str()
        .context("the other producer's event")?;
    ensure!(id.starts_with("stream:shardId-"), "{id}");
    ensure!(
        foreign["hits"]["total"]["value"] == 1,
        "its identity is its first place on the stream"
    );
    bench.stop().await
}
