//! Hands data points on to the emulator's CloudWatch, and to a file.

use super::{Datum, Metrics};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::DisplayErrorContext;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How often: health's next look must find what happened before it.
const EVERY: Duration = Duration::from_millis(500);
/// `PutMetricData` takes so many values in a data point,
const VALUES_PER_DATUM: usize = 150;
/// so many data points,
const DATA_PER_CALL: usize = 1_000;
/// and 1 MB, which is never reached with so many values.
const VALUES_PER_CALL: usize = 15_000;

/// Publishes what a [`Metrics`] takes; dropped, it stops at once.
pub(crate) struct Publisher {
    end: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publisher {
    /// Publishes to CloudWatch, and appends to `file`, from now on.
    pub(crate) fn start(metrics: Metrics, cloudwatch: Client, file: PathBuf) -> Self {
        let end = Arc::new(Notify::new());
        let told = Arc::clone(&end);
        let task = tokio::spawn(async move {
            loop {
                let ends = tokio::select! {
                    () = told.notified() => true,
                    () = tokio::time::sleep(EVERY) => false,
                };
                let data = merged(metrics.take_waiting());
                if let Err(error) = append(&file, &data).await {
                    tracing::warn!(%error, file = %file.display(), "metrics are not written");
                }
                put(&cloudwatch, data).await;
                if ends {
                    return;
                }
            }
        });
        Self { end, task }
    }

    /// Publishes what there is still, and ends.
    pub(crate) async fn finish(mut self) {
        self.end.notify_one();
        drop((&mut self.task).await);
    }
}

async fn append(file: &PathBuf, data: &[Datum]) -> std::io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for datum in data {
        serde_json::to_writer(&mut lines, datum)?;
        lines.push(b'\n');
    }
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .await?;
    file.write_all(&lines).await?;
    file.flush().await
}

/// What does not get there is gone, as with the agents of CloudWatch.
async fn put(cloudwatch: &Client, data: Vec<Datum>) {
    for (namespace, data) in calls(data) {
        let count = data.len();
        let request = cloudwatch
            .put_metric_data()
            .namespace(&namespace)
            .set_metric_data(Some(data.into_iter().map(wire).collect()));
        if let Err(error) = request.send().await {
            let error = DisplayErrorContext(&error);
            tracing::warn!(%error, namespace, count, "metrics are not published");
        }
    }
}

fn wire(datum: Datum) -> MetricDatum {
    let dimensions = datum.dimensions.into_iter();
    let dimensions =
        dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
    MetricDatum::builder()
        .metric_name(datum.name)
        .set_dimensions(Some(dimensions.collect()))
        .unit(StandardUnit::from(datum.unit.as_str()))
        .timestamp(DateTime::from_millis(datum.timestamp_ms))
        .set_values(Some(datum.values))
        .set_counts(Some(datum.counts))
        .build()
}

/// Data points of one metric in one second together, each value once: a second
/// is the finest that CloudWatch keeps, and the emulator keeps all it is given.
fn merged(data: Vec<Datum>) -> Vec<Datum> {
    let mut series: BTreeMap<_, BTreeMap<u64, (f64, f64)>> = BTreeMap::new();
    for datum in data {
        let second_ms = datum.timestamp_ms.div_euclid(1_000) * 1_000;
        let Datum {
            namespace,
            name,
            dimensions,
            unit,
            values,
            counts,
            ..
        } = datum;
        let samples = series
            .entry((namespace, name, dimensions, unit, second_ms))
            .or_default();
        for (value, count) in values.into_iter().zip(counts) {
            samples.entry(value.to_bits()).or_insert((value, 0.0)).1 += count;
        }
    }
    let mut all = Vec::new();
    for ((namespace, name, dimensions, unit, timestamp_ms), samples) in series {
        let samples: Vec<(f64, f64)> = samples.into_values().collect();
        all.extend(samples.chunks(VALUES_PER_DATUM).map(|samples| Datum {
            namespace: namespace.clone(),
            name: name.clone(),
            dimensions: dimensions.clone(),
            unit: unit.clone(),
            timestamp_ms,
            values: samples.iter().map(|(value, _)| *value).collect(),
            counts: samples.iter().map(|(_, count)| *count).collect(),
        }));
    }
    all
}

/// Data points by namespace, no more in a call than it takes. They come in the
/// order of their namespaces.
fn calls(data: Vec<Datum>) -> Vec<(String, Vec<Datum>)> {
    let mut calls: Vec<(String, Vec<Datum>)> = Vec::new();
    let mut values = 0;
    for datum in data {
        values += datum.values.len();
        match calls.last_mut() {
            Some((namespace, data))
                if *namespace == datum.namespace
                    && data.len() < DATA_PER_CALL
                    && values <= VALUES_PER_CALL =>
            {
                data.push(datum);
            }
            _ => {
                values = datum.values.len();
                calls.push((datum.namespace.clone(), vec![datum]));
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum(namespace: &str, name: &str, timestamp_ms: i64, values: &[f64]) -> Datum {
        Datum {
            namespace: namespace.into(),
            name: name.into(),
            dimensions: BTreeMap::new(),
            unit: "Count".into(),
            timestamp_ms,
            values: values.to_vec(),
            counts: vec![1.0; values.len()],
        }
    }

    #[test]
    fn a_metrics_values_of_one_second_are_one_data_point() {
        let data = vec![
            datum("n", "m", 1_001, &[1.0, 2.0]),
            datum("n", "m", 1_999, &[2.0]),
            datum("n", "m", 2_000, &[2.0]),
            datum("n", "o", 1_500, &[3.0]),
        ];
        let found: Vec<_> = merged(data)
            .into_iter()
            .map(|d| (d.name, d.timestamp_ms, d.values, d.counts))
            .collect();
        let expected = [
            ("m".to_owned(), 1_000, vec![1.0, 2.0], vec![1.0, 2.0]),
            ("m".to_owned(), 2_000, vec![2.0], vec![1.0]),
            ("o".to_owned(), 1_000, vec![3.0], vec![1.0]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_call_has_more_than_cloudwatch_takes_and_nothing_is_left_out() {
        let values: Vec<f64> = (0..400).map(f64::from).collect();
        let mut data: Vec<Datum> = (0..2_500)
            .map(|n| datum("a", "m", n * 1_000, &[1.0]))
            .collect();
        data.extend((0..120).map(|n| datum("b", "m", n * 1_000, &values)));
        let count = |data: &[Datum]| data.iter().map(|d| d.values.len()).sum::<usize>();
        let before = count(&data);
        let calls = calls(merged(data));
        for (namespace, data) in &calls {
            assert!(data.len() <= DATA_PER_CALL && count(data) <= VALUES_PER_CALL);
            assert!(data.iter().all(|d| d.namespace == *namespace));
            assert!(data.iter().all(|d| d.values.len() <= VALUES_PER_DATUM));
        }
        let after: usize = calls.iter().map(|(_, data)| count(data)).sum();
        assert_eq!(after, before);
    }
}
