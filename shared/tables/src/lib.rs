//! Adapter: state in DynamoDB, written under conditions only.
//!
//! [`SessionTable`] keeps the sessions of each key, [`ChainTable`] what the
//! shards have counted, [`ResultTable`] what that comes to in each slot.
//! Nothing is ever read, changed and written back unguarded: a write says
//! which revision it is based on, and a writer that was overtaken learns of it.
//! The one exception is [`HealthTable`]: its report is based on nothing, and
//! the last one stays.

mod chains;
mod error;
mod health;
mod item;
mod manifest;
mod results;
mod sessions;
#[cfg(test)]
mod stand_in;

pub use chains::{ChainError, ChainTable, ManifestPut};
pub use error::TableError;
pub use health::{HealthReport, HealthTable, MAX_REPORT_BYTES};
pub use manifest::{ChainName, Manifest, ManifestError, PieceEntry, PieceName};
pub use results::{
    MAX_BODY_BYTES, MAX_PAGE_BYTES, MAX_STORED_BODY_BYTES, Page, Put, ResultTable, SlotResult,
    Stored,
};
pub use sessions::{Saved, SessionTable, Versioned};
