//! The summary of a pane that has outgrown its budget.
//!
//! - Distinct users, sessions and values: `HyperLogLog` (Apache `DataSketches`).
//! - Values of a dimension: those with the most events are listed, what others
//!   had is bounded (the mergeable form of space-saving: keep the largest,
//!   remember the largest that was dropped).
//! - Events: 32 bits of a hash, by cell. A duplicate is still seen as one,
//!   which no sketch of a fixed size does within 0.1 %: `HyperLogLog` would need
//!   786 KB for each count.

use crate::contribution::{Key, Kind, keys, put_key};
use crate::table::{Row, Table};
use crate::totals::{Counts, ErrorBound};
use datasketches::common::NumStdDev;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use std::collections::{BTreeMap, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// 4,096 registers: 1.6 % standard error, for the users of one value.
const VALUE_LG_K: u8 = 12;
/// 16,384 registers: 0.8 %, for all users and for the number of values.
const TOTAL_LG_K: u8 = 14;
/// A dimension lists at least so many values, and at most twice as many.
const LISTED_VALUES: usize = 1000;
/// Stands for all values that are not listed.
const UNLISTED: &str = "\0";

/// The estimated summary of a pane.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    cells: HashMap<Vec<u8>, CellSketch>,
    users: Distinct<TOTAL_LG_K>,
    dimensions: BTreeMap<String, DimensionSketch>,
}

#[derive(Clone, Debug, Default)]
struct CellSketch {
    /// Hashes of its events, sorted.
    events: Vec<u32>,
    /// The amount of each event that has one.
    amounts: HashMap<u32, i64>,
}

#[derive(Clone, Debug, Default)]
struct DimensionSketch {
    listed: HashMap<String, ValueSketch>,
    distinct: Distinct<TOTAL_LG_K>,
    /// No value that is not listed had more events than this.
    left_out: u64,
}

#[derive(Clone, Debug, Default)]
struct ValueSketch {
    /// Events that were added, duplicates included: who has few is dropped first.
    added: u64,
    users: Distinct<VALUE_LG_K>,
    sessions: Distinct<VALUE_LG_K>,
}

/// A number of distinct hashes.
#[derive(Clone, Debug)]
struct Distinct<const LG_K: u8>(Option<HllSketch>);

impl<const LG_K: u8> Default for Distinct<LG_K> {
    fn default() -> Self {
        // Fails for sizes that it does not support, and supports 4 to 21.
        Self(HllSketch::new(LG_K, HllType::Hll8).ok())
    }
}

impl<const LG_K: u8> Distinct<LG_K> {
    fn add(&mut self, hash: u64) {
        if let Some(sketch) = &mut self.0 {
            sketch.update(hash);
        }
    }
}

impl Sketch {
    /// Adds what a table has.
    pub(crate) fn absorb(&mut self, table: &Table) {
        self.list_values(table);
        self.drop_values();
        let cells: Vec<Vec<Key<'_>>> = table
            .cells()
            .iter()
            // Cells are made by `Contribution`, or were checked when they were read.
            .map(|cell| keys(cell).unwrap_or_default())
            .collect();
        let names: Vec<Vec<u8>> = cells.iter().map(|keys| self.listed_only(keys)).collect();

        let mut events: HashMap<&[u8], Vec<(u32, i64)>> = HashMap::new();
        for row in table.rows() {
            let keys = &cells[row.cell()];
            self.users.add(row.user());
            self.each_listed(keys, |value| value.users.add(row.user()));
            if keys
                .iter()
                .any(|key| matches!(key.kind, Kind::Events | Kind::Amount))
            {
                let name = names[row.cell()].as_slice();
                events
                    .entry(name)
                    .or_default()
                    .push((event_hash(row), table.amount_micros(row)));
            }
        }
        for row in table.sessions() {
            let keys = &cells[row.cell as usize];
            self.each_listed(keys, |value| value.sessions.add(row.session));
        }
        for (name, added) in events {
            let has_amount =
                keys(name).is_ok_and(|keys| keys.iter().any(|k| k.kind == Kind::Amount));
            let cell = self.cells.entry(name.to_vec()).or_default();
            cell.events.extend(added.iter().map(|(hash, _)| *hash));
            cell.events.sort();
            cell.events.dedup();
            if has_amount {
                cell.amounts.extend(added);
            }
        }
    }

    /// Lists every value of the table, and adds up its events there.
    fn list_values(&mut self, table: &Table) {
        let mut rows = vec![0_u64; table.cells().len()];
        for row in table.rows() {
            rows[row.cell()] += 1;
        }
        for (cell, rows) in table.cells().iter().zip(rows) {
            for key in keys(cell).unwrap_or_default() {
                let dimension = self.dimensions.entry(key.dimension.to_owned()).or_default();
                dimension.distinct.add(xxh3_64(key.value.as_bytes()));
                dimension
                    .listed
                    .entry(key.value.to_owned())
                    .or_default()
                    .added += rows;
            }
        }
    }

