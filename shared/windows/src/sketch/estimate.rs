//! What the sketches of a window's panes say together, and how sure it is.

use super::{CellSketch, Distinct, Sketch, TOTAL_LG_K, UNLISTED, VALUE_LG_K};
use crate::contribution::{Kind, keys};
use crate::totals::{Counts, ErrorBound, alike_events_lost, micros, saturated, too_few};
use datasketches::common::NumStdDev;
use datasketches::hll::HllUnion;
use std::collections::{BTreeMap, HashMap};

/// How many events have `distinct` different hashes of 32 bits, as likely as
/// any: n = −m ln(1 − d/m), linear counting's formula.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
fn events_of(distinct: usize) -> u64 {
    let all = 2_f64.powi(32);
    (-all * (-(distinct as f64) / all).ln_1p()).round() as u64
}

/// How many pairs of so many events are expected to have hashes that are alike.
fn expected_alike(events: u64) -> f64 {
    // Panes are far smaller than 2^52.
    #[allow(clippy::cast_precision_loss)]
    let events = events as f64;
    events.powi(2) / 2.0 / 2_f64.powi(32)
}

/// Puts the sketches of several panes together.
#[derive(Default)]
pub(crate) struct SketchTotals {
    counts: HashMap<(String, String), ValueTotals>,
    users: DistinctUnion<TOTAL_LG_K>,
    distinct: BTreeMap<String, DistinctUnion<TOTAL_LG_K>>,
    unlisted: BTreeMap<String, Events>,
    left_out: BTreeMap<String, u64>,
    /// Listed or not.
    dimensions: BTreeMap<String, Events>,
}

/// A count of events that is estimated.
#[derive(Clone, Copy, Default)]
struct Events {
    count: u64,
    /// Expected to be missing, as tables took them for others.
    lost: f64,
    /// Expected to be alike within a cell, and made up for.
    alike: f64,
}

impl Events {
    fn of(cell: &CellSketch) -> Self {
        let count = events_of(cell.events.len());
        Self {
            count,
            lost: cell.alike.values().map(|n| alike_events_lost(*n)).sum(),
            alike: expected_alike(count),
        }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.lost += other.lost;
        self.alike += other.alike;
    }

    /// The share that it may be off: what is lost, and how far from what is
    /// expected those may be that are alike.
    fn off(&self) -> f64 {
        too_few(self.lost, self.count) + too_few(self.alike, self.count)
    }
}

#[derive(Default)]
struct ValueTotals {
    events: Events,
    micros: i128,
    users: DistinctUnion<VALUE_LG_K>,
    sessions: DistinctUnion<VALUE_LG_K>,
}

struct DistinctUnion<const LG_K: u8>(Option<HllUnion>);

impl<const LG_K: u8> Default for DistinctUnion<LG_K> {
    fn default() -> Self {
        Self(HllUnion::new(LG_K).ok())
    }
}

impl<const LG_K: u8> DistinctUnion<LG_K> {
    fn add(&mut self, other: &Distinct<LG_K>) {
        if let (Some(union), Some(sketch)) = (&mut self.0, &other.0) {
            union.update(sketch);
        }
    }

    /// The estimate, and how far it may be off: three standard errors.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn estimate(&self) -> (u64, f64) {
        let Some(union) = self.0.as_ref().filter(|union| !union.is_empty()) else {
            return (0, 0.0);
        };
        let estimate = union.estimate();
        let above = union.upper_bound(NumStdDev::Three) / estimate - 1.0;
        let below = 1.0 - union.lower_bound(NumStdDev::Three) / estimate;
        (estimate.round() as u64, above.max(below))
    }
}

/// What panes of which some are sketches add up to.
pub(crate) struct Estimated {
    pub(crate) users: u64,
    /// Dimension, value, counts.
    pub(crate) values: Vec<(String, String, Counts)>,
    pub(crate) distinct: BTreeMap<String, u64>,
    pub(crate) unlisted: BTreeMap<String, u64>,
    pub(crate) bound: ErrorBound,
}

impl SketchTotals {
    /// Adds a pane. (Panes have no event in common: their counts add up.)
    pub(crate) fn add(&mut self, pane: &Sketch) {
        self.users.add(&pane.users);
        for (name, dimension) in &pane.dimensions {
            self.distinct
                .entry(name.clone())
                .or_default()
                .add(&dimension.distinct);
            if dimension.left_out > 0 {
                *self.left_out.entry(name.clone()).or_default() += dimension.left_out;
            }
            for (value, sketch) in &dimension.listed {
                let totals = self
                    .counts
                    .entry((name.clone(), value.clone()))
                    .or_default();
                totals.users.add(&sketch.users);
                totals.sessions.add(&sketch.sessions);
            }
        }
        let mut in_pane: BTreeMap<&str, Events> = BTreeMap::new();
        for (name, cell) in &pane.cells {
            let events = Events::of(cell);
            for key in keys(name).unwrap_or_default() {
                if !matches!(key.kind, Kind::Events | Kind::Amount) {
                    continue;
                }
                in_pane.entry(key.dimension).or_default().add(events);
                if key.value == UNLISTED {
                    let unlisted = self.unlisted.entry(key.dimension.to_owned());
                    unlisted.or_default().add(events);
                    continue;
                }
                let name = (key.dimension.to_owned(), key.value.to_owned());
                let totals = self.counts.entry(name).or_default();
                totals.events.add(events);
                if key.kind == Kind::Amount {
                    totals.micros += micros(cell.amounts.values().copied());
                }
            }
        }
        for (name, mut events) in in_pane {
            if pane.dimensions.get(name).is_some_and(|d| d.left_out > 0) {
                // Any of them may have been taken for one that was not listed.
                events.alike = expected_alike(events.count);
            }
            self.dimensions
                .entry(name.to_owned())
                .or_default()
                .add(events);
        }
    }

    pub(crate) fn finish(self) -> Estimated {
        let (users, mut furthest) = self.users.estimate();
        let mut events_off = 0_f64;
        let mut values = Vec::with_capacity(self.counts.len());
        for ((dimension, value), totals) in self.counts {
            let (users, off) = totals.users.estimate();
            let (sessions, sessions_off) = totals.sessions.estimate();
            furthest = furthest.max(off).max(sessions_off);
            events_off = events_off.max(totals.events.off());
            let counts = Counts {
                events: totals.events.count,
                users,
                sessions,
                amount_micros: saturated(totals.micros),
            };
            values.push((dimension, value, counts));
        }
        let in_all = self.dimensions.values().map(Events::off);
        events_off = in_all.fold(events_off, f64::max);
        let mut distinct = BTreeMap::new();
        for (name, union) in self.distinct {
            // Where every value is listed, they are counted and not estimated.
            if self.left_out.contains_key(&name) {
                let (values, off) = union.estimate();
                furthest = furthest.max(off);
                distinct.insert(name, values);
            }
        }
        let unlisted = self.unlisted.into_iter();
        Estimated {
            users,
            values,
            distinct,
            unlisted: unlisted
                .map(|(name, events)| (name, events.count))
                .collect(),
            bound: ErrorBound {
                events: Some(events_off),
                users: Some(furthest),
                left_out: self.left_out,
            },
        }
    }
}
