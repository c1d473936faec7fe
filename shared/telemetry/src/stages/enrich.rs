use super::{RejectedBy, StageMetrics};
use crate::latency::Latency;
use crate::values::{ByWord, Bytes, Count, Note, Word};
use metrique::writer::{Entry, EntryWriter};
use std::collections::BTreeMap;
use std::time::Duration;

/// One batch on its way into the index. Only final outcomes count, those of
/// records that are not delivered again.
#[derive(Debug, Default, Entry)]
#[entry(rename_all = "PascalCase")]
pub struct Enrich {
    /// Events and unreadable records of the batch, at every delivery.
    pub received: Count,
    /// Newly in the index.
    pub indexed: Count,
    /// Of those, events of bots.
    pub bots: Count,
    /// There already.
    pub duplicates: Count,
    /// Refused by the index.
    pub rejected: Count,
    /// Refused by the index, or undecodable, by code.
    #[entry(flatten)]
    pub rejected_by: ByWord<RejectedBy, Count>,
    /// Could not be read.
    pub undecodable: Count,
    /// Rejected and undecodable ones that are stored.
    pub dead_letters: Count,
    /// Events that come again.
    pub retried: Count,
    /// Final outcomes of events that collect did not accept.
    pub other_producers: Count,
    /// Records of the batch.
    pub records: Count,
    /// Their data.
    pub bytes_in: Bytes,
    /// Of each newly indexed event, from `received_at` until it was indexed.
    pub processing_latency: Latency,
    /// How long the batch's last record had been on the stream.
    pub consumer_lag: Latency,
    /// `OpenSearch.<operation>.<outcome>`.
    #[entry(flatten)]
    pub open_search: OpenSearchTimes,
    /// Indexed without a session, because the table could not be used.
    pub events_without_session: Count,
    /// Session documents that their index does not take.
    pub session_documents_refused: Count,
    /// Rejections that are missing from the data-quality dashboard.
    pub rejections_not_noted: Count,
    /// Notices of collect.
    #[entry(name = "notices")]
    pub notices: Note,
    /// New events that belong to no session: too old, or of a wrong clock.
    #[entry(name = "outsideSessions")]
    pub outside_sessions: Note,
    /// Sessions that were known without reading the table.
    #[entry(name = "sessionsFromMemory")]
    pub sessions_from_memory: Note,
    /// What stood in the way of an event that comes again.
    #[entry(name = "retryCode")]
    pub retry_code: Word,
}

impl StageMetrics for Enrich {
    fn stage(&self) -> &'static str {
        "enrich"
    }
}

/// How long requests to OpenSearch took, by operation and outcome. Both are
/// the program's own words.
#[derive(Debug, Default)]
pub struct OpenSearchTimes {
    times: BTreeMap<(&'static str, &'static str), Latency>,
}

impl OpenSearchTimes {
    /// Adds a request.
    pub fn add(&mut self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.times
            .entry((operation, outcome))
            .or_default()
            .add(took);
    }

    /// How many requests there were of this operation and outcome.
    #[must_use]
    pub fn count(&self, operation: &str, outcome: &str) -> u64 {
        let mut all = self.times.iter();
        all.find(|(key, _)| **key == (operation, outcome))
            .map_or(0, |(_, times)| times.count())
    }
}

impl Entry for OpenSearchTimes {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        for ((operation, outcome), times) in &self.times {
            writer.value(format!("OpenSearch.{operation}.{outcome}"), times);
        }
    }
}
