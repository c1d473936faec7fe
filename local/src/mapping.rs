//! An event source mapping: polls a stream, forms batches, invokes a function
//! and keeps checkpoints. What happens to a batch is decided by
//! [`batch`](crate::batch).

mod checkpoint;
mod on_failure;

use crate::batch::{BatchRun, FailurePolicy, Outcome, Piece, Record, Step};
use crate::function::InvokeError;
use crate::kinesis::{ReadFrom, RecordSource};
use crate::{ACCOUNT, REGION};
use axum::body::Bytes;
use checkpoint::{Checkpoints, Progress};
use md5::{Digest as _, Md5};
pub use on_failure::{OnFailure, S3OnFailure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// The largest payload of an invocation.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// What a record's envelope adds to its data in the payload.
const ENVELOPE_BYTES: usize = 500;
/// An empty shard is asked again after so long, growing from the first to the second.
const POLL_MS: (u64, u64) = (5, 200);

/// The mapping's properties, in the template's terms.
#[derive(Clone, Debug)]
pub struct MappingConfig {
    /// Names its checkpoints.
    pub id: String,
    /// `BatchSize`.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub window: Duration,
    /// `ParallelizationFactor`.
    pub parallelization_factor: usize,
    /// `StartingPosition`.
    pub start: ReadFrom,
    /// How failures are handled.
    pub policy: FailurePolicy,
    /// Where checkpoints are kept.
    pub checkpoint_file: PathBuf,
}

/// Something that can be invoked: a function, or a test's stand-in.
pub trait Invoke: Send + Sync + 'static {
    /// Hands over a payload and waits for the response.
    fn invoke(&self, payload: Bytes) -> impl Future<Output = Result<Bytes, InvokeError>> + Send;
    /// The function's ARN.
    fn arn(&self) -> String;
}

impl Invoke for crate::function::Function {
    fn invoke(&self, payload: Bytes) -> impl Future<Output = Result<Bytes, InvokeError>> + Send {
        crate::function::Function::invoke(self, payload)
    }
    fn arn(&self) -> String {
        crate::function::Function::arn(self)
    }
}

/// What a mapping has done so far.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records read from the stream.
    pub read: AtomicU64,
    /// Records that are done or given up.
    pub finished: AtomicU64,
    /// Invocations, whatever became of them.
    pub invocations: AtomicU64,
    /// Invocations that failed.
    pub errors: AtomicU64,
    /// Records sent to the on-failure destination.
    pub given_up: AtomicU64,
    /// Age of the last record that was handed to the function, in milliseconds.
    pub lag_ms: AtomicI64,
}

/// A running mapping. Dropping it stops it where it is; its checkpoints say
/// where to go on.
pub struct Mapping {
    /// What it has done.
    pub stats: Arc<Stats>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What all tasks of a mapping share.
struct Shared<S, F, D> {
    config: MappingConfig,
    source: S,
    function: Arc<F>,
    on_failure: Option<D>,
    checkpoints: Checkpoints,
    stats: Arc<Stats>,
}

impl Mapping {
    /// Starts polling every shard, from its checkpoint if it has one.
    ///
    /// # Errors
    /// If the shards cannot be listed or the checkpoints cannot be read.
    pub async fn start<S: RecordSource, F: Invoke, D: OnFailure>(
        config: MappingConfig,
        source: S,
        function: Arc<F>,
        on_failure: Option<D>,
    ) -> anyhow::Result<Self> {
        let stats = Arc::new(Stats::default());
        let checkpoints = Checkpoints::open(config.checkpoint_file.clone())?;
        let shards = source.shards().await?;
        let shared = Arc::new(Shared {
            config,
            source,
            function,
            on_failure,
            checkpoints,
            stats: Arc::clone(&stats),
        });
        let tasks = shards
            .into_iter()
            .map(|shard| tokio::spawn(Arc::clone(&shared).poll(shard)))
            .collect();
        Ok(Self { stats, tasks })
    }

    /// Whether everything that was read is finished.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stats.is_idle()
    }
}

impl Stats {
    fn is_idle(&self) -> bool {
        // In this order: what is read and finished between the two would
        // otherwise make up for what was read before and is not finished.
        let finished = self.finished.load(Ordering::Acquire);
        let read = self.read.load(Ordering::Acquire);
        finished == read
    }
}

/// What the tasks of one shard share.
struct Shard {
    id: String,
    progress: Mutex<Progress>,
}

