//! Lambda on the stream: unpack, enrich, bulk-index, sort every item's outcome.
//!
//! [`prepare`] is everything between the batch of records and the `_bulk`
//! request, without I/O; [`sessions`] tells the events of their sessions;
//! [`handler`] ties all to the indices and the dead letters; [`answer`] is what
//! must be delivered again.

pub mod answer;
pub mod config;
pub mod handler;
pub mod prepare;
mod refused;
pub mod sessions;
mod tally;

#[cfg(test)]
mod derived_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod tests;
