//! How far each consumer is behind.

use crate::backlog::{ages_ms, within};
use crate::config::Stage;
use crate::series::{Asked, Series};
use serde::Serialize;
use std::collections::BTreeMap;

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Behind {
    /// Of the oldest record that it has not read.
    pub iterator_age_ms: f64,
    /// Estimated records that it has not read: what arrived within that age.
    pub records: f64,
}

/// By the consumers' stages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lag {
    /// Each one's.
    #[serde(flatten)]
    pub consumers: BTreeMap<&'static str, Behind>,
}

/// What the series say of these consumers. Records are iterator age times the
/// rate at which they arrived over that age; an age that is longer than what
/// is known takes the mean rate of what is known.
#[must_use]
pub fn check(series: &Series, stages: impl IntoIterator<Item = Stage>) -> Lag {
    #[allow(clippy::cast_precision_loss)] // an hour at the most
    let period_ms = series.period_ms() as f64;
    let arrived = series.sums(Asked::Incoming);
    let behind = |stage| {
        let known = series.points(Asked::IteratorAge(stage));
        let age = ages_ms(&known, &arrived, period_ms).last().copied();
        let age = age.unwrap_or_default();
        let records = within(&arrived, arrived.len(), age, period_ms);
        Behind {
            iterator_age_ms: age,
            records: records
                .unwrap_or_else(|| mean(&arrived) * age / period_ms)
                .round(),
        }
    };
    let stages = stages.into_iter();
    Lag {
        consumers: stages
            .map(|stage| (stage.as_str(), behind(stage)))
            .collect(),
    }
}

#[allow(clippy::cast_precision_loss)] // some hundred periods
fn mean(amounts: &[f64]) -> f64 {
    amounts.iter().sum::<f64>() / amounts.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENRICH: Asked = Asked::IteratorAge(Stage::Enrich);

    #[test]
    fn records_are_age_times_arrival_rate() {
        let mut series = Series::empty(0, 60_000, 4);
        series.set(Asked::Incoming, &[600.0, 600.0, 600.0, 1_200.0]);
        series.set(ENRICH, &[0.0, 0.0, 0.0, 90_000.0]);
        let lag = check(&series, [Stage::Enrich, Stage::Aggregate]);
        let enrich = Behind {
            iterator_age_ms: 90_000.0,
            records: 1_500.0,
        };
        assert_eq!(lag.consumers["enrich"], enrich);
        // It was never invoked while records arrived.
        assert_eq!(lag.consumers["aggregate"].records, 3_000.0);
        // A day behind, with four minutes known: 750 a minute.
        series.set(ENRICH, &[0.0, 0.0, 0.0, 86_400_000.0]);
        let lag = check(&series, [Stage::Enrich]);
        assert_eq!(lag.consumers["enrich"].records, 750.0 * 1_440.0);
    }

    #[test]
    fn without_events_nobody_is_behind() {
        let lag = check(&Series::empty(0, 60_000, 4), [Stage::Enrich]);
        let none = Behind {
            iterator_age_ms: 0.0,
            records: 0.0,
        };
        assert_eq!(lag.consumers["enrich"], none);
    }
}
