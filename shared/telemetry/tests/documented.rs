//! `docs/metrics.md` and the code say the same: every metric with its stage and
//! unit, in both directions, and how long a typical line is.

#![allow(clippy::unwrap_used)] // helpers of tests count as tests

use freshet_telemetry::stages::{
    Aggregate, Collect, Consumer, Enrich, Health, OpenSearchTimes, Query, StageMetrics,
};
use freshet_telemetry::{ByWord, Count, Family, Latency, Metrics, Note, Word};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Stage, name and unit.
type Metric = (String, String, String);

/// What stands after the dot, where the document has a placeholder.
const FAMILIES: [(&str, &str); 4] = [
    ("Rejected.", "Rejected.<code>"),
    ("Refused.", "Refused.<code>"),
    ("OpenSearch.", "OpenSearch.<operation>.<outcome>"),
    ("CheckFailed.", "CheckFailed.<check>"),
];

/// As Lambda makes them.
const REQUEST_ID: &str = "8f5a2c44-6b1e-4b0e-9d6b-0d2f1f8a1c11";

fn count() -> Count {
    Count::from(1)
}

fn latency() -> Latency {
    let mut latency = Latency::default();
    latency.add(Duration::from_millis(7));
    latency
}

fn word<F: Family>() -> ByWord<F, Count> {
    let mut words = ByWord::default();
    words.add("a_code", 1_u64);
    words
}

/// Every field stands here: one that is new does not compile without.
fn filled_collect() -> Collect {
    Collect {
        received: count(),
        accepted: count(),
        rejected: count(),
        rejected_by: word(),
        retry: count(),
        dead_letters: count(),
        requests_refused: count(),
        refused_by: word(),
        records: count(),
        bytes_in: 1.into(),
        bytes_out: 1.into(),
        processing_latency: latency(),
        rejections_not_noted: count(),
    }
}

fn filled_enrich() -> Enrich {
    let mut open_search = OpenSearchTimes::default();
    open_search.add("bulk", "ok", Duration::from_millis(3));
    Enrich {
        received: count(),
        indexed: count(),
        bots: count(),
        duplicates: count(),
        rejected: count(),
        rejected_by: word(),
        undecodable: count(),
        dead_letters: count(),
        retried: count(),
        other_producers: count(),
        records: count(),
        bytes_in: 1.into(),
        processing_latency: latency(),
        consumer_lag: latency(),
        open_search,
        events_without_session: count(),
        session_documents_refused: count(),
        rejections_not_noted: count(),
        notices: Note(1),
        outside_sessions: Note(1),
        sessions_from_memory: Note(1),
        retry_code: Word("a_code".to_owned()),
    }
}

fn filled_aggregate() -> Aggregate {
    Aggregate {
        received: count(),
        counted: count(),
        late_dropped: count(),
        early_dropped: count(),
        undecodable: count(),
        aggregator_failures: count(),
        pieces_unreadable: count(),
        states_unreadable: count(),
        merges_failed: count(),
        records_too_old: count(),
        slots_written: count(),
        records: count(),
        bytes_in: 1.into(),
        processing_latency: latency(),
        consumer_lag: latency(),
    }
}

fn filled_query() -> Query {
    Query {
        requests: count(),
        not_modified: count(),
        refused: count(),
        failed: count(),
        processing_latency: latency(),
    }
}

fn filled_health() -> Health {
    let mut check_failed = ByWord::default();
    check_failed.set("search", 0_u64.into());
    Health {
        cluster_status: 0_u64.into(),
        nodes: 3_u64.into(),
        active_primary_shards: 18_u64.into(),
        active_shards: 36_u64.into(),
        relocating_shards: 0_u64.into(),
        initializing_shards: 0_u64.into(),
        unassigned_shards: 0_u64.into(),
        disk_used_percent: 41.5.into(),
        heap_used_percent: 63.0.into(),
        domain_health: 0_u64.into(),
        shards: 12_u64.into(),
        write_throttles: 0_u64.into(),
        read_throttles: 0_u64.into(),
        dead_letter_queue_depth: 0_u64.into(),
        dead_letters: 0_u64.into(),
        given_up: 0_u64.into(),
        ledger_residue: 12_u64.into(),
        ledger_uncertainty: 900_u64.into(),
        ledger_unbalanced: 0_u64.into(),
        probe_accepted: 38.0.into(),
        probe_searchable: 2_100.0.into(),
        probe_counted: 3_400.0.into(),
        probe_failed: 0_u64.into(),
        checks_failed: 0_u64.into(),
        check_failed,
        duration: 3_600.0.into(),
    }
}

fn filled_consumer(stage: &str) -> Consumer {
    Consumer {
        stage: stage.to_owned(),
        iterator_age: 820.0.into(),
        lag_records: 340_u64.into(),
    }
}

