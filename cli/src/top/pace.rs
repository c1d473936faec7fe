//! How many page views there are each second: the change of a window's total.

use std::collections::VecDeque;

/// What the pace is about.
const RECENT_MS: i64 = 20_000;

/// Totals of one window, as they were merged.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    window_end_ms: i64,
    /// When it was merged, and the total then.
    totals: VecDeque<(i64, u64)>,
    per_second: Option<f64>,
}

impl Pace {
    /// Takes a window's total. Totals of different windows cannot be compared:
    /// with the next window the last pace stays until there are two of it.
    pub(super) fn add(&mut self, window_end_ms: i64, updated_ms: i64, total: u64) {
        if window_end_ms != self.window_end_ms {
            self.window_end_ms = window_end_ms;
            self.totals.clear();
        }
        if self.totals.back().is_some_and(|last| last.0 >= updated_ms) {
            return;
        }
        self.totals.push_back((updated_ms, total));
        while self
            .totals
            .get(1)
            .is_some_and(|second| second.0 <= updated_ms - RECENT_MS)
        {
            self.totals.pop_front();
        }
        if let (Some((since, before)), Some((until, after))) =
            (self.totals.front(), self.totals.back())
            && until > since
        {
            #[allow(clippy::cast_precision_loss)]
            let (more, ms) = (after.saturating_sub(*before) as f64, (until - since) as f64);
            self.per_second = Some(more * 1000.0 / ms);
        }
    }

    /// Each second; nothing before there is anything to compare, and 0 when
    /// nothing was counted for a while.
    pub(super) fn per_second(&self, now_ms: i64) -> Option<f64> {
        match self.totals.back() {
            Some((last, _)) if now_ms - last > RECENT_MS => Some(0.0),
            _ => self.per_second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, wanted: f64) -> bool {
        found.is_some_and(|found| (found - wanted).abs() < 1e-9)
    }

    #[test]
    fn the_pace_is_the_change_of_a_windows_total() {
        let mut pace = Pace::default();
        pace.add(300_000, 1_000, 100);
        assert_eq!(pace.per_second(1_500), None);
        pace.add(300_000, 6_000, 150);
        assert!(near(pace.per_second(6_500), 10.0));
        // The same result, asked for again.
        pace.add(300_000, 6_000, 150);
        assert!(near(pace.per_second(7_500), 10.0));
        // Of the next window there is one total only: the last pace stays.
        pace.add(360_000, 11_000, 40);
        assert!(near(pace.per_second(11_500), 10.0));
        pace.add(360_000, 16_000, 140);
        assert!(near(pace.per_second(16_500), 20.0));
        assert!(near(pace.per_second(90_000), 0.0));
    }

    #[test]
    fn only_what_is_recent_counts_and_estimates_may_fall() {
        let mut pace = Pace::default();
        for (at, total) in [(0, 0), (10_000, 1_000), (20_000, 1_000), (30_000, 1_000)] {
            pace.add(300_000, at, total);
        }
        assert!(near(pace.per_second(30_000), 0.0));
        pace.add(300_000, 32_000, 990);
        assert!(near(pace.per_second(32_000), 0.0));
    }
}
