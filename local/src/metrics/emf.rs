//! Reads lines in embedded metric format. Source: Amazon CloudWatch User Guide,
//! "Specification: Embedded metric format". Values as `{"Values", "Counts"}` are
//! what `PutMetricData` calls them; CloudWatch takes them in lines too.

use super::Datum;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const MAX_LINE_BYTES: usize = 1_000_000;
const MAX_VALUES: usize = 100;
const MAX_METRICS: usize = 100;
const MAX_DIMENSIONS: usize = 30;
const MAX_NAME_CHARS: usize = 1_024;
/// Two weeks, and two hours: what `PutMetricData` takes.
const PAST_MS: i64 = 14 * 86_400_000;
const FUTURE_MS: i64 = 2 * 3_600_000;
/// CloudWatch refuses what is larger.
const MAX_VALUE: f64 = 2.348_542_582_773_833_2e108; // 2^360

const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// What a line came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// Its data points: one for each metric and set of dimensions.
    pub data: Vec<Datum>,
    /// The first thing that is wrong with it, if it is embedded metric format
    /// at all. Never what the line says: it may say anything.
    pub problem: Option<&'static str>,
}

type Result<T> = std::result::Result<T, &'static str>;

/// Reads a line at `now_ms`. What is right in it is taken, whatever else is wrong.
#[must_use]
pub fn read(line: &str, now_ms: i64) -> Read {
    let mut read = Read::default();
    let line = line.trim();
    // Quick, as this sees every line of every function.
    if !line.starts_with('{') || !line.contains("\"_aws\"") {
        return read;
    }
    let metadata = match parse(line) {
        Ok(Some((root, metadata))) => timestamp(&metadata, now_ms).map(|at| (root, metadata, at)),
        Ok(None) => return read,
        Err(problem) => Err(problem),
    };
    let outcome = metadata.and_then(|(root, metadata, at_ms)| {
        let directives = metadata.get("CloudWatchMetrics").and_then(Value::as_array);
        for directive in directives.ok_or("no list of directives")? {
            if let Err(problem) = follow(directive, &root, at_ms, &mut read) {
                read.problem.get_or_insert(problem);
            }
        }
        Ok(())
    });
    if let Err(problem) = outcome {
        read.problem = Some(problem);
    }
    read
}

type Object = Map<String, Value>;

/// The root and its metadata, if there are any.
fn parse(line: &str) -> Result<Option<(Object, Object)>> {
    if line.len() > MAX_LINE_BYTES {
        return Err("the line is too long");
    }
    let mut root: Object = serde_json::from_str(line).map_err(|_| "the line is no JSON object")?;
    match root.remove("_aws") {
        None => Ok(None),
        Some(Value::Object(metadata)) => Ok(Some((root, metadata))),
        Some(_) => Err("the metadata are no object"),
    }
}

fn timestamp(metadata: &Object, now_ms: i64) -> Result<i64> {
    let at_ms = metadata.get("Timestamp").and_then(Value::as_i64);
    let at_ms = at_ms.ok_or("no timestamp")?;
    if at_ms < now_ms - PAST_MS || at_ms > now_ms + FUTURE_MS {
        return Err("the timestamp is too old or too new");
    }
    Ok(at_ms)
}

/// Takes the metrics of one directive.
fn follow(directive: &Value, root: &Object, at_ms: i64, read: &mut Read) -> Result<()> {
    let namespace = name_in(directive, "Namespace").ok_or("no namespace")?;
    let list = |key: &str| directive.get(key).and_then(Value::as_array);
    let sets = list("Dimensions").ok_or("no dimensions")?;
    let sets = sets.iter().map(|set| dimensions(set, root));
    let sets: Vec<_> = sets.collect::<Result<_>>()?;
    let metrics = list("Metrics").ok_or("no metrics")?;
    if metrics.len() > MAX_METRICS {
        return Err("too many metrics");
    }
    for metric in metrics {
        match metric_of(metric, root) {
            Ok((name, unit, (values, counts))) => {
                read.data.extend(sets.iter().map(|dimensions| Datum {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    dimensions: dimensions.clone(),
                    unit: unit.to_owned(),
                    timestamp_ms: at_ms,
                    values: values.clone(),
                    counts: counts.clone(),
                }));
            }
            Err(problem) => drop(read.problem.get_or_insert(problem)),
        }
    }
    Ok(())
}

fn name_in<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    let name = object.get(key)?.as_str()?;
    (!name.is_empty() && name.chars().count() <= MAX_NAME_CHARS).then_some(name)
}

/// A set of dimensions, with the values that the root has for them.
fn dimensions(set: &Value, root: &Object) -> Result<BTreeMap<String, String>> {
    let keys = set.as_array().ok_or("a set of dimensions is no list")?;
    if keys.len() > MAX_DIMENSIONS {
        return Err("too many dimensions");
    }
    let one = |key: &Value| {
        let key = key.as_str().ok_or("a dimension is no text")?;
        let value = root.get(key).and_then(Value::as_str);
        let value = value.filter(|value| !value.is_empty() && value.len() <= MAX_NAME_CHARS);
        let value = value.ok_or("a dimension has no value")?;
        Ok((key.to_owned(), value.to_owned()))
    };
    keys.iter().map(one).collect()
}

type Samples = (Vec<f64>, Vec<f64>);

fn metric_of<'a>(metric: &'a Value, root: &Object) -> Result<(&'a str, &'a str, Samples)> {
    let name = name_in(metric, "Name").ok_or("a metric has no name")?;
    let unit = match metric.get("Unit") {
        None => "None",
        Some(unit) => unit
            .as_str()
            .filter(|unit| UNITS.contains(unit))
            .ok_or("a metric has a unit that there is not")?,
    };
    let value = root.get(name).ok_or("a metric has no value")?;
    Ok((name, unit, samples(value)?))
}

/// A number, numbers, or values with their counts.
fn samples(value: &Value) -> Result<Samples> {
    let number = |value: &Value| {
        let number = value.as_f64().filter(|number| number.abs() <= MAX_VALUE);
        number.ok_or("a metric's value is no number")
    };
    let numbers = |value: &Value| {
        let list = value.as_array().ok_or("a metric's value is no number")?;
        if list.is_empty() || list.len() > MAX_VALUES {
            return Err("a metric has no values, or too many");
        }
        list.iter().map(number).collect::<Result<Vec<f64>>>()
    };
    let once = |values: Vec<f64>| {
        let counts = vec![1.0; values.len()];
        (values, counts)
    };
    match value {
        Value::Object(distribution) => {
            let values = distribution.get("Values").ok_or("a metric has no values")?;
            let values = numbers(values)?;
            let Some(counts) = distribution.get("Counts") else {
                return Ok(once(values));
            };
            let counts = numbers(counts)?;
            if counts.len() != values.len() || counts.iter().any(|count| *count <= 0.0) {
                return Err("a metric's counts are not those of its values");
            }
            Ok((values, counts))
        }
        Value::Array(_) => Ok(once(numbers(value)?)),
        one => Ok(once(vec![number(one)?])),
    }
}

#[cfg(test)]
#[path = "emf_tests.rs"]
mod tests;