/// The one line that this writes.
fn line(write: impl FnOnce(&Metrics)) -> String {
    let (metrics, written) = Metrics::kept("clickstream");
    write(&metrics);
    let mut lines = written.lines();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

fn begun<S: StageMetrics + Default>(measured: S) -> String {
    line(|metrics| {
        let mut line = metrics.begin::<S>(REQUEST_ID);
        *line = measured;
    })
}

fn metrics_of(line: &str, into: &mut BTreeSet<Metric>) {
    let line: Value = serde_json::from_str(line).unwrap();
    let stage = line["Stage"].as_str().unwrap();
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    for metric in directive["Metrics"].as_array().unwrap() {
        let name = metric["Name"].as_str().unwrap();
        assert!(line.get(name).is_some(), "{name} has no value");
        let family = FAMILIES.iter().find(|(start, _)| name.starts_with(start));
        let name = family.map_or(name, |(_, documented)| documented);
        let unit = metric["Unit"].as_str().unwrap();
        into.insert((stage.to_owned(), name.to_owned(), unit.to_owned()));
    }
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    fs::read_to_string(path).unwrap()
}

/// The rows of the tables under `### <stage>`: their cells.
fn rows(document: &str) -> Vec<(String, Vec<String>)> {
    let mut stage = String::new();
    let mut rows = Vec::new();
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            stage = heading.trim_start_matches('#').trim().to_owned();
        } else if line.starts_with("| `") {
            let cells = line.trim_matches('|').split('|');
            let cells = cells.map(|cell| cell.trim().replace('`', ""));
            rows.push((stage.clone(), cells.collect()));
        }
    }
    rows
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let mut written = BTreeSet::new();
    for line in [
        begun(filled_collect()),
        begun(filled_enrich()),
        begun(filled_aggregate()),
        begun(filled_query()),
        begun(filled_health()),
        line(|metrics| metrics.write("r", &filled_consumer("enrich"))),
        line(|metrics| metrics.write("r", &filled_consumer("aggregate"))),
    ] {
        metrics_of(&line, &mut written);
    }
    let stages = ["collect", "enrich", "aggregate", "query", "health"];
    let documented: BTreeSet<Metric> = rows(&document())
        .into_iter()
        .filter(|(stage, _)| stages.contains(&stage.as_str()))
        .map(|(stage, cells)| {
            let [name, unit, meaning, _] = cells.as_slice() else {
                panic!("a name, a unit, what it means, when it is absent: {cells:?}");
            };
            assert!(!meaning.is_empty(), "{name}");
            (stage, name.clone(), unit.clone())
        })
        .collect();
    let missing: Vec<_> = written.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&written).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    assert!(unknown.is_empty(), "only in docs/metrics.md: {unknown:?}");
}

/// Times around this, as a batch's are.
fn spread(times: u64, around_ms: u64) -> Latency {
    let mut latency = Latency::default();
    for n in 0..times {
        // From half of it to one and a half.
        latency.add(Duration::from_millis(around_ms / 2 + around_ms * n / times));
    }
    latency
}

/// A line of each stage as it is on a healthy day.
fn typical() -> BTreeMap<&'static str, usize> {
    let collect = Collect {
        received: 10.into(),
        accepted: 10.into(),
        records: 3.into(),
        bytes_in: 4_312.into(),
        bytes_out: 1_877.into(),
        processing_latency: latency(),
        ..Collect::default()
    };
    let mut open_search = OpenSearchTimes::default();
    open_search.add("bulk", "ok", Duration::from_micros(182_350));
    open_search.add("bulk", "ok", Duration::from_micros(61_200));
    let enrich = Enrich {
        received: 1_000.into(),
        indexed: 1_000.into(),
        records: 310.into(),
        bytes_in: 231_455.into(),
        processing_latency: spread(1_000, 1_400),
        consumer_lag: spread(1, 900),
        open_search,
        sessions_from_memory: Note(212),
        ..Enrich::default()
    };
    let aggregate = Aggregate {
        received: 1_000.into(),
        counted: 998.into(),
        late_dropped: 2.into(),
        slots_written: 12.into(),
        records: 310.into(),
        bytes_in: 231_455.into(),
        processing_latency: spread(1_000, 1_400),
        consumer_lag: spread(1, 900),
        ..Aggregate::default()
    };
    let query = Query {
        requests: count(),
        processing_latency: latency(),
        ..Query::default()
    };
    BTreeMap::from([
        ("collect", warm_bytes(collect)),
        ("enrich", warm_bytes(enrich)),
        ("aggregate", warm_bytes(aggregate)),
        ("query", warm_bytes(query)),
        ("health", warm_bytes(filled_health())),
    ])
}

/// How long a line is that is not the process's first, with its end.
fn warm_bytes<S: StageMetrics + Default>(measured: S) -> usize {
    let (metrics, written) = Metrics::kept("clickstream");
    drop(metrics.begin::<S>("the first"));
    let mut line = metrics.begin::<S>(REQUEST_ID);
    *line = measured;
    drop(line);
    written.lines()[1].len() + 1
}

#[test]
fn a_typical_line_is_as_long_as_documented() {
    let documented: BTreeMap<String, usize> = rows(&document())
        .into_iter()
        .filter(|(heading, _)| heading == "What they cost")
        .map(|(_, cells)| (cells[0].clone(), cells[1].replace(',', "").parse().unwrap()))
        .collect();
    let off: Vec<String> = typical()
        .into_iter()
        .map(|(stage, bytes)| (stage, bytes, *documented.get(stage).unwrap_or(&0)))
        .filter(|(_, bytes, told)| bytes.abs_diff(*told) * 20 > *bytes)
        .map(|(stage, bytes, told)| format!("{stage}: {bytes} bytes, documented {told}"))
        .collect();
    assert!(off.is_empty(), "{off:?}");
}
