use super::StageMetrics;
use crate::latency::Latency;
use crate::values::{ByWord, Bytes, Count, Family};
use metrique::writer::Entry;

/// `Rejected.<code>`.
pub enum RejectedBy {}

impl Family for RejectedBy {
    const NAME: &'static str = "Rejected";
}

/// `Refused.<code>`.
pub enum RefusedBy {}

impl Family for RefusedBy {
    const NAME: &'static str = "Refused";
}

/// One request at the door.
#[derive(Debug, Default, Entry)]
#[entry(rename_all = "PascalCase")]
pub struct Collect {
    /// Events that were judged.
    pub received: Count,
    /// Answered `ok`: the stream or the queue has them.
    pub accepted: Count,
    /// Answered `drop`.
    pub rejected: Count,
    /// By code of ours.
    #[entry(flatten)]
    pub rejected_by: ByWord<RejectedBy, Count>,
    /// Answered `retry`: nothing has them.
    pub retry: Count,
    /// Taken by the dead-letter queue.
    pub dead_letters: Count,
    /// Requests refused as a whole, before any event was judged.
    pub requests_refused: Count,
    /// By code of ours.
    #[entry(flatten)]
    pub refused_by: ByWord<RefusedBy, Count>,
    /// Records for the stream, the notice not among them.
    pub records: Count,
    /// Bodies, as text.
    pub bytes_in: Bytes,
    /// Data of the records.
    pub bytes_out: Bytes,
    /// From the request to its answer.
    pub processing_latency: Latency,
    /// Rejections that the stream was not told of.
    pub rejections_not_noted: Count,
}

impl StageMetrics for Collect {
    fn stage(&self) -> &'static str {
        "collect"
    }
}
