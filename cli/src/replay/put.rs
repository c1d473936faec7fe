//! Events back on the stream, packed as the collector packs them.

use super::letters::ReplayableEvent;
use freshet_events::wire::Packer;
use freshet_streams::{PutOutcome, Record, Stream};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What Kinesis takes as one record, partition key included.
const MAX_RECORD_BYTES: usize = 1_048_576;
/// How long one round of puts, with the adapter's own retries, may take.
const ROUND: Duration = Duration::from_secs(20);
/// Between two rounds: a throttled stream frees its budget every second.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The stream has it.
    Held,
    /// No record can hold it.
    TooLarge,
    /// The stream refused it for as long as we had patience, and said so.
    Refused(String),
}

/// A record, and which events are in it.
struct Packed {
    record: Record,
    events: Vec<usize>,
}

/// Puts events and says of each what became of it. A user's events keep their
/// order. Refused records are put again until `patience` has passed without
/// any of them being taken.
pub(super) async fn put(
    stream: &Stream,
    packer: &mut Packer,
    events: &[ReplayableEvent],
    patience: Duration,
) -> Vec<Fate> {
    let mut fates = vec![Fate::TooLarge; events.len()];
    let mut pending = pack(packer, events);
    pending.retain(|packed| {
        packed.record.data.len() + packed.record.partition_key.len() <= MAX_RECORD_BYTES
    });
    let mut give_up = Instant::now() + patience;
    while !pending.is_empty() {
        let (mut records, mut holders) = (Vec::new(), Vec::new());
        for packed in pending.drain(..) {
            records.push(packed.record);
            holders.push(packed.events);
        }
        let outcomes = stream.put(&records, Instant::now() + ROUND).await;
        let mut passing = true;
        for ((record, events), outcome) in records.into_iter().zip(holders).zip(outcomes) {
            match outcome {
                PutOutcome::Held => {
                    events.iter().for_each(|event| fates[*event] = Fate::Held);
                    give_up = Instant::now() + patience;
                }
                PutOutcome::Refused { code } => {
                    passing &= may_pass(&code);
                    for event in &events {
                        fates[*event] = Fate::Refused(code.clone());
                    }
                    pending.push(Packed { record, events });
                }
            }
        }
        if pending.is_empty() || !passing || Instant::now() + PAUSE >= give_up {
            break;
        }
        sleep(PAUSE).await;
    }
    fates
}

/// Whether waiting helps: a stream that is not there, or not ours, stays so.
fn may_pass(code: &str) -> bool {
    !matches!(
        code,
        "ResourceNotFoundException"
            | "AccessDeniedException"
            | "ValidationException"
            | "InvalidArgumentException"
            | "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "KMSAccessDeniedException"
            | "KMSDisabledException"
            | "KMSNotFoundException"
    )
}

/// Fills records with the events of one user each, in their order.
fn pack(packer: &mut Packer, events: &[ReplayableEvent]) -> Vec<Packed> {
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by_key(|index| &events[*index].user_id); // stable: order is kept
    let mut packed = Vec::new();
    let mut held = Vec::new();
    for (at, &index) in order.iter().enumerate() {
        let event = &events[index];
        packer.push(&event.json);
        held.push(index);
        let next = order.get(at + 1).map(|next| &events[*next]);
        let same_record = next.is_some_and(|next| {
            next.user_id == event.user_id && packer.has_room_for(next.json.len())
        });
        if !same_record {
            let record = Record {
                partition_key: event.user_id.clone(),
                data: packer.finish(),
            };
            let events = std::mem::take(&mut held);
            packed.push(Packed { record, events });
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_events::{DocumentId, wire};
    use proptest::prelude::*;

    fn event(user: u8, bytes: usize) -> ReplayableEvent {
        ReplayableEvent {
            id: DocumentId::new("s", "e"),
            user_id: format!("user-{user}"),
            json: format!("\"{}\"", "x".repeat(bytes)).into_bytes(),
            by_collect: true,
        }
    }

    proptest! {
        #[test]
        fn each_event_is_in_one_record_of_its_user_in_order(
            events in proptest::collection::vec((0_u8..4, 0_usize..30_000), 0..40),
        ) {
            let events: Vec<_> = events.into_iter().map(|(user, bytes)| event(user, bytes)).collect();
            let packed = pack(&mut Packer::new(), &events);
            let mut seen: Vec<usize> = Vec::new();
            for Packed { record, events: indexes } in &packed {
                let opened = wire::Record::open(&record.data).unwrap();
                let expected: Vec<&str> = indexes.iter().map(|i| std::str::from_utf8(&events[*i].json).unwrap()).collect();
                prop_assert_eq!(opened.split().unwrap(), expected);
                prop_assert!(indexes.iter().all(|i| events[*i].user_id == record.partition_key));
                prop_assert!(indexes.is_sorted());
                seen.extend(indexes);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..events.len()).collect::<Vec<_>>());
        }
    }
}
