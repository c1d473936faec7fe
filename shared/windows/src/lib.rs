//! Core: panes, mergeable summaries, windows and the aggregators over them.
//!
//! ```text
//! events ──Accumulator──▶ tables of one shard's batch ──Piece──▶ bytes   (aggregate, before the store)
//! bytes ──Piece──▶ tables ──Summary::unite──▶ a pane ──Totals──▶ a window's result   (aggregate, after it)
//! ```
//!
//! Everything is a set of what was counted, so whatever is repeated, late or
//! split differently gives the same result. Synchronous and pure.

mod accumulator;
mod aggregator;
mod aggregators;
mod bits;
mod contribution;
mod observation;
mod piece;
mod sketch;
mod stored;
mod summary;
mod table;
mod totals;
mod windowing;

pub use accumulator::{Accumulator, Tally};
pub use aggregator::{Aggregator, AggregatorError, in_order, object};
pub use aggregators::Registry;
pub use contribution::{Contribution, MAX_VALUE_BYTES};
pub use observation::{Details, EventHash, Observation, SessionHash, UNKNOWN, UserHash};
pub use piece::Piece;
pub use sketch::Sketch;
pub use stored::StoredError;
pub use summary::Summary;
pub use table::{Table, TableFull};
pub use totals::{Counts, ErrorBound, Totals};
pub use windowing::{PANE_SECONDS, Pane, Slot, Timeliness, Window, Windowing};
