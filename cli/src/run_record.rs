//! `run.json` in a stack's state: which processes it consists of, so that
//! another process can look at it and stop exactly those.

use crate::process::ProcessId;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERSION: u32 = 1;

/// The processes of one stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    version: u32,
    /// The process that runs the stack: `freshet up`, or a test.
    pub owner: ProcessId,
    /// What it started, by name.
    pub processes: BTreeMap<String, ProcessId>,
    #[serde(skip)]
    path: PathBuf,
}

impl RunRecord {
    /// Begins the record of a stack that this process runs.
    ///
    /// # Errors
    /// If another process runs it already, or the file cannot be written.
    pub async fn begin(state: &Path) -> Result<Self> {
        if let Some(found) = Self::read(state)? {
            anyhow::ensure!(
                !found.owner.is_running(),
                "the stack is up already (pid {}): `freshet status` shows it, `freshet down` stops it",
                found.owner.pid
            );
            // It was killed and could not clean up after itself.
            found.stop_processes().await?;
        }
        let record = Self {
            version: VERSION,
            owner: ProcessId::of_self().context("/proc is not readable")?,
            processes: BTreeMap::new(),
            path: path(state),
        };
        record.write()?;
        Ok(record)
    }

    /// The record in `state`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read or was written by a version that this one does not know.
    pub fn read(state: &Path) -> Result<Option<Self>> {
        let path = path(state);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let mut record: Self =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            record.version == VERSION,
            "{}: version {} is not known here",
            path.display(),
            record.version
        );
        record.path = path;
        Ok(Some(record))
    }

    /// Notes a process, or with `None` that it has ended.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set(&mut self, name: &str, id: Option<ProcessId>) -> Result<()> {
        let before = match id {
            Some(id) => self.processes.insert(name.to_owned(), id),
            None => self.processes.remove(name),
        };
        if before == id { Ok(()) } else { self.write() }
    }

    /// Stops the owner, which stops the rest, and then whatever is left.
    ///
    /// # Errors
    /// Names what does not end.
    pub async fn stop(self, grace: Duration) -> Result<()> {
        anyhow::ensure!(
            self.owner.stop(grace).await,
            "pid {} does not end",
            self.owner.pid
        );
        self.stop_processes().await
    }

    /// Stops what the record names but for the owner, and removes the record.
    async fn stop_processes(self) -> Result<()> {
        for (name, id) in &self.processes {
            anyhow::ensure!(
                id.stop(Duration::from_secs(20)).await,
                "{name} (pid {}) does not end",
                id.pid
            );
        }
        self.end()
    }

    /// Removes the record: everything has ended.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn end(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| self.path.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// Written beside and renamed, so that nobody reads half of it.
    fn write(&self) -> Result<()> {
        let beside = self.path.with_extension("json.new");
        std::fs::write(&beside, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&beside, &self.path))
            .with_context(|| self.path.display().to_string())
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("run.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("freshet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[tokio::test]
    async fn a_running_stack_is_not_started_twice() {
        let state = scratch("twice");
        let record = RunRecord::begin(&state).await.unwrap();
        let error = RunRecord::begin(&state).await.unwrap_err();
        assert!(error.to_string().contains("up already"), "{error}");
        record.end().unwrap();
        assert!(RunRecord::read(&state).unwrap().is_none());
        std::fs::remove_dir_all(state).unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_stopped() {
        let state = scratch("killed");
        let mut child = tokio::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let left = ProcessId::of(child.id().unwrap()).unwrap();
        let mut record = RunRecord::begin(&state).await.unwrap();
        record.set("server", Some(left)).unwrap();
        record.owner.start_ticks += 1; // no such process any more
        record.write().unwrap();

        let (again, _) = tokio::join!(RunRecord::begin(&state), child.wait());
        assert!(!left.is_running());
        assert!(again.unwrap().processes.is_empty());
        std::fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let state = scratch("version");
        let text = r#"{"version":9,"owner":{"pid":1,"start_ticks":1},"processes":{}}"#;
        std::fs::write(state.join("run.json"), text).unwrap();
        assert!(RunRecord::read(&state).is_err());
        std::fs::remove_dir_all(state).unwrap();
    }
}
