//! The `freshet` command, as a library: what the command line, the end-to-end
//! tests and the benchmarks share.
//!
//! [`stack`] starts everything, and the end-to-end tests start it the same
//! way; each command is a module.

pub mod aggregations;
pub mod bench;
pub mod build;
pub mod cost;
pub mod dashboard;
pub mod deploy;
pub mod freshness;
mod health;
pub mod install;
pub mod live;
pub mod paths;
pub mod process;
pub mod progress;
pub mod provision;
pub mod replay;
pub mod run_record;
pub mod send;
pub mod sender;
pub mod servers;
pub mod shop;
pub mod stack;
pub mod task;
pub mod top;
pub mod traffic;
pub mod up;
