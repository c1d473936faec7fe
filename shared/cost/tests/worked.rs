//! The examples of `docs/cost.md`, which were calculated by hand there, and
//! figures of other decisions.
#![allow(clippy::unwrap_used)]

use freshet_cost::{
    Bill, Component, Deployment, Domain, LogLevel, Mapping, PriceList, Stream, Traffic, break_even,
    estimate, shortfalls, what_ifs,
};

const DOC: &str = include_str!("../../../docs/cost.md");

/// The template's defaults when the examples were calculated.
fn defaults() -> Deployment {
    let mapping = |batch_size, lanes| Mapping {
        batch_size,
        window_s: 1.0,
        lanes,
    };
    Deployment {
        stream: Stream::Shards(12),
        stream_hours: 168.0,
        memory_mb: [
            ("collect", 512.0),
            ("enrich", 1024.0),
            ("aggregate", 1024.0),
            ("query", 256.0),
            ("health", 256.0),
        ]
        .into(),
        enrich: mapping(1_000.0, 4.0),
        aggregate: mapping(10_000.0, 1.0),
        domain: Some(Domain {
            instance_type: "m7g.large.search".to_owned(),
            nodes: 2,
            volume_gb: 100,
            warm: false,
        }),
        replicas: 1.0,
        index_days: 30.0,
        sessions: true,
        session_days: 8.0,
        window_minutes: 5.0,
        future_minutes: 5.0,
        publish_interval_s: 5.0,
        log_level: LogLevel::Info,
        platform_logs: true,
        access_log: true,
        log_days: 30.0,
        tracing: false,
        health: true,
        alarms: 30,
        composite_alarms: 1,
        dashboards: 1,
        secrets: 1,
    }
}

/// 1,000 events a second, ten at once, on two shards.
fn example() -> (Traffic, Deployment) {
    let mut deployment = defaults();
    deployment.stream = Stream::Shards(2);
    deployment.health = false;
    let traffic = Traffic {
        events_per_second: 1_000.0,
        peak_events_per_second: 1_000.0,
        events_per_request: 10.0,
        queries_per_second: 0.0,
        dead_letter_share: 0.0,
        ..Traffic::default()
    };
    (traffic, deployment)
}

fn at(events_per_second: f64) -> Traffic {
    Traffic {
        events_per_second,
        peak_events_per_second: events_per_second,
        ..Traffic::default()
    }
}

fn bill(traffic: &Traffic, deployment: &Deployment) -> Bill {
    let prices = PriceList::built_in().unwrap();
    Bill::of(&estimate(traffic, deployment), &prices).unwrap()
}

/// The cells of the rows of the first table below a heading.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOC.split_once(&format!("\n## {heading}\n")).unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    lines
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn number(cell: &str) -> f64 {
    cell.replace([',', '$', '*', '+'], "")
        .replace('−', "-")
        .parse()
        .unwrap()
}

#[test]
fn the_example_is_what_was_calculated_by_hand() {
    let (traffic, deployment) = example();
    let bill = bill(&traffic, &deployment);
    let rows = table("An example");
    let (total, rows) = rows.split_last().unwrap();
    let mut component = "";
    let mut shown = 0;
    for row in rows {
        if !row[0].is_empty() {
            component = row[0];
        }
        let line = bill
            .lines()
            .iter()
            .find(|line| line.component.name() == component && line.what == row[1]);
        let line = line.unwrap_or_else(|| panic!("no {component} {}", row[1]));
        let by_hand = number(row[3]);
        assert!(
            (line.dollars - by_hand).abs() < 0.0051,
            "{component} {}: {}, by hand {by_hand}",
            row[1],
            line.dollars
        );
        shown += 1;
    }
    assert_eq!(shown, bill.lines().len(), "a line is missing in the table");
    assert!(
        (bill.total() - number(total[3])).abs() < 0.0051,
        "{}",
        bill.total()
    );
    assert!(DOC.contains("$0.419 a million"));
    assert!((bill.total() / traffic.events() * 1e6 - 0.419).abs() < 0.0005);
}

#[test]
fn each_default_costs_what_the_table_says() {
    let prices = PriceList::built_in().unwrap();
    let deployment = defaults();
    for (column, rate) in [(1, 100.0), (2, 12_000.0)] {
        let traffic = at(rate);
        let base = bill(&traffic, &deployment).total();
        let ifs = what_ifs(&traffic, &deployment, &prices).unwrap();
        let rows = table("What the defaults cost");
        assert!(
            (number(rows[0][column]) - base).abs() < 1.0,
            "{rate}: {base}"
        );
        let mut compared = 0;
        for row in &rows[1..] {
            let found = ifs
                .iter()
                .find(|case| case.name.starts_with(row[0].trim_matches('`')));
            let Some(case) = found else {
                assert_eq!(row[column], "–", "{}", row[0]);
                continue;
            };
            let more = case.bill.total() - base;
            assert!(
                (number(row[column]) - more).abs() < 1.0,
                "{} at {rate}: {more:.0}, not {}",
                row[0],
                row[column]
            );
            compared += 1;
        }
        assert!(compared >= 12, "{compared}");
    }
    let rate = break_even(&at(100.0), &deployment, 12, &prices)
        .unwrap()
        .unwrap();
    assert!(DOC.contains("below 894 events a second"));
    assert!((rate - 894.0).abs() < 0.5, "{rate}");
}

#[test]
fn sessions_cost_what_decision_8_says() {
    for (rate, dollars) in [(100.0, 180.0), (12_000.0, 21_700.0)] {
        let bill = bill(&at(rate), &defaults());
        let units: f64 = bill
            .lines()
            .iter()
            .filter(|line| line.component == Component::Sessions && line.what != "storage")
            .map(|line| line.dollars)
            .sum();
        assert!((units / dollars - 1.0).abs() < 0.01, "{rate}: {units}");
    }
}

#[test]
fn writes_of_aggregation_are_those_of_decision_11() {
    for (rate, shards, units_a_second) in [(12_000.0, 12, 263.0), (100.0, 4, 22.0)] {
        let mut deployment = defaults();
        deployment.stream = Stream::Shards(shards);
        let bill = bill(&at(rate), &deployment);
        let line = bill
            .lines()
            .iter()
            .find(|line| line.component == Component::Aggregations && line.what == "write units");
        let units = line.unwrap().amount / freshet_cost::SECONDS;
        assert!(
            (units / units_a_second - 1.0).abs() < 0.02,
            "{rate}: {units}"
        );
    }
}

#[test]
fn what_is_too_small_is_found() {
    let prices = PriceList::built_in().unwrap();
    let found = |rate| {
        let all = shortfalls(&at(rate), &defaults(), &prices).unwrap();
        all.iter().map(|lack| lack.what).collect::<Vec<_>>()
    };
    assert_eq!(found(100.0), Vec::<&str>::new());
    assert_eq!(
        found(12_000.0),
        ["shards", "GB of index", "cores of OpenSearch"]
    );
    // A shard takes 1,000 records a second, of which 800 are planned for.
    let traffic = at(12_000.0);
    assert_eq!(freshet_cost::fewest_shards(&traffic), 15);
    let packed = Traffic {
        events_per_request: 10.0,
        ..traffic
    };
    // 1,200 records of 1,410 bytes: by bytes 1.61 of a MiB, and 0.8 of it is planned for.
    assert_eq!(freshet_cost::fewest_shards(&packed), 3);
}
