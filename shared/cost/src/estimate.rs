//! What a stack uses in a month.

use crate::bill::{Component, Metered};
use crate::deployment::{Deployment, LogLevel, Mapping, Stream};
use crate::measured;
use crate::traffic::Traffic;
use crate::{GB, HOURS, SECONDS};

/// What `deployment` uses in a month under `traffic`.
#[must_use]
pub fn estimate(traffic: &Traffic, deployment: &Deployment) -> Vec<Metered> {
    let rates = Rates::of(traffic, deployment);
    let mut metered = door(traffic, deployment, &rates);
    metered.extend(stream_of(traffic, deployment));
    metered.extend(consumers(traffic, deployment, &rates));
    metered.extend(tables(traffic, deployment, &rates));
    metered.extend(search(deployment));
    metered.extend(watching(traffic, deployment, &rates));
    // What is not there is not shown.
    metered.retain(|item| item.amount > 0.0);
    metered
}

/// What happens in a second.
struct Rates {
    collect: f64,
    enrich: f64,
    aggregate: f64,
    query: f64,
    health: f64,
    shards: f64,
}

impl Rates {
    fn of(traffic: &Traffic, deployment: &Deployment) -> Self {
        let shards = deployment.shards(traffic);
        let records = traffic.records_per_second();
        let health = if deployment.health { 1.0 / 60.0 } else { 0.0 };
        let has_query = deployment.memory("query").is_some();
        Self {
            collect: traffic.requests_per_second() + health,
            enrich: batches(records, shards, &deployment.enrich, traffic),
            aggregate: batches(records, shards, &deployment.aggregate, traffic),
            query: if has_query {
                traffic.queries_per_second
            } else {
                0.0
            },
            health,
            shards,
        }
    }
}

/// Bytes of a record: its first event whole, the others compressed with it.
#[must_use]
pub(crate) fn record_bytes(traffic: &Traffic) -> f64 {
    let others = traffic.events_per_record() - 1.0;
    traffic.event_bytes * (1.0 + measured::PACKED_SHARE * others)
}

/// Invocations a second of a function that reads the stream: a batch begins
/// with a record and ends with its window, or when it is full.
fn batches(records: f64, shards: f64, mapping: &Mapping, traffic: &Traffic) -> f64 {
    let lanes = shards * mapping.lanes;
    let each = records / lanes;
    let payload = measured::ENVELOPE_BYTES + record_bytes(traffic) * 4.0 / 3.0;
    let full = mapping
        .batch_size
        .min((measured::LAMBDA_PAYLOAD_BYTES / payload).floor())
        .max(1.0);
    lanes * (each / (1.0 + each * mapping.window_s)).max(each / full)
}

/// GB-seconds a second, and cores by memory.
fn gb_seconds(invocations: f64, wait_ms: f64, cpu_ms: f64, memory_mb: f64) -> f64 {
    let cores = (memory_mb / measured::MB_OF_A_CORE).min(1.0);
    let ms = wait_ms + cpu_ms / cores + measured::ROUNDING_MS;
    invocations * ms / 1_000.0 * memory_mb / 1_024.0
}

/// A function's two lines.
fn function(component: Component, invocations: f64, gb_seconds: f64) -> [Metered; 2] {
    [
        Metered::new(
            component,
            "requests",
            "lambda.request",
            invocations * SECONDS,
        ),
        Metered::new(
            component,
            "GB-seconds",
            "lambda.arm64_gb_second",
            gb_seconds * SECONDS,
        ),
    ]
}

