//! What was counted in a window: the panes' summaries, put together.

use crate::contribution::{Kind, keys};
use crate::sketch::{Sketch, SketchTotals};
use crate::summary::Summary;
use crate::table::{EVENT_BITS, HASH_BITS, Row, Table};
use crate::windowing::Window;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What was counted under one value of a dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Distinct events.
    pub events: u64,
    /// Distinct users.
    pub users: u64,
    /// Distinct sessions.
    pub sessions: u64,
    /// The events' amounts in millionths.
    pub amount_micros: i64,
}

/// How far a result may be from the truth. What is absent is exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ErrorBound {
    /// Counts of events: this share at most, too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<f64>,
    /// Distinct users and sessions: this share at most, either way, in 997 of
    /// 1000 cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<f64>,
    /// Values that are not listed, by dimension: each has this many events at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
}

impl ErrorBound {
    /// Whether nothing is estimated.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        *self == Self::default()
    }
}

/// More expected losses by hashes that are alike than this, and a result is
/// not called exact.
const MAX_EXPECTED_LOSS: f64 = 0.01;

/// Counts of a window, by dimension and value.
#[derive(Debug)]
pub struct Totals {
    window: Window,
    users: u64,
    /// Values with their counts, those with the most events first.
    dimensions: BTreeMap<String, Vec<(String, Counts)>>,
    /// Where there are more values than are listed.
    distinct: BTreeMap<String, u64>,
    /// Events of values that are not listed.
    unlisted: BTreeMap<String, u64>,
    bound: ErrorBound,
}

impl Totals {
    /// Puts the panes of a window together.
    #[must_use]
    pub fn of(panes: &[&Summary], window: Window) -> Self {
        let tables: Option<Vec<&Table>> = panes.iter().map(|pane| pane.exact()).collect();
        match tables {
            Some(tables) => Self::of_tables(&tables, window),
            None => Self::of_sketches(panes, window),
        }
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// Distinct users under whatever value.
    #[must_use]
    pub const fn users(&self) -> u64 {
        self.users
    }

    /// Values of a dimension with their counts: most events first, then by name.
    #[must_use]
    pub fn values(&self, dimension: &str) -> Vec<(&str, Counts)> {
        let values = self.dimensions.get(dimension);
        values
            .into_iter()
            .flatten()
            .map(|(value, counts)| (value.as_str(), *counts))
            .collect()
    }

    /// The counts of one value; zeros if it was not seen.
    #[must_use]
    pub fn get(&self, dimension: &str, value: &str) -> Counts {
        let values = self.dimensions.get(dimension);
        let mut values = values.into_iter().flatten();
        values
            .find(|(name, _)| name == value)
            .map(|(_, counts)| *counts)
            .unwrap_or_default()
    }

    /// The number of values of a dimension.
    #[must_use]
    pub fn distinct(&self, dimension: &str) -> u64 {
        let listed = self.dimensions.get(dimension).map_or(0, Vec::len) as u64;
        self.distinct.get(dimension).copied().unwrap_or(listed)
    }

    /// The events under all values of a dimension.
    #[must_use]
    pub fn events(&self, dimension: &str) -> u64 {
        let listed = self.dimensions.get(dimension);
        let listed: u64 = listed
            .into_iter()
            .flatten()
            .map(|(_, counts)| counts.events)
            .sum();
        listed + self.unlisted.get(dimension).copied().unwrap_or(0)
    }

    /// How far all this may be from the truth.
    #[must_use]
    pub const fn bound(&self) -> &ErrorBound {
        &self.bound
    }

    fn of_tables(panes: &[&Table], window: Window) -> Self {
        let mut keys = Keys::default();
        let cells: Vec<Vec<CellKeys>> = panes
            .iter()
            .map(|pane| pane.cells().iter().map(|cell| keys.of_cell(cell)).collect())
            .collect();
        let mut events = 0;
        let mut events_lost = 0.0;
        for (pane, cells) in panes.iter().zip(&cells) {
            for alike in pane
                .rows()
                .chunk_by(|a, b| a.user_and_cell == b.user_and_cell)
            {
                let counted = alike.len() as u64;
                for &(key, kind) in &cells[alike[0].cell()] {
                    if matches!(kind, Kind::Events | Kind::Amount) {
                        keys.counts[key].events += counted;
                    }
                    if kind == Kind::Amount {
                        let amount: i64 = alike.iter().map(|row| pane.amount_micros(row)).sum();
                        keys.counts[key].amount_micros += amount;
                    }
                }
                events += counted;
                events_lost += pairs(counted) / f64::from(1_u32 << EVENT_BITS);
            }
        }

        let rows: Vec<_> = panes.iter().map(|pane| pane.rows()).collect();
        let users = keys.each_once(&rows, Row::user, |pane, row, keys| {
            for &(key, _) in &cells[pane][row.cell()] {
                keys.seen(key, |counts| &mut counts.users);
            }
        });
        let rows: Vec<_> = panes.iter().map(|pane| pane.sessions()).collect();
        let sessions = keys.each_once(
            &rows,
            |row| row.session,
            |pane, row, keys| {
                for &(key, _) in &cells[pane][row.cell as usize] {
                    keys.seen(key, |counts| &mut counts.sessions);
                }
            },
        );

        // Chances of hashes that are alike: the expected number of what is
        // taken for something else.
        let alike = |n: u64| pairs(n) / 2_f64.powi(HASH_BITS.cast_signed());
        let hashes_lost = alike(users) + alike(sessions);
        // Twice what is expected.
        let share = |lost: f64, of: u64| {
            // Counts are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            (lost > MAX_EXPECTED_LOSS).then(|| 2.0 * lost / of.max(1) as f64)
        };
        let bound = ErrorBound {
            events: share(events_lost, events),
            users: share(hashes_lost, users.min(sessions.max(1))),
            left_out: BTreeMap::new(),
        };
        Self {
            window,
            users,
            dimensions: keys.into_dimensions(),
            distinct: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            bound,
        }
    }

    fn of_sketches(panes: &[&Summary], window: Window) -> Self {
        let mut totals = SketchTotals::default();
        for pane in panes {
            match pane {
                Summary::Sketch(sketch) => totals.add(sketch),
                Summary::Exact(table) => {
                    let mut sketch = Sketch::default();
                    sketch.absorb(table);
                    totals.add(&sketch);
                }
            }
        }
        let estimated = totals.finish();
        let mut keys = Keys::default();
        for (dimension, value, counts) in estimated.values {
            let key = keys.number(&dimension, &value);
            keys.counts[key] = counts;
        }
        Self {
            window,
            users: estimated.users,
            dimensions: keys.into_dimensions(),
            distinct: estimated.distinct,
            unlisted: estimated.unlisted,
            bound: estimated.bound,
        }
    }
}

/// n × (n − 1) / 2.
fn pairs(n: u64) -> f64 {
    // Counts are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let n = n as f64;
    n * (n - 1.0) / 2.0
}

type CellKeys = Vec<(usize, Kind)>;

/// Counts by key, while they are made.
#[derive(Default)]
struct Keys {
    numbers: HashMap<(String, String), usize>,
    counts: Vec<Counts>,
    /// For each key, the last group that it was seen in.
    stamps: Vec<u64>,
    group: u64,
}

impl Keys {
    fn number(&mut self, dimension: &str, value: &str) -> usize {
        let next = self.counts.len();
        let key = (dimension.to_owned(), value.to_owned());
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.counts.push(Counts::default());
            self.stamps.push(0);
        }
        number
    }

