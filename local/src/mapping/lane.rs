//! A lane: forms batches of its records, and takes each through its invocations.

use super::{Invoke, OnFailure, Shard, Shared, now_ms, on_failure};
use crate::batch::{BatchRun, Outcome, Piece, Record, Step};
use crate::kinesis::RecordSource;
use crate::window::{OpenWindow, Window, state_bytes};
use crate::{ACCOUNT, REGION};
use axum::body::Bytes;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// The largest payload of an invocation.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// What a record's envelope adds to its data in the payload.
const ENVELOPE_BYTES: usize = 500;
/// A window is over so long after its end, and the time in which its last batch
/// is formed: arrival times may trail.
const GRACE: Duration = Duration::from_secs(1);

/// What a shard's poller tells a lane.
#[derive(Debug)]
pub(super) enum Item {
    Record(Record),
    /// Everything that had come until this time was read, and sent before this.
    Quiet(i64),
    /// The shard has ended.
    End,
}

/// Records that are invoked together.
struct Batch {
    records: Vec<Record>,
    /// Nothing of their window follows.
    closes: bool,
}

impl<S: RecordSource, F: Invoke, D: OnFailure> Shared<S, F, D> {
    /// Forms batches of a lane's records, one after the other.
    pub(super) async fn lane(self: Arc<Self>, shard: Arc<Shard>, mut items: mpsc::Receiver<Item>) {
        let mut held_over = None;
        let mut open = self
            .config
            .tumbling_window
            .and_then(|_| self.checkpoints.window(&shard.id));
        let grace = self.config.window + GRACE;
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        loop {
            let item = match held_over.take() {
                Some(item) => item,
                None => match items.recv().await {
                    Some(item) => item,
                    None => return,
                },
            };
            let first = match item {
                Item::Record(record) => record,
                Item::Quiet(until_ms) => {
                    let over = |open: &OpenWindow| until_ms - grace_ms >= open.window.end_ms;
                    if open.as_ref().is_some_and(over) {
                        self.close(&shard, open.take()).await;
                    }
                    continue;
                }
                Item::End => {
                    self.close(&shard, open).await;
                    return;
                }
            };
            let policy = self.config.policy.clone();
            let Some(window) = self.window_of(&first) else {
                let batch = self.batch(first, None, &mut items, &mut held_over).await;
                self.run(&shard, BatchRun::new(batch.records, policy)).await;
                continue;
            };
            if open.as_ref().is_some_and(|open| open.window != window) {
                self.close(&shard, open.take()).await;
            }
            let batch = self.batch(first, open.as_ref(), &mut items, &mut held_over);
            let batch = batch.await;
            let state = open.map(|open| open.state);
            let run = BatchRun::in_window(batch.records, policy, window, state, batch.closes);
            open = self.run(&shard, run).await;
        }
    }

    fn window_of(&self, record: &Record) -> Option<Window> {
        let length = self.config.tumbling_window?;
        Some(Window::of(record.arrived_ms, length))
    }

    /// Gives a window its final invocation, if it is open.
    async fn close(&self, shard: &Shard, open: Option<OpenWindow>) {
        if let Some(OpenWindow { window, state }) = open {
            let policy = self.config.policy.clone();
            let run = BatchRun::in_window(Vec::new(), policy, window, Some(state), true);
            self.run(shard, run).await;
        }
    }

    /// The records that are invoked with `first`, all of one window.
    async fn batch(
        &self,
        first: Record,
        open: Option<&OpenWindow>,
        items: &mut mpsc::Receiver<Item>,
        held_over: &mut Option<Item>,
    ) -> Batch {
        let closes_at = Instant::now() + self.config.window;
        let window = self.window_of(&first);
        let state_bytes = open.map_or(0, |open| state_bytes(&open.state));
        let mut bytes = payload_bytes(&first) + state_bytes;
        let mut batch = Batch {
            records: vec![first],
            closes: false,
        };
        while batch.records.len() < self.config.batch_size {
            let next = match items.try_recv() {
                Ok(item) => Some(item),
                Err(_) => timeout_at(closes_at, items.recv()).await.ok().flatten(),
            };
            let record = match next {
                None => break,
                Some(Item::Quiet(_)) => continue,
                Some(Item::End) => {
                    *held_over = Some(Item::End);
                    batch.closes = true;
                    break;
                }
                Some(Item::Record(record)) => record,
            };
            batch.closes = self.window_of(&record) != window;
            if batch.closes || bytes + payload_bytes(&record) > MAX_PAYLOAD_BYTES {
                *held_over = Some(Item::Record(record));
                break;
            }
            bytes += payload_bytes(&record);
            batch.records.push(record);
        }
        batch
    }

