//! Counts events into tables, for every aggregator.

use crate::aggregators::Registry;
use crate::contribution::Contribution;
use crate::observation::Observation;
use crate::piece::Piece;
use crate::table::Table;
use crate::windowing::{Pane, Timeliness, Windowing};
use freshet_events::Timestamp;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of the events that an [`Accumulator`] saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Handed to the aggregators: those of monitors and bots to those who take
    /// them.
    pub counted: u64,
    /// Not counted: too long after their pane.
    pub late_dropped: u64,
    /// Not counted: too far in the future.
    pub early_dropped: u64,
    /// Events that an aggregator could not count, by its name.
    pub failures: BTreeMap<&'static str, u64>,
}

/// Counts events into tables, one for each aggregator and pane.
pub struct Accumulator<'r> {
    registry: &'r Registry,
    windowing: Windowing,
    /// Of each pane, a table for each aggregator. Few panes are open at once.
    panes: Vec<(Pane, Vec<Table>)>,
    contribution: Contribution,
    tally: Tally,
}

impl<'r> Accumulator<'r> {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(registry: &'r Registry, windowing: Windowing) -> Self {
        Self {
            registry,
            windowing,
            panes: Vec::new(),
            contribution: Contribution::default(),
            tally: Tally::default(),
        }
    }

    /// Goes on from what an earlier accumulator had. Tables of aggregators
    /// that are no longer registered are left out.
    pub fn resume(&mut self, piece: Piece) {
        for (name, pane, table) in piece.tables {
            let place = self
                .registry
                .iter()
                .position(|aggregator| aggregator.name() == name);
            if let Some(place) = place {
                let tables = self.tables(pane);
                if tables[place].is_empty() {
                    tables[place] = table;
                } else if let Err(error) = tables[place].unite(&table) {
                    // Both were below their budget, which is far below this.
                    debug_assert!(false, "{error}");
                }
            }
        }
    }

    /// Counts an event that reached the stream at `arrived`.
    pub fn count(&mut self, event: &Observation<'_>, arrived: Timestamp) {
        match self.windowing.judge(event.at, arrived) {
            Timeliness::TooLate => self.tally.late_dropped += 1,
            Timeliness::TooEarly => self.tally.early_dropped += 1,
            Timeliness::Counted => {
                self.tally.counted += 1;
                self.count_in(Pane::of(event.at), event);
            }
        }
    }

    fn count_in(&mut self, pane: Pane, event: &Observation<'_>) {
        let registry = self.registry;
        let mut contribution = std::mem::take(&mut self.contribution);
        for (place, aggregator) in registry.iter().enumerate() {
            let foreign = event.synthetic && !aggregator.takes_synthetic()
                || event.bot && !aggregator.takes_bots();
            if foreign {
                continue;
            }
            contribution.clear();
            // What it adds of an event is all or nothing.
            let counted = catch_unwind(AssertUnwindSafe(|| {
                aggregator.count(event, &mut contribution)
            }));
            let added = match counted {
                Ok(Ok(())) => {
                    let table = &mut self.tables(pane)[place];
                    table
                        .add(&contribution, event.id, event.user, event.session)
                        .is_ok()
                }
                Ok(Err(_)) | Err(_) => false,
            };
            if !added {
                *self.tally.failures.entry(aggregator.name()).or_default() += 1;
            }
        }
        self.contribution = contribution;
    }

    fn tables(&mut self, pane: Pane) -> &mut [Table] {
        let known = self.panes.iter().rposition(|(known, _)| *known == pane);
        let place = known.unwrap_or_else(|| {
            let tables = self.registry.iter().map(|_| Table::default()).collect();
            self.panes.push((pane, tables));
            self.panes.len() - 1
        });
        &mut self.panes[place].1
    }

    /// More than [`finish`](Self::finish)'s piece will take when written.
    #[must_use]
    pub fn encoded_bytes_at_most(&self) -> usize {
        let tables = self.panes.iter().flat_map(|(_, tables)| tables);
        tables.map(Table::encoded_bytes_at_most).sum()
    }

    /// What was counted so far; it goes on with nothing.
    pub fn cut(&mut self) -> Piece {
        let mut panes = std::mem::take(&mut self.panes);
        panes.sort_by_key(|(pane, _)| *pane);
        let mut tables = Vec::new();
        for (pane, of_pane) in panes {
            for (aggregator, mut table) in self.registry.iter().zip(of_pane) {
                if !table.is_empty() {
                    table.seal();
                    tables.push((aggregator.name().to_owned(), pane, table));
                }
            }
        }
        Piece { tables }
    }

    /// What was counted since it was cut, and what became of all events.
    #[must_use]
    pub fn finish(mut self) -> (Piece, Tally) {
        (self.cut(), self.tally)
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
