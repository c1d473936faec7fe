//! The metrics of a stack: what its functions write in embedded metric format,
//! and what AWS itself would publish of them.
//!
//! | namespace | dimension | metrics |
//! |---|---|---|
//! | as the line says | as the line says | as the line says |
//! | `AWS/Lambda` | `FunctionName` | `Invocations`, `Errors`, `Throttles` (always 0: invocations wait here), `Duration`, `IteratorAge` |
//! | `AWS/Kinesis` | `StreamName` | `IncomingRecords`, `IncomingBytes` |
//!
//! What the guides leave open, and how it is here:
//! - An invocation's metrics carry the time at which it began, as Lambda's guide
//!   says; that the others do as well is taken from that.
//! - Lambda repeats its metrics by `Resource` (the alias); this does not.
//! - `IteratorAge` is that of a batch's last record at the invocation, so that a
//!   retry reports it again.
//! - `IncomingBytes` are the bytes of data, without partition keys.
//! - Records count where one of the mappings reads them first, by their time of
//!   arrival: with every consumer stopped, nothing comes in.
//! - A line's `Timestamp` older than two weeks or over two hours ahead is
//!   refused, as `PutMetricData` does.

pub mod emf;
mod publish;

use crate::batch::Record;
use crate::mapping::now_ms;
pub(crate) use publish::Publisher;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many of the latest data points are kept in memory.
const KEPT: usize = 100_000;
/// So many wait for being published, if the emulator does not take them.
const WAITING: usize = 50_000;
/// Arrivals this close together are one data point.
const TOGETHER_MS: i64 = 100;

/// Values of one metric at one time, as `PutMetricData` takes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datum {
    /// The metric's namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// The metric's dimensions.
    pub dimensions: BTreeMap<String, String>,
    /// In CloudWatch's words; `None` is its word for no unit.
    pub unit: String,
    /// When, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The values.
    pub values: Vec<f64>,
    /// How often each value was seen.
    pub counts: Vec<f64>,
}

/// Takes data points. Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<Datum>,
    /// How many were forgotten: the place of the first that is kept.
    forgotten: u64,
    waiting: VecDeque<Datum>,
    malformed: u64,
    /// The last record of each stream's shard that was counted.
    counted: HashMap<(String, String), String>,
}

impl Metrics {
    /// The data points from place `from` on that are kept still, and the place
    /// after the last.
    #[must_use]
    pub fn since(&self, from: u64) -> (Vec<Datum>, u64) {
        let state = self.lock();
        let skipped = usize::try_from(from.saturating_sub(state.forgotten)).unwrap_or(usize::MAX);
        let data = state.kept.iter().skip(skipped).cloned().collect();
        (data, state.forgotten + state.kept.len() as u64)
    }