fn door(traffic: &Traffic, deployment: &Deployment, rates: &Rates) -> Vec<Metered> {
    let bytes = traffic.event_bytes * traffic.events_per_request;
    let units = (bytes / 524_288.0).ceil();
    let requests = traffic.requests_per_second() * units + rates.query + rates.health;
    let answers = traffic.requests_per_second() * measured::ANSWER_BYTES
        + traffic.events_per_second * measured::RESULT_BYTES
        + rates.query * measured::QUERY_ANSWER_BYTES;
    let per_request = measured::COLLECT_NS * traffic.events_per_request / 1e6;
    let memory = deployment.memory("collect").unwrap_or(0.0);
    let used = gb_seconds(
        rates.collect,
        measured::COLLECT_WAIT_MS,
        per_request,
        memory,
    );
    let mut metered = vec![
        Metered::new(
            Component::Api,
            "requests",
            "api.request",
            requests * SECONDS,
        ),
        Metered::new(
            Component::Api,
            "answers",
            "transfer.out_gb",
            answers * SECONDS / GB,
        ),
    ];
    metered.extend(function(Component::Collect, rates.collect, used));
    if let Some(memory) = deployment.memory("query") {
        let used = gb_seconds(rates.query, measured::QUERY_MS, 0.0, memory);
        metered.extend(function(Component::Query, rates.query, used));
    }
    metered
}

/// What the stream alone uses in a month.
#[must_use]
pub fn stream_of(traffic: &Traffic, deployment: &Deployment) -> Vec<Metered> {
    let records = traffic.records_per_second() * SECONDS;
    let bytes = record_bytes(traffic);
    let line = |what, key, amount| Metered::new(Component::Stream, what, key, amount);
    let keeps_longer = deployment.stream_hours > 24.0;
    match deployment.stream {
        Stream::Shards(shards) => {
            let hours = f64::from(shards) * HOURS;
            vec![
                line("shards", "kinesis.shard_hour", hours),
                line(
                    "kept over 24 h",
                    "kinesis.extended_shard_hour",
                    if keeps_longer { hours } else { 0.0 },
                ),
                line(
                    "PUT units",
                    "kinesis.put_unit",
                    records * (bytes / 25_600.0).ceil(),
                ),
            ]
        }
        Stream::OnDemand => {
            // Each consumer reads all of it.
            let written = records * (bytes / 1_024.0).ceil() * 1_024.0 / GB;
            let read = 2.0 * records * bytes / GB;
            let kept_s = (deployment.stream_hours - 24.0).max(0.0) * 3_600.0;
            let kept = traffic.records_per_second() * bytes * kept_s / GB;
            vec![
                line("stream", "kinesis.stream_hour", HOURS),
                line("written", "kinesis.in_gb", written),
                line("read", "kinesis.out_gb", read),
                line("kept over 24 h", "kinesis.extended_gb_month", kept),
            ]
        }
    }
}

fn consumers(traffic: &Traffic, deployment: &Deployment, rates: &Rates) -> Vec<Metered> {
    let events = traffic.events_per_second;
    let enrich = gb_seconds(
        rates.enrich,
        measured::ENRICH_WAIT_MS + measured::ENRICH_WAIT_MS_AN_EVENT * events / rates.enrich,
        measured::ENRICH_NS / 1e6 * events / rates.enrich,
        deployment.memory("enrich").unwrap_or(0.0),
    );
    // One more at the end of each shard's arrival window, if anything came.
    let finals = rates.aggregate.min(rates.shards / 60.0);
    let invocations = rates.aggregate + finals;
    let in_window = events * deployment.window_minutes * 60.0;
    let aggregate = gb_seconds(
        invocations,
        measured::AGGREGATE_WAIT_MS,
        measured::AGGREGATE_NS / 1e6 * events / invocations + measured::MERGE_NS / 1e6 * in_window,
        deployment.memory("aggregate").unwrap_or(0.0),
    );
    let mut metered = function(Component::Enrich, rates.enrich, enrich).to_vec();
    metered.extend(function(Component::Aggregate, invocations, aggregate));
    metered
}

