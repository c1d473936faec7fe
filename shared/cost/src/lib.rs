//! Core: what a stack costs.
//!
//! Two ways lead to a [`Bill`]: what a [`Deployment`] uses under a [`Traffic`]
//! ([`estimate`]), and what a running stack has used. Both are lists of
//! [`Metered`], priced by the same [`PriceList`]. `docs/cost.md` has the formula.

mod bill;
mod deployment;
mod estimate;
pub mod measured;
mod prices;
mod sizing;
mod stages;
mod template;
mod traffic;
mod what_if;

pub use bill::{Bill, Component, Line, Metered, Rate};
pub use deployment::{Deployment, DeploymentError, Domain, LogLevel, Mapping, Stream};
pub use estimate::{estimate, stream_of};
pub use prices::{InstanceType, Price, PriceError, PriceList};
pub use sizing::{Shortfall, fewest_shards, shortfalls, smallest_domain};
pub use stages::{StageError, parameters_of_stage};
pub use template::{Template, TemplateError};
pub use traffic::{Traffic, TrafficError};
pub use what_if::{WhatIf, break_even, what_ifs};

/// Hours of a month, as AWS counts them.
pub const HOURS: f64 = 730.0;
/// Seconds of a month.
pub const SECONDS: f64 = HOURS * 3600.0;
/// Bytes of what AWS calls a GB.
pub const GB: f64 = 1_073_741_824.0;