    /// Where more than twice [`LISTED_VALUES`] are listed, drops those with the
    /// fewest events.
    fn drop_values(&mut self) {
        let mut dropped: HashSet<(String, String)> = HashSet::new();
        for (name, dimension) in &mut self.dimensions {
            if dimension.listed.len() <= 2 * LISTED_VALUES {
                continue;
            }
            let mut added: Vec<(u64, String)> = dimension
                .listed
                .iter()
                .map(|(value, s)| (s.added, value.clone()))
                .collect();
            added.sort_by(|a, b| b.cmp(a));
            // The first that is dropped has the most events of them.
            dimension.left_out += added[LISTED_VALUES].0;
            for (_, value) in added.split_off(LISTED_VALUES) {
                dimension.listed.remove(&value);
                dropped.insert((name.clone(), value));
            }
        }
        if dropped.is_empty() {
            return;
        }
        for (name, cell) in std::mem::take(&mut self.cells) {
            let renamed = self.listed_only(&keys(&name).unwrap_or_default());
            let into = self.cells.entry(renamed).or_default();
            into.events.extend(cell.events);
            into.events.sort();
            into.events.dedup();
            into.amounts.extend(cell.amounts);
        }
    }

    /// The cell of these keys, with [`UNLISTED`] for values that are not listed.
    fn listed_only(&self, keys: &[Key<'_>]) -> Vec<u8> {
        let mut cell = Vec::new();
        for key in keys {
            let dimension = self.dimensions.get(key.dimension);
            let is_listed = dimension.is_some_and(|d| d.listed.contains_key(key.value));
            let value = if is_listed { key.value } else { UNLISTED };
            put_key(&mut cell, key.kind, key.dimension, value);
        }
        cell
    }

    fn each_listed(&mut self, keys: &[Key<'_>], mut add: impl FnMut(&mut ValueSketch)) {
        for key in keys {
            let dimension = self.dimensions.get_mut(key.dimension);
            if let Some(value) = dimension.and_then(|d| d.listed.get_mut(key.value)) {
                add(value);
            }
        }
    }
}

/// 32 bits that tell a pane's events of one cell apart.
fn event_hash(row: &Row) -> u32 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&row.user().to_le_bytes());
    bytes[8..].copy_from_slice(&row.event.to_le_bytes());
    // The upper half.
    (xxh3_64(&bytes) >> 32) as u32
}

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

/// Puts the sketches of several panes together.
#[derive(Default)]
pub(crate) struct SketchTotals {
    counts: HashMap<(String, String), ValueTotals>,
    users: DistinctUnion<TOTAL_LG_K>,
    distinct: BTreeMap<String, DistinctUnion<TOTAL_LG_K>>,
    unlisted: BTreeMap<String, u64>,
    left_out: BTreeMap<String, u64>,
    largest_cell: usize,
}

#[derive(Default)]
struct ValueTotals {
    events: u64,
    amount_micros: i64,
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
        for (name, cell) in &pane.cells {
            self.largest_cell = self.largest_cell.max(cell.events.len());
            let events = events_of(cell.events.len());
            for key in keys(name).unwrap_or_default() {
                if !matches!(key.kind, Kind::Events | Kind::Amount) {
                    continue;
                }
                if key.value == UNLISTED {
                    *self.unlisted.entry(key.dimension.to_owned()).or_default() += events;
                    continue;
                }
                let name = (key.dimension.to_owned(), key.value.to_owned());
                let totals = self.counts.entry(name).or_default();
                totals.events += events;
                if key.kind == Kind::Amount {
                    totals.amount_micros += cell.amounts.values().sum::<i64>();
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Estimated {
        let (users, mut furthest) = self.users.estimate();
        let mut values = Vec::with_capacity(self.counts.len());
        for ((dimension, value), totals) in self.counts {
            let (users, off) = totals.users.estimate();
            let (sessions, sessions_off) = totals.sessions.estimate();
            furthest = furthest.max(off).max(sessions_off);
            let counts = Counts {
                events: totals.events,
                users,
                sessions,
                amount_micros: totals.amount_micros,
            };
            values.push((dimension, value, counts));
        }
        // Where every value is listed, they are counted and not estimated.
        let distinct = self
            .distinct
            .into_iter()
            .filter(|(name, _)| self.left_out.contains_key(name));
        // Cells are far smaller than 2^52.
        #[allow(clippy::cast_precision_loss)]
        let events = self.largest_cell as f64 / 2_f64.powi(32);
        Estimated {
            users,
            values,
            distinct: distinct
                .map(|(name, union)| (name, union.estimate().0))
                .collect(),
            unlisted: self.unlisted,
            bound: ErrorBound {
                events: Some(events),
                users: Some(furthest),
                left_out: self.left_out,
            },
        }
    }
}

#[cfg(test)]
#[path = "sketch_tests.rs"]
mod tests;
