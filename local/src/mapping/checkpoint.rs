//! How far each shard is done, across restarts.

use crate::batch::Record;
use crate::kinesis::ReadFrom;
use crate::window::OpenWindow;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No more often than this is the file written,
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// nor for more than one part of so many of the time: states can be large.
const WRITING_PART: u32 = 10;

/// Which records of a shard are read but not finished. Lanes finish out of
/// order; the checkpoint is the last record before the first unfinished one.
#[derive(Debug, Default)]
pub(super) struct Progress {
    in_order: VecDeque<String>,
    finished: HashSet<String>,
}

impl Progress {
    pub(super) fn started(&mut self, number: &str) {
        self.in_order.push_back(number.to_owned());
    }

    /// The new checkpoint, if it moved.
    pub(super) fn finished(&mut self, records: &[Record]) -> Option<String> {
        let numbers = records.iter().map(|record| record.sequence_number.clone());
        self.finished.extend(numbers);
        let mut checkpoint = None;
        while let Some(first) = self.in_order.front() {
            if !self.finished.remove(first) {
                break;
            }
            checkpoint = self.in_order.pop_front();
        }
        checkpoint
    }
}

/// The file's form.
#[derive(Debug, Deserialize)]
struct File {
    version: u8,
    shards: Shards,
}

type Shards = BTreeMap<String, ShardCheckpoint>;

/// How far a shard is done. Its parts are written together: a window's state is
/// that of the records up to the number, and of no others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ShardCheckpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
    /// Where it began, if that is not its oldest record.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<i64>,
    /// The tumbling window that still has to have its final invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<OpenWindow>,
    /// It was closed, and is read to its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    finished: bool,
}

/// The checkpoints of a mapping.
#[derive(Debug)]
pub(super) struct Checkpoints {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shards: Shards,
    write_after: Instant,
    unwritten: bool,
}

impl Checkpoints {
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let shards = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("the checkpoints {}", path.display()));
            }
            Ok(bytes) => {
                let file: File = serde_json::from_slice(&bytes)
                    .with_context(|| format!("the checkpoints {}", path.display()))?;
                anyhow::ensure!(file.version == 1, "checkpoints of version {}", file.version);
                file.shards
            }
        };
        Ok(Self {
            path,
            state: Mutex::new(State {
                shards,
                write_after: Instant::now(),
                unwritten: false,
            }),
        })
    }

    /// Whether the mapping never ran.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().shards.is_empty()
    }

    /// Where reading a shard begins or goes on.
    pub(super) fn read_from(&self, shard: &str) -> ReadFrom {
        let checkpoint = self.of(shard).unwrap_or_default();
        match (checkpoint.sequence_number, checkpoint.since_ms) {
            (Some(number), _) => ReadFrom::After(number),
            (None, Some(ms)) => ReadFrom::Since(ms),
            (None, None) => ReadFrom::Oldest,
        }
    }

    /// The tumbling window of a shard that still has to have its final invocation.
    pub(super) fn window(&self, shard: &str) -> Option<OpenWindow> {
        self.of(shard)?.window
    }

    /// How many shards have such a window.
    pub(super) fn open_windows(&self) -> usize {
        let state = self.lock();
        let open = state.shards.values().filter(|c| c.window.is_some());
        open.count()
    }

    /// Whether a shard is read to its end.
    pub(super) fn is_finished(&self, shard: &str) -> bool {
        let state = self.lock();
        state.shards.get(shard).is_some_and(|c| c.finished)
    }

    fn of(&self, shard: &str) -> Option<ShardCheckpoint> {
        self.lock().shards.get(shard).cloned()
    }

    /// A shard is read from this time on.
    pub(super) fn begin(&self, shard: &str, since_ms: i64) {
        self.change(shard, |checkpoint| checkpoint.since_ms = Some(since_ms));
        self.write_if_due();
    }

    /// Everything up to this record is done, or nothing more than before; the
    /// window is what it left open.
    pub(super) fn set(
        &self,
        shard: &str,
        sequence_number: Option<String>,
        window: Option<OpenWindow>,
    ) {
        self.change(shard, |checkpoint| {
            checkpoint.window = window;
            if sequence_number.is_some() {
                checkpoint.sequence_number = sequence_number;
            }
        });
        self.write_if_due();
    }

    /// A shard is read to its end. Written at once: its children begin then.
    pub(super) fn finish(&self, shard: &str) {
        self.change(shard, |checkpoint| {
            checkpoint.finished = true;
            checkpoint.window = None;
        });
        self.lock().write(&self.path);
    }

    fn change(&self, shard: &str, change: impl FnOnce(&mut ShardCheckpoint)) {
        let mut state = self.lock();
        change(state.shards.entry(shard.to_owned()).or_default());
        state.unwritten = true;
    }

    /// Writes what has changed, unless the last time was a moment ago. To be called now
    /// and then, as the last change has no other that brings it along.
    pub(super) fn write_if_due(&self) {
        let mut state = self.lock();
        if state.unwritten && Instant::now() >= state.write_after {
            state.write(&self.path);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An older checkpoint only means that records are delivered again, so a
    /// failed write is told and not more.
    fn write(&mut self, path: &Path) {
        #[derive(Serialize)]
        struct File<'a> {
            version: u8,
            shards: &'a Shards,
        }
        let began = Instant::now();
        let file = File {
            version: 1,
            shards: &self.shards,
        };
        let staged = path.with_extension("new");
        let written = serde_json::to_vec(&file)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&staged, bytes))
            .and_then(|()| std::fs::rename(&staged, path));
        if let Err(error) = written {
            tracing::warn!(%error, "a checkpoint could not be written");
        }
        self.unwritten = false;
        self.write_after = Instant::now() + WRITE_EVERY.max(began.elapsed() * WRITING_PART);
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.lock().write(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_waits_for_the_first_unfinished_record() {
        let mut progress = Progress::default();
        (1..=4).for_each(|n: u32| progress.started(&n.to_string()));
        let mut finish = |numbers: &[&str]| {
            let record = |number: &&str| Record {
                sequence_number: (*number).to_owned(),
                partition_key: String::new(),
                data: String::new(),
                arrived_ms: 0,
            };
            progress.finished(&numbers.iter().map(record).collect::<Vec<_>>())
        };
        assert_eq!(finish(&["2", "3"]), None);
        assert_eq!(finish(&[]), None);
        assert_eq!(finish(&["1"]).as_deref(), Some("3"));
        assert_eq!(finish(&["4"]).as_deref(), Some("4"));
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let path =
            std::env::temp_dir().join(format!("freshet-checkpoint-{}.json", std::process::id()));
        let first = Checkpoints::open(path.clone()).unwrap();
        assert!(first.is_empty());
        first.set("s", Some("1".into()), None);
        first.set("s", Some("2".into()), None);
        first.begin("t", 5);
        first.finish("u");
        drop(first);
        let second = Checkpoints::open(path.clone()).unwrap();
        assert!(!second.is_empty());
        let from = ["s", "t", "v"].map(|shard| second.read_from(shard));
        let after = ReadFrom::After("2".into());
        assert_eq!(from, [after, ReadFrom::Since(5), ReadFrom::Oldest]);
        let finished = ["s", "t", "u", "v"].map(|shard| second.is_finished(shard));
        assert_eq!(finished, [false, false, true, false]);
        drop(second);
        std::fs::write(&path, "{\"version\":9,\"shards\":{}}").unwrap();
        assert!(Checkpoints::open(path.clone()).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
