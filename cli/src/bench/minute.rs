//! A minute of one shard, as Lambda hands it over in a tumbling window.

use super::{collect_once, http_request, kinesis_record, now};
use crate::traffic::{Event, Generator, Plan};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::collections::HashSet;

/// The shard that everything is of.
const SHARD: &str = "shardId-000000000000";
const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/bench";
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/bench";
/// Events of one request: a forwarder's, whose users are almost all different.
const REQUEST_EVENTS: usize = 100;
/// What a batch may have: the mapping's `BatchSize`, and Lambda's 6 MB less the
/// state's one.
const BATCH_RECORDS: usize = 10_000;
const BATCH_BYTES: usize = 5_000_000;
/// One event of this many is in the minute: visits last longer than that.
const THINNED: usize = 11;
/// No generator needs so many events to find enough users.
const MOST_GENERATED: usize = 1_000;
/// Sequence numbers have 56 digits.
const FIRST_NUMBER: u128 = 49_650_000_000_000_000_000_000_000_000_000_000_000;

/// A minute of a shard, in the batches of one tumbling window.
pub(super) struct Minute {
    /// When it begins, in milliseconds since 1970.
    start_ms: i64,
    /// How many events.
    pub(super) events: usize,
    /// By how many users.
    users: usize,
    /// In how many records of the stream.
    records: usize,
    /// In order.
    pub(super) batches: Vec<WindowBatch>,
}

/// One invocation's records.
pub(super) struct WindowBatch {
    /// `Records`, as JSON.
    records: String,
    /// Everything else but `state`, as JSON without the closing brace.
    window: String,
}

impl WindowBatch {
    /// The invocation's payload, with this state (JSON) of the one before;
    /// `{}` for the first.
    pub(super) fn payload(&self, state: &str) -> String {
        format!(
            "{},\"Records\":{},\"state\":{state}}}",
            self.window, self.records
        )
    }
}

impl Minute {
    /// The same events each time, but for their time: the last whole minute.
    ///
    /// # Errors
    /// If no such minute can be made.
    pub(super) fn of(events: usize, users: usize, packed: bool) -> Result<Self> {
        ensure!(
            (1..=events).contains(&users),
            "{events} events cannot be by {users} users"
        );
        let start_ms = (now().as_millis() / 60_000 - 1) * 60_000;
        let mut chosen = choose(events, users, start_ms)?;
        if packed {
            chosen.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        }
        for (n, event) in chosen.iter_mut().enumerate() {
            let passed_ms = (n * 60_000 / events) as i64;
            let time = jiff::Timestamp::from_millisecond(start_ms + passed_ms)?;
            event.timestamp = time.to_string();
        }
        let mut records = Vec::new();
        for (n, chunk) in chosen.chunks(REQUEST_EVENTS).enumerate() {
            let request = http_request(&json!({ "events": chunk }).to_string());
            let prepared = collect_once(&request.to_string())?;
            // Evenly over the minute, and in the stream a moment later.
            let passed = 60.0 * (n * REQUEST_EVENTS) as f64 / events as f64;
            let arrived_s = start_ms as f64 / 1e3 + passed + 0.05;
            for record in prepared.records {
                let number = format!("{}", FIRST_NUMBER + records.len() as u128);
                let number = format!("{number:0<56}");
                let mut record = kinesis_record(SHARD, &number, &record.data, arrived_s);
                record["eventSourceARN"] = json!(STREAM_ARN);
                record["invokeIdentityArn"] = json!(ROLE_ARN);
                records.push(record.to_string());
            }
        }
        let mut batches = Vec::new();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fit = rest.iter().take(BATCH_RECORDS).take_while(|record| {
                bytes += record.len() + 1;
                bytes <= BATCH_BYTES
            });
            let (batch, after) = rest.split_at(fit.count().max(1));
            batches.push(window_batch(batch, start_ms)?);
            rest = after;
        }
        Ok(Self {
            start_ms,
            events,
            users,
            records: records.len(),
            batches,
        })
    }

    pub(super) fn print(&self) {
        let bytes: usize = self.batches.iter().map(|batch| batch.records.len()).sum();
        println!(
            "one shard's minute      pane {}: {} events by {} users: {} records, {} invocations, {:.1} MB of JSON",
            self.start_ms / 60_000,
            self.events,
            self.users,
            self.records,
            self.batches.len(),
            bytes as f64 / 1e6
        );
    }
}

