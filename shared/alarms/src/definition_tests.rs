//! Alarms of templates, and those that are refused.

use super::*;
use crate::judge::State;
use serde_json::json;

fn read(kind: &str, properties: &Value) -> Result<Definition, Error> {
    let resources = json!({
        "A": {"Type": format!("AWS::CloudWatch::{kind}"), "Properties": properties},
        "Other": {"Type": "AWS::SNS::Topic"},
    });
    let mut found = definitions(resources.as_object().unwrap())?;
    assert_eq!(found.len(), 1);
    Ok(found.remove(0))
}

fn properties(changed: &Value) -> Value {
    let mut properties = json!({
        "AlarmDescription": "d", "AlarmActions": ["arn:t"], "Tags": [],
        "Namespace": "Freshet", "MetricName": "Received", "Statistic": "Sum",
        "Dimensions": [{"Name": "Stage", "Value": "collect"}],
        "Period": "60", "EvaluationPeriods": 10, "Threshold": "6000",
        "ComparisonOperator": "LessThanThreshold",
    });
    for (key, value) in changed.as_object().unwrap() {
        properties[key] = value.clone();
    }
    properties
}

fn metric(changed: &Value) -> Result<MetricAlarm, Error> {
    match read("Alarm", &properties(changed))? {
        Definition::Metric(alarm) => Ok(alarm),
        Definition::Composite(_) => panic!("a composite alarm"),
    }
}

#[test]
fn an_alarm_is_read_with_the_defaults_of_the_reference() {
    let alarm = metric(&json!({})).unwrap();
    let expected = MetricAlarm {
        name: "A".into(),
        namespace: "Freshet".into(),
        metric: "Received".into(),
        dimensions: [("Stage".into(), "collect".into())].into(),
        statistic: Statistic::Sum,
        unit: None,
        period_s: 60,
        evaluation_periods: 10,
        datapoints_to_alarm: 10,
        threshold: 6_000.0,
        comparison: Comparison::Less,
        missing: MissingData::Missing,
        ignores_low_samples: false,
    };
    assert_eq!(alarm, expected);
}

#[test]
fn every_property_that_matters_is_taken() {
    let alarm = metric(&json!({
        "AlarmName": "n", "Statistic": null, "ExtendedStatistic": "p95", "Unit": "Milliseconds",
        "DatapointsToAlarm": "2", "EvaluationPeriods": "3", "TreatMissingData": "breaching",
        "EvaluateLowSampleCountPercentile": "ignore", "Dimensions": null,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    }))
    .unwrap();
    assert_eq!(
        (alarm.name.as_str(), alarm.statistic),
        ("n", Statistic::Percentile(95.0))
    );
    assert_eq!(
        (alarm.datapoints_to_alarm, alarm.evaluation_periods),
        (2, 3)
    );
    assert_eq!(alarm.missing, MissingData::Breaching);
    assert_eq!(alarm.unit.as_deref(), Some("Milliseconds"));
    assert!(alarm.ignores_low_samples && alarm.dimensions.is_empty());
    assert!(alarm.comparison.breaches(6_000.0, alarm.threshold));
    let dynamodb = metric(&json!({"Namespace": "AWS/DynamoDB"})).unwrap();
    assert_eq!(dynamodb.missing, MissingData::Ignore);
}

#[test]
fn comparisons_differ_at_the_threshold() {
    let at = |value| {
        let all = [
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
        ];
        all.map(|comparison| comparison.breaches(value, 2.0))
    };
    assert_eq!(at(1.0), [false, false, true, true]);
    assert_eq!(at(2.0), [false, true, false, true]);
    assert_eq!(at(3.0), [true, true, false, false]);
}

#[test]
fn what_cloudwatch_refuses_or_is_not_known_is_refused() {
    for (changed, code) in [
        (json!({"EvaluationPeriods": 0}), "invalid_alarm"),
        (json!({"EvaluationPeriods": 1.5}), "invalid_alarm"),
        (json!({"EvaluationPeriods": {"Ref": "X"}}), "invalid_alarm"),
        (json!({"EvaluationPeriods": 1_441}), "invalid_alarm"),
        (json!({"DatapointsToAlarm": 11}), "invalid_alarm"),
        (json!({"Period": 61}), "invalid_alarm"),
        (json!({"Period": null}), "invalid_alarm"),
        (json!({"Threshold": "many"}), "invalid_alarm"),
        (json!({"Threshold": "NaN"}), "invalid_alarm"),
        (json!({"Statistic": null}), "invalid_alarm"),
        (json!({"Statistic": "p95"}), "invalid_alarm"),
        (json!({"ExtendedStatistic": "p95"}), "invalid_alarm"),
        (json!({"TreatMissingData": "maybe"}), "invalid_alarm"),
        (json!({"Dimensions": {"Stage": "x"}}), "invalid_alarm"),
        (json!({"MetricName": ["x"]}), "invalid_alarm"),
        (json!({"Statistic": "tm95"}), "unsupported_alarm"),
        (json!({"Metrics": []}), "unsupported_alarm"),
        (
            json!({"ComparisonOperator": "LessThanLowerThreshold"}),
            "unsupported_alarm",
        ),
    ] {
        let error = metric(&changed).unwrap_err();
        assert_eq!(error.code(), code, "{changed}: {error}");
    }
}

#[test]
fn a_composite_alarm_is_its_rule() {
    let read = |rule: &str| {
        read(
            "CompositeAlarm",
            &json!({"AlarmName": "c", "AlarmRule": rule}),
        )
    };
    let expected = CompositeAlarm {
        name: "c".into(),
        rule: Rule::Is(State::Alarm, "x".into()),
    };
    assert_eq!(read("ALARM(x)"), Ok(Definition::Composite(expected)));
    assert_eq!(read("ALARM").unwrap_err().code(), "invalid_alarm");
}
