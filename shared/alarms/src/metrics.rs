//! Data points, as `PutMetricData` takes them.

use crate::definition::MetricAlarm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values of one metric at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datum {
    /// The metric's namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// The metric's dimensions; another set is another metric.
    #[serde(default)]
    pub dimensions: BTreeMap<String, String>,
    /// In CloudWatch's words; `None` is its word for no unit.
    #[serde(default = "no_unit")]
    pub unit: String,
    /// When, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The values.
    pub values: Vec<f64>,
    /// How often each value was seen; once, where this is shorter.
    #[serde(default)]
    pub counts: Vec<f64>,
}

fn no_unit() -> String {
    "None".to_owned()
}

impl Datum {
    fn samples(&self) -> impl Iterator<Item = (f64, f64)> {
        let counts = self.counts.iter().copied().chain(std::iter::repeat(1.0));
        let samples = self.values.iter().copied().zip(counts);
        samples.filter(|(value, count)| value.is_finite() && *count > 0.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

/// Everything that was published.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// In the order of their times.
    series: BTreeMap<Key, Vec<Datum>>,
}

impl Metrics {
    /// Takes a data point. The order in which they come does not matter.
    pub fn add(&mut self, datum: Datum) {
        let key = Key {
            namespace: datum.namespace.clone(),
            name: datum.name.clone(),
            dimensions: datum.dimensions.clone(),
        };
        let series = self.series.entry(key).or_default();
        let at = series.partition_point(|other| other.timestamp_ms <= datum.timestamp_ms);
        series.insert(at, datum);
    }

    /// The values, with their counts, of the metric that an alarm is about, in
    /// `[from_ms, to_ms)`. An alarm with a unit sees data of this unit only.
    pub(crate) fn samples(&self, alarm: &MetricAlarm, from_ms: i64, to_ms: i64) -> Vec<(f64, f64)> {
        let key = Key {
            namespace: alarm.namespace.clone(),
            name: alarm.metric.clone(),
            dimensions: alarm.dimensions.clone(),
        };
        let Some(series) = self.series.get(&key) else {
            return Vec::new();
        };
        let from = series.partition_point(|datum| datum.timestamp_ms < from_ms);
        let to = series.partition_point(|datum| datum.timestamp_ms < to_ms);
        let of_unit = |datum: &&Datum| alarm.unit.as_ref().is_none_or(|unit| *unit == datum.unit);
        let data = series.get(from..to).unwrap_or_default();
        let data = data.iter().filter(of_unit);
        data.flat_map(Datum::samples).collect()
    }
}
