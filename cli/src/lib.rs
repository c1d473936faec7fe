//! The `freshet` command, as a library: what the command line, the end-to-end
//! tests and the benchmarks share.

pub mod install;
pub mod paths;
pub mod process;
pub mod progress;
pub mod replay;
pub mod run_record;
pub mod sender;
pub mod servers;
pub mod task;
pub mod traffic;
