//! What a dead letter holds: each event of it in wire form, as it can be put
//! back on the stream, or the reason why it cannot.

use super::Kind;
use freshet_deadletters::object::{self, RejectedItem, UndecodableItem};
use freshet_deadletters::on_failure;
use freshet_deadletters::queue_message::QueueMessage;
use freshet_enrichment::restore::restore;
use freshet_events::wire::{Contents, Position, Record};
use freshet_events::{Code, DocumentId, Event, Rejection, SOURCE_STREAM, Stage, Timestamp};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The only version of queue messages there is.
const QUEUE_MESSAGE_VERSION: u8 = 1;
/// What Kinesis takes as a partition key, in characters.
const MAX_PARTITION_KEY_CHARS: usize = 256;

/// The code under which a letter is counted that cannot be read at all.
const LETTER_UNREADABLE: &str = "letter_unreadable";
/// The code of a rejected item whose document restores to no event.
const DOCUMENT_UNREADABLE: &str = "document_unreadable";
/// The code of an event that has no usable user id.
const PARTITION_KEY_INVALID: &str = "partition_key_invalid";

/// Why a [notice](freshet_events::notice) is not put back: it holds no event,
/// and a second time it would count what the first has counted.
const NOTICE: &str = "notice";

/// An event that can be put back. Whatever it was before, a dead letter's
/// second way is the same as its first: as wire JSON in a packed record.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ReplayableEvent {
    /// The `_id` of its document: what makes a second replay change nothing.
    pub(super) id: DocumentId,
    /// The partition key.
    pub(super) user_id: String,
    /// Its wire JSON.
    pub(super) json: Vec<u8>,
    /// Whether collect accepted it once, and not another producer put it.
    pub(super) by_collect: bool,
}

impl std::fmt::Debug for ReplayableEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReplayableEvent({}, {} bytes)", self.id, self.json.len())
    }
}

/// Why an event cannot be put back: a stable code and no more, since the words
/// behind it may name what a visitor sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreplayable(pub(super) Cow<'static, str>);

impl Unreplayable {
    /// Whether nothing is missing without it.
    pub(super) fn is_notice(&self) -> bool {
        self.0 == NOTICE
    }
}

impl From<Rejection> for Unreplayable {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.code)
    }
}

/// One event of a letter, or one record that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Why it is a dead letter.
    pub(super) code: String,
    /// What becomes of it.
    pub(super) event: Result<ReplayableEvent, Unreplayable>,
}

impl Item {
    /// What counts for a letter, or a line of it, that cannot be read: one item.
    pub(super) fn unreadable(reason: Unreplayable) -> Self {
        Self {
            code: LETTER_UNREADABLE.to_owned(),
            event: Err(reason),
        }
    }
}

/// All items of a letter, in its order.
///
/// # Errors
/// If the letter as a whole is not of its kind's shape.
pub(super) fn read(kind: Kind, body: &[u8]) -> Result<Vec<Item>, Unreplayable> {
    match kind {
        Kind::Queue => queue_message(body),
        Kind::Rejected => rejected(body),
        Kind::Undecodable => undecodable(body),
        Kind::OnFailure => on_failure_object(body),
    }
}

fn unreadable() -> Unreplayable {
    Unreplayable(Cow::Borrowed(LETTER_UNREADABLE))
}

fn queue_message(body: &[u8]) -> Result<Vec<Item>, Unreplayable> {
    let body = std::str::from_utf8(body).map_err(|_| unreadable())?;
    let message = QueueMessage::read(body).map_err(|_| unreadable())?;
    if message.version != QUEUE_MESSAGE_VERSION {
        return Err(unreadable());
    }
    let item = |json: &str| Item {
        code: message.code.to_owned(),
        event: packed_event(json),
    };
    Ok(message
        .events
        .iter()
        .map(|event| item(event.get()))
        .collect())
}

fn rejected(body: &[u8]) -> Result<Vec<Item>, Unreplayable> {
    let text = object::text(body).map_err(|_| unreadable())?;
    let items = object::lines::<RejectedItem<'_>>(&text).map(|line| match line {
        Err(_) => Item::unreadable(unreadable()),
        Ok(item) => Item {
            code: item.code.into_owned(),
            event: restored_event(item.event.get()),
        },
    });
    Ok(items.collect())
}