    /// How many lines claimed to be in embedded metric format, and were not, or
    /// not in whole.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.lock().malformed
    }

    /// Takes a data point.
    pub fn record(&self, datum: Datum) {
        let mut state = self.lock();
        if state.kept.len() == KEPT {
            state.kept.pop_front();
            state.forgotten += 1;
        }
        state.kept.push_back(datum.clone());
        if state.waiting.len() < WAITING {
            state.waiting.push_back(datum);
        }
    }

    /// Takes a line that a function wrote; most are no metrics.
    pub(crate) fn read_line(&self, function: &str, line: &str) {
        let read = emf::read(line, now_ms());
        read.data.into_iter().for_each(|datum| self.record(datum));
        if let Some(problem) = read.problem {
            self.lock().malformed += 1;
            tracing::warn!(function, problem, "a line is no embedded metric format");
        }
    }

    /// Takes what an invocation came to.
    pub(crate) fn invoked(&self, function: &str, began_ms: i64, took: Duration, failed: bool) {
        for (name, unit, value) in [
            ("Invocations", "Count", 1.0),
            ("Errors", "Count", f64::from(u8::from(failed))),
            ("Throttles", "Count", 0.0),
            ("Duration", "Milliseconds", took.as_secs_f64() * 1_000.0),
        ] {
            self.of_lambda(function, name, unit, began_ms, value);
        }
    }

    /// Takes the age of a batch's last record.
    pub(crate) fn iterator_age(&self, function: &str, age_ms: i64) {
        #[allow(clippy::cast_precision_loss)]
        let age = age_ms.max(0) as f64;
        self.of_lambda(function, "IteratorAge", "Milliseconds", now_ms(), age);
    }

    fn of_lambda(&self, function: &str, name: &str, unit: &str, at_ms: i64, value: f64) {
        let dimensions = BTreeMap::from([("FunctionName".to_owned(), function.to_owned())]);
        self.record(one("AWS/Lambda", name, dimensions, unit, at_ms, value));
    }

    /// Takes records that a mapping has read; those that another read before
    /// do not count again.
    pub(crate) fn arrived(&self, stream: &str, shard: &str, records: &[Record]) {
        let mut by_time: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        {
            let mut state = self.lock();
            let key = (stream.to_owned(), shard.to_owned());
            let counted = state.counted.entry(key).or_default();
            for record in records {
                if is_after(&record.sequence_number, counted) {
                    counted.clone_from(&record.sequence_number);
                    let at_ms = record.arrived_ms.div_euclid(TOGETHER_MS) * TOGETHER_MS;
                    let (count, bytes) = by_time.entry(at_ms).or_default();
                    *count += 1.0;
                    *bytes += decoded_bytes(&record.data);
                }
            }
        }
        let dimensions = BTreeMap::from([("StreamName".to_owned(), stream.to_owned())]);
        for (at_ms, (count, bytes)) in by_time {
            for (name, unit, value) in [
                ("IncomingRecords", "Count", count),
                ("IncomingBytes", "Bytes", bytes),
            ] {
                let dimensions = dimensions.clone();
                self.record(one("AWS/Kinesis", name, dimensions, unit, at_ms, value));
            }
        }
    }

    fn take_waiting(&self) -> Vec<Datum> {
        std::mem::take(&mut self.lock().waiting).into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one(
    namespace: &str,
    name: &str,
    dimensions: BTreeMap<String, String>,
    unit: &str,
    timestamp_ms: i64,
    value: f64,
) -> Datum {
    Datum {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions,
        unit: unit.to_owned(),
        timestamp_ms,
        values: vec![value],
        counts: vec![1.0],
    }
}

/// Whether a sequence number is above another; they are numbers of many digits.
fn is_after(number: &str, other: &str) -> bool {
    (number.len(), number) > (other.len(), other)
}

fn decoded_bytes(base64: &str) -> f64 {
    let padding = base64
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'=')
        .count();
    #[allow(clippy::cast_precision_loss)]
    let bytes = (base64.len() / 4 * 3).saturating_sub(padding) as f64;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: &str, data: &str, arrived_ms: i64) -> Record {
        Record {
            sequence_number: number.into(),
            partition_key: "k".into(),
            data: data.into(),
            arrived_ms,
        }
    }

    /// Name, time and the sum of the values of each data point.
    fn all(metrics: &Metrics) -> Vec<(String, i64, f64)> {
        let data = metrics.since(0).0.into_iter();
        data.map(|d| (d.name, d.timestamp_ms, d.values.iter().sum()))
            .collect()
    }

    #[test]
    fn records_count_once_however_many_consumers_read_them() {
        let metrics = Metrics::default();
        let first = [record("99", "eA==", 1_010), record("100", "eHl6", 1_090)];
        metrics.arrived("s", "1", &first);
        metrics.arrived("s", "1", &first[..1]);
        metrics.arrived(
            "s",
            "1",
            &[record("100", "eHl6", 1_090), record("101", "eHk=", 1_200)],
        );
        let expected = [
            ("IncomingRecords", 1_000, 2.0),
            ("IncomingBytes", 1_000, 4.0),
            ("IncomingRecords", 1_200, 1.0),
            ("IncomingBytes", 1_200, 2.0),
        ];
        let expected = expected.map(|(name, at, sum)| (name.to_owned(), at, sum));
        assert_eq!(all(&metrics), expected);
        metrics.arrived("s", "2", &first[..1]);
        assert_eq!(all(&metrics).len(), 6, "another shard counts for itself");
    }

    #[test]
    fn an_invocation_is_counted_at_its_beginning() {
        let metrics = Metrics::default();
        metrics.invoked("f", 7, Duration::from_millis(250), true);
        metrics.invoked("f", 7, Duration::from_millis(250), false);
        let each = |errors| {
            [
                ("Invocations", 1.0),
                ("Errors", errors),
                ("Throttles", 0.0),
                ("Duration", 250.0),
            ]
        };
        let expected = [each(1.0), each(0.0)].concat();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, value)| (name.to_owned(), 7, value))
            .collect();
        assert_eq!(all(&metrics), expected);
        metrics.iterator_age("f", -1);
        let (data, _) = metrics.since(8);
        assert_eq!(
            (data[0].name.as_str(), data[0].values[0]),
            ("IteratorAge", 0.0)
        );
        assert_eq!(data[0].dimensions["FunctionName"], "f");
    }

    #[test]
    fn readers_go_on_where_they_were_though_the_oldest_are_forgotten() {
        let metrics = Metrics::default();
        let datum = |n: i64| one("n", "m", BTreeMap::new(), "None", n, 1.0);
        metrics.record(datum(0));
        let (_, place) = metrics.since(0);
        (1..=KEPT as i64 + 5).for_each(|n| metrics.record(datum(n)));
        let (data, end) = metrics.since(place);
        assert_eq!((data.len(), data[0].timestamp_ms), (KEPT, 6));
        assert_eq!(end, KEPT as u64 + 6);
        assert!(metrics.since(end).0.is_empty());
    }

    #[test]
    fn hostile_lines_are_counted_and_nothing_else() {
        let metrics = Metrics::default();
        for line in [
            "{\"_aws\":",
            "{\"_aws\":1}",
            "text",
            "{\"message\":\"\\\"_aws\\\"\"}",
        ] {
            metrics.read_line("f", line);
        }
        assert_eq!((metrics.malformed(), metrics.since(0).0.len()), (2, 0));
    }
}