/// So many events by exactly so many users. Thinned: a minute sees a part of
/// each visit, and few events of one user.
fn choose(events: usize, users: usize, start_ms: i64) -> Result<Vec<Event>> {
    let generator = Generator::new(Plan {
        seed: 7,
        users: u32::try_from(users.saturating_mul(4)).context("too many users")?,
        start_ms,
        events_per_second: 0.0,
    });
    let repeats = events - users;
    let mut seen = HashSet::new();
    let mut chosen: Vec<Event> = Vec::with_capacity(events);
    for event in generator.step_by(THINNED).take(events * MOST_GENERATED) {
        if chosen.len() == events {
            break;
        }
        let known = seen.contains(&event.user_id);
        let repeated = chosen.len() - seen.len();
        if known && repeated == repeats || !known && seen.len() == users {
            continue;
        }
        if !known {
            seen.insert(event.user_id.clone());
        }
        chosen.push(event);
    }
    ensure!(
        chosen.len() == events && seen.len() == users,
        "no {events} events by {users} users: {} by {}",
        chosen.len(),
        seen.len()
    );
    Ok(chosen)
}

fn window_batch(records: &[String], start_ms: i64) -> Result<WindowBatch> {
    // The stream's minute: everything arrives within it.
    let time = |ms| jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string());
    let window = json!({
        "window": {"start": time(start_ms)?, "end": time(start_ms + 60_000)?},
        "shardId": SHARD,
        "eventSourceARN": STREAM_ARN,
        "isFinalInvokeForWindow": false,
        "isWindowTerminatedEarly": false,
    })
    .to_string();
    let open = window.strip_suffix('}').context("not an object")?;
    Ok(WindowBatch {
        records: format!("[{}]", records.join(",")),
        window: open.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_edge::records::Batch;
    use freshet_events::wire::{Position, Record};
    use serde_json::Value;

    #[test]
    fn a_minute_is_of_one_shard_and_has_what_it_says() {
        let minute = Minute::of(20_000, 15_000, false).unwrap();
        assert!(minute.batches.len() > 1, "{}", minute.batches.len());
        let (mut events, mut records) = (0, 0);
        let (mut users, mut numbers) = (HashSet::new(), Vec::new());
        for batch in &minute.batches {
            let payload = batch.payload(r#"{"a":"b"}"#);
            assert!(payload.len() < 6_000_000);
            let whole: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(whole["state"], json!({"a": "b"}));
            assert_eq!(
                (&whole["shardId"], &whole["isFinalInvokeForWindow"]),
                (&json!(SHARD), &json!(false))
            );
            let parsed: Batch<'_> = serde_json::from_str(&payload).unwrap();
            for envelope in &parsed.records {
                records += 1;
                assert_eq!(envelope.shard_id(), SHARD);
                let number = envelope.sequence_number().as_str().to_owned();
                assert_eq!(number.len(), 56);
                let data = envelope.data().unwrap();
                let record = Record::open(&data).unwrap();
                for (index, text) in record.split().unwrap().into_iter().enumerate() {
                    let position = Position {
                        shard_id: SHARD,
                        sequence_number: &number,
                        arrived_at: envelope.arrived_at(),
                    };
                    let event = record.read(text, index, &position).unwrap();
                    let happened = event.timestamp().as_millis() - minute.start_ms;
                    assert!((0..60_000).contains(&happened), "{happened}");
                    let arrived = envelope.arrived_at().as_millis() - minute.start_ms;
                    assert!((0..60_000).contains(&arrived), "{arrived}");
                    users.insert(event.user_id().to_owned());
                    events += 1;
                }
                numbers.push(number);
            }
        }
        assert_eq!((events, minute.events), (20_000, 20_000));
        assert_eq!((users.len(), minute.users), (15_000, 15_000));
        assert_eq!(records, minute.records);
        assert!(numbers.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn packed_a_record_has_several_events() {
        let minute = Minute::of(2_000, 200, true).unwrap();
        assert!((200..300).contains(&minute.records), "{}", minute.records);
    }

    #[test]
    fn more_users_than_events_are_refused() {
        assert!(Minute::of(10, 11, false).is_err());
    }
}
