//! The local cloud: what AWS does around the functions, on one machine.
//!
//! It reads a deployed stack ([`stack`]), starts the unmodified bootstraps
//! behind Lambda's Runtime API ([`function`]), polls Kinesis as an event source
//! mapping does ([`mapping`], whose rules are the pure state machine [`batch`]
//! with its [`window`]), answers HTTP as an HTTP API does ([`http_api`]), invokes
//! what is scheduled ([`schedule`]), and keeps the [`metrics`] of all this.
//! [`cloud`] ties them together. [`fault`] is a proxy that tests break things with.
//!
//! Nothing here knows what the functions do.

pub mod batch;
pub mod cloud;
pub mod fault;
pub mod function;
pub mod http_api;
pub mod kinesis;
pub mod mapping;
pub mod metrics;
mod runtime_api;
pub mod schedule;
pub mod stack;
pub mod window;

/// The account that everything local belongs to.
pub const ACCOUNT: &str = "000000000000";
/// The region that everything local is in.
pub const REGION: &str = "us-east-1";
