//! What is logged of a batch.

use crate::prepare::Prepared;
use crate::sessions::Met;
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
    without_session: usize,
    codes: BTreeMap<String, usize>,
    retry_code: String,
}

impl Tally {
    /// Counts the events of the records before `again`, or of all `records`.
    pub(crate) fn new(
        prepared: &Prepared,
        outcomes: &[ItemOutcome],
        met: &Met,
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
            without_session: met.unavailable,
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
        for item in prepared.unreadable.iter().filter(|item| item.record < end) {
            tally.undecodable += 1;
            let code = item.rejection.code.to_string();
            *tally.codes.entry(code).or_default() += 1;
        }
        tally
    }

    /// One line for the batch, and the metric that an alarm watches.
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
            rejected_codes = codes.join(","),
            retry_code = self.retry_code,
            "batch handled"
        );
        if self.without_session > 0 {
            freshet_telemetry::count("EventsWithoutSession", self.without_session);
        }
    }
}
