//! What the event source mapping wants back.

use freshet_edge::records::SequenceNumber;
use serde::Serialize;

/// What must be delivered again: nothing, or the batch from one record on.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: SequenceNumber<'static>,
}

impl Answer {
    /// Everything is done.
    #[must_use]
    pub fn done() -> Self {
        Self::default()
    }

    /// From this record on, the batch is to be delivered again.
    #[must_use]
    pub fn again_from(record: SequenceNumber<'static>) -> Self {
        Self {
            batch_item_failures: vec![Failure {
                item_identifier: record,
            }],
        }
    }

    /// The record from which on to deliver again.
    #[must_use]
    pub fn from_record(&self) -> Option<&str> {
        self.batch_item_failures
            .first()
            .map(|failure| failure.item_identifier.as_str())
    }
}
