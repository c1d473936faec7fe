use super::*;
use crate::stages::{Aggregate, Collect, Consumer, Enrich, Health, Query};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

fn parsed(written: &Written) -> Vec<Value> {
    let lines = written.lines();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Holds a line to what CloudWatch documents, and gives its metrics' names.
fn checked(line: &Value) -> Vec<String> {
    let timestamp = line["_aws"]["Timestamp"].as_u64().unwrap();
    assert!(timestamp > 1_700_000_000_000, "milliseconds");
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let [directive] = directives.as_slice() else {
        panic!("one directive: {line}");
    };
    assert_eq!(directive["Namespace"], "Freshet");
    assert_eq!(
        directive["Dimensions"],
        serde_json::json!([["Stack", "Stage"]])
    );
    for dimension in ["Stack", "Stage"] {
        assert!(!line[dimension].as_str().unwrap().is_empty(), "{line}");
    }
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!(metrics.len() <= 100, "{}", metrics.len());
    let names = metrics.iter().map(|metric| {
        let name = metric["Name"].as_str().unwrap();
        assert!(metric["Unit"].is_string(), "{name} has no unit");
        let value = &line[name];
        if let Some(values) = value["Values"].as_array() {
            let counts = value["Counts"].as_array().unwrap();
            assert_eq!(values.len(), counts.len(), "{name}");
            assert!((1..=100).contains(&values.len()), "{name}");
            assert!(values.iter().chain(counts).all(Value::is_number), "{name}");
        } else {
            assert!(value.is_number(), "{name} is {value}");
        }
        name.to_owned()
    });
    names.collect()
}

#[test]
fn a_line_is_in_embedded_metric_format() {
    let (metrics, written) = Metrics::kept("shop");
    let mut line = metrics.begin::<Collect>("r-1");
    line.received.add(3_usize);
    line.accepted.add(2_usize);
    line.rejected_by.add("field_missing", 1_u64);
    line.bytes_in.add(512_usize);
    line.processing_latency.add(Duration::from_micros(4_100));
    drop(line);
    let line = parsed(&written).remove(0);
    let mut names = checked(&line);
    names.sort_unstable();
    let expected = [
        "Accepted",
        "BytesIn",
        "ColdStarts",
        "ProcessingLatency",
        "Received",
        "Rejected.field_missing",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        (&line["Stack"], &line["Stage"]),
        (&"shop".into(), &"collect".into())
    );
    assert_eq!(
        (&line["Received"], &line["requestId"]),
        (&3.into(), &"r-1".into())
    );
    assert_eq!(line["Rejected.field_missing"], 1);
}

#[test]
fn only_a_process_s_first_invocation_is_a_cold_start() {
    let (metrics, written) = Metrics::kept("shop");
    for request in ["r-1", "r-2", "r-3"] {
        drop(metrics.begin::<Query>(request));
    }
    let cold: Vec<bool> = parsed(&written)
        .iter()
        .map(|line| line.get("ColdStarts").is_some())
        .collect();
    assert_eq!(cold, [true, false, false]);
}

#[test]
fn what_is_zero_or_not_known_is_left_out_and_a_gauge_of_zero_is_not() {
    let (metrics, written) = Metrics::kept("shop");
    drop(metrics.begin::<Enrich>("r-1"));
    let mut health = metrics.begin::<Health>("r-2");
    health.unassigned_shards = 0_u64.into();
    health.disk_used_percent = None::<f64>.into();
    health.check_failed.set("search", false.into());
    drop(health);
    let lines = parsed(&written);
    assert_eq!(checked(&lines[0]), ["ColdStarts"]);
    assert!(lines[0].get("notices").is_none() && lines[0].get("retryCode").is_none());
    assert_eq!(
        checked(&lines[1]),
        ["UnassignedShards", "CheckFailed.search"]
    );
    assert_eq!(lines[1]["UnassignedShards"], 0);
}

#[test]
fn a_panic_does_not_take_the_line_with_it() {
    let (metrics, written) = Metrics::kept("shop");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut line = metrics.begin::<Aggregate>("r-1");
        line.records.add(4_usize);
        panic!("odd");
    }));
    assert!(panicked.is_err());
    let lines = parsed(&written);
    assert_eq!((lines.len(), &lines[0]["Records"]), (1, &4.into()));
}

#[test]
fn notes_stand_in_the_line_and_are_no_metrics() {
    let (metrics, written) = Metrics::kept("shop");
    let mut line = metrics.begin::<Enrich>("r-1");
    line.notices.0 = 2;
    line.retry_code.0 = "search_unreachable".to_owned();
    drop(line);
    let line = parsed(&written).remove(0);
    assert_eq!(checked(&line), ["ColdStarts"]);
    assert_eq!(line["notices"], 2);
    assert_eq!(line["retryCode"], "search_unreachable");
}

#[test]
fn another_stage_s_line_has_its_name_and_is_no_cold_start() {
    let (metrics, written) = Metrics::kept("");
    let consumer = Consumer {
        stage: "enrich".to_owned(),
        iterator_age: 1_200.5.into(),
        lag_records: 0_u64.into(),
    };
    metrics.write("r-1", &consumer);
    let line = parsed(&written).remove(0);
    assert_eq!(checked(&line), ["IteratorAge", "LagRecords"]);
    assert_eq!(line["Stage"], "enrich");
    assert_eq!(line["Stack"], "unnamed", "a dimension has a value");
    assert_eq!(line["IteratorAge"], 1200.5);
}

#[test]
fn lines_of_many_threads_are_whole() {
    let (metrics, written) = Metrics::kept("shop");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..50_u64 {
                    let mut line = metrics.begin::<Collect>("r");
                    line.received.add(n + 1);
                    line.processing_latency.add(Duration::from_millis(n));
                }
            });
        }
    });
    let lines = parsed(&written);
    assert_eq!(lines.len(), 400);
    let received: u64 = lines
        .iter()
        .filter_map(|line| line["Received"].as_u64())
        .sum();
    assert_eq!(received, 8 * 50 * 51 / 2);
}

#[test]
fn a_request_id_cannot_break_a_line() {
    let (metrics, written) = Metrics::kept("sh\"op\n");
    drop(metrics.begin::<Collect>("a\"b\\c\n{}"));
    let line = parsed(&written).remove(0);
    assert_eq!(line["requestId"], "a\"b\\c\n{}");
    checked(&line);
}
