//! Lines in embedded metric format, and what looks like them.

use super::*;
use serde_json::json;

const NOW: i64 = 1_795_608_000_000;

fn line(directive: &Value, rest: &Value) -> String {
    let mut root = json!({"_aws": {"Timestamp": NOW, "CloudWatchMetrics": [directive]}});
    for (key, value) in rest.as_object().unwrap() {
        root[key] = value.clone();
    }
    root.to_string()
}

fn directive(metrics: &Value) -> Value {
    json!({"Namespace": "Freshet", "Dimensions": [["Stack", "Stage"]], "Metrics": metrics})
}

/// Metrics of a line whose dimensions are there.
fn of(metrics: &Value, rest: &Value) -> Read {
    let mut rest = rest.clone();
    rest["Stack"] = "s".into();
    rest["Stage"] = "enrich".into();
    read(&line(&directive(metrics), &rest), NOW)
}

fn dims(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

#[test]
fn values_come_as_a_number_as_numbers_and_with_counts() {
    let read = of(
        &json!([
            {"Name": "One", "Unit": "Count"},
            {"Name": "Many"},
            {"Name": "Distribution", "Unit": "Milliseconds", "StorageResolution": 60},
            {"Name": "Uncounted"},
        ]),
        &json!({
            "One": 3, "Many": [1, 2.5, 1], "Other": "x",
            "Distribution": {"Values": [10, 20], "Counts": [5, 1], "Max": 20},
            "Uncounted": {"Values": [7]},
        }),
    );
    assert_eq!(read.problem, None);
    let found: Vec<_> = read
        .data
        .iter()
        .map(|d| (&*d.name, &*d.unit, &*d.values, &*d.counts))
        .collect();
    let expected: [(&str, &str, &[f64], &[f64]); 4] = [
        ("One", "Count", &[3.0], &[1.0]),
        ("Many", "None", &[1.0, 2.5, 1.0], &[1.0, 1.0, 1.0]),
        ("Distribution", "Milliseconds", &[10.0, 20.0], &[5.0, 1.0]),
        ("Uncounted", "None", &[7.0], &[1.0]),
    ];
    assert_eq!(found, expected);
    for datum in &read.data {
        assert_eq!(
            (datum.namespace.as_str(), datum.timestamp_ms),
            ("Freshet", NOW)
        );
        assert_eq!(
            datum.dimensions,
            dims(&[("Stack", "s"), ("Stage", "enrich")])
        );
    }
}

#[test]
fn several_directives_and_sets_of_dimensions_are_all_followed() {
    let text = json!({
        "_aws": {"Timestamp": NOW, "CloudWatchMetrics": [
            {"Namespace": "A", "Dimensions": [["x"], ["x", "y"], []], "Metrics": [{"Name": "m"}]},
            {"Namespace": "B", "Dimensions": [["y"]], "Metrics": [{"Name": "m"}, {"Name": "n"}]},
        ]},
        "x": "1", "y": "2", "m": 1, "n": 2,
    });
    let read = read(&format!("  {text} "), NOW);
    assert_eq!(read.problem, None);
    let found: Vec<_> = read
        .data
        .iter()
        .map(|d| (&*d.namespace, &*d.name, d.dimensions.clone()))
        .collect();
    let expected = [
        ("A", "m", dims(&[("x", "1")])),
        ("A", "m", dims(&[("x", "1"), ("y", "2")])),
        ("A", "m", dims(&[])),
        ("B", "m", dims(&[("y", "2")])),
        ("B", "n", dims(&[("y", "2")])),
    ];
    assert_eq!(found, expected);
}

#[test]
fn lines_that_are_none_are_passed_over() {
    for text in [
        "",
        "starting",
        "{\"message\":\"batch handled\"}",
        "{\"message\":\"\\\"_aws\\\"\"}",
        "not JSON, and \"_aws\" in it",
        "{\"x\": {\"_aws\": 1}}",
    ] {
        assert_eq!(read(text, NOW), Read::default(), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_and_what_is_right_is_taken() {
    let good = json!({"Name": "good"});
    for (bad, value) in [
        (json!({"Name": "bad", "Unit": "Furlongs"}), json!(1)),
        (json!({"Name": "bad"}), json!("1")),
        (json!({"Name": "bad"}), json!(1e200)),
        (json!({"Name": "bad"}), json!([])),
        (json!({"Name": "bad"}), json!([1, "x"])),
        (json!({"Name": "bad"}), json!(vec![1; 101])),
        (
            json!({"Name": "bad"}),
            json!({"Values": [1, 2], "Counts": [1]}),
        ),
        (
            json!({"Name": "bad"}),
            json!({"Values": [1], "Counts": [0]}),
        ),
        (json!({"Name": "bad"}), json!({"Counts": [1]})),
        (json!({"Name": ""}), json!(1)),
        (json!({"Name": 3}), json!(1)),
        (json!({"Name": "missing"}), json!(1)),
    ] {
        let read = of(&json!([bad, good]), &json!({"bad": value, "good": 1}));
        assert!(read.problem.is_some(), "{bad} {value}");
        assert_eq!(read.data.len(), 1, "{bad} {value}");
        assert_eq!(read.data[0].name, "good");
    }
}

#[test]
fn a_line_with_nothing_right_in_it_is_a_problem_and_no_more() {
    let directive = directive(&json!([{"Name": "m"}]));
    let rest = json!({"Stack": "s", "Stage": "t", "m": 1});
    let whole = |changed: &dyn Fn(&mut Value)| {
        let mut root: Value = serde_json::from_str(&line(&directive, &rest)).unwrap();
        changed(&mut root);
        root.to_string()
    };
    let lines = [
        "{\"_aws\": {".to_owned(),
        "{\"_aws\": [1]}".to_owned(),
        "{\"_aws\": {}} and more".to_owned(),
        whole(&|root| root["_aws"]["Timestamp"] = json!("now")),
        whole(&|root| root["_aws"]["Timestamp"] = json!(NOW + FUTURE_MS + 1)),
        whole(&|root| root["_aws"]["Timestamp"] = json!(NOW - PAST_MS - 1)),
        whole(&|root| root["_aws"]["Timestamp"] = json!(i64::MAX)),
        whole(&|root| root["_aws"]["CloudWatchMetrics"] = json!({})),
        whole(&|root| root["_aws"]["CloudWatchMetrics"][0]["Namespace"] = json!("")),
        whole(&|root| root["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!(null)),
        whole(&|root| root["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([["None"]])),
        whole(&|root| root["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([[1]])),
        whole(&|root| root["_aws"]["CloudWatchMetrics"][0]["Metrics"] = json!(vec![1; 101])),
        whole(&|root| root["Stack"] = json!("")),
        whole(&|root| root["Stack"] = json!(7)),
        format!(
            "{{\"_aws\":{}1{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        format!("{{\"_aws\":\"{}\"}}", "x".repeat(MAX_LINE_BYTES)),
    ];
    for text in lines {
        let read = read(&text, NOW);
        let shown = &text[..text.len().min(200)];
        assert!(read.problem.is_some() && read.data.is_empty(), "{shown}");
    }
}
