//! An event source mapping: polls a stream, forms batches, invokes a function
//! and keeps checkpoints. What happens to a batch is decided by
//! [`batch`](crate::batch).

mod checkpoint;
mod lane;
mod on_failure;
mod shards;

use crate::batch::FailurePolicy;
use crate::function::InvokeError;
use crate::kinesis::{ReadFrom, RecordSource, ShardInfo};
use crate::window;
use axum::body::Bytes;
use checkpoint::{Checkpoints, Progress};
use lane::{Item, lane_of};
pub use on_failure::{OnFailure, S3OnFailure};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// An empty shard is asked again after so long, growing from the first to the second.
const POLL_MS: (u64, u64) = (5, 200);
/// Shards are listed when one ends, and at least this often.
const LIST_EVERY: Duration = Duration::from_secs(2);

/// The mapping's properties, in the template's terms.
#[derive(Clone, Debug)]
pub struct MappingConfig {
    /// Its UUID: what it gives up is kept under it.
    pub id: String,
    /// `BatchSize`.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub window: Duration,
    /// `ParallelizationFactor`; 1 with tumbling windows.
    pub parallelization_factor: usize,
    /// `TumblingWindowInSeconds`; none = records are invoked without a window.
    pub tumbling_window: Option<Duration>,
    /// `StartingPosition`: of the shards that there are when the mapping starts
    /// for the first time. Later ones are read from their beginning.
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
    /// Takes the age of a batch's last record, in milliseconds.
    fn iterator_age(&self, _age_ms: i64) {}
}

impl Invoke for crate::function::Function {
    fn invoke(&self, payload: Bytes) -> impl Future<Output = Result<Bytes, InvokeError>> + Send {
        crate::function::Function::invoke(self, payload)
    }
    fn arn(&self) -> String {
        crate::function::Function::arn(self)
    }
    fn iterator_age(&self, age_ms: i64) {
        crate::function::Function::iterator_age(self, age_ms);
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
    checkpoints: Arc<Checkpoints>,
    task: JoinHandle<()>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What all tasks of a mapping share.
struct Shared<S, F, D> {
    config: MappingConfig,
    source: S,
    function: Arc<F>,
    on_failure: Option<D>,
    checkpoints: Arc<Checkpoints>,
    stats: Arc<Stats>,
}

impl Mapping {
    /// Starts polling every shard, from its checkpoint if it has one.
    ///
    /// # Errors
    /// If the shards cannot be listed, the checkpoints cannot be read, or AWS
    /// would refuse the configuration.
    pub async fn start<S: RecordSource, F: Invoke, D: OnFailure>(
        config: MappingConfig,
        source: S,
        function: Arc<F>,
        on_failure: Option<D>,
    ) -> anyhow::Result<Self> {
        window::check(config.tumbling_window, config.parallelization_factor)?;
        let stats = Arc::new(Stats::default());
        let checkpoints = Arc::new(Checkpoints::open(config.checkpoint_file.clone())?);
        let listed = source.shards().await?;
        if config.start == ReadFrom::Latest && checkpoints.is_empty() {
            let now = now_ms();
            for shard in &listed {
                if shards::is_closed(&listed, &shard.id) {
                    checkpoints.finish(&shard.id);
                } else {
                    checkpoints.begin(&shard.id, now);
                }
            }
        }
        let shared = Arc::new(Shared {
            config,
            source,
            function,
            on_failure,
            checkpoints: Arc::clone(&checkpoints),
            stats: Arc::clone(&stats),
        });
        let task = tokio::spawn(shared.supervise(listed));
        Ok(Self {
            stats,
            checkpoints,
            task,
        })
    }

    /// Whether everything that was read is finished. Windows may be open still.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stats.is_idle()
    }

    /// How many shards have a window that had no final invocation yet.
    #[must_use]
    pub fn open_windows(&self) -> usize {
        self.checkpoints.open_windows()
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
    /// Reads every shard in its time: parents before their children.
    async fn supervise(self: Arc<Self>, mut listed: Vec<ShardInfo>) {
        let mut pollers = JoinSet::new(); // ends with this task
        let mut being_read = HashSet::new();
        loop {
            let is_finished = |id: &str| self.checkpoints.is_finished(id);
            for id in shards::ready(&listed, &being_read, is_finished) {
                being_read.insert(id.to_owned());
                pollers.spawn(Arc::clone(&self).poll(id.to_owned()));
            }
            tokio::select! {
                Some(ended) = pollers.join_next() => {
                    // One that was torn down leaves its shard among those being read.
                    if let Ok(id) = ended {
                        being_read.remove(&id);
                    }
                }
                () = sleep(LIST_EVERY) => {}
            }
            match self.source.shards().await {
                Ok(shards) => listed = shards,
                Err(error) => {
                    tracing::warn!(%error, "listing the shards failed");
                    sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Reads a shard to its end and deals its records to lanes by their key, so
    /// that one key's records stay in order. Returns the shard's name when it
    /// is finished.
    async fn poll(self: Arc<Self>, shard_id: String) -> String {
        let shard = Arc::new(Shard {
            id: shard_id,
            progress: Mutex::default(),
        });
        let mut lanes = Vec::new();
        let mut tasks = JoinSet::new(); // ends with this task
        for _ in 0..self.config.parallelization_factor.max(1) {
            let (sender, receiver) = mpsc::channel(self.config.batch_size * 2);
            lanes.push(sender);
            tasks.spawn(Arc::clone(&self).lane(Arc::clone(&shard), receiver));
        }
        self.read(&shard, &lanes).await;
        for lane in lanes {
            drop(lane.send(Item::End).await);
        }
        let mut all_ended = true;
        while let Some(ended) = tasks.join_next().await {
            all_ended &= ended.is_ok();
        }
        if all_ended {
            self.checkpoints.finish(&shard.id);
        }
        shard.id.clone()
    }

    /// Reads a shard to its end.
    async fn read(&self, shard: &Shard, lanes: &[mpsc::Sender<Item>]) {
        let mut from = self.checkpoints.read_from(&shard.id);
        let mut idle_ms = POLL_MS.0;
        loop {
            let asked_ms = now_ms();
            let read = match self.source.read(&shard.id, &from).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(shard = shard.id, %error, "reading a shard failed");
                    sleep(Duration::from_millis(500)).await;
                    continue;
                }
            };
            let quiet = read.records.is_empty() && read.is_all;
            idle_ms = if read.records.is_empty() {
                (idle_ms * 2).min(POLL_MS.1)
            } else {
                POLL_MS.0
            };
            if let Some(last) = read.records.last() {
                from = ReadFrom::After(last.sequence_number.clone());
            }
            self.stats
                .read
                .fetch_add(read.records.len() as u64, Ordering::AcqRel);
            for record in read.records {
                shard.lock().started(&record.sequence_number);
                let lane = lane_of(&record.partition_key, lanes.len());
                if lanes[lane].send(Item::Record(record)).await.is_err() {
                    return;
                }
            }
            if read.ended {
                return;
            }
            if quiet && self.config.tumbling_window.is_some() {
                // A lane with no room has something to do, and is told the next time.
                for lane in lanes {
                    drop(lane.try_send(Item::Quiet(asked_ms)));
                }
            }
            sleep(Duration::from_millis(idle_ms)).await;
            self.checkpoints.write_if_due();
        }
    }
}

impl Shard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
#[path = "mapping_stream_tests.rs"]
mod stream_tests;
