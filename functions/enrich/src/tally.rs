//! What is logged of a batch.

use crate::prepare::Prepared;
use crate::sessions::{Meeting, Met};
use freshet_search::ItemOutcome;
use std::collections::BTreeMap;

/// A batch in numbers: final outcomes only, so that each event counts once
/// however often it is delivered.
pub(crate) struct Tally {
    records: usize,
    events: usize,
    indexed: usize,
    duplicates: usize,
    rejected: usize,
    undecodable: usize,
    notices: usize,
    /// Events without a session, because the table could not be used.
    without_session: usize,
    /// Events that belong to no session: too old, of a wrong clock, or synthetic.
    outside_sessions: usize,
    /// Session documents that their index will not take.
    pub(crate) sessions_refused: usize,
    /// Session states that were known without reading the table.
    sessions_from_memory: usize,
    codes: BTreeMap<String, usize>,
    retry_code: String,
}

impl Tally {
    /// Counts the events of the records before `again`, or of all `records`.
    pub(crate) fn new(
        prepared: &Prepared,
        outcomes: &[ItemOutcome],
        meeting: &Meeting,
        records: usize,
        again: Option<usize>,
    ) -> Self {
        let end = again.unwrap_or(records);
        let mut tally = Self {
            records,
            events: prepared.enriched.len() + prepared.unreadable.len(),
            indexed: 0,
            duplicates: 0,
            rejected: 0,
            undecodable: 0,
            notices: prepared.noticed.len(),
            without_session: 0,
            outside_sessions: 0,
            sessions_refused: 0,
            sessions_from_memory: meeting.from_memory,
            codes: BTreeMap::new(),
            retry_code: String::new(),
        };
        for (event, outcome) in prepared.enriched.iter().zip(outcomes) {
            match outcome {
                ItemOutcome::Retry { code } => tally.retry_code.clone_from(code),
                _ if event.record >= end => {}
                ItemOutcome::Indexed => tally.indexed += 1,
                ItemOutcome::Duplicate => tally.duplicates += 1,
                ItemOutcome::Rejected(rejection) => {
                    tally.rejected += 1;
                    *tally.codes.entry(rejection.code.to_string()).or_default() += 1;
                }
            }
        }
        let events = prepared.enriched.iter().zip(outcomes).zip(&meeting.met);
        for ((event, outcome), met) in events {
            let is_new = matches!(outcome, ItemOutcome::Indexed | ItemOutcome::Rejected(_));
            if event.record < end && is_new {
                tally.without_session += usize::from(*met == Met::Unknown);
                tally.outside_sessions += usize::from(*met == Met::Outside);
            }
        }
        for item in prepared.unreadable.iter().filter(|item| item.record < end) {
            tally.undecodable += 1;
            let code = item.rejection.code.to_string();
            *tally.codes.entry(code).or_default() += 1;
        }
        tally
    }

    /// One line for the batch, and the metrics that alarms watch.
    pub(crate) fn log(&self) {
        let final_ones = self.indexed + self.duplicates + self.rejected + self.undecodable;
        let codes: Vec<String> = self
            .codes
            .iter()
            .map(|(code, n)| format!("{code}={n}"))
            .collect();
        tracing::info!(
            records = self.records,
            events = self.events,
            indexed = self.indexed,
            duplicates = self.duplicates,
            rejected = self.rejected,
            undecodable = self.undecodable,
            notices = self.notices,
            retried = self.events - final_ones,
            without_session = self.without_session,
            outside_sessions = self.outside_sessions,
            sessions_refused = self.sessions_refused,
            sessions_from_memory = self.sessions_from_memory,
            rejected_codes = codes.join(","),
            retry_code = self.retry_code,
            "batch handled"
        );
        if self.without_session > 0 {
            freshet_telemetry::count("EventsWithoutSession", self.without_session);
        }
        if self.sessions_refused > 0 {
            freshet_telemetry::count("SessionDocumentsRefused", self.sessions_refused);
        }
    }
}
