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
    /// Each count of events: this share at most, in 997 of 1000 cases. (An
    /// amount lacks those of the events that its count lacks.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<f64>,
    /// Each number of distinct users, sessions and values: this share at most,
    /// either way, in 997 of 1000 cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<f64>,
    /// Dimensions of which not every value is listed: one that is not had this
    /// many events at most, and one that is may have had so many more, with
    /// their users and sessions.
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
        let mut all_lost = 0.0;
        for (pane, cells) in panes.iter().zip(&cells) {
            for alike in pane
                .rows()
                .chunk_by(|a, b| a.user_and_cell == b.user_and_cell)
            {
                let lost = alike_events_lost(alike.len() as u64);
                let mut counts_events = false;
                for &(key, kind) in &cells[alike[0].cell()] {
                    let key = &mut keys.counted[key];
                    if matches!(kind, Kind::Events | Kind::Amount) {
                        counts_events = true;
                        key.counts.events += alike.len() as u64;
                        key.lost += lost;
                    }
                    if kind == Kind::Amount {
                        key.micros += micros(alike.iter().map(|row| pane.amount_micros(row)));
                    }
                }
                if counts_events {
                    all_lost += lost;
                }
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

        let hashes_lost = alike_hashes_lost(users) + alike_hashes_lost(sessions);
        let bound = ErrorBound {
            events: (all_lost > MAX_EXPECTED_LOSS).then(|| keys.events_too_few()),
            users: (hashes_lost > MAX_EXPECTED_LOSS).then(|| {
                // A value has no more of them than there are, so a smaller share is lost.
                let too_few = |counted| too_few(alike_hashes_lost(counted), counted);
                too_few(users).max(too_few(sessions))
            }),
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
            keys.counted[key].micros = i128::from(counts.amount_micros);
            keys.counted[key].counts = counts;
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

/// How many of `n` different users or sessions are expected to be taken for
/// another: their hashes are alike.
fn alike_hashes_lost(n: u64) -> f64 {
    // Counts are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let n = n as f64;
    n * (n - 1.0) / 2.0 / 2_f64.powi(HASH_BITS.cast_signed())
}

/// How many more events one user is expected to have had under one cell than
/// the `distinct` that were told apart: n different ones have
/// m (1 − (1 − 1/m)^n) different hashes.
pub(crate) fn alike_events_lost(distinct: u64) -> f64 {
    if distinct <= 1 {
        return 0.0;
    }
    let all = f64::from(1_u32 << EVENT_BITS);
    // Counts are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let distinct = distinct as f64;
    (-distinct / all).ln_1p() / (-1.0 / all).ln_1p() - distinct
}

/// The share that a count lacks at most, in 997 of 1000 cases, if `lost` are
/// expected to be lost: three standard deviations above (Poisson), and one
/// because they are whole.
pub(crate) fn too_few(lost: f64, counted: u64) -> f64 {
    if lost < 0.003 {
        return 0.0;
    }
    // Counts are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let share = (lost + 3.0 * lost.sqrt() + 1.0) / counted.max(1) as f64;
    share.min(1.0)
}

/// The sum of amounts, whatever clients make of them.
pub(crate) fn micros(amounts: impl Iterator<Item = i64>) -> i128 {
    amounts.map(i128::from).sum()
}

/// Within what is printed; sums far above any amount of money stay there.
pub(crate) fn saturated(micros: i128) -> i64 {
    let within = micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    i64::try_from(within).unwrap_or_default()
}

type CellKeys = Vec<(usize, Kind)>;

/// Counts by key, while they are made.
#[derive(Default)]
struct Keys {
    numbers: HashMap<(String, String), usize>,
    counted: Vec<Counted>,
    group: u64,
}

/// What is known of a key so far.
#[derive(Clone, Copy, Default)]
struct Counted {
    counts: Counts,
    micros: i128,
    /// Events that are expected to be missing.
    lost: f64,
    /// The last group that it was seen in.
    stamp: u64,
}

impl Keys {
    fn number(&mut self, dimension: &str, value: &str) -> usize {
        let next = self.counted.len();
        let key = (dimension.to_owned(), value.to_owned());
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.counted.push(Counted::default());
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
        let key = &mut self.counted[key];
        if key.stamp != self.group {
            key.stamp = self.group;
            *count(&mut key.counts) += 1;
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

    /// The largest share that a value's or a dimension's count of events lacks.
    fn events_too_few(&self) -> f64 {
        let mut dimensions: HashMap<&str, (f64, u64)> = HashMap::new();
        let mut worst = 0_f64;
        for ((dimension, _), &number) in &self.numbers {
            let key = &self.counted[number];
            worst = worst.max(too_few(key.lost, key.counts.events));
            let all = dimensions.entry(dimension).or_default();
            all.0 += key.lost;
            all.1 += key.counts.events;
        }
        let shares = dimensions.values().map(|&(lost, of)| too_few(lost, of));
        shares.fold(worst, f64::max)
    }

    fn into_dimensions(self) -> BTreeMap<String, Vec<(String, Counts)>> {
        let mut dimensions: BTreeMap<String, Vec<(String, Counts)>> = BTreeMap::new();
        for ((dimension, value), number) in self.numbers {
            let counted = &self.counted[number];
            let counts = Counts {
                amount_micros: saturated(counted.micros),
                ..counted.counts
            };
            dimensions
                .entry(dimension)
                .or_default()
                .push((value, counts));
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
