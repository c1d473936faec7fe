//! What each stage measures: one structure a stage. `docs/metrics.md` lists
//! all of it; a test compares the two.

mod aggregate;
mod collect;
mod enrich;
mod health;
mod query;

pub use aggregate::Aggregate;
pub use collect::{Collect, RefusedBy, RejectedBy};
pub use enrich::{Enrich, OpenSearchTimes};
pub use health::{CheckFailedBy, Consumer, Health};
pub use query::Query;

use metrique::writer::Entry;

/// What a stage measures, written in one line.
pub trait StageMetrics: Entry {
    /// The dimension `Stage`.
    fn stage(&self) -> &str;
}
