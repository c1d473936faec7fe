//! How long events take from the POST until a search finds them.
//!
//! Asking for the newest documents would miss those that come late, which are
//! the ones that matter. So the index is asked how many documents it has for
//! each tenth of a second of `received_at`: whatever has been added since the
//! last look has just become searchable, whenever it was received.

use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// How exact an age is.
const BUCKET_MS: i64 = 100;
/// Events that take longer than this are not measured.
const WINDOW_MS: i64 = 5 * 60_000;
/// What the percentiles are about: the last minute.
const RECENT_MS: i64 = 60_000;

/// Counts of two looks compared, again and again.
#[derive(Debug, Default)]
pub struct Freshness {
    seen: Option<BTreeMap<i64, u64>>,
    /// When they became searchable, their age then, how many.
    recent: VecDeque<(i64, u64, u64)>,
}

/// The index's answer to [`Freshness::question`], with
/// `filter_path=aggregations`.
#[derive(Debug, Deserialize)]
pub struct Answer {
    aggregations: Aggregations,
}

#[derive(Debug, Deserialize)]
struct Aggregations {
    received: Received,
}

#[derive(Debug, Deserialize)]
struct Received {
    buckets: Vec<Bucket>,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    key: i64,
    doc_count: u64,
}

impl Freshness {
    /// The body of the search to be sent at `now_ms`.
    #[must_use]
    pub fn question(now_ms: i64) -> Value {
        json!({
            "size": 0,
            "track_total_hits": false,
            "query": {"range": {"received_at": {"gte": now_ms - WINDOW_MS, "format": "epoch_millis"}}},
            "aggs": {"received": {"date_histogram": {
                "field": "received_at", "fixed_interval": format!("{BUCKET_MS}ms"), "min_doc_count": 1,
            }}},
        })
    }

    /// Takes an answer that arrived at `now_ms`. The first one is what later
    /// ones are compared with.
    pub fn add(&mut self, answer: &Answer, now_ms: i64) {
        let buckets = answer.aggregations.received.buckets.iter();
        let counts: BTreeMap<i64, u64> = buckets.map(|b| (b.key, b.doc_count)).collect();
        if let Some(before) = &self.seen {
            // The oldest bucket slides out of the window: what is left of it
            // is less than before, never more.
            for (&key, &count) in &counts {
                let new = count.saturating_sub(before.get(&key).copied().unwrap_or(0));
                let age = u64::try_from(now_ms - key - BUCKET_MS / 2).unwrap_or(0);
                if new > 0 {
                    self.recent.push_back((now_ms, age, new));
                }
            }
        }
        self.seen = Some(counts);
        while self
            .recent
            .front()
            .is_some_and(|&(at, ..)| at < now_ms - RECENT_MS)
        {
            self.recent.pop_front();
        }
    }

    /// Seconds that `quantile` (0 to 1) of the last minute's events took at
    /// most; none if there were no events.
    #[must_use]
    pub fn quantile_s(&self, quantile: f64) -> Option<f64> {
        let longest = u64::try_from(WINDOW_MS).ok()?;
        let mut ages = Histogram::<u64>::new_with_max(longest, 3).ok()?;
        for &(_, age, count) in &self.recent {
            ages.saturating_record_n(age, count);
        }
        (!ages.is_empty()).then(|| ages.value_at_quantile(quantile) as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(buckets: &[(i64, u64)]) -> Answer {
        let buckets: Vec<Value> = buckets
            .iter()
            .map(|(key, count)| json!({"key": key, "doc_count": count}))
            .collect();
        serde_json::from_value(json!({"aggregations": {"received": {"buckets": buckets}}})).unwrap()
    }

    #[test]
    fn late_events_count_with_their_whole_age() {
        let mut freshness = Freshness::default();
        freshness.add(&answer(&[(1_000, 50)]), 10_000);
        assert_eq!(freshness.quantile_s(0.5), None, "they were there before");

        // 90 events one second old, and 10 more of those nine seconds ago.
        freshness.add(&answer(&[(1_000, 60), (9_450, 90)]), 10_500);
        assert_eq!(freshness.quantile_s(0.5), Some(1.0));
        assert!(
            freshness
                .quantile_s(0.95)
                .is_some_and(|s| (9.4..9.5).contains(&s))
        );

        freshness.add(&answer(&[(1_000, 60), (9_450, 90)]), 11_000);
        assert_eq!(freshness.recent.len(), 2, "nothing new");
    }

    #[test]
    fn what_is_over_a_minute_ago_is_forgotten() {
        let mut freshness = Freshness::default();
        freshness.add(&answer(&[]), 0);
        freshness.add(&answer(&[(500, 1)]), 1_000);
        freshness.add(&answer(&[]), 61_001);
        assert_eq!(freshness.quantile_s(0.5), None);
    }
}