fn undecodable(body: &[u8]) -> Result<Vec<Item>, Unreplayable> {
    let text = object::text(body).map_err(|_| unreadable())?;
    let mut items = Vec::new();
    for line in object::lines::<UndecodableItem<'_>>(&text) {
        match line {
            Err(_) => items.push(Item::unreadable(unreadable())),
            Ok(line) => {
                let code = line.code.clone().into_owned();
                items.extend(undecodable_item(&line).into_iter().map(|event| Item {
                    code: code.clone(),
                    event,
                }));
            }
        }
    }
    Ok(items)
}

fn on_failure_object(body: &[u8]) -> Result<Vec<Item>, Unreplayable> {
    let batch = on_failure::read(body).map_err(|_| unreadable())?;
    let items = batch.records.iter().flat_map(|record| {
        let position = Position {
            shard_id: &record.shard_id,
            sequence_number: &record.sequence_number,
            arrived_at: record.arrived_at,
        };
        record_events(&record.data, &position)
    });
    let code = &batch.condition;
    let item = |event| Item {
        code: code.clone(),
        event,
    };
    Ok(items.map(item).collect())
}

/// What was unreadable once is read again by today's code: a fixed bug may
/// have made an event of it.
fn undecodable_item(item: &UndecodableItem<'_>) -> Vec<Result<ReplayableEvent, Unreplayable>> {
    let arrived_at = Timestamp::from_millis(item.arrived_at);
    let (Ok(data), Some(arrived_at)) = (item.bytes(), arrived_at) else {
        return vec![Err(unreadable())];
    };
    let position = Position {
        shard_id: &item.shard_id,
        sequence_number: &item.sequence_number,
        arrived_at,
    };
    let Some(place) = item.place() else {
        return record_events(&data, &position);
    };
    let event = isolated(|| match std::str::from_utf8(&data) {
        Err(_) => Err(unreadable()),
        Ok(json) if place.packed => packed_event(json),
        Ok(json) => {
            let record = Record::open(&data).map_err(|error| error.to_rejection())?;
            replayable(&record.read(json, place.position, &position)?, None)
        }
    });
    vec![event]
}

/// The events of a record that was at `position`; another producer's events
/// keep the identity that this place gave them.
fn record_events(
    data: &[u8],
    position: &Position<'_>,
) -> Vec<Result<ReplayableEvent, Unreplayable>> {
    let events = isolated(|| {
        let record = match Contents::open(data).map_err(|error| error.to_rejection())? {
            Contents::Events(record) => record,
            Contents::Notice(_) => return Err(Unreplayable(Cow::Borrowed(NOTICE))),
        };
        let events = record.split().map_err(|error| error.to_rejection())?;
        let read = |(index, json)| {
            isolated(|| {
                let event = record.read(json, index, position)?;
                replayable(&event, record.is_packed().then_some(json))
            })
        };
        Ok(events.into_iter().enumerate().map(read).collect())
    });
    events.unwrap_or_else(|reason| vec![Err(reason)])
}

/// An event that is in wire form already: its JSON stays as it is.
fn packed_event(json: &str) -> Result<ReplayableEvent, Unreplayable> {
    replayable(&Event::from_wire(json)?, Some(json))
}

fn restored_event(document: &str) -> Result<ReplayableEvent, Unreplayable> {
    let json = restore(document).map_err(|_| Unreplayable(Cow::Borrowed(DOCUMENT_UNREADABLE)))?;
    let text =
        std::str::from_utf8(&json).map_err(|_| Unreplayable(Cow::Borrowed(DOCUMENT_UNREADABLE)))?;
    packed_event(text)
}

fn replayable(event: &Event<'_>, wire: Option<&str>) -> Result<ReplayableEvent, Unreplayable> {
    let user_id = event.user_id();
    if user_id.is_empty() || user_id.chars().count() > MAX_PARTITION_KEY_CHARS {
        return Err(Unreplayable(Cow::Borrowed(PARTITION_KEY_INVALID)));
    }
    Ok(ReplayableEvent {
        id: event.document_id(),
        user_id: user_id.to_owned(),
        by_collect: event.source() != SOURCE_STREAM,
        json: wire.map_or_else(|| event.to_wire(), |json| json.as_bytes().to_vec()),
    })
}

/// An event is a dead letter perhaps because reading it panics: that must not
/// end the replay of all others.
fn isolated<T>(work: impl FnOnce() -> Result<T, Unreplayable>) -> Result<T, Unreplayable> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Rejection::new(Stage::Unpack, Code::Panicked, "the event could not be read").into())
    })
}

#[cfg(test)]
#[path = "letters_tests.rs"]
mod tests;
