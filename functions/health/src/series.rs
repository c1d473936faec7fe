//! Sums of equal periods, as CloudWatch keeps them; what is asked for.

use crate::config::{Config, Stage};
use std::collections::HashMap;
use std::ops::Range;

/// A metric that is asked for. What is here is what a run pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// Of our own, by stage and name.
    Ours(&'static str, &'static str),
    /// The age of the last record that a consumer was given, in milliseconds.
    IteratorAge(Stage),
    /// Records that the stream took.
    Incoming,
    /// Records that it turned away.
    WriteThrottles,
    /// Reads that it turned away.
    ReadThrottles,
}

/// Metrics of ours that the report and the ledger are made of, by stage.
const OURS: [(&str, &str); 14] = [
    ("collect", "Received"),
    ("collect", "Accepted"),
    ("collect", "Rejected"),
    ("collect", "DeadLetters"),
    ("enrich", "Indexed"),
    ("enrich", "Duplicates"),
    ("enrich", "Rejected"),
    ("enrich", "Undecodable"),
    ("enrich", "OtherProducers"),
    ("aggregate", "Received"),
    ("aggregate", "LateDropped"),
    ("aggregate", "EarlyDropped"),
    ("replay", "Replayed"),
    ("health", "GivenUp"),
];

/// One metric, as CloudWatch names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What it is for.
    pub asked: Asked,
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
    /// `Sum` or `Maximum`.
    pub statistic: &'static str,
    /// Its dimensions.
    pub dimensions: Vec<(&'static str, String)>,
}

impl Query {
    /// Everything that a run asks for: 17 metrics, and one for each consumer.
    /// CloudWatch takes $0.01 for 1,000 of them, so two consumers cost $8.32 a
    /// month at a run a minute.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let stream = |asked, name| Self {
            asked,
            namespace: "AWS/Kinesis",
            name,
            statistic: "Sum",
            dimensions: vec![("StreamName", config.stream_name.clone())],
        };
        let mut queries = vec![
            stream(Asked::Incoming, "IncomingRecords"),
            stream(Asked::WriteThrottles, "WriteProvisionedThroughputExceeded"),
            stream(Asked::ReadThrottles, "ReadProvisionedThroughputExceeded"),
        ];
        queries.extend(config.consumers.iter().map(|consumer| Self {
            asked: Asked::IteratorAge(consumer.stage),
            namespace: "AWS/Lambda",
            name: "IteratorAge",
            statistic: "Maximum",
            dimensions: vec![("FunctionName", consumer.function.clone())],
        }));
        queries.extend(OURS.map(|(stage, name)| Self {
            asked: Asked::Ours(stage, name),
            namespace: "Freshet",
            name,
            statistic: "Sum",
            dimensions: vec![("Stack", config.stack.clone()), ("Stage", stage.to_owned())],
        }));
        queries
    }
}

/// Metrics over the same periods, oldest first. The last period is the last
/// that is over; all of a period before it should have arrived by now.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    start_ms: i64,
    period_ms: i64,
    periods: usize,
    values: HashMap<Asked, Vec<Option<f64>>>,
}

impl Series {
    /// Nothing yet, of so many periods from `start_ms` on.
    #[must_use]
    pub fn empty(start_ms: i64, period_ms: i64, periods: usize) -> Self {
        Self {
            start_ms,
            period_ms: period_ms.max(1),
            periods,
            values: HashMap::new(),
        }
    }

    /// The periods that are over at `now_ms`.
    #[must_use]
    pub fn until(now_ms: i64, period_ms: i64, periods: usize) -> Self {
        let period_ms = period_ms.max(1);
        let length = i64::try_from(periods)
            .unwrap_or(i64::MAX)
            .saturating_mul(period_ms);
        let end = now_ms.div_euclid(period_ms) * period_ms;
        Self::empty(end.saturating_sub(length), period_ms, periods)
    }

    /// When they begin and end, in milliseconds since 1970.
    #[must_use]
    pub fn span_ms(&self) -> Range<i64> {
        let length = i64::try_from(self.periods).unwrap_or(i64::MAX);
        self.start_ms..self.start_ms + length.saturating_mul(self.period_ms)
    }

    /// A period's length.
    #[must_use]
    pub const fn period_ms(&self) -> i64 {
        self.period_ms
    }

