//! Alarms as their data come and go.

use super::*;
use crate::definition::definitions;
use proptest::prelude::*;
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;
/// A whole number of minutes, and of hours.
const START: i64 = 1_795_608_000_000;

fn alarm(name: &str, changed: &Value) -> Value {
    let mut properties = json!({
        "AlarmName": name, "Namespace": "N", "MetricName": "m", "Statistic": "Sum",
        "Period": 60, "EvaluationPeriods": 1, "Threshold": 5,
        "ComparisonOperator": "GreaterThanThreshold",
    });
    for (key, value) in changed.as_object().unwrap() {
        properties[key] = value.clone();
    }
    json!({"Type": "AWS::CloudWatch::Alarm", "Properties": properties})
}

fn composite(rule: &str) -> Value {
    json!({"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {"AlarmRule": rule}})
}

fn monitor_of(resources: &Value, timing: Timing) -> Result<Monitor, Error> {
    let definitions = definitions(resources.as_object().unwrap()).unwrap();
    Monitor::new(definitions, timing, START)
}

/// Judged at a minute's end.
const AT_ONCE: Timing = Timing {
    minute_ms: MINUTE,
    settle_ms: 0,
    extra_periods: 2,
};

fn monitor(changed: &Value) -> Monitor {
    monitor_of(&json!({"A": alarm("a", changed)}), AT_ONCE).unwrap()
}

fn datum(minute: i64, value: f64) -> Datum {
    Datum {
        namespace: "N".into(),
        name: "m".into(),
        dimensions: BTreeMap::new(),
        unit: "Count".into(),
        timestamp_ms: START + minute * MINUTE + 1,
        values: vec![value],
        counts: Vec::new(),
    }
}

/// The states at the ends of minutes, of a metric with these values a minute.
fn states(monitor: &mut Monitor, values: &[Option<f64>]) -> Vec<State> {
    let mut states = Vec::new();
    for (minute, value) in (0..).zip(values) {
        if let Some(value) = value {
            monitor.add(datum(minute, *value));
        }
        monitor.step(START + (minute + 1) * MINUTE);
        states.push(monitor.state("a").unwrap());
    }
    states
}

use State::{Alarm, InsufficientData, Ok as Fine};

#[test]
fn an_alarm_fires_after_m_of_n_and_its_changes_have_times() {
    let mut monitor = monitor(&json!({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}));
    let values = [1.0, 9.0, 1.0, 9.0, 1.0, 1.0, 1.0].map(Some);
    let found = states(&mut monitor, &values);
    // One is enough to be fine: fewer than M breach.
    assert_eq!(found, [Fine, Fine, Fine, Alarm, Fine, Fine, Fine]);
    let transition = |minute: i64, from, to| Transition {
        alarm: "a".into(),
        at_ms: START + minute * MINUTE,
        from,
        to,
    };
    let expected = [
        transition(1, InsufficientData, Fine),
        transition(4, Fine, Alarm),
        transition(5, Alarm, Fine),
    ];
    assert_eq!(monitor.transitions(), expected);
    assert_eq!(monitor.in_state(Fine).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn when_data_stop_the_setting_decides_after_the_evaluation_range() {
    let values = [Some(1.0), None, None, None, None];
    for (setting, then) in [
        ("missing", InsufficientData),
        ("ignore", Fine),
        ("breaching", Alarm),
        ("notBreaching", Fine),
    ] {
        let mut monitor = monitor(&json!({"TreatMissingData": setting}));
        let found = states(&mut monitor, &values);
        assert_eq!(found, [Fine, Fine, Fine, then, then], "{setting}");
    }
}

#[test]
fn a_longer_period_slides_by_the_minute() {
    let mut monitor = monitor(&json!({"Period": 300, "Threshold": 5}));
    let values = [6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(Some);
    let found = states(&mut monitor, &values);
    assert_eq!(found, [Alarm, Alarm, Alarm, Alarm, Alarm, Fine, Fine]);
}

#[test]
fn data_of_another_metric_dimension_or_unit_do_not_count() {
    let changed = json!({"Dimensions": [{"Name": "d", "Value": "1"}], "Unit": "Count"});
    let mut monitor = monitor(&changed);
    let of = |value: &str, unit: &str, name: &str| Datum {
        dimensions: [("d".into(), value.into())].into(),
        unit: unit.into(),
        name: name.into(),
        ..datum(0, 9.0)
    };
    monitor.add(datum(0, 9.0));
    monitor.add(of("2", "Count", "m"));
    monitor.add(of("1", "Bytes", "m"));
    monitor.add(of("1", "Count", "other"));
    monitor.step(START + MINUTE);
    assert_eq!(monitor.state("a"), Some(InsufficientData));
    monitor.add(of("1", "Count", "m"));
    monitor.step(START + 2 * MINUTE);
    assert_eq!(monitor.state("a"), Some(Alarm));
}

#[test]
fn a_percentile_of_too_few_samples_changes_nothing_where_it_is_to_be_ignored() {
    let percentile = json!({
        "Statistic": null, "ExtendedStatistic": "p95", "EvaluateLowSampleCountPercentile": "ignore",
    });
    let of = |count: f64| Datum {
        counts: vec![count],
        ..datum(0, 9.0)
    };
    let after = |properties: &Value, count| {
        let mut monitor = monitor(properties);
        monitor.add(of(count));
        monitor.step(START + MINUTE);
        monitor.state("a")
    };
    assert_eq!(after(&percentile, 199.0), Some(InsufficientData));
    assert_eq!(after(&percentile, 200.0), Some(Alarm));
    let evaluated = json!({"Statistic": null, "ExtendedStatistic": "p95"});
    assert_eq!(after(&evaluated, 1.0), Some(Alarm));
}

#[test]
fn a_minute_is_judged_when_it_has_settled_and_late_data_count_then() {
    let timing = Timing {
        settle_ms: 20_000,
        ..AT_ONCE
    };
    let mut monitor = monitor_of(&json!({"A": alarm("a", &json!({}))}), timing).unwrap();
    assert!(monitor.step(START + MINUTE + 19_999).is_empty());
    monitor.add(datum(0, 9.0));
    assert_eq!(monitor.step(START + MINUTE + 20_000).len(), 1);
    assert_eq!(monitor.state("a"), Some(Alarm));
}

#[test]
fn high_resolution_alarms_are_looked_at_every_ten_seconds() {
    let mut monitor = monitor(&json!({"Period": 10}));
    monitor.add(datum(0, 9.0));
    assert_eq!(monitor.step(START + 10_000)[0].at_ms, START + 10_000);
}

#[test]
fn composite_alarms_follow_those_that_they_need() {
    let resources = json!({
        "Any": composite("ALARM(a) OR ALARM(b)"),
        "Over": composite("ALARM(Any) AND NOT OK(b)"),
        "A": alarm("a", &json!({})),
        "B": alarm("b", &json!({"MetricName": "other"})),
    });
    let mut monitor = monitor_of(&resources, AT_ONCE).unwrap();
    states(&mut monitor, &[Some(1.0), Some(9.0)]);
    let state = |name| monitor.state(name).unwrap();
    assert_eq!(
        ["a", "b", "Any", "Over"].map(state),
        [Alarm, InsufficientData, Alarm, Alarm]
    );
    let of_any: Vec<_> = monitor
        .transitions()
        .iter()
        .filter(|t| t.alarm == "Any")
        .collect();
    assert_eq!(of_any.len(), 2);
    assert_eq!((of_any[0].to, of_any[1].to), (Fine, Alarm));
}

#[test]
fn alarms_that_do_not_fit_together_are_refused() {
    let code = |resources: &Value| monitor_of(resources, AT_ONCE).unwrap_err().code();
    let twice = json!({"A": alarm("a", &json!({})), "B": alarm("a", &json!({}))});
    assert_eq!(code(&twice), "duplicate_alarm");
    assert_eq!(
        code(&json!({"C": composite("ALARM(nobody)")})),
        "unresolved_alarm"
    );
    let circle = json!({"C": composite("ALARM(D)"), "D": composite("ALARM(C)")});
    assert_eq!(code(&circle), "unresolved_alarm");
}

fn any_values() -> impl Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![Just(None), Just(Some(1.0)), Just(Some(9.0))];
    prop::collection::vec(value, 1..40)
}

fn any_alarm() -> impl Strategy<Value = Value> {
    let setting = prop::sample::select(vec!["missing", "ignore", "breaching", "notBreaching"]);
    let periods = (1_u32..6).prop_flat_map(|n| (Just(n), 1..=n));
    (setting, periods, 1_u32..4).prop_map(|(setting, (n, m), minutes)| {
        json!({
            "TreatMissingData": setting, "EvaluationPeriods": n, "DatapointsToAlarm": m,
            "Period": minutes * 60,
        })
    })
}

proptest! {
    #[test]
    fn a_shorter_minute_changes_nothing_but_the_times(
        values in any_values(), changed in any_alarm(), minute_ms in prop::sample::select(vec![600_i64, 2_000, 6_000]),
    ) {
        let resources = json!({"A": alarm("a", &changed)});
        let mut real = monitor_of(&resources, AT_ONCE).unwrap();
        let expected = states(&mut real, &values);
        let definitions = definitions(resources.as_object().unwrap()).unwrap();
        let mut scaled = Monitor::new(definitions, Timing { minute_ms, ..AT_ONCE }, START).unwrap();
        for (minute, value) in (0..).zip(&values) {
            if let Some(value) = value {
                scaled.add(Datum { timestamp_ms: START + minute * minute_ms, ..datum(0, *value) });
            }
            scaled.step(START + (minute + 1) * minute_ms);
            prop_assert_eq!(scaled.state("a").unwrap(), expected[usize::try_from(minute).unwrap()]);
        }
    }

    #[test]
    fn neither_the_order_of_data_nor_the_size_of_steps_matters(
        values in any_values(), changed in any_alarm(), seed in any::<u64>(),
    ) {
        let mut one = monitor(&changed);
        states(&mut one, &values);
        let mut other = monitor(&changed);
        let mut data: Vec<Datum> = (0..)
            .zip(&values)
            .filter_map(|(minute, value)| Some(datum(minute, (*value)?)))
            .collect();
        let turn = usize::try_from(seed % 97).unwrap() % data.len().max(1);
        data.rotate_left(turn);
        data.into_iter().rev().for_each(|datum| other.add(datum));
        other.step(START + i64::try_from(values.len()).unwrap() * MINUTE);
        prop_assert_eq!(one.transitions(), other.transitions());
    }

    #[test]
    fn transitions_are_a_chain(values in any_values(), changed in any_alarm()) {
        let mut monitor = monitor(&changed);
        states(&mut monitor, &values);
        let mut state = InsufficientData;
        for transition in monitor.transitions() {
            prop_assert_eq!(transition.from, state);
            prop_assert_ne!(transition.from, transition.to);
            state = transition.to;
        }
        prop_assert_eq!(monitor.state("a"), Some(state));
    }
}
