//! The exact summary of a pane: which events were counted, of which users,
//! under which keys.
//!
//! It is a set, and two are united: whatever was counted twice is in it once.

mod encoding;

use crate::contribution::{Contribution, Key, Kind, keys};
use crate::observation::{EventHash, SessionHash, UserHash};
use crate::stored::MAX_BLOCK_BYTES;
use hashbrown::HashTable;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Bits of a user's and of a session's hash that are kept. That two of 210,000
/// are alike has a chance of 1 in 100.
pub(crate) const HASH_BITS: u32 = 41;
/// Bits of an event's hash that are kept: they tell apart the events of one
/// user that are counted alike.
pub(crate) const EVENT_BITS: u32 = 22;
/// Bits that number a cell.
const CELL_BITS: u32 = 64 - HASH_BITS;
/// The most cells of a table.
const MAX_CELLS: usize = 1 << CELL_BITS;

/// A cell is no longer than this: an event that says more cannot be counted.
const MAX_CELL_BYTES: usize = 64 * 1024;
/// What a row and a cell cost in memory, about.
const ROW_BYTES: usize = size_of::<Row>();
const CELL_OVERHEAD_BYTES: usize = 64;

/// One counted event, or one user that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The user's hash, and in the lowest bits the cell's number.
    pub(crate) user_and_cell: u64,
    /// The event's hash; 0 in a cell that counts no events.
    pub(crate) event: u32,
    /// Where its amount is; 0 in a cell that adds up none.
    amount: u32,
}

impl Row {
    /// Orders rows; one number is quicker to compare than three.
    const fn order(&self) -> u128 {
        (self.user_and_cell as u128) << 64 | (self.event as u128) << 32 | self.amount as u128
    }

    pub(crate) const fn user(&self) -> u64 {
        self.user_and_cell >> CELL_BITS
    }

    const fn in_cell(self, cell: u32) -> Self {
        Self {
            user_and_cell: self.user() << CELL_BITS | cell as u64,
            ..self
        }
    }

    pub(crate) const fn cell(&self) -> usize {
        // 23 bits.
        #[allow(clippy::cast_possible_truncation)]
        {
            (self.user_and_cell & (MAX_CELLS as u64 - 1)) as usize
        }
    }
}

/// One session that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionRow {
    pub(crate) session: u64,
    pub(crate) cell: u32,
}

/// The exact summary of a pane.
#[derive(Clone, Debug, Default)]
pub struct Table {
    cells: Cells,
    rows: Vec<Row>,
    sessions: Vec<SessionRow>,
    /// In millionths; the first row's amount is number 1.
    amounts: Vec<i64>,
    /// How many rows and sessions are in order and without repetition.
    sealed: (usize, usize),
}

/// Cells by number and numbers by cell.
#[derive(Clone, Debug, Default)]
struct Cells {
    bytes: Vec<Arc<[u8]>>,
    /// By XXH3 of the bytes. (The standard map would hash piece by piece, which
    /// took a third of all counting.)
    numbers: HashTable<u32>,
    total_bytes: usize,
}

impl Cells {
    fn number(&mut self, cell: &[u8]) -> Option<u32> {
        let hash = xxh3_64(cell);
        let bytes = &self.bytes;
        let known = self
            .numbers
            .find(hash, |number| *bytes[*number as usize] == *cell);
        if let Some(&number) = known {
            return Some(number);
        }
        // The cells are one block when they are written.
        let total_bytes = self.total_bytes + cell.len() + CELL_OVERHEAD_BYTES;
        let number = u32::try_from(self.bytes.len())
            .ok()
            .filter(|_| total_bytes <= MAX_BLOCK_BYTES)
            .filter(|&n| (n as usize) < MAX_CELLS && cell.len() <= MAX_CELL_BYTES)?;
        self.total_bytes = total_bytes;
        self.bytes.push(cell.into());
        let bytes = &self.bytes;
        self.numbers
            .insert_unique(hash, number, |number| xxh3_64(&bytes[*number as usize]));
        Some(number)
    }
}

/// A table cannot number a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pane has more combinations of values than a table holds, or one takes more than {MAX_CELL_BYTES} bytes"
)]
pub struct TableFull;

impl Table {
    /// Adds what an aggregator wants to count of an event.
    pub(crate) fn add(
        &mut self,
        contribution: &Contribution,
        event: EventHash,
        user: UserHash,
        session: SessionHash,
    ) -> Result<(), TableFull> {
        // Both numbers first: an event is added whole or not at all.
        let mut number = |cell: &[u8]| {
            let number = (!cell.is_empty()).then(|| self.cells.number(cell).ok_or(TableFull));
            number.transpose()
        };
        let cell = number(&contribution.cell)?;
        let session_cell = number(&contribution.session_cell)?;
        if let Some(cell) = cell {
            let user = user.0 >> (64 - HASH_BITS);
            // 22 bits.
            #[allow(clippy::cast_possible_truncation)]
            let event = (event.0 >> (64 - EVENT_BITS)) as u32;
            let amount = match contribution.amount_micros {
                None => 0,
                Some(micros) => self.add_amount(micros).ok_or(TableFull)?,
            };
            self.rows.push(Row {
                user_and_cell: user << CELL_BITS | u64::from(cell),
                event: if contribution.has_identity { event } else { 0 },
                amount,
            });
        }
        if let Some(cell) = session_cell {
            self.sessions.push(SessionRow {
                session: session.0 >> (64 - HASH_BITS),
                cell,
            });
        }
        Ok(())
    }