    /// How many there are.
    #[must_use]
    pub const fn periods(&self) -> usize {
        self.periods
    }

    /// Takes a data point; one outside the periods is none of ours.
    pub fn put(&mut self, asked: Asked, at_ms: i64, value: f64) {
        let place = (at_ms - self.start_ms).div_euclid(self.period_ms);
        let place = usize::try_from(place).ok();
        let known = self.values.entry(asked);
        let known = known.or_insert_with(|| vec![None; self.periods]);
        if let Some(known) = place.and_then(|place| known.get_mut(place))
            && value.is_finite()
        {
            *known = Some(value);
        }
    }

    /// Each period's value, where there is one.
    #[must_use]
    pub fn points(&self, asked: Asked) -> Vec<Option<f64>> {
        let known = self.values.get(&asked);
        known.cloned().unwrap_or_else(|| vec![None; self.periods])
    }

    /// Each period's value; no value is 0, as what is 0 is not written.
    #[must_use]
    pub fn sums(&self, asked: Asked) -> Vec<f64> {
        let points = self.points(asked);
        points.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Of the last period.
    #[must_use]
    pub fn latest(&self, asked: Asked) -> f64 {
        self.sums(asked).last().copied().unwrap_or_default()
    }

    /// Of the last period that should be whole: what is written as a line of a
    /// log takes most of a minute to become a metric.
    #[must_use]
    pub fn settled(&self, asked: Asked) -> f64 {
        self.sums(asked)
            .iter()
            .rev()
            .nth(1)
            .copied()
            .unwrap_or_default()
    }

    /// Sets the first periods' values: for tests.
    #[cfg(test)]
    pub(crate) fn set(&mut self, asked: Asked, values: &[f64]) {
        for (place, value) in values.iter().enumerate() {
            let at = self.start_ms + i64::try_from(place).unwrap() * self.period_ms;
            self.put(asked, at, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_its_periods_and_foreign_ones_are_nobodys() {
        let mut series = Series::until(200_500, 60_000, 3);
        assert_eq!(series.span_ms(), 0..180_000);
        for (at, value) in [
            (-1, 9.0),
            (0, 1.0),
            (119_999, 2.0),
            (180_000, 9.0),
            (120_000, f64::NAN),
        ] {
            series.put(Asked::Incoming, at, value);
        }
        assert_eq!(series.points(Asked::Incoming), [Some(1.0), Some(2.0), None]);
        assert_eq!(series.sums(Asked::ReadThrottles), [0.0; 3]);
        assert_eq!(
            (
                series.latest(Asked::Incoming),
                series.settled(Asked::Incoming)
            ),
            (0.0, 2.0)
        );
    }

    #[test]
    fn a_run_asks_for_so_many_metrics_as_docs_health_md_says() {
        let vars = [
            ("STACK_NAME", "stack"),
            ("COLLECT_URL", "u"),
            ("STREAM_NAME", "s"),
            ("CONSUMERS", "enrich=e,aggregate=a"),
            ("DEAD_LETTER_QUEUE_URL", "q"),
            ("DEAD_LETTER_BUCKET", "b"),
            ("ENRICH_MAPPING_ID", "m"),
            ("OPENSEARCH_URL", "o"),
            ("AGGREGATION_TABLE", "t"),
        ];
        let config = Config::from_vars(vars.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        let queries = Query::all(&config);
        assert_eq!(queries.len(), 19);
        let docs = include_str!("../../../docs/health.md");
        assert!(docs.contains("19 metrics"));
        let distinct: std::collections::HashSet<_> =
            queries.iter().map(|query| query.asked).collect();
        assert_eq!(distinct.len(), queries.len());
        for query in queries.iter().filter(|query| query.namespace == "Freshet") {
            let names: Vec<_> = query.dimensions.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["Stack", "Stage"]);
        }
    }

    #[test]
    fn any_clock_gives_periods() {
        for now in [i64::MIN / 2, -1, 0, 1, i64::MAX / 2] {
            let span = Series::until(now, 60_000, 121).span_ms();
            assert!(span.end <= now && now - span.end < 60_000, "{now}");
            assert_eq!(span.end - span.start, 121 * 60_000);
        }
    }
}