impl<S: RecordSource, F: Invoke, D: OnFailure> Shared<S, F, D> {
    /// Reads a shard and deals its records to lanes by their key, so that one
    /// key's records stay in order.
    async fn poll(self: Arc<Self>, shard_id: String) {
        let shard = Arc::new(Shard {
            id: shard_id,
            progress: Mutex::default(),
        });
        let mut lanes = Vec::new();
        let mut tasks = tokio::task::JoinSet::new(); // ends with this task
        for _ in 0..self.config.parallelization_factor.max(1) {
            let (sender, receiver) = mpsc::channel(self.config.batch_size * 2);
            lanes.push(sender);
            tasks.spawn(Arc::clone(&self).lane(Arc::clone(&shard), receiver));
        }
        let mut from = match self.checkpoints.of(&shard.id) {
            Some(number) => ReadFrom::After(number),
            None => self.config.start.clone(),
        };
        let mut idle_ms = POLL_MS.0;
        loop {
            let records = match self.source.read(&shard.id, &from).await {
                Ok(records) => records,
                Err(error) => {
                    tracing::warn!(shard = shard.id, %error, "reading a shard failed");
                    sleep(Duration::from_millis(500)).await;
                    continue;
                }
            };
            idle_ms = if records.is_empty() {
                (idle_ms * 2).min(POLL_MS.1)
            } else {
                POLL_MS.0
            };
            if let Some(last) = records.last() {
                from = ReadFrom::After(last.sequence_number.clone());
            }
            self.stats
                .read
                .fetch_add(records.len() as u64, Ordering::AcqRel);
            for record in records {
                shard.lock().started(&record.sequence_number);
                let lane = lane_of(&record.partition_key, lanes.len());
                if lanes[lane].send(record).await.is_err() {
                    return;
                }
            }
            sleep(Duration::from_millis(idle_ms)).await;
            self.checkpoints.write_if_due();
        }
    }

    /// Forms batches of a lane's records, one after the other.
    async fn lane(self: Arc<Self>, shard: Arc<Shard>, mut records: mpsc::Receiver<Record>) {
        let mut held_over = None;
        loop {
            let first = match held_over.take() {
                Some(record) => record,
                None => match records.recv().await {
                    Some(record) => record,
                    None => return,
                },
            };
            let closes_at = Instant::now() + self.config.window;
            let mut bytes = payload_bytes(&first);
            let mut batch = vec![first];
            while batch.len() < self.config.batch_size {
                let next = match records.try_recv() {
                    Ok(record) => Some(record),
                    Err(_) => timeout_at(closes_at, records.recv()).await.ok().flatten(),
                };
                let Some(record) = next else { break };
                if bytes + payload_bytes(&record) > MAX_PAYLOAD_BYTES {
                    held_over = Some(record);
                    break;
                }
                bytes += payload_bytes(&record);
                batch.push(record);
            }
            self.run(&shard, batch).await;
        }
    }

    async fn run(&self, shard: &Shard, batch: Vec<Record>) {
        let mut run = BatchRun::new(batch, self.config.policy.clone());
        loop {
            match run.next(now_ms()) {
                Step::Done => return,
                Step::GiveUp(piece, condition) => {
                    self.stats
                        .given_up
                        .fetch_add(piece.records.len() as u64, Ordering::AcqRel);
                    if let Some(destination) = &self.on_failure {
                        let payload = self.payload(&shard.id, &piece.records);
                        destination
                            .give_up(
                                &self.description(shard, &piece, condition.as_str()),
                                &payload,
                            )
                            .await;
                    }
                    self.done(shard, &piece.records);
                }
                Step::Invoke(piece) => {
                    if piece.retries > 0 {
                        sleep(backoff(piece.retries)).await;
                    }
                    let outcome = self.invoke(shard, &piece).await;
                    let done = run.finish(piece, &outcome);
                    self.done(shard, &done);
                }
            }
        }
    }

    /// Moves the shard's checkpoint, as far as every record before is done too.
    fn done(&self, shard: &Shard, records: &[Record]) {
        let mut progress = shard.lock();
        if let Some(number) = progress.finished(records) {
            // Under the lock: a lane with an older checkpoint must not come after.
            self.checkpoints.set(&shard.id, number);
        }
        drop(progress);
        self.stats
            .finished
            .fetch_add(records.len() as u64, Ordering::AcqRel);
    }

    async fn invoke(&self, shard: &Shard, piece: &Piece) -> Outcome {
        self.stats.invocations.fetch_add(1, Ordering::AcqRel);
        if let Some(last) = piece.records.last() {
            self.stats
                .lag_ms
                .store(now_ms() - last.arrived_ms, Ordering::Release);
        }
        let payload = self.payload(&shard.id, &piece.records).to_string();
        match self.function.invoke(Bytes::from(payload)).await {
            Ok(answer) => Outcome::of_answer(&answer),
            Err(error) => {
                self.stats.errors.fetch_add(1, Ordering::AcqRel);
                tracing::warn!(function = self.function.arn(), %error, "an invocation failed");
                Outcome::FunctionError
            }
        }
    }

    fn payload(&self, shard_id: &str, records: &[Record]) -> Value {
        let arn = self.source.arn();
        let records: Vec<Value> = records
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
                    "eventID": format!("{shard_id}:{}", record.sequence_number),
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": format!("arn:aws:iam::{ACCOUNT}:role/local"),
                    "awsRegion": REGION,
                    "eventSourceARN": arn,
                })
            })
            .collect();
        json!({ "Records": records })
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

impl Shard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn payload_bytes(record: &Record) -> usize {
    record.data.len() + record.partition_key.len() + ENVELOPE_BYTES
}

fn lane_of(partition_key: &str, lanes: usize) -> usize {
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

pub(crate) fn now_ms() -> i64 {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
