//! What an aggregator is. Adding one is a file in `aggregators/` and a line in
//! its registry.

use crate::contribution::Contribution;
use crate::observation::Observation;
use crate::totals::Totals;
use serde::ser::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use thiserror::Error;

/// Why an aggregator could not count an event or state a result.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct AggregatorError(pub String);

/// A result's JSON object.
///
/// # Errors
/// If `fields` is nothing that JSON can say.
pub fn object(fields: &impl Serialize) -> Result<Box<RawValue>, AggregatorError> {
    to_raw_value(fields).map_err(|error| AggregatorError(error.to_string()))
}

/// Serialises pairs as an object, in their order: for `serialize_with`.
///
/// # Errors
/// Those of the serializer.
pub fn in_order<K: Serialize, V: Serialize, S: Serializer>(
    pairs: &[(K, V)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

/// Counts something over windows. It says of each event what to count, and
/// what the totals of a window mean; it never sees panes, shards or
/// repetitions. One that fails or panics is left out for that event or
/// result, the others go on.
pub trait Aggregator: Send + Sync {
    /// Its name in addresses and keys: lower-case letters, digits and `_`.
    /// What is stored under a name keeps its meaning: who counts something
    /// else takes a new name.
    fn name(&self) -> &'static str;

    /// One sentence for those who read its results.
    fn description(&self) -> &'static str;

    /// Whether it is shown synthetic events too. They are of monitors and load
    /// tests, and are left out for every aggregator that does not ask for them.
    fn takes_synthetic(&self) -> bool {
        false
    }

    /// Whether it is shown the events of bots too, which are left out likewise.
    /// A synthetic event of a bot is shown to those who ask for both.
    fn takes_bots(&self) -> bool {
        false
    }

    /// Adds what this event counts for; nothing, if it does not. The same
    /// event always adds the same.
    ///
    /// # Errors
    /// If the event cannot be counted; it is then left out here, and counted
    /// as a failure of this aggregator.
    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError>;

    /// A window's result, a JSON object, from what was counted in it:
    /// [`object`] makes it of a structure.
    ///
    /// # Errors
    /// If there is none; the last one then stays as it is.
    fn result(&self, totals: &Totals) -> Result<Box<RawValue>, AggregatorError>;
}
