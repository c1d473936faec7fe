//! Core: what CloudWatch does with an alarm, by its documented rules, so that a
//! test or a laptop can say what an alarm would do.
//!
//! Data points ([`Datum`]) and alarms ([`definitions`] of a template's
//! resources) go in; a [`Monitor`] that is stepped through time says what state
//! each alarm is in, and when it changed. No clock is read: `now` is an
//! argument. How long a minute is, is the caller's to say ([`Timing`]).
//!
//! Source: Amazon CloudWatch User Guide, "Alarm evaluation", "Configuring how
//! CloudWatch alarms treat missing data", "Percentile-based alarms and low data
//! samples", "Create a composite alarm", and the API reference of
//! `PutMetricAlarm`. Where these leave something open, it is said where it is
//! decided.

mod definition;
mod error;
mod judge;
mod metrics;
mod monitor;
mod rule;
mod statistic;

pub use definition::{Comparison, CompositeAlarm, Definition, MetricAlarm, definitions};
pub use error::Error;
pub use judge::{MissingData, State, judge};
pub use metrics::{Datum, Metrics};
pub use monitor::{Monitor, Timing, Transition, evaluate};
pub use rule::Rule;
pub use statistic::Statistic;