    fn of_cell(&mut self, cell: &[u8]) -> CellKeys {
        // Cells are made by `Contribution`, or were checked when they were read.
        let keys = keys(cell).unwrap_or_default();
        keys.iter()
            .map(|key| (self.number(key.dimension, key.value), key.kind))
            .collect()
    }

    /// Counts a key once in the group that is being visited.
    fn seen(&mut self, key: usize, count: impl Fn(&mut Counts) -> &mut u64) {
        if self.stamps[key] != self.group {
            self.stamps[key] = self.group;
            *count(&mut self.counts[key]) += 1;
        }
    }

    /// Visits the rows of all lists (each in the order of its hashes) in
    /// groups of one hash. Returns the number of groups.
    fn each_once<R>(
        &mut self,
        lists: &[&[R]],
        hash: impl Fn(&R) -> u64,
        mut visit: impl FnMut(usize, &R, &mut Self),
    ) -> u64 {
        let mut heads = vec![0; lists.len()];
        let mut groups = 0;
        let head = |heads: &[usize], list: usize| lists[list].get(heads[list]).map(&hash);
        while let Some(next) = (0..lists.len()).filter_map(|list| head(&heads, list)).min() {
            self.group += 1;
            groups += 1;
            for list in 0..lists.len() {
                while head(&heads, list) == Some(next) {
                    visit(list, &lists[list][heads[list]], self);
                    heads[list] += 1;
                }
            }
        }
        groups
    }

    fn into_dimensions(self) -> BTreeMap<String, Vec<(String, Counts)>> {
        let mut dimensions: BTreeMap<String, Vec<(String, Counts)>> = BTreeMap::new();
        for ((dimension, value), number) in self.numbers {
            dimensions
                .entry(dimension)
                .or_default()
                .push((value, self.counts[number]));
        }
        for values in dimensions.values_mut() {
            values.sort_by(|(a, a_counts), (b, b_counts)| {
                b_counts.events.cmp(&a_counts.events).then_with(|| a.cmp(b))
            });
        }
        dimensions
    }
}

#[cfg(test)]
#[path = "totals_tests.rs"]
mod tests;
