//! How far each shard is done, across restarts.

use crate::batch::Record;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No more often than this is the file written.
const WRITE_EVERY: Duration = Duration::from_millis(200);

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

/// The file's form. Windows and child shards will have their place in it.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u8,
    shards: BTreeMap<String, ShardCheckpoint>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ShardCheckpoint {
    sequence_number: String,
    /// A tumbling window's start and state; unused yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Value>,
}

/// The checkpoints of a mapping.
#[derive(Debug)]
pub(super) struct Checkpoints {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shards: BTreeMap<String, ShardCheckpoint>,
    written_at: Instant,
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
        let long_ago = Instant::now()
            .checked_sub(WRITE_EVERY)
            .unwrap_or_else(Instant::now);
        Ok(Self {
            path,
            state: Mutex::new(State {
                shards,
                written_at: long_ago,
                unwritten: false,
            }),
        })
    }

    pub(super) fn of(&self, shard: &str) -> Option<String> {
        let state = self.lock();
        let checkpoint = state.shards.get(shard)?;
        Some(checkpoint.sequence_number.clone())
    }

    pub(super) fn set(&self, shard: &str, sequence_number: String) {
        let checkpoint = ShardCheckpoint {
            sequence_number,
            window: None,
        };
        let mut state = self.lock();
        state.shards.insert(shard.to_owned(), checkpoint);
        state.unwritten = true;
        drop(state);
        self.write_if_due();
    }

    /// Writes what has changed, unless the last time was a moment ago. To be called now
    /// and then, as the last change has no other that brings it along.
    pub(super) fn write_if_due(&self) {
        let mut state = self.lock();
        if state.unwritten && state.written_at.elapsed() >= WRITE_EVERY {
            state.written_at = Instant::now();
            state.unwritten = false;
            self.write(&state.shards);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An older checkpoint only means that records are delivered again, so a
    /// failed write is told and not more.
    fn write(&self, shards: &BTreeMap<String, ShardCheckpoint>) {
        let file = File {
            version: 1,
            shards: shards.clone(),
        };
        let staged = self.path.with_extension("new");
        let written = serde_json::to_vec(&file)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&staged, bytes))
            .and_then(|()| std::fs::rename(&staged, &self.path));
        if let Err(error) = written {
            tracing::warn!(%error, "a checkpoint could not be written");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.write(&self.lock().shards);
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
        first.set("s", "1".into());
        first.set("s", "2".into());
        drop(first);
        assert_eq!(
            Checkpoints::open(path.clone()).unwrap().of("s").as_deref(),
            Some("2")
        );
        std::fs::write(&path, "{\"version\":9,\"shards\":{}}").unwrap();
        assert!(Checkpoints::open(path.clone()).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
