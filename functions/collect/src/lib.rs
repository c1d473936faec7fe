//! Lambda behind the HTTP API: decode, authorise, validate, stamp, pack, put,
//! answer per event.
//!
//! [`request`] reads what API Gateway hands over, [`routes`] says what it is
//! for, and [`write_keys`] whose it is. [`prepare`] judges and packs Freshet's
//! own events, without I/O; [`calls`] does the same with calls of Segment's and
//! RudderStack's SDKs, and [`settings`] tells these what they ask first.
//! [`opt_out`] is what visitors ask for. [`delivery`] puts events on the stream
//! and what it refuses into the queue, and [`handler`] ties all of it together.
//!
//! What is dropped of a request travels as one
//! [notice](freshet_events::notice) beside its events. A request without a
//! known write key, or whose body cannot be split into events, sends none: who
//! has no key must not be able to fill the stream.

pub mod answer;
pub mod calls;
pub mod config;
pub mod delivery;
pub mod handler;
pub mod opt_out;
pub mod prepare;
pub mod refusal;
pub mod request;
pub mod routes;
pub mod settings;
pub mod write_keys;

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;
