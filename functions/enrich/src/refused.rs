//! What becomes of events that were refused: a dead letter that keeps the
//! payload, and a line without it for the data-quality dashboard. Of those
//! that the collector refused there is a notice, and only the line.

use crate::prepare::{Enriched, Noticed, Prepared, Unreadable};
use freshet_deadletters::DeadLetterStore;
use freshet_deadletters::object::{self, REJECTED, RejectedItem, UNDECODABLE, UndecodableItem};
use freshet_edge::records::Batch;
use freshet_events::{Rejection, Stage, Timestamp};
use freshet_search::{DailyIndices, DailyWrite, ItemOutcome, Write};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use tokio::time::{Instant, timeout_at};

/// The refused events of the records that are final.
pub(crate) struct Refused<'p> {
    /// By the index.
    rejected: Vec<(&'p Enriched, &'p Rejection)>,
    /// Before they came to the index.
    unreadable: Vec<&'p Unreadable>,
    /// At the door.
    noticed: Vec<&'p Noticed>,
}

impl<'p> Refused<'p> {
    /// Those of the records before `end`.
    pub(crate) fn of(prepared: &'p Prepared, outcomes: &'p [ItemOutcome], end: usize) -> Self {
        let events = prepared.enriched.iter().zip(outcomes);
        let rejected = events.filter_map(|(event, outcome)| match outcome {
            ItemOutcome::Rejected(rejection) if event.record < end => Some((event, rejection)),
            _ => None,
        });
        let unreadable = prepared.unreadable.iter();
        let noticed = prepared.noticed.iter();
        Self {
            rejected: rejected.collect(),
            unreadable: unreadable.filter(|item| item.record < end).collect(),
            noticed: noticed.filter(|item| item.record < end).collect(),
        }
    }
}

impl Refused<'_> {
    /// Of each rejection its record, what tells it from others of that record,
    /// and the line. All lines bear the record's arrival time, so that the day
    /// of their index is the same at every delivery.
    fn lines<'l>(
        &'l self,
        batch: &'l Batch<'_>,
    ) -> impl Iterator<Item = (usize, String, Line<'l>)> {
        let line = |record: usize, rejection: &'l Rejection, source| Line {
            at: batch.records[record].arrived_at(),
            stage: rejection.stage.as_str(),
            code: &rejection.code,
            source,
            count: 1,
        };
        let rejected = self.rejected.iter().map(move |(event, rejection)| {
            let source = Some(event.document.session.source.as_str());
            let line = line(event.record, rejection, source);
            (event.record, event.position.to_string(), line)
        });
        let unreadable = self.unreadable.iter().map(move |item| {
            let place = item
                .place
                .map_or_else(|| "record".to_owned(), |place| place.position.to_string());
            (item.record, place, line(item.record, &item.rejection, None))
        });
        let noticed = self.noticed.iter().flat_map(move |item| {
            let codes = item.notice.rejected().iter();
            codes.map(move |(code, count)| {
                let line = Line {
                    at: batch.records[item.record].arrived_at(),
                    stage: Stage::Collect.as_str(),
                    code,
                    source: Some(item.notice.source()),
                    count: *count,
                };
                (item.record, code.clone(), line)
            })
        });
        rejected.chain(unreadable).chain(noticed)
    }
}

/// What became of the refused events of a batch.
#[derive(Default)]
pub(crate) struct Stored {
    /// If dead letters could not be stored, the first record that has one, so
    /// that it is delivered again.
    pub(crate) again: Option<usize>,
    /// Rejections that are missing from the dashboard.
    pub(crate) not_noted: usize,
}

/// Where refused events go.
pub(crate) struct Refusals {
    dead_letters: DeadLetterStore,
    daily: DailyIndices,
    prefix: String,
}

/// A rejection without its payload.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp")]
    at: Timestamp,
    stage: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    count: u32,
}

/// A line, and where it is kept.
struct Note {
    index: String,
    id: String,
    json: Vec<u8>,
    count: u32,
}

impl Refusals {
    pub(crate) fn new(dead_letters: DeadLetterStore, daily: DailyIndices, alias: &str) -> Self {
        Self {
            dead_letters,
            daily,
            prefix: format!("{alias}_rejections-"),
        }
    }

    /// Stores the dead letters, and then notes them in the index.
    pub(crate) async fn store(
        &self,
        batch: &Batch<'_>,
        refused: &Refused<'_>,
        deadline: Instant,
    ) -> Stored {
        let Some(first) = batch.records.first() else {
            return Stored::default();
        };
        let name = object::Batch {
            shard_id: first.shard_id(),
            first_sequence_number: first.sequence_number().as_str(),
            arrived_at: first.arrived_at(),
        };
        let number = |record: usize| batch.records[record].sequence_number().as_str();
        let rejected: Vec<(usize, RejectedItem<'_>)> = refused
            .rejected
            .iter()
            .filter_map(|(event, rejection)| {
                let document: &RawValue = serde_json::from_slice(&event.document.json).ok()?;
                let kept = RejectedItem {
                    stage: Cow::Borrowed(rejection.stage.as_str()),
                    code: Cow::Borrowed(&rejection.code),
                    message: Cow::Borrowed(&rejection.message),
                    sequence_number: Cow::Borrowed(number(event.record)),
                    position: event.position,
                    event: document,
                };
                Some((event.record, kept))
            })
            .collect();
        let unreadable: Vec<(usize, UndecodableItem<'_>)> = refused
            .unreadable
            .iter()
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
            self.put(&name.key(REJECTED), &rejected, deadline).await,
            self.put(&name.key(UNDECODABLE), &unreadable, deadline)
                .await,
        ];
        Stored {
            not_noted: self.note(batch, refused, deadline).await,
            again: lost.into_iter().flatten().min(),
        }
    }

    /// The record of the first item, if the object could not be stored.
    async fn put<T: Serialize>(
        &self,
        key: &str,
        items: &[(usize, T)],
        deadline: Instant,
    ) -> Option<usize> {
        let (first, _) = items.first()?;
        let lines: Vec<&T> = items.iter().map(|(_, item)| item).collect();
        let stored = match object::write(&lines) {
            Ok(body) => timeout_at(deadline, self.dead_letters.put(key, body)).await,
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

    /// Notes each rejection for the dashboard, under its place on the stream,
    /// so that a second delivery adds none. What is lost here is a line in a
    /// chart: the dead letter has the payload. Gives how many are.
    async fn note(&self, batch: &Batch<'_>, refused: &Refused<'_>, deadline: Instant) -> usize {
        let notes: Vec<Note> = refused
            .lines(batch)
            .filter_map(|(record, place, line)| {
                let envelope = &batch.records[record];
                let number = envelope.sequence_number().as_str();
                Some(Note {
                    index: format!("{}{}", self.prefix, line.at.day()),
                    id: format!("{}:{number}:{place}", envelope.shard_id()),
                    json: serde_json::to_vec(&line).ok()?,
                    count: line.count,
                })
            })
            .collect();
        if notes.is_empty() {
            return 0;
        }
        let writes: Vec<DailyWrite<'_>> = notes
            .iter()
            .map(|note| DailyWrite {
                index: note.index.clone(),
                id: &note.id,
                write: Write::Create { json: &note.json },
            })
            .collect();
        let outcomes = self.daily.write(&writes, deadline).await;
        let missing: usize = notes
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| !outcome.is_there())
            .map(|(note, _)| note.count as usize)
            .sum();
        if missing > 0 {
            tracing::warn!(missing, "rejections are missing from the dashboard");
        }
        missing
    }
}
