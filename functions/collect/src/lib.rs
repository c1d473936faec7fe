//! Lambda behind the HTTP API: decode, authorise, validate, stamp, pack, put,
//! answer per event.
//!
//! [`request`] reads what API Gateway hands over, [`write_keys`] finds the
//! source, [`prepare`] is everything between the body and the stream, without
//! I/O, and [`handler`] ties them to the stream and the queue.
//!
//! What is dropped of a request travels as one
//! [notice](freshet_events::notice) beside its events. A request without a
//! known write key, or whose body cannot be split into events, sends none: who
//! has no key must not be able to fill the stream.

pub mod answer;
pub mod config;
pub mod handler;
pub mod prepare;
pub mod request;
pub mod write_keys;

#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod tests;
