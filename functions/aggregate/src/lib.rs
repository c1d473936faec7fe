//! Lambda on the stream, in tumbling windows: what each shard counts becomes
//! pieces, and the pieces of all shards become the results of windows.
//!
//! [`invocation`] is what Lambda hands over and wants back; [`counting`] is
//! everything between the records and the counts, without I/O; [`handler`]
//! publishes them; [`merging`] turns all that is published into results, with
//! the panes that [`panes`] remembers.

pub mod config;
pub mod counting;
pub mod handler;
pub mod invocation;
pub mod merging;
pub mod panes;

#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod tests;
