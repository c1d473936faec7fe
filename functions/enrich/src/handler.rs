//! From the batch to the index, and back to what must be delivered again.

use crate::envelope::{Answer, Batch};
use crate::prepare::Prepared;
use freshet_deadletters::DeadLetterStore;
use freshet_deadletters::object::{self, REJECTED, RejectedItem, UNDECODABLE, UndecodableItem};
use freshet_edge::{answer_by, now};
use freshet_enrichment::Enricher;
use freshet_events::Rejection;
use freshet_search::{IndexRequest, Indexer, ItemOutcome};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// Kept back for storing dead letters and writing the answer.
const STORE_TIME: Duration = Duration::from_secs(8);

/// What is left of an item after indexing, per event of the batch.
struct Refused {
    record: usize,
    position: usize,
    rejection: Rejection,
    document: usize,
}

/// The enriching consumer.
pub struct Handler {
    enricher: Enricher,
    indexer: Indexer,
    store: DeadLetterStore,
}

impl Handler {
    /// A consumer that writes with `indexer` and keeps dead letters in `store`.
    #[must_use]
    pub const fn new(enricher: Enricher, indexer: Indexer, store: DeadLetterStore) -> Self {
        Self {
            enricher,
            indexer,
            store,
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
        let prepared = Prepared::from_batch(&batch, &self.enricher, now());
        let requests: Vec<_> = prepared
            .enriched
            .iter()
            .map(|event| IndexRequest {
                id: &event.document.id,
                json: &event.document.json,
                not_before: event.document.not_before,
            })
            .collect();
        let outcomes = self
            .indexer
            .index(
                &requests,
                deadline - STORE_TIME.min(deadline - Instant::now()),
            )
            .await;

        let mut tally = Tally {
            records: batch.records.len(),
            ..Tally::default()
        };
        let mut refused = Vec::new();
        let mut again = None;
        for (document, (event, outcome)) in prepared.enriched.iter().zip(outcomes).enumerate() {
            if let ItemOutcome::Retry { .. } = outcome {
                again = Some(again.map_or(event.record, |first: usize| first.min(event.record)));
            }
            tally.outcomes.push((event.record, outcome.clone()));
            if let ItemOutcome::Rejected(rejection) = outcome {
                refused.push(Refused {
                    record: event.record,
                    position: event.position,
                    rejection,
                    document,
                });
            }
        }
        // Only what is final is stored: the rest comes again.
        let end = again.unwrap_or(batch.records.len());
        if let Some(record) = self
            .store_dead_letters(&batch, &prepared, &refused, end, deadline)
            .await
        {
            again = Some(record);
        }
        tally.log(&prepared, again);
        let answer =
            again.map(|record| batch.records[record].sequence_number().clone().into_owned());
        Ok(answer.map_or_else(Answer::done, Answer::again_from))
    }

    /// Stores the dead letters of the records before `end`. If that fails,
    /// the first record that has one, so that it is delivered again.
    async fn store_dead_letters(
        &self,
        batch: &Batch<'_>,
        prepared: &Prepared,
        refused: &[Refused],
        end: usize,
        deadline: Instant,
    ) -> Option<usize> {
        let first = batch.records.first()?;
        let name = object::Batch {
            shard_id: first.shard_id(),
            first_sequence_number: first.sequence_number().as_str(),
            arrived_at: first.arrived_at(),
        };
        let number = |record: usize| batch.records[record].sequence_number().as_str();
        let rejected: Vec<(usize, RejectedItem<'_>)> = refused
            .iter()
            .filter(|item| item.record < end)
            .filter_map(|item| {
                let event: &RawValue =
                    serde_json::from_slice(&prepared.enriched[item.document].document.json).ok()?;
                let kept = RejectedItem {
                    stage: Cow::Borrowed(item.rejection.stage.as_str()),
                    code: Cow::Borrowed(&item.rejection.code),
                    message: Cow::Borrowed(&item.rejection.message),
                    sequence_number: Cow::Borrowed(number(item.record)),
                    position: item.position,
                    event,
                };
                Some((item.record, kept))
            })
            .collect();
        let unreadable: Vec<(usize, UndecodableItem<'_>)> = prepared
            .unreadable
            .iter()
            .filter(|item| item.record < end)
            .map(|item| {
                let at = object::Batch {
                    arrived_at: batch.records[item.record].arrived_at(),
                    ..name
                };
                let kept = UndecodableItem::new(
                    &item.rejection,
                    &at,
                    number(item.record),
                    item.place,
                    &item.data,
                );
                (item.record, kept)
            })
            .collect();
        let lost = [
            self.store(&name.key(REJECTED), &rejected, deadline).await,
            self.store(&name.key(UNDECODABLE), &unreadable, deadline)
                .await,
        ];
        lost.into_iter().flatten().min()
    }

    /// The record of the first item, if the object could not be stored.
    async fn store<T: serde::Serialize>(
        &self,
        key: &str,
        items: &[(usize, T)],
        deadline: Instant,
    ) -> Option<usize> {
        let (first, _) = items.first()?;
        let lines: Vec<&T> = items.iter().map(|(_, item)| item).collect();
        let stored = match object::write(&lines) {
            Ok(body) => timeout_at(deadline, self.store.put(key, body)).await,
            Err(error) => {
                tracing::error!(%error, "a dead letter could not be written");
                return Some(*first);
            }
        };
        match stored {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::error!(%error, items = items.len(), "dead letters could not be stored");
                Some(*first)
            }
            Err(_) => {
                tracing::error!(items = items.len(), "dead letters were not stored in time");
                Some(*first)
            }
        }
    }
}

/// What is logged of a batch: final outcomes only, so that each event counts
/// once however often it is delivered.
#[derive(Default)]
struct Tally {
    records: usize,
    outcomes: Vec<(usize, ItemOutcome)>,
}

impl Tally {
    fn log(&self, prepared: &Prepared, again: Option<usize>) {
        let end = again.unwrap_or(self.records);
        let last = self.outcomes.iter().filter(|(record, _)| *record < end);
        let (mut indexed, mut duplicates, mut rejected) = (0, 0, 0);
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, outcome) in last {
            match outcome {
                ItemOutcome::Indexed => indexed += 1,
                ItemOutcome::Duplicate => duplicates += 1,
                ItemOutcome::Rejected(rejection) => {
                    rejected += 1;
                    *codes.entry(&rejection.code).or_default() += 1;
                }
                ItemOutcome::Retry { .. } => {}
            }
        }
        let unreadable: Vec<_> = prepared
            .unreadable
            .iter()
            .filter(|item| item.record < end)
            .collect();
        for item in &unreadable {
            *codes.entry(&item.rejection.code).or_default() += 1;
        }
        let mut retry_codes = self
            .outcomes
            .iter()
            .filter_map(|(_, outcome)| match outcome {
                ItemOutcome::Retry { code } => Some(code.as_str()),
                _ => None,
            });
        let codes: Vec<String> = codes
            .into_iter()
            .map(|(code, n)| format!("{code}={n}"))
            .collect();
        let events = prepared.enriched.len() + prepared.unreadable.len();
        tracing::info!(
            records = self.records,
            events,
            indexed,
            duplicates,
            rejected,
            undecodable = unreadable.len(),
            retried = events - indexed - duplicates - rejected - unreadable.len(),
            rejected_codes = codes.join(","),
            retry_code = retry_codes.next_back().unwrap_or_default(),
            "batch handled"
        );
    }
}