fn tables(traffic: &Traffic, deployment: &Deployment, rates: &Rates) -> Vec<Metered> {
    let mut metered = Vec::new();
    if deployment.sessions {
        let item =
            measured::SESSION_BYTES + measured::SESSION_MARK_BYTES * traffic.events_per_session;
        // A request's events of one user are of one session, and in one batch.
        let writes = traffic.records_per_second() * SECONDS;
        let kept = traffic.events_per_second / traffic.events_per_session
            * 86_400.0
            * deployment.session_days;
        let line = |what, key, amount| Metered::new(Component::Sessions, what, key, amount);
        metered.extend([
            line(
                "write units",
                "dynamodb.write_unit",
                writes * (item / 1_024.0).ceil(),
            ),
            line(
                "read units",
                "dynamodb.read_unit",
                writes * (item / 4_096.0).ceil() / 2.0,
            ),
            line(
                "storage",
                "dynamodb.storage_gb_month",
                kept * (item + measured::ITEM_OVERHEAD_BYTES) / GB,
            ),
        ]);
    }
    let (writes, reads) = aggregation_units(traffic, deployment, rates);
    let kept = traffic.events_per_second * measured::PIECE_BYTES * measured::PIECE_SECONDS / GB;
    let line = |what, key, amount| Metered::new(Component::Aggregations, what, key, amount);
    metered.extend([
        line("write units", "dynamodb.write_unit", writes * SECONDS),
        line("read units", "dynamodb.read_unit", reads * SECONDS),
        line("storage", "dynamodb.storage_gb_month", kept),
        line("backup", "dynamodb.backup_gb_month", kept),
    ]);
    metered
}

/// Write and read units a second of the aggregation table. An invocation
/// publishes as long as it does not lag: a piece, a manifest and a merge.
fn aggregation_units(traffic: &Traffic, deployment: &Deployment, rates: &Rates) -> (f64, f64) {
    let published = rates.aggregate;
    let piece = traffic.events_per_second / published * measured::PIECE_BYTES;
    let pieces_a_minute = (published / rates.shards * 60.0).max(1.0);
    let writes =
        (piece / 1_024.0).ceil() + manifest_units(pieces_a_minute) + measured::RESULT_UNITS;
    // All shards' manifests of the arrival windows that can hold a slot's panes.
    let windows = deployment.window_minutes + deployment.future_minutes + 2.0;
    let chains = windows * rates.shards.min(published * 60.0);
    let manifest = measured::MANIFEST_BYTES + measured::MANIFEST_ENTRY_BYTES * pieces_a_minute;
    let manifests = chains * manifest / 4_096.0;
    // Each environment fetches the pieces that others made.
    let seconds = measured::AGGREGATE_WAIT_MS / 1_000.0;
    let environments = (published * seconds).ceil().clamp(1.0, rates.shards);
    let pieces = (environments - 1.0) * (piece / 4_096.0).ceil();
    let reads = published * (manifests + pieces + measured::VERSION_UNITS) + rates.query * 2.0;
    (published * writes, reads)
}

/// Write units of a manifest, over the pieces that a minute brings it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to 60 or so
fn manifest_units(pieces_a_minute: f64) -> f64 {
    let pieces = pieces_a_minute.round().clamp(1.0, 10_000.0) as u32;
    let units = |n: u32| {
        let bytes = measured::MANIFEST_BYTES + measured::MANIFEST_ENTRY_BYTES * f64::from(n);
        (bytes / 1_024.0).ceil()
    };
    (1..=pieces).map(units).sum::<f64>() / f64::from(pieces)
}

fn search(deployment: &Deployment) -> Vec<Metered> {
    let Some(domain) = &deployment.domain else {
        return Vec::new();
    };
    let nodes = f64::from(domain.nodes);
    let mut metered = vec![
        Metered::nodes("data nodes", &domain.instance_type, nodes),
        Metered::new(
            Component::Search,
            "volumes",
            "opensearch.gp3_gb_month",
            nodes * f64::from(domain.volume_gb),
        ),
    ];
    if domain.warm {
        // As infra/search.yaml has it.
        metered.push(Metered::nodes("masters", "m7g.large.search", 3.0));
        metered.push(Metered::nodes(
            "warm nodes",
            "ultrawarm1.medium.search",
            2.0,
        ));
    }
    metered
}

