//! From the batch to the index, and back to what must be delivered again.

use crate::envelope::{Answer, Batch};
use crate::prepare::Prepared;
use crate::refused::{Refusals, Refused};
use crate::sessions::{Met, Sessions};
use crate::tally::Tally;
use freshet_deadletters::DeadLetterStore;
use freshet_edge::{answer_by, now};
use freshet_enrichment::Enricher;
use freshet_search::{DailyIndices, DailyWrite, IndexRequest, Indexer, ItemOutcome, Write};
use freshet_sessions::SessionEvent;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Kept back for storing dead letters and writing the answer.
const STORE_TIME: Duration = Duration::from_secs(8);

/// The enriching consumer.
pub struct Handler {
    enricher: Enricher,
    indexer: Indexer,
    daily: DailyIndices,
    session_prefix: String,
    refusals: Refusals,
    sessions: Option<Sessions>,
}

/// What a consumer writes to.
pub struct Stores {
    /// Events.
    pub indexer: Indexer,
    /// Sessions and rejections.
    pub daily: DailyIndices,
    /// The alias of the events; the daily indices' names begin with it.
    pub alias: String,
    /// Dead letters.
    pub dead_letters: DeadLetterStore,
}

impl Handler {
    /// A consumer that writes to these stores. Without `sessions` it makes
    /// none.
    #[must_use]
    pub fn new(enricher: Enricher, stores: Stores, sessions: Option<Sessions>) -> Self {
        let Stores {
            indexer,
            daily,
            alias,
            dead_letters,
        } = stores;
        Self {
            enricher,
            indexer,
            session_prefix: format!("{alias}_sessions-"),
            refusals: Refusals::new(dead_letters, daily.clone(), &alias),
            daily,
            sessions,
        }
    }

    /// Handles one batch. Events of records below the answer's record have
    /// their final outcome: indexed, there already, or kept as a dead letter.
    ///
    /// # Errors
    /// If the payload is no Kinesis batch at all; Lambda then retries it whole.
    pub async fn handle(
        &self,
        payload: &str,
        function_deadline: SystemTime,
    ) -> Result<Answer, serde_json::Error> {
        let batch: Batch<'_> = serde_json::from_str(payload)?;
        let deadline = answer_by(function_deadline);
        let write_by = deadline - STORE_TIME.min(deadline - Instant::now());
        let mut prepared = Prepared::from_batch(&batch, &self.enricher, now());
        let met = self.meet_sessions(&mut prepared, write_by).await;
        let outcomes = self.index(&prepared, write_by).await;

        let mut again = first_to_retry(&prepared, &outcomes);
        let end = again.unwrap_or(batch.records.len());
        if let Some(record) = self.write_sessions(&prepared, &met, end, write_by).await {
            again = Some(record);
        }
        // Only what is final is stored: the rest comes again.
        let end = again.unwrap_or(batch.records.len());
        let refused = Refused::of(&prepared, &outcomes, end);
        if let Some(record) = self.refusals.store(&batch, &refused, deadline).await {
            again = Some(record);
        }
        Tally::new(&prepared, &outcomes, &met, batch.records.len(), again).log();
        let answer =
            again.map(|record| batch.records[record].sequence_number().clone().into_owned());
        Ok(answer.map_or_else(Answer::done, Answer::again_from))
    }

    /// Tells every event when its session started, as far as is known.
    async fn meet_sessions(&self, prepared: &mut Prepared, deadline: Instant) -> Met {
        let Some(sessions) = &self.sessions else {
            return Met::default();
        };
        let events: Vec<&SessionEvent> = prepared
            .enriched
            .iter()
            .map(|event| &event.document.session)
            .collect();
        let met = sessions.meet(&events, now(), deadline).await;
        for (event, start) in prepared.enriched.iter_mut().zip(&met.starts) {
            if let Some(start) = start {
                event.document.set_session_start(*start);
            }
        }
        met
    }

    async fn index(&self, prepared: &Prepared, deadline: Instant) -> Vec<ItemOutcome> {
        let requests: Vec<_> = prepared
            .enriched
            .iter()
            .map(|event| IndexRequest {
                id: &event.document.id,
                json: &event.document.json,
                not_before: event.document.not_before,
            })
            .collect();
        self.indexer.index(&requests, deadline).await
    }

    /// Writes the documents of the sessions that events of the records before
    /// `end` belong to. The first record of a session that could not be
    /// written now, so that it is delivered again.
    async fn write_sessions(
        &self,
        prepared: &Prepared,
        met: &Met,
        end: usize,
        deadline: Instant,
    ) -> Option<usize> {
        let record = |first_event: usize| prepared.enriched[first_event].record;
        let mut writes = Vec::new();
        let mut records = Vec::new();
        let index = |day: &str| format!("{}{day}", self.session_prefix);
        for touched in &met.documents {
            let document = &touched.document;
            if record(touched.first_event) >= end {
                continue;
            }
            let put = Write::Put {
                version: document.version,
                json: &document.json,
            };
            let gone = document.absorbed.iter().map(|gone| {
                let write = Write::Delete {
                    version: gone.version,
                };
                (&gone.day, &gone.id, write)
            });
            for (day, id, write) in std::iter::once((&document.day, &document.id, put)).chain(gone)
            {
                writes.push(DailyWrite {
                    index: index(day),
                    id,
                    write,
                });
                records.push(record(touched.first_event));
            }
        }
        if writes.is_empty() {
            return None;
        }
        let outcomes = self.daily.write(&writes, deadline).await;
        let mut again = None;
        for (outcome, record) in outcomes.iter().zip(records) {
            match outcome {
                ItemOutcome::Indexed | ItemOutcome::Duplicate => {}
                ItemOutcome::Retry { code } => {
                    tracing::warn!(code, "a session document was not written");
                    again = Some(again.map_or(record, |first: usize| first.min(record)));
                }
                // The events themselves are indexed: they do not wait for it.
                ItemOutcome::Rejected(rejection) => {
                    tracing::error!(code = %rejection.code, "a session document was refused");
                }
            }
        }
        again
    }
}

/// The first record with an event that must be delivered again.
fn first_to_retry(prepared: &Prepared, outcomes: &[ItemOutcome]) -> Option<usize> {
    let events = prepared.enriched.iter().zip(outcomes);
    events
        .filter(|(_, outcome)| matches!(outcome, ItemOutcome::Retry { .. }))
        .map(|(event, _)| event.record)
        .min()
}
