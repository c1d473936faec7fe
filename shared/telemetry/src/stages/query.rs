use super::StageMetrics;
use crate::latency::Latency;
use crate::values::Count;
use metrique::writer::Entry;

/// One request for numbers.
#[derive(Debug, Default, Entry)]
#[entry(rename_all = "PascalCase")]
pub struct Query {
    /// Requests.
    pub requests: Count,
    /// Answered 304.
    pub not_modified: Count,
    /// Answered 4xx.
    pub refused: Count,
    /// Answered 5xx.
    pub failed: Count,
    /// From the request to its answer.
    pub processing_latency: Latency,
}

impl StageMetrics for Query {
    fn stage(&self) -> &'static str {
        "query"
    }
}
