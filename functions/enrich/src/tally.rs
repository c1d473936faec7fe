//! What is measured of a batch.

use crate::prepare::{Prepared, Unreadable};
use crate::sessions::{Meeting, Met};
use freshet_edge::records::Batch;
use freshet_events::{Rejection, SOURCE_STREAM, Timestamp};
use freshet_search::{ItemOutcome, Search};
use freshet_telemetry::stages::Enrich;
use std::borrow::Cow;

/// Error types of an index that say something of a document. Others are
/// `other`: what a cluster answers must not make metrics.
const INDEX_CODES: [&str; 8] = [
    "illegal_argument_exception",
    "mapper_parsing_exception",
    "parsing_exception",
    "request_refused",
    "security_exception",
    "strict_dynamic_mapping_exception",
    "unknown",
    "validation_exception",
];

/// Notes what there is to do, and how old its last record is.
pub(crate) fn count_batch(
    batch: &Batch<'_>,
    prepared: &Prepared,
    now: Timestamp,
    line: &mut Enrich,
) {
    line.records.add(batch.records.len());
    for record in &batch.records {
        line.bytes_in.add(record.data_bytes());
    }
    line.received
        .add(prepared.enriched.len() + prepared.unreadable.len());
    line.notices.0 = prepared.noticed.len() as u64;
    if let Some(last) = batch.records.last() {
        let age_ms = now.as_millis() - last.arrived_at().as_millis();
        line.consumer_lag.add_millis(age_ms);
    }
}

/// Notes how long each event took that is newly in the index. Those of records
/// that come again too: then they are duplicates.
pub(crate) fn count_latency(
    prepared: &Prepared,
    outcomes: &[ItemOutcome],
    now: Timestamp,
    line: &mut Enrich,
) {
    let events = prepared.enriched.iter().zip(outcomes);
    for (event, _) in events.filter(|(_, outcome)| **outcome == ItemOutcome::Indexed) {
        let received_ms = event.document.received_at.as_millis();
        line.processing_latency
            .add_millis(now.as_millis() - received_ms);
    }
}

/// Counts the final outcomes, those of the events of the records before `end`,
/// so that each event counts once however often it is delivered.
pub(crate) fn count_outcomes(
    prepared: &Prepared,
    outcomes: &[ItemOutcome],
    meeting: &Meeting,
    end: usize,
    line: &mut Enrich,
) {
    let mut others = 0_u64;
    let mut finished = 0_u64;
    let events = prepared.enriched.iter().zip(outcomes);
    for (at, (event, outcome)) in events.enumerate() {
        if let ItemOutcome::Retry { code } = outcome {
            line.retry_code.0.clone_from(code);
            continue;
        }
        if event.record >= end {
            continue;
        }
        finished += 1;
        others += u64::from(event.document.session.source == SOURCE_STREAM);
        match outcome {
            ItemOutcome::Indexed => {
                line.indexed.add(1_u64);
                line.bots.add(u64::from(event.document.session.bot));
            }
            ItemOutcome::Duplicate => line.duplicates.add(1_u64),
            ItemOutcome::Rejected(rejection) => {
                line.rejected.add(1_u64);
                line.rejected_by.add(code(rejection), 1_u64);
            }
            ItemOutcome::Retry { .. } => {}
        }
        if *outcome != ItemOutcome::Duplicate {
            match meeting.met.get(at) {
                Some(Met::Unknown) => line.events_without_session.add(1_u64),
                Some(Met::Outside) => line.outside_sessions.0 += 1,
                Some(Met::Within { .. }) | None => {}
            }
        }
    }
    let unreadable = prepared.unreadable.iter();
    for item in unreadable.filter(|item| item.record < end) {
        finished += 1;
        others += u64::from(!is_of_collect(item));
        line.undecodable.add(1_u64);
        line.rejected_by.add(code(&item.rejection), 1_u64);
    }
    line.other_producers.add(others);
    // What is refused and final is stored.
    let stored = line.rejected.get() + line.undecodable.get();
    line.dead_letters.add(stored);
    line.retried.add(line.received.get() - finished);
    line.sessions_from_memory.0 = meeting.from_memory as u64;
}

/// Notes the requests to OpenSearch since this was last called.
pub(crate) fn count_requests(search: &Search, line: &mut Enrich) {
    for time in search.take_times() {
        let (operation, outcome) = (time.operation.as_str(), time.outcome.as_str());
        line.open_search.add(operation, outcome, time.took);
    }
}

/// Whether collect packed it: what it accepted is in records of its own form.
fn is_of_collect(item: &Unreadable) -> bool {
    item.place.is_some_and(|place| place.packed)
}

/// A code as part of a metric's name.
fn code(rejection: &Rejection) -> &'static str {
    match &rejection.code {
        Cow::Borrowed(ours) => ours,
        Cow::Owned(theirs) => {
            let known = INDEX_CODES.iter().find(|known| *known == theirs);
            known.copied().unwrap_or("other")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_events::{Code, Stage};

    #[test]
    fn a_cluster_cannot_make_a_metric_s_name() {
        let theirs = |kind: &str| code(&Rejection::by_index(kind, "r"));
        assert_eq!(
            theirs("mapper_parsing_exception"),
            "mapper_parsing_exception"
        );
        assert_eq!(theirs("x\",\"Evil\":1"), "other");
        let ours = Rejection::new(Stage::Unpack, Code::RecordTooLarge, "r");
        assert_eq!(code(&ours), "record_too_large");
    }
}
