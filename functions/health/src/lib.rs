//! Lambda on a schedule: looks at the cluster, the stream and the pipeline
//! each minute, posts a probe and times it, and says what it saw as metrics.
//!
//! docs/health.md says what each check does, what its numbers mean and what a
//! month of them costs.

pub mod backlog;
pub mod checks;
pub mod cloudwatch;
pub mod config;
pub mod handler;
pub mod report;
pub mod series;
#[cfg(test)]
mod stand_in;
pub mod verdict;
