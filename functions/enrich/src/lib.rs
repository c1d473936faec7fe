//! Lambda on the stream: unpack, enrich, bulk-index, sort every item's outcome.
//!
//! [`envelope`] reads what the event source mapping hands over, record by
//! record; [`prepare`] is everything between that and the `_bulk` request,
//! without I/O; [`sessions`] tells the events of their sessions; [`handler`]
//! ties all to the indices and the dead letters.

pub mod config;
pub mod envelope;
pub mod handler;
pub mod prepare;
mod refused;
pub mod sessions;
mod tally;

#[cfg(test)]
mod tests;
