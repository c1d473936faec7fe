//! Lambda behind the HTTP API: decode, authorise, validate, stamp, pack, put,
//! answer per event.
//!
//! [`request`] reads what API Gateway hands over, [`write_keys`] finds the
//! source, [`prepare`] is everything between the body and the stream, without
//! I/O, and [`handler`] ties them to the stream and the queue.

pub mod answer;
pub mod config;
pub mod handler;
pub mod prepare;
pub mod request;
pub mod write_keys;

#[cfg(test)]
mod tests;
