//! The alarms of the template, as CloudWatch would judge what the functions
//! really measure: on a stack whose minute is two seconds, an hour of healthy
//! traffic raises none, and each fault raises those that are about it, which
//! are silent again when it is over.

mod measured;
mod notices;
mod traffic;
mod watch;

use crate::support::{Bench, bodies};
use anyhow::{Context as _, Result, ensure};
use freshet::stack::StackOptions;
use freshet_alarms::State;
use freshet_local::fault::{Seen, Verdict};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use traffic::Traffic;
use watch::Watch;

const MINUTE: Duration = Duration::from_secs(2);
/// Events in a minute of this length; the alarm is at half of it.
const PER_MINUTE: u32 = 60;

/// The stack's minutes, and thresholds for what they hold. What is measured in
/// real time stays as it is, or has room for a machine that does much else.
fn options() -> StackOptions {
    let parameters = [
        ("IngestionLowPerMinute", PER_MINUTE / 2),
        ("LagRecordsAlarm", 200),
        ("ProcessingLatencyAlarmMs", 15_000),
        // Those of the machine that this runs on.
        ("DiskUsedPercentAlarm", 100),
        ("HeapUsedPercentAlarm", 100),
        // A probe must be counted within its short time.
        ("PublishIntervalSeconds", 1),
    ];
    StackOptions {
        minute: Some(MINUTE),
        overrides: BTreeMap::from([(
            "HealthFunction".to_owned(),
            vec![("PERIOD_S".to_owned(), MINUTE.as_secs().to_string())],
        )]),
        // A run keeps six seconds back for its end.
        timeouts: BTreeMap::from([("HealthFunction".to_owned(), Duration::from_secs(12))]),
        parameters: parameters
            .map(|(key, value)| (key, value.to_string()))
            .into(),
        ..StackOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_fire_when_they_should_and_only_then() -> Result<()> {
    let mut bench = Bench::start_from("alarms", &[], options()).await?;
    let mut traffic = Traffic::start(&bench, PER_MINUTE, MINUTE);
    let mut watch = Watch::start(&bench, MINUTE).await?;
    warm_up(&bench, &mut watch).await?;

    healthy_hour(&bench, &mut watch).await?;
    outage(&mut bench, &mut watch).await?;
    killed(&bench, &mut watch).await?;
    poison(&bench, &mut watch).await?;
    refused_by_the_stream(&bench, &mut watch).await?;
    silence(&bench, &mut watch, &mut traffic).await?;

    ensure!(
        traffic.refused() == 0,
        "{} posts were refused",
        traffic.refused()
    );
    traffic.stop().await;
    let malformed = bench.stack.cloud.metrics.malformed();
    ensure!(malformed == 0, "{malformed} lines were no metrics");
    bench.stop().await
}

/// The first of everything takes long, and says so.
async fn warm_up(bench: &Bench, watch: &mut Watch) -> Result<()> {
    for _ in 0..6 {
        watch.pass(bench, 10).await?;
        let quiet = watch.since_now(|t| t.to == State::Alarm).is_empty();
        if quiet && watch.all_are(State::Ok).is_ok() {
            return Ok(());
        }
    }
    watch.all_are(State::Ok)
}

async fn healthy_hour(bench: &Bench, watch: &mut Watch) -> Result<()> {
    watch.pass(bench, 60).await?;
    let fired = watch.since_now(|t| t.to == State::Alarm);
    ensure!(fired.is_empty(), "in an hour of healthy traffic: {fired:?}");
    watch.all_are(State::Ok)
}

/// The cluster is gone as after a power cut, and comes back.
async fn outage(bench: &mut Bench, watch: &mut Watch) -> Result<()> {
    watch.mark();
    bench.stack.opensearch.kill().await?;
    let fire = [
        "cluster-red",
        "probe-failing",
        "checks-failing",
        "enrich-behind",
        "enrich-lag",
        "unhealthy",
    ];
    watch.until_alarm(bench, 20, &fire).await?;
    watch.others_are_silent(&[&fire[..], &["probe-missing", "processing-slow"]].concat())?;
    bench.stack.opensearch.start().await?;
    // What has waited is indexed late, and says so until it is through.
    watch.until_all(bench, 40, State::Ok).await
}

/// A function is killed again and again, in the middle of its work.
async fn killed(bench: &Bench, watch: &mut Watch) -> Result<()> {
    watch.mark();
    let enrich = &bench.stack.cloud.functions["EnrichFunction"];
    let until = watch.minutes(15);
    while !watch.is("enrich-errors", State::Alarm) {
        enrich.kill_environments();
        watch.look(bench).await;
        ensure!(
            watch::now_ms() < until,
            "errors are an alarm: {}",
            watch.states()
        );
    }
    watch.until_all(bench, 30, State::Ok).await
}

/// Records that cannot be read, and documents that the index refuses.
async fn poison(bench: &Bench, watch: &mut Watch) -> Result<()> {
    watch.mark();
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    for n in 0..3_u8 {
        let put = kinesis
            .put_record()
            .stream_name(&bench.stack.endpoints.stream)
            .partition_key(format!("poison-{n}"))
            .data(aws_sdk_kinesis::primitives::Blob::new(vec![0xff, n, 0xfe]));
        put.send().await?;
    }
    let fire = ["enrich-dead-letters"];
    watch.until_alarm(bench, 10, &fire).await?;
    watch.until_all(bench, 20, State::Ok).await?;

    watch.mark();
    bench.search.set(refuse_some_items());
    watch.until_alarm(bench, 10, &fire).await?;
    bench.search.clear();
    watch.until_all(bench, 20, State::Ok).await
}

/// An answer of `_bulk` in which some items are refused for good.
fn refuse_some_items() -> impl FnMut(&Seen<'_>) -> Verdict + Send + 'static {
    |seen| {
        if !seen.path.contains("_bulk") {
            return Verdict::Forward;
        }
        let change = |answer: bytes::Bytes| {
            let mut answer: serde_json::Value = serde_json::from_slice(&answer).ok()?;
            let item = answer["items"][0].as_object_mut()?.values_mut().next()?;
            item["status"] = 400.into();
            item["error"] = json!({"type": "mapper_parsing_exception", "reason": "a test says so"});
            answer["errors"] = true.into();
            Some(answer.to_string().into())
        };
        Verdict::Change(seen.body.clone(), Box::new(change))
    }
}

/// The stream takes nothing for a while: events go to the queue.
async fn refused_by_the_stream(bench: &Bench, watch: &mut Watch) -> Result<()> {
    watch.mark();
    bench.aws.set(|seen| {
        if seen.operation != "PutRecords" {
            return Verdict::Forward;
        }
        let body = json!({"__type": "InternalFailureException", "message": "a test says so"});
        Verdict::Answer(500, body.to_string().into())
    });
    for body in bodies("held", 4, 2) {
        let answer = bench.post(body).await?;
        ensure!(
            answer.statuses() == ["ok", "ok"],
            "the queue holds them: {answer:?}"
        );
    }
    watch
        .until_alarm(bench, 15, &["collect-dead-letters", "dead-letters-waiting"])
        .await?;
    bench.aws.clear();
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let purge = aws_sdk_sqs::Client::new(&aws)
        .purge_queue()
        .queue_url(&bench.stack.endpoints.dead_letter_queue_url);
    purge.send().await?;
    watch.until_all(bench, 30, State::Ok).await
}

/// Nobody sends and nobody watches.
async fn silence(bench: &Bench, watch: &mut Watch, traffic: &mut Traffic) -> Result<()> {
    watch.mark();
    traffic.pause(true);
    bench.stack.cloud.pause_schedules(true);
    let fire = ["ingestion-low", "probe-missing", "cluster-red", "unhealthy"];
    watch.until_alarm(bench, 20, &fire).await?;
    watch.others_are_silent(&fire)?;
    let first = watch.since_now(|t| t.to == State::Alarm);
    let first = first.first().context("something fired")?;
    ensure!(
        first.alarm.ends_with("cluster-red"),
        "silence is seen at once: {first:?}"
    );
    traffic.pause(false);
    bench.stack.cloud.pause_schedules(false);
    watch.until_all(bench, 30, State::Ok).await
}
