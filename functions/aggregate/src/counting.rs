//! From records to counts, without I/O.

use freshet_edge::records::Envelope;
use freshet_enrichment::Enricher;
use freshet_events::wire::{Contents, Position};
use freshet_events::{Event, Timestamp};
use freshet_windows::{
    Accumulator, Details, Observation, Piece, Registry, Tally, UNKNOWN, Windowing,
};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A piece is cut once it may take so much: records inflate, and a batch of
/// them has no bound of its own.
const CUT_AT_BYTES: usize = 8 * 1024 * 1024;

/// What a batch came to.
pub struct Counted {
    /// Of large batches several pieces; else one, which may have no table.
    pub pieces: Vec<Piece>,
    /// What became of the events.
    pub tally: Tally,
    /// Records and events that cannot be read, which enrich keeps as dead letters.
    pub unreadable: u64,
    /// Of each event that could be read, when the collector had it, or else the
    /// stream.
    pub received_at: Vec<Timestamp>,
}

/// Counts the events of these records, from what was counted before.
pub fn count_records(
    records: &[Envelope<'_>],
    before: Option<Piece>,
    enricher: &Enricher,
    registry: &Registry,
    windowing: Windowing,
) -> Counted {
    let mut accumulator = Accumulator::new(registry, windowing);
    if let Some(piece) = before {
        accumulator.resume(piece);
    }
    let mut pieces = Vec::new();
    let mut unreadable = 0;
    let mut received_at = Vec::new();
    for record in records {
        if accumulator.encoded_bytes_at_most() > CUT_AT_BYTES {
            pieces.push(accumulator.cut());
        }
        // Inflating and parsing run code of other crates on foreign bytes.
        let counted = catch_unwind(AssertUnwindSafe(|| {
            count_record(record, enricher, &mut accumulator, &mut received_at)
        }));
        unreadable += counted.unwrap_or(1);
    }
    let (piece, tally) = accumulator.finish();
    pieces.push(piece);
    Counted {
        pieces,
        tally,
        unreadable,
        received_at,
    }
}

fn count_record(
    record: &Envelope<'_>,
    enricher: &Enricher,
    accumulator: &mut Accumulator<'_>,
    received_at: &mut Vec<Timestamp>,
) -> u64 {
    let arrived_at = record.arrived_at();
    let position = Position {
        shard_id: record.shard_id(),
        sequence_number: record.sequence_number().as_str(),
        arrived_at,
    };
    let Ok(data) = record.data() else { return 1 };
    let events = match Contents::open(&data) {
        Ok(Contents::Events(events)) => events,
        Ok(Contents::Notice(_)) => return 0,
        Err(_) => return 1,
    };
    let Ok(texts) = events.split() else { return 1 };
    let mut unreadable = 0;
    for (place, json) in texts.into_iter().enumerate() {
        match events.read(json, place, &position) {
            Ok(event) => {
                received_at.push(event.received_at());
                observe(&event, enricher, |seen| accumulator.count(seen, arrived_at));
            }
            Err(_) => unreadable += 1,
        }
    }
    unreadable
}

/// Shows an event as aggregators see it.
fn observe(event: &Event<'_>, enricher: &Enricher, show: impl FnOnce(&Observation<'_>)) {
    let browser = enricher.browser(event);
    let (id, user, session) = Observation::hashes(event);
    show(&Observation {
        id,
        event_id: event.event_id(),
        synthetic: event.is_synthetic(),
        bot: browser
            .as_ref()
            .is_some_and(|browser| browser.bot.is_some()),
        user,
        session,
        at: event.timestamp(),
        event_type: event.event_type(),
        path: enricher.path(event).unwrap_or(Cow::Borrowed(UNKNOWN)),
        browser: browser.as_ref().map_or(UNKNOWN, |browser| &browser.name),
        details: &Enriched { event, enricher },
    });
}

struct Enriched<'a, 'e> {
    event: &'a Event<'e>,
    enricher: &'a Enricher,
}

impl Details for Enriched<'_, '_> {
    fn country(&self) -> Option<String> {
        self.enricher.country(self.event)
    }

    fn amount(&self) -> Option<f64> {
        self.enricher.amount(self.event)
    }
}
