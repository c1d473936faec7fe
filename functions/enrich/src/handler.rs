//! From the batch to the index, and back to what must be delivered again.

use crate::answer::Answer;
use crate::prepare::Prepared;
use crate::refused::{Refusals, Refused};
use crate::sessions::{Meeting, Met, Sessions};
use crate::tally;
use freshet_deadletters::DeadLetterStore;
use freshet_edge::records::Batch;
use freshet_edge::{answer_by, now};
use freshet_enrichment::Enricher;
use freshet_search::{DailyIndices, DailyWrite, IndexRequest, Indexer, ItemOutcome, Search, Write};
use freshet_sessions::{SessionDocument, SessionEvent};
use freshet_telemetry::Metrics;
use freshet_telemetry::stages::Enrich;
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Kept back for storing dead letters and writing the answer.
const STORE_TIME: Duration = Duration::from_secs(8);

/// The enriching consumer.
pub struct Handler {
    enricher: Enricher,
    search: Search,
    indexer: Indexer,
    daily: DailyIndices,
    session_prefix: String,
    refusals: Refusals,
    sessions: Option<Sessions>,
}

/// What a consumer writes to.
pub struct Stores {
    /// The cluster of both that follow: it knows how long requests took.
    pub search: Search,
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
            search,
            indexer,
            daily,
            alias,
            dead_letters,
        } = stores;
        Self {
            enricher,
            search,
            indexer,
            session_prefix: format!("{alias}_sessions-"),
            refusals: Refusals::new(dead_letters, daily.clone(), &alias),
            daily,
            sessions,
        }
    }

    /// Handles one invocation, and writes its line whatever becomes of it.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub async fn invoke(
        &self,
        event: LambdaEvent<Box<RawValue>>,
        metrics: &Metrics,
    ) -> Result<Answer, serde_json::Error> {
        let mut line = metrics.begin::<Enrich>(&event.context.request_id);
        let deadline = event.context.deadline();
        self.handle(event.payload.get(), deadline, &mut line).await
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
        line: &mut Enrich,
    ) -> Result<Answer, serde_json::Error> {
        let batch: Batch<'_> = serde_json::from_str(payload)?;
        let deadline = answer_by(function_deadline);
        let write_by = deadline - STORE_TIME.min(deadline - Instant::now());
        let begun = now();
        let mut prepared = Prepared::from_batch(&batch, &self.enricher, begun);
        tally::count_batch(&batch, &prepared, begun, line);
        let meeting = self.meet_sessions(&mut prepared, write_by).await;
        let outcomes = self.index(&prepared, write_by).await;
        tally::count_latency(&prepared, &outcomes, now(), line);

        let mut again = first_to_retry(&prepared, &outcomes);
        let end = again.unwrap_or(batch.records.len());
        let unwritten = self
            .write_sessions(&prepared, &meeting, end, write_by)
            .await;
        if let Some(record) = unwritten.again {
            again = Some(record);
        }
        // Only what is final is stored: the rest comes again.
        let end = again.unwrap_or(batch.records.len());
        let refused = Refused::of(&prepared, &outcomes, end);
        let stored = self.refusals.store(&batch, &refused, deadline).await;
        if let Some(record) = stored.again {
            again = Some(record);
        }
        let end = again.unwrap_or(batch.records.len());
        tally::count_outcomes(&prepared, &outcomes, &meeting, end, line);
        line.session_documents_refused.add(unwritten.refused);
        line.rejections_not_noted.add(stored.not_noted);
        tally::count_requests(&self.search, line);
        let answer =
            again.map(|record| batch.records[record].sequence_number().clone().into_owned());
        Ok(answer.map_or_else(Answer::done, Answer::again_from))
    }

    /// Tells every event when its session started, and which one was derived
    /// for it, as far as is known.
    async fn meet_sessions(&self, prepared: &mut Prepared, deadline: Instant) -> Meeting {
        let Some(sessions) = &self.sessions else {
            return Meeting::default();
        };
        let events: Vec<&SessionEvent> = prepared
            .enriched
            .iter()
            .map(|event| &event.document.session)
            .collect();
        let meeting = sessions.meet(&events, now(), deadline).await;
        for (event, met) in prepared.enriched.iter_mut().zip(&meeting.met) {
            if let Met::Within { start, derived_id } = met {
                event.document.set_session(*start, derived_id.as_deref());
            }
        }
        meeting
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
    /// `end` belong to.
    async fn write_sessions(
        &self,
        prepared: &Prepared,
        meeting: &Meeting,
        end: usize,
        deadline: Instant,
    ) -> Unwritten {
        let mut writes = Vec::new();
        let mut records = Vec::new();
        for touched in &meeting.documents {
            let record = prepared.enriched[touched.first_event].record;
            if record < end {
                writes.extend(self.session_writes(&touched.document));
                records.resize(writes.len(), record);
            }
        }
        let mut unwritten = Unwritten::default();
        if writes.is_empty() {
            return unwritten;
        }
        let outcomes = self.daily.write(&writes, deadline).await;
        let mut last_code = None;
        for (outcome, record) in outcomes.iter().zip(records) {
            match outcome {
                ItemOutcome::Indexed | ItemOutcome::Duplicate => {}
                ItemOutcome::Retry { code } => {
                    last_code = Some(code.as_str());
                    // The events are indexed, and those behind them do not wait.
                    if outcome.is_blocked() {
                        unwritten.refused += 1;
                    } else {
                        let first = unwritten.again.map_or(record, |first| first.min(record));
                        unwritten.again = Some(first);
                    }
                }
                ItemOutcome::Rejected(rejection) => {
                    unwritten.refused += 1;
                    last_code = Some(&rejection.code);
                }
            }
        }
        if let Some(code) = last_code {
            let refused = unwritten.refused;
            tracing::warn!(code, refused, "session documents were not written");
        }
        unwritten
    }

    /// A session's document, and the end of those that it absorbed.
    fn session_writes<'d>(
        &self,
        document: &'d SessionDocument,
    ) -> impl Iterator<Item = DailyWrite<'d>> {
        let index = |day: &str| format!("{}{day}", self.session_prefix);
        let put = DailyWrite {
            index: index(&document.day),
            id: &document.id,
            write: Write::Put {
                version: document.version,
                json: &document.json,
            },
        };
        let gone = document.absorbed.iter().map(move |gone| DailyWrite {
            index: index(&gone.day),
            id: &gone.id,
            write: Write::Delete {
                version: gone.version,
            },
        });
        std::iter::once(put).chain(gone)
    }
}

/// Session documents that are not in their index.
#[derive(Default)]
struct Unwritten {
    /// The first record to deliver again, for those that may still get in.
    again: Option<usize>,
    /// Those that the index will not take; the session's next event brings its
    /// document again.
    refused: usize,
}

/// The first record with an event that must be delivered again.
fn first_to_retry(prepared: &Prepared, outcomes: &[ItemOutcome]) -> Option<usize> {
    let events = prepared.enriched.iter().zip(outcomes);
    events
        .filter(|(_, outcome)| matches!(outcome, ItemOutcome::Retry { .. }))
        .map(|(event, _)| event.record)
        .min()
}
