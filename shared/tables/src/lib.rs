//! Adapter: state in DynamoDB, written under conditions only.
//!
//! [`SessionTable`] keeps the sessions of each key. Nothing is ever read,
//! changed and written back unguarded: a write says which revision it is based
//! on, and a writer that was overtaken gets what the faster one wrote.
//! [`ChainTable`] keeps what the shards have counted, for aggregation.

mod chains;
mod manifest;
mod sessions;

pub use chains::{ChainError, ChainTable, ManifestPut};
pub use manifest::{ChainName, Manifest, ManifestError, PieceEntry, PieceName};
pub use sessions::{Saved, SessionTable, TableError, Versioned};
