//! The summary of a pane that has outgrown its budget.
//!
//! - Distinct users, sessions and values: `HyperLogLog` (Apache `DataSketches`).
//! - Values of a dimension: those with the most events are listed, what others
//!   had is bounded (the mergeable form of space-saving: keep the largest,
//!   remember the largest that was dropped).
//! - Events: 32 bits of a hash, by cell. A duplicate is still seen as one,
//!   which no sketch of a fixed size does within 0.1 %: `HyperLogLog` would need
//!   786 KB for each count.

mod estimate;

pub(crate) use estimate::SketchTotals;

use crate::contribution::{Key, keys, put_key};
use crate::table::{CellTraits, Row, Table};
use datasketches::hll::{HllSketch, HllType};
use std::collections::{BTreeMap, HashMap, HashSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// 4,096 registers: 1.6 % standard error, for the users of one value.
const VALUE_LG_K: u8 = 12;
/// 16,384 registers: 0.8 %, for all users and for the number of values.
const TOTAL_LG_K: u8 = 14;
/// A dimension lists at least so many values, and at most twice as many.
const LISTED_VALUES: usize = 1000;
/// Stands for all values that are not listed.
const UNLISTED: &str = "\0";
/// An event under many dimensions with dropped values is looked for in no
/// more than twice as many cells.
const MOST_LESS_LISTED: usize = 8;
/// A user with so many events alike in one table is remembered: the table
/// tells them apart by few bits, and some may be missing.
const MANY_ALIKE: usize = 16;

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
    /// How many events a user had alike, copies in other tables included, by a
    /// hash of the user and the table's cell; only of users with many.
    alike: HashMap<u64, u64>,
}

impl CellSketch {
    fn unite(&mut self, other: Self) {
        self.add_events(&other.events);
        self.amounts.extend(other.amounts);
        for (user, events) in other.alike {
            *self.alike.entry(user).or_default() += events;
        }
    }

    fn add_events(&mut self, hashes: &[u32]) {
        self.events.extend(hashes);
        self.events.sort();
        self.events.dedup();
    }
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
    /// Events, users and sessions that were added, copies included: who has few
    /// is dropped first.
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

        let mut added: HashMap<&[u8], CellSketch> = HashMap::new();
        for alike in table
            .rows()
            .chunk_by(|a, b| a.user_and_cell == b.user_and_cell)
        {
            let (user, number) = (alike[0].user(), alike[0].cell());
            let keys = &cells[number];
            self.users.add(user);
            self.each_listed(keys, |value| value.users.add(user));
            let traits = CellTraits::of_keys(keys);
            if !traits.has_identity {
                continue;
            }
            let cell = added.entry(names[number].as_slice()).or_default();
            let user_and_cell = user_and_cell(user, &table.cells()[number]);
            for row in alike {
                let hash = event_hash(user_and_cell, row);
                cell.events.push(hash);
                if traits.has_amount {
                    cell.amounts.insert(hash, table.amount_micros(row));
                }
            }
            if alike.len() >= MANY_ALIKE {
                cell.alike.insert(user_and_cell, alike.len() as u64);
            }
        }
        for row in table.sessions() {
            let keys = &cells[row.cell as usize];
            self.each_listed(keys, |value| value.sessions.add(row.session));
        }
        self.take_from_unlisted(&added);
        for (name, cell) in added {
            self.cells.entry(name.to_vec()).or_default().unite(cell);
        }
    }

    /// Where values were dropped: an event that is added under its value may
    /// have come before, while that was not listed. It is counted once.
    fn take_from_unlisted(&mut self, added: &HashMap<&[u8], CellSketch>) {
        let mut taken: HashMap<Vec<u8>, HashSet<u32>> = HashMap::new();
        for (name, cell) in added {
            for name in self.less_listed(name) {
                taken.entry(name).or_default().extend(&cell.events);
            }
        }
        for (name, taken) in taken {
            if let Some(cell) = self.cells.get_mut(&name) {
                cell.events.retain(|hash| !taken.contains(hash));
                cell.amounts.retain(|hash, _| !taken.contains(hash));
            }
        }
    }

    /// The cells that a cell's events may have been in while one or more of
    /// its values were not listed.
    fn less_listed(&self, cell: &[u8]) -> Vec<Vec<u8>> {
        let keys = keys(cell).unwrap_or_default();
        let was_dropped = |key: &Key<'_>| {
            let dimension = self.dimensions.get(key.dimension);
            key.value != UNLISTED && dimension.is_some_and(|d| d.left_out > 0)
        };
        let mut cells = vec![Vec::new()];
        for key in &keys {
            let mut unlisted = Vec::new();
            if was_dropped(key) && cells.len() < MOST_LESS_LISTED {
                unlisted.clone_from(&cells);
                for cell in &mut unlisted {
                    put_key(cell, key.kind, key.dimension, UNLISTED);
                }
            }
            for cell in &mut cells {
                put_key(cell, key.kind, key.dimension, key.value);
            }
            cells.extend(unlisted);
        }
        // The first is the cell itself.
        cells.split_off(1)
    }

    /// Lists every value of the table, and adds up what it has there.
    fn list_values(&mut self, table: &Table) {
        let mut rows = vec![0_u64; table.cells().len()];
        for row in table.rows() {
            rows[row.cell()] += 1;
        }
        for row in table.sessions() {
            rows[row.cell as usize] += 1;
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
            self.cells.entry(renamed).or_default().unite(cell);
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

/// A user under a cell of a table, which is where an event's hash tells it
/// apart: a cell of a sketch holds many such.
fn user_and_cell(user: u64, cell: &[u8]) -> u64 {
    xxh3_64_with_seed(cell, user)
}

/// 32 bits that tell a pane's events of one cell apart.
fn event_hash(user_and_cell: u64, row: &Row) -> u32 {
    // The upper half.
    (xxh3_64_with_seed(&row.event.to_le_bytes(), user_and_cell) >> 32) as u32
}

#[cfg(test)]
#[path = "sketch_tests.rs"]
mod tests;
