//! What one event adds to an aggregator's summary, and how it is written down.
//!
//! A *key* is a dimension and a value under it, and says what is counted
//! there. The keys of one event together are its *cell*: events that are
//! counted alike share one, so that a summary holds a number for it.

use crate::stored::{Reader, StoredError, put_varint};

/// Longer values are cut, at a character's boundary.
pub const MAX_VALUE_BYTES: usize = 1024;

/// What is counted under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Events, and the users they are of.
    Events = 0,
    /// Events and users, and the events' amounts are added up.
    Amount = 1,
    /// Users alone.
    Users = 2,
    /// Sessions alone.
    Sessions = 3,
}

/// Collects what an aggregator wants to count of one event.
#[derive(Debug, Default)]
pub struct Contribution {
    pub(crate) cell: Vec<u8>,
    pub(crate) session_cell: Vec<u8>,
    pub(crate) has_identity: bool,
    pub(crate) amount_micros: Option<i64>,
}

impl Contribution {
    pub(crate) fn clear(&mut self) {
        self.cell.clear();
        self.session_cell.clear();
        self.has_identity = false;
        self.amount_micros = None;
    }

    /// Counts the event and its user under `value` of `dimension`.
    pub fn event(&mut self, dimension: &'static str, value: &str) {
        self.has_identity = true;
        put_key(&mut self.cell, Kind::Events, dimension, value);
    }

    /// Counts the event and its user, and adds its amount. An event has one
    /// amount: of several calls the last one's counts. It is kept in
    /// millionths, so that sums do not depend on their order.
    pub fn amount(&mut self, dimension: &'static str, value: &str, amount: f64) {
        self.has_identity = true;
        // Saturates far above any amount of money.
        #[allow(clippy::cast_possible_truncation)]
        {
            self.amount_micros = Some((amount * 1e6).round() as i64);
        }
        put_key(&mut self.cell, Kind::Amount, dimension, value);
    }

    /// Counts the event's user, once however many of the user's events say so.
    pub fn user(&mut self, dimension: &'static str, value: &str) {
        put_key(&mut self.cell, Kind::Users, dimension, value);
    }

    /// Counts the event's session, once however many of its events say so.
    pub fn session(&mut self, dimension: &'static str, value: &str) {
        put_key(&mut self.session_cell, Kind::Sessions, dimension, value);
    }
}

pub(crate) fn put_key(cell: &mut Vec<u8>, kind: Kind, dimension: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(MAX_VALUE_BYTES)];
    cell.push(kind as u8);
    put_varint(cell, dimension.len() as u64);
    cell.extend_from_slice(dimension.as_bytes());
    put_varint(cell, value.len() as u64);
    cell.extend_from_slice(value.as_bytes());
}

/// One key of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key<'a> {
    pub(crate) kind: Kind,
    pub(crate) dimension: &'a str,
    pub(crate) value: &'a str,
}

/// The keys of a cell.
pub(crate) fn keys(cell: &[u8]) -> Result<Vec<Key<'_>>, StoredError> {
    let mut reader = Reader::new(cell);
    let mut keys = Vec::new();
    while !reader.rest().is_empty() {
        let kind = match reader.byte()? {
            0 => Kind::Events,
            1 => Kind::Amount,
            2 => Kind::Users,
            3 => Kind::Sessions,
            _ => return Err(StoredError::Damaged),
        };
        let dimension = reader.text()?;
        let value = reader.text()?;
        keys.push(Key {
            kind,
            dimension,
            value,
        });
    }
    Ok(keys)
}