fn watching(traffic: &Traffic, deployment: &Deployment, rates: &Rates) -> Vec<Metered> {
    let mut metered = Vec::new();
    if let Some(memory) = deployment.memory("health").filter(|_| deployment.health) {
        let used = gb_seconds(rates.health, measured::HEALTH_MS, 0.0, memory);
        metered.extend(function(Component::Health, rates.health, used));
        let runs = rates.health * SECONDS;
        metered.extend([
            Metered::new(Component::Health, "schedule", "scheduler.invocation", runs),
            Metered::new(
                Component::Health,
                "metrics read",
                "metrics.read",
                runs * measured::HEALTH_METRICS,
            ),
        ]);
    }
    let letters = traffic.events() * traffic.dead_letter_share;
    metered.extend([
        Metered::new(Component::DeadLetters, "objects put", "s3.put", letters),
        Metered::new(
            Component::DeadLetters,
            "storage",
            "s3.storage_gb_month",
            letters * measured::DEAD_LETTER_BYTES / GB,
        ),
    ]);
    metered.extend(logs(traffic, deployment, rates));
    let line = |what, key, amount| Metered::new(Component::Metrics, what, key, amount);
    metered.extend([
        line("custom metrics", "metrics.custom_month", measured::METRICS),
        line(
            "alarms",
            "alarms.standard_month",
            f64::from(deployment.alarms),
        ),
        line(
            "composite alarms",
            "alarms.composite_month",
            f64::from(deployment.composite_alarms),
        ),
        line("traces", "xray.trace", traces(deployment, rates) * SECONDS),
        line(
            "dashboards",
            "dashboards.month",
            f64::from(deployment.dashboards),
        ),
    ]);
    // Collect's environments, and both consumers' pollers.
    let callers = (rates.collect * 0.02).ceil() + 2.0 * rates.shards;
    metered.extend([
        Metered::new(
            Component::Secrets,
            "secrets",
            "secrets.month",
            f64::from(deployment.secrets),
        ),
        Metered::new(
            Component::Secrets,
            "requests to KMS",
            "kms.request",
            callers * measured::KMS_AN_HOUR * HOURS,
        ),
    ]);
    metered
}

/// Traces a second: of each function the first, and a twentieth of the others.
fn traces(deployment: &Deployment, rates: &Rates) -> f64 {
    if !deployment.tracing {
        return 0.0;
    }
    let functions = [
        rates.collect,
        rates.enrich,
        rates.aggregate,
        rates.query,
        rates.health,
    ];
    let sampled = |rate: &f64| rate.min(1.0) + (rate - 1.0).max(0.0) * 0.05;
    functions.iter().map(sampled).sum()
}

fn logs(traffic: &Traffic, deployment: &Deployment, rates: &Rates) -> [Metered; 3] {
    let platform = if deployment.platform_logs {
        measured::PLATFORM_LOG_BYTES
    } else {
        0.0
    };
    let debug = if deployment.log_level >= LogLevel::Debug {
        measured::DEBUG_LOG_BYTES
    } else {
        0.0
    };
    let aggregate = rates.aggregate + rates.aggregate.min(rates.shards / 60.0);
    let latencies = |invocations: f64| {
        let events = traffic.events_per_second / invocations;
        measured::LATENCY_LOG_BYTES * events.min(measured::LATENCIES)
    };
    let of_enrich = measured::ENRICH_LOG_BYTES + latencies(rates.enrich);
    let of_aggregate = measured::AGGREGATE_LOG_BYTES + latencies(aggregate);
    let functions = [
        (rates.collect, measured::COLLECT_LOG_BYTES),
        (rates.enrich, of_enrich),
        (aggregate, of_aggregate),
        (rates.query, measured::QUERY_LOG_BYTES),
        (rates.health, measured::HEALTH_LOG_BYTES),
    ];
    let functions: f64 = functions
        .iter()
        .map(|(rate, bytes)| rate * (bytes + platform + debug))
        .sum();
    let access = if deployment.access_log {
        (rates.collect + rates.query) * measured::ACCESS_LOG_BYTES
    } else {
        0.0
    };
    let kept_s = deployment.log_days * 86_400.0;
    let stored = (functions + access) * kept_s * measured::LOG_COMPRESSION / GB;
    let line = |what, key, amount| Metered::new(Component::Logs, what, key, amount);
    [
        line("of functions", "logs.ingested_gb", functions * SECONDS / GB),
        line("of the API", "logs.ingested_gb", access * SECONDS / GB),
        line("stored", "logs.stored_gb_month", stored),
    ]
}
