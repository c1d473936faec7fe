//! What a period's values come to.

use std::str::FromStr;

/// `Statistic`, or `ExtendedStatistic` as far as it is a percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// How many values.
    SampleCount,
    /// All of them together.
    Sum,
    /// `Sum / SampleCount`.
    Average,
    /// The lowest.
    Minimum,
    /// The highest.
    Maximum,
    /// `p95` is 95.
    Percentile(f64),
}

impl FromStr for Statistic {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "SampleCount" => Self::SampleCount,
            "Sum" => Self::Sum,
            "Average" => Self::Average,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            _ => {
                let digits = text.strip_prefix('p').ok_or(())?;
                if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                    return Err(());
                }
                let percentile: f64 = digits.parse().map_err(drop)?;
                if percentile > 100.0 {
                    return Err(());
                }
                Self::Percentile(percentile)
            }
        })
    }
}

impl Statistic {
    /// The statistic of values with their counts, of which there is at least
    /// one; nothing if CloudWatch has none for them.
    ///
    /// A percentile is the lowest value that at least so many per cent of the
    /// values do not exceed (nearest rank); the guide says "95 percent of the
    /// data within the period is lower", and nothing of interpolation. With a
    /// negative value there is none, as the guide says.
    #[must_use]
    pub fn of(self, samples: &[(f64, f64)]) -> Option<f64> {
        let count: f64 = samples.iter().map(|(_, count)| count).sum();
        if count <= 0.0 {
            return None;
        }
        let sum = || samples.iter().map(|(value, count)| value * count).sum();
        let values = samples.iter().map(|(value, _)| *value);
        Some(match self {
            Self::SampleCount => count,
            Self::Sum => sum(),
            Self::Average => {
                let sum: f64 = sum();
                sum / count
            }
            Self::Minimum => values.fold(f64::INFINITY, f64::min),
            Self::Maximum => values.fold(f64::NEG_INFINITY, f64::max),
            Self::Percentile(percentile) => return nearest_rank(samples, percentile, count),
        })
    }

    /// Fewer samples than this are too few to be significant: 10/(1 - p) from
    /// the median up, 10/p below it. Percentiles only.
    #[must_use]
    pub fn significant_from(self) -> Option<f64> {
        let Self::Percentile(percentile) = self else {
            return None;
        };
        let p = percentile / 100.0;
        Some(if p >= 0.5 { 10.0 / (1.0 - p) } else { 10.0 / p })
    }
}

fn nearest_rank(samples: &[(f64, f64)], percentile: f64, count: f64) -> Option<f64> {
    let mut ascending = samples.to_vec();
    ascending.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    if ascending.first()?.0 < 0.0 {
        return None;
    }
    // What rounding adds must not push the rank over a whole number.
    let rank = percentile / 100.0 * count - count * 1e-12;
    let mut seen = 0.0;
    for (value, count) in &ascending {
        seen += count;
        if seen >= rank {
            return Some(*value);
        }
    }
    ascending.last().map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statistics_weigh_values_by_their_counts() {
        let samples = [(1.0, 3.0), (5.0, 1.0)];
        let of = |name: &str| name.parse::<Statistic>().unwrap().of(&samples).unwrap();
        let names = ["SampleCount", "Sum", "Average", "Minimum", "Maximum"];
        assert_eq!(names.map(of), [4.0, 8.0, 2.0, 1.0, 5.0]);
        let percentiles = ["p0", "p50", "p75", "p75.01", "p95", "p100"];
        assert_eq!(percentiles.map(of), [1.0, 1.0, 1.0, 5.0, 5.0, 5.0]);
    }

    #[test]
    fn of_nothing_there_is_nothing_and_of_a_negative_value_no_percentile() {
        let p95 = Statistic::Percentile(95.0);
        assert_eq!(Statistic::Sum.of(&[]), None);
        assert_eq!(p95.of(&[]), None);
        assert_eq!(p95.of(&[(1.0, 9.0), (-1.0, 1.0)]), None);
        assert_eq!(Statistic::Sum.of(&[(1.0, 9.0), (-1.0, 1.0)]), Some(8.0));
    }

    #[test]
    fn what_is_no_statistic_is_refused() {
        for text in [
            "", "p", "p101", "p-1", "P95", "tm90", "sum", "pinf", "p1e1", "p1.2.3",
        ] {
            assert!(text.parse::<Statistic>().is_err(), "{text}");
        }
        assert_eq!("p99.9".parse(), Ok(Statistic::Percentile(99.9)));
    }

    #[test]
    fn too_few_samples_are_as_many_as_the_guide_says() {
        let from = |p| Statistic::Percentile(p).significant_from().unwrap().round();
        assert_eq!(
            [99.0, 95.0, 50.0, 25.0].map(from),
            [1_000.0, 200.0, 20.0, 40.0]
        );
        assert_eq!(Statistic::Maximum.significant_from(), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_that_of_the_values_written_out(
            samples in prop::collection::vec((0_u32..50, 1_u32..20), 1..30),
            percentile in 1_u32..=100,
        ) {
            let mut all: Vec<u32> = samples
                .iter()
                .flat_map(|(value, count)| std::iter::repeat_n(*value, *count as usize))
                .collect();
            all.sort_unstable();
            let rank = (percentile as usize * all.len()).div_ceil(100);
            let weighted: Vec<(f64, f64)> = samples
                .iter()
                .map(|(value, count)| (f64::from(*value), f64::from(*count)))
                .collect();
            let found = Statistic::Percentile(f64::from(percentile)).of(&weighted);
            prop_assert_eq!(found, Some(f64::from(all[rank - 1])));
        }

        #[test]
        fn average_and_percentiles_lie_between_the_extremes(
            samples in prop::collection::vec((0_u32..1_000, 1_u32..9), 1..30),
            percentile in 0_u32..=100,
        ) {
            let samples: Vec<(f64, f64)> = samples
                .iter()
                .map(|(value, count)| (f64::from(*value), f64::from(*count)))
                .collect();
            let (low, high) = (Statistic::Minimum.of(&samples), Statistic::Maximum.of(&samples));
            for statistic in [Statistic::Average, Statistic::Percentile(f64::from(percentile))] {
                let found = statistic.of(&samples);
                prop_assert!(low <= found && found <= high, "{:?}", found);
            }
        }
    }
}