    /// Adds everything that `other` has.
    ///
    /// # Errors
    /// [`TableFull`] if both together have too many cells; nothing is then
    /// counted in addition.
    pub fn unite(&mut self, other: &Self) -> Result<(), TableFull> {
        let numbers: Option<Vec<u32>> = other
            .cells
            .bytes
            .iter()
            .map(|cell| self.cells.number(cell))
            .collect();
        let numbers = numbers.ok_or(TableFull)?;
        let before = u32::try_from(self.amounts.len()).map_err(|_| TableFull)?;
        self.amounts.extend_from_slice(&other.amounts);
        self.rows.extend(other.rows.iter().map(|row| Row {
            amount: if row.amount == 0 {
                0
            } else {
                row.amount + before
            },
            ..row.in_cell(numbers[row.cell()])
        }));
        self.sessions
            .extend(other.sessions.iter().map(|row| SessionRow {
                cell: numbers[row.cell as usize],
                ..*row
            }));
        Ok(())
    }

    /// Puts rows in order and takes out what was added twice.
    pub(crate) fn seal(&mut self) {
        if self.sealed == (self.rows.len(), self.sessions.len()) {
            return;
        }
        // The stable sort: it finds the runs that are in order already.
        self.rows.sort_by_key(Row::order);
        let amounts = &self.amounts;
        self.rows.dedup_by(|row, kept| {
            let is_same = row.user_and_cell == kept.user_and_cell && row.event == kept.event;
            // Copies that differ count for the least, whichever came first.
            if is_same && amount_of(amounts, row) < amount_of(amounts, kept) {
                kept.amount = row.amount;
            }
            is_same
        });
        let mut amounts = Vec::with_capacity(self.amounts.len());
        for row in self.rows.iter_mut().filter(|row| row.amount != 0) {
            amounts.push(amount_of(&self.amounts, row));
            // There were as many or more before.
            #[allow(clippy::cast_possible_truncation)]
            {
                row.amount = amounts.len() as u32;
            }
        }
        self.amounts = amounts;
        self.sessions.sort();
        self.sessions.dedup();
        self.sealed = (self.rows.len(), self.sessions.len());
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sessions.is_empty()
    }

    /// What it takes in memory, about.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.rows.len() * ROW_BYTES
            + self.amounts.len() * size_of::<i64>()
            + self.sessions.len() * size_of::<SessionRow>()
            + self.cells.total_bytes
    }

    /// More than it takes when written, unless it is nearly empty.
    #[must_use]
    pub const fn encoded_bytes_at_most(&self) -> usize {
        // 6 bytes of hash, 3 of the event and 3 of the cell are never all needed.
        64 + self.rows.len() * 13
            + self.amounts.len() * 10
            + self.sessions.len() * 8
            + self.cells.total_bytes
    }

    pub(crate) fn rows(&self) -> &[Row] {
        debug_assert_eq!(self.sealed.0, self.rows.len(), "sealed");
        &self.rows
    }

    /// A row's amount in millionths; 0 if its cell adds up none.
    pub(crate) fn amount_micros(&self, row: &Row) -> i64 {
        amount_of(&self.amounts, row)
    }

    fn add_amount(&mut self, micros: i64) -> Option<u32> {
        self.amounts.push(micros);
        u32::try_from(self.amounts.len()).ok()
    }

    pub(crate) fn sessions(&self) -> &[SessionRow] {
        debug_assert_eq!(self.sealed.1, self.sessions.len(), "sealed");
        &self.sessions
    }

    pub(crate) fn cells(&self) -> &[Arc<[u8]>] {
        &self.cells.bytes
    }
}

fn amount_of(amounts: &[i64], row: &Row) -> i64 {
    let place = (row.amount as usize).checked_sub(1);
    place
        .and_then(|place| amounts.get(place))
        .copied()
        .unwrap_or(0)
}

/// What the rows of a cell hold.
pub(crate) struct CellTraits {
    pub(crate) has_identity: bool,
    pub(crate) has_amount: bool,
}

impl CellTraits {
    pub(crate) fn of(cell: &[u8]) -> Self {
        // Cells are made by `Contribution`, or were checked when they were read.
        Self::of_keys(&keys(cell).unwrap_or_default())
    }

    pub(crate) fn of_keys(keys: &[Key<'_>]) -> Self {
        let any = |kind| keys.iter().any(|key| key.kind == kind);
        Self {
            has_identity: any(Kind::Events) || any(Kind::Amount),
            has_amount: any(Kind::Amount),
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
