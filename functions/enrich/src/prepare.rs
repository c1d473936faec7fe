//! Everything between the envelope and the `_bulk` request, without I/O.

use freshet_deadletters::object::EventPlace;
use freshet_edge::records::Batch;
use freshet_enrichment::{Document, Enricher};
use freshet_events::wire::{Contents, Position, RecordError};
use freshet_events::{Code, Notice, Rejection, Stage, Timestamp};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One event that can be indexed.
pub struct Enriched {
    /// Which record of the batch it came in.
    pub record: usize,
    /// Its place in that record.
    pub position: usize,
    /// What to index; its `not_before` takes the arrival time into account.
    pub document: Document,
}

/// A record, or one event of a record, that cannot be read.
pub struct Unreadable {
    /// Which record of the batch.
    pub record: usize,
    /// Its place in the record; none if the record as a whole is meant.
    pub place: Option<EventPlace>,
    /// Why.
    pub rejection: Rejection,
    /// The bytes to keep.
    pub data: Vec<u8>,
}

/// What the collector refused: no event, and no outcome of one.
pub struct Noticed {
    /// Which record of the batch.
    pub record: usize,
    /// Its source, and how many by code.
    pub notice: Notice,
}

/// A batch's events, each with exactly one of two outcomes.
#[derive(Default)]
pub struct Prepared {
    /// What to index, in the order of the batch.
    pub enriched: Vec<Enriched>,
    /// What to keep as dead letters, in the order of the batch.
    pub unreadable: Vec<Unreadable>,
    /// What to note of the collector, in the order of the batch.
    pub noticed: Vec<Noticed>,
}

impl Prepared {
    /// Opens every record and enriches every event. Whatever is wrong with one
    /// of them stays with it.
    #[must_use]
    pub fn from_batch(batch: &Batch<'_>, enricher: &Enricher, now: Timestamp) -> Self {
        let mut prepared = Self::default();
        for (index, envelope) in batch.records.iter().enumerate() {
            let position = Position {
                shard_id: envelope.shard_id(),
                sequence_number: envelope.sequence_number().as_str(),
                arrived_at: envelope.arrived_at(),
            };
            let data = match envelope.data() {
                Ok(data) => data,
                Err(text) => {
                    let rejection = Rejection::new(
                        Stage::Unpack,
                        Code::RecordUndecodable,
                        "the record is not base64",
                    );
                    prepared.unreadable.push(Unreadable {
                        record: index,
                        place: None,
                        rejection,
                        data: text.to_vec(),
                    });
                    continue;
                }
            };
            if let Err(rejection) = prepared.add_record(index, &data, &position, enricher, now) {
                prepared.unreadable.push(Unreadable {
                    record: index,
                    place: None,
                    rejection,
                    data,
                });
            }
        }
        prepared
    }

    fn add_record(
        &mut self,
        index: usize,
        data: &[u8],
        position: &Position<'_>,
        enricher: &Enricher,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        // Inflating and splitting run code of other crates on foreign bytes.
        let contents = isolated(|| Contents::open(data).map_err(|error| error.to_rejection()))?;
        let record = match contents {
            Contents::Events(record) => record,
            Contents::Notice(notice) => {
                self.noticed.push(Noticed {
                    record: index,
                    notice,
                });
                return Ok(());
            }
        };
        let events = isolated(|| {
            record
                .split()
                .map_err(|error: RecordError| error.to_rejection())
        })?;
        for (place, json) in events.into_iter().enumerate() {
            let enriched = isolated(|| {
                let event = record.read(json, place, position)?;
                enricher.enrich(&event, now)
            });
            match enriched {
                Ok(mut document) => {
                    document.not_before = document.not_before.min(position.arrived_at);
                    self.enriched.push(Enriched {
                        record: index,
                        position: place,
                        document,
                    });
                }
                Err(rejection) => {
                    let data = json.as_bytes().to_vec();
                    self.unreadable.push(Unreadable {
                        record: index,
                        place: Some(EventPlace {
                            position: place,
                            packed: record.is_packed(),
                        }),
                        rejection,
                        data,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A bug that panics on one event makes that event a dead letter: it must not
/// hold its shard.
fn isolated<T>(work: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Rejection::new(
            Stage::Enrich,
            Code::Panicked,
            "the event could not be handled",
        ))
    })
}
