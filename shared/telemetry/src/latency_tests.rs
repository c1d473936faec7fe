use super::*;
use proptest::prelude::*;

fn of(micros: &[u64]) -> Latency {
    let mut latency = Latency::default();
    for micros in micros {
        latency.add(Duration::from_micros(*micros));
    }
    latency
}

/// The value that a share of all is not above: the nearest rank.
fn quantile(values: &[(f64, u64)], share: f64) -> f64 {
    let all: u64 = values.iter().map(|(_, count)| count).sum();
    let rank = ((all as f64 * share).ceil() as u64).max(1);
    let mut seen = 0;
    for (value, count) in values {
        seen += count;
        if seen >= rank {
            return *value;
        }
    }
    unreachable!("the rank is within all")
}

#[test]
fn buckets_follow_each_other_without_a_gap() {
    assert_eq!((bucket(0), bucket(1), bucket(2)), (0, 0, 12));
    for micros in (1..5_000).chain([u64::from(u32::MAX), 1 << 45, u64::MAX]) {
        let at = bucket(micros);
        assert!(lowest(at) <= micros, "{micros}");
        assert!(
            micros < lowest(at + 1) || micros == u64::MAX,
            "{micros} in {at}"
        );
    }
}

#[test]
fn short_times_are_exact_and_long_ones_have_three_digits() {
    assert_eq!(of(&[7]).values(), [(0.007, 1)]);
    assert_eq!(of(&[15, 15]).values(), [(0.015, 2)]);
    // An hour: 2 % off.
    assert_eq!(of(&[3_600_000_000]).values(), [(3_670_000.0, 1)]);
    let mut odd = Latency::default();
    odd.add_millis(-5);
    odd.add(Duration::MAX);
    assert_eq!(odd.count(), 2);
    assert_eq!(odd.values().len(), 2);
}

#[test]
fn a_line_has_no_more_values_than_cloudwatch_takes() {
    let everything: Vec<u64> = (0..2_000)
        .map(|n| 1.02_f64.powi(n).min(1e18) as u64)
        .collect();
    let values = of(&everything).values();
    assert!(values.len() <= MOST_VALUES, "{}", values.len());
    assert_eq!(values.iter().map(|(_, count)| count).sum::<u64>(), 2_000);
    assert!(values.is_sorted_by(|a, b| a.0 < b.0));
}

proptest! {
    /// As promised: 5 % while the longest is less than 256 times the shortest.
    #[test]
    fn percentiles_are_within_five_percent(
        shortest in 32_u64..10_000_000_000,
        shares in prop::collection::vec(0.0_f64..1.0, 1..400),
    ) {
        let mut micros: Vec<u64> = shares
            .iter()
            .map(|share| shortest + (*share * 254.0 * shortest as f64) as u64)
            .collect();
        let values = of(&micros).values();
        micros.sort_unstable();
        for share in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let rank = ((micros.len() as f64 * share).ceil() as usize).max(1);
            let exact = micros[rank - 1] as f64 / 1000.0;
            let told = quantile(&values, share);
            prop_assert!((told - exact).abs() <= 0.05 * exact, "{told} for {exact}");
        }
        let mean = micros.iter().sum::<u64>() as f64 / micros.len() as f64 / 1000.0;
        let total: f64 = values.iter().map(|(value, count)| value * *count as f64).sum();
        let told = total / micros.len() as f64;
        prop_assert!((told - mean).abs() <= 0.05 * mean, "{told} for {mean}");
    }

    /// Any times at all: none is lost, and each value is near one.
    #[test]
    fn no_time_is_lost(micros in prop::collection::vec(any::<u64>(), 1..500)) {
        let values = of(&micros).values();
        prop_assert!(values.len() <= MOST_VALUES);
        let count: u64 = values.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(count, micros.len() as u64);
    }

    #[test]
    fn two_put_together_are_as_one(
        some in prop::collection::vec(any::<u32>(), 0..50),
        more in prop::collection::vec(any::<u32>(), 0..50),
    ) {
        let wide = |micros: &[u32]| -> Vec<u64> { micros.iter().copied().map(u64::from).collect() };
        let mut together = of(&wide(&some));
        together.merge(&of(&wide(&more)));
        prop_assert_eq!(together.values(), of(&wide(&[some, more].concat())).values());
    }
}
