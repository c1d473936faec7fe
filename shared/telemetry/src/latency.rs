//! Times as a distribution, so that percentiles exist.

use metrique::unit::Millisecond;
use metrique::writer::unit::UnitTag;
use metrique::writer::{MetricFlags, Observation, Value, ValueWriter};
use std::time::Duration;

/// Buckets of an octave (from a power of two to the next).
const PARTS: u64 = 12;
/// CloudWatch takes no more values of one metric in a line.
const MOST_VALUES: usize = 100;
/// How many buckets become one when a line would hold too many.
const COARSER: [usize; 4] = [2, 4, 6, 12];

/// How long things took: how many by bucket.
///
/// A line holds each time as a value that is at most 5 % off (of times below
/// 32 microseconds: at most one microsecond), as long as the longest is
/// less than 256 times the shortest. Beyond that, buckets are made twice as
/// wide, and again, until at most 100 are left. To add one is to increment an
/// integer. Nothing is written before there is a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// As many as the longest time needs.
    counts: Vec<u32>,
}

impl Latency {
    /// Adds a time.
    pub fn add(&mut self, took: Duration) {
        self.add_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds a time in milliseconds; one below 0 (clocks differ) counts as 0.
    pub fn add_millis(&mut self, took_ms: i64) {
        self.add_micros(u64::try_from(took_ms).unwrap_or(0).saturating_mul(1000));
    }

    /// Adds all times of another.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    /// How many times there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().copied().map(u64::from).sum()
    }

    fn add_micros(&mut self, micros: u64) {
        let bucket = bucket(micros);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
    }

    /// Milliseconds, and how many there are of them; at most
    /// [`MOST_VALUES`], in order.
    fn values(&self) -> Vec<(f64, u64)> {
        let width = std::iter::once(1).chain(COARSER).find(|width| {
            let groups = self.counts.chunks(*width);
            let filled = groups.filter(|group| group.iter().any(|count| *count > 0));
            filled.count() <= MOST_VALUES
        });
        let width = width.unwrap_or(COARSER[COARSER.len() - 1]);
        let groups = self.counts.chunks(width).enumerate();
        groups
            .map(|(at, group)| {
                let (first, last) = (at * width, (at + 1) * width - 1);
                let count = group.iter().copied().map(u64::from).sum();
                (millis(lowest(first), lowest(last + 1) - 1), count)
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// The bucket of a time: of its octave, and of twelve parts in it.
fn bucket(micros: u64) -> usize {
    let octave = micros.max(1).ilog2();
    let above = u128::from(micros.max(1) - (1 << octave));
    let part = (above * u128::from(PARTS)) >> octave;
    // Below 64 times 12.
    usize::try_from(u128::from(octave) * u128::from(PARTS) + part).unwrap_or(usize::MAX)
}

/// The shortest time of a bucket.
fn lowest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (octave, part) = (bucket / PARTS, bucket % PARTS);
    let base = 1_u128 << octave;
    let above = (base * u128::from(part)).div_ceil(u128::from(PARTS));
    u64::try_from(base + above).unwrap_or(u64::MAX)
}

/// The middle of these two as milliseconds, in three digits: half a percent
/// more is not worth a line twice as long.
fn millis(from_micros: u64, to_micros: u64) -> f64 {
    let middle = from_micros + to_micros.saturating_sub(from_micros) / 2;
    let unit = 10_u64.pow(middle.max(1).ilog10().saturating_sub(2));
    let rounded = middle.saturating_add(unit / 2) / unit * unit;
    // Three digits are exact.
    #[allow(clippy::cast_precision_loss)]
    let micros = rounded as f64;
    micros / 1000.0
}

impl Value for Latency {
    fn write(&self, writer: impl ValueWriter) {
        let values = self.values().into_iter().map(|(millis, occurrences)| {
            #[allow(clippy::cast_precision_loss)]
            let total = millis * occurrences as f64;
            match occurrences {
                1 => Observation::Floating(millis),
                _ => Observation::Repeated { total, occurrences },
            }
        });
        writer.metric(values, Millisecond::UNIT, [], MetricFlags::empty());
    }
}

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