    /// Takes a batch to its end; returns the window that is still open then.
    async fn run(&self, shard: &Shard, mut run: BatchRun) -> Option<OpenWindow> {
        loop {
            match run.next(now_ms()) {
                Step::Done => return run.open_window(),
                Step::GiveUp(piece, condition) => {
                    self.stats
                        .given_up
                        .fetch_add(piece.records.len() as u64, Ordering::AcqRel);
                    if let Some(destination) = &self.on_failure {
                        let payload = self.payload(shard, &piece);
                        destination
                            .give_up(
                                &self.description(shard, &piece, condition.as_str()),
                                &payload,
                            )
                            .await;
                    }
                    self.done(shard, &piece.records, run.open_window());
                }
                Step::Invoke(piece) => {
                    if piece.retries > 0 {
                        sleep(backoff(piece.retries)).await;
                    }
                    let outcome = self.invoke(shard, &piece).await;
                    let done = run.finish(piece, &outcome);
                    self.done(shard, &done, run.open_window());
                }
            }
        }
    }

    /// Moves the shard's checkpoint, as far as every record before is done too,
    /// together with the window that what is done belongs to.
    fn done(&self, shard: &Shard, records: &[Record], open: Option<OpenWindow>) {
        let mut progress = shard.lock();
        let number = progress.finished(records);
        if number.is_some() || self.config.tumbling_window.is_some() {
            // Under the lock: a lane with an older checkpoint must not come after.
            self.checkpoints.set(&shard.id, number, open);
        }
        drop(progress);
        self.stats
            .finished
            .fetch_add(records.len() as u64, Ordering::AcqRel);
    }

    async fn invoke(&self, shard: &Shard, piece: &Piece) -> Outcome {
        self.stats.invocations.fetch_add(1, Ordering::AcqRel);
        if let Some(last) = piece.records.last() {
            let age_ms = now_ms() - last.arrived_ms;
            self.stats.lag_ms.store(age_ms, Ordering::Release);
            self.function.iterator_age(age_ms);
        }
        let payload = self.payload(shard, piece).to_string();
        match self.function.invoke(Bytes::from(payload)).await {
            Ok(answer) => Outcome::of_answer(&answer),
            Err(error) => {
                self.stats.errors.fetch_add(1, Ordering::AcqRel);
                tracing::warn!(function = self.function.arn(), %error, "an invocation failed");
                Outcome::FunctionError
            }
        }
    }

    /// The event. What is given up has its records alone: the window goes on.
    fn payload(&self, shard: &Shard, piece: &Piece) -> Value {
        let arn = self.source.arn();
        let turn = piece.turn.as_ref();
        let mut event = turn.map_or_else(Map::new, |turn| turn.payload(&shard.id, &arn));
        let records: Vec<Value> = piece
            .records
            .iter()
            .map(|record| {
                #[allow(clippy::cast_precision_loss)]
                let arrived = record.arrived_ms as f64 / 1000.0;
                json!({
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": record.partition_key,
                        "sequenceNumber": record.sequence_number,
                        "data": record.data,
                        "approximateArrivalTimestamp": arrived,
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": format!("{}:{}", shard.id, record.sequence_number),
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": format!("arn:aws:iam::{ACCOUNT}:role/local"),
                    "awsRegion": REGION,
                    "eventSourceARN": arn,
                })
            })
            .collect();
        event.insert("Records".to_owned(), Value::Array(records));
        Value::Object(event)
    }

    fn description(
        &self,
        shard: &Shard,
        piece: &Piece,
        condition: &str,
    ) -> on_failure::FailedBatch {
        let first = piece.records.first();
        let last = piece.records.last();
        let number = |record: Option<&Record>| {
            record
                .map(|r| r.sequence_number.clone())
                .unwrap_or_default()
        };
        on_failure::FailedBatch {
            mapping_id: self.config.id.clone(),
            function_arn: self.function.arn(),
            condition: condition.to_owned(),
            invocations: piece.retries + 1,
            shard_id: shard.id.clone(),
            stream_arn: self.source.arn(),
            first_sequence_number: number(first),
            last_sequence_number: number(last),
            first_arrived_ms: first.map_or(0, |r| r.arrived_ms),
            last_arrived_ms: last.map_or(0, |r| r.arrived_ms),
            batch_size: piece.records.len(),
        }
    }
}

fn payload_bytes(record: &Record) -> usize {
    record.data.len() + record.partition_key.len() + ENVELOPE_BYTES
}

pub(super) fn lane_of(partition_key: &str, lanes: usize) -> usize {
    let digest = Md5::digest(partition_key.as_bytes());
    usize::from(digest[15]) % lanes
}

/// 100 ms, doubled for each retry, at most five seconds. (AWS does not
/// document its own; it is of this order.)
fn backoff(retries: u32) -> Duration {
    Duration::from_millis(100)
        .saturating_mul(1 << retries.min(6))
        .min(Duration::from_secs(5))
}
