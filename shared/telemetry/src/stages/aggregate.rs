use super::StageMetrics;
use crate::latency::Latency;
use crate::values::{Bytes, Count};
use metrique::writer::Entry;

/// One batch on its way into the windows. A batch that fails is delivered
/// again, and then counts again.
#[derive(Debug, Default, Entry)]
#[entry(rename_all = "PascalCase")]
pub struct Aggregate {
    /// Events and unreadable records of the batch.
    pub received: Count,
    /// Handed to the aggregators.
    pub counted: Count,
    /// Events that came too late to be counted.
    pub late_dropped: Count,
    /// Events of the future.
    pub early_dropped: Count,
    /// Records and events that could not be read.
    pub undecodable: Count,
    /// Events and slots that an aggregator failed at.
    pub aggregator_failures: Count,
    /// Pieces of another release.
    pub pieces_unreadable: Count,
    /// States of another release.
    pub states_unreadable: Count,
    /// Merges that no further attempt would mend.
    pub merges_failed: Count,
    /// Records of windows that nobody can read any more.
    pub records_too_old: Count,
    /// Results that were written.
    pub slots_written: Count,
    /// Records of the batch.
    pub records: Count,
    /// Their data.
    pub bytes_in: Bytes,
    /// Of each event, from `received_at` until it was merged; not of those that
    /// were only handed on, as more records waited.
    pub processing_latency: Latency,
    /// How long the batch's last record had been on the stream.
    pub consumer_lag: Latency,
}

impl StageMetrics for Aggregate {
    fn stage(&self) -> &'static str {
        "aggregate"
    }
}
