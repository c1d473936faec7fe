//! Processes that belong to a stack: started, recognised again, stopped.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// One process, and no other that gets the same number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The process that has number `pid` now, unless there is none or it has
    /// ended and only waits to be collected.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            pid: i32::try_from(pid).ok()?,
            start_ticks: start_ticks(&stat)?,
        })
    }

    /// This process.
    #[must_use]
    pub fn of_self() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        u32::try_from(self.pid).ok().and_then(Self::of) == Some(*self)
    }

    /// Asks it to end, and after `grace` ends it. True if it is gone.
    pub async fn stop(&self, grace: Duration) -> bool {
        for (signal, patience) in [
            (Signal::TERM, grace),
            (Signal::KILL, Duration::from_secs(5)),
        ] {
            // Looked at right before each signal: the number may be another's by now.
            if !self.is_running() {
                return true;
            }
            if let Some(pid) = Pid::from_raw(self.pid) {
                let _ = rustix::process::kill_process(pid, signal);
            }
            let deadline = Instant::now() + patience;
            while self.is_running() && Instant::now() < deadline {
                sleep(Duration::from_millis(20)).await;
            }
        }
        !self.is_running()
    }
}

/// The 22nd field of `/proc/PID/stat`. The second, the program's name, is in
/// parentheses and may hold anything, more parentheses included.
fn start_ticks(stat: &str) -> Option<u64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace();
    let state = after_name.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    after_name.nth(18)?.parse().ok()
}

/// A server that this process started and that ends with it.
#[derive(Debug)]
pub struct ServerProcess {
    name: &'static str,
    id: ProcessId,
    child: Child,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `command` with its output appended to `log`.
    ///
    /// It gets a process group of its own: Ctrl-C at the terminal then reaches
    /// only us, and we end it in order.
    ///
    /// # Errors
    /// If the log cannot be opened or the program not be started.
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let output = fs::File::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let id = child
            .id()
            .and_then(ProcessId::of)
            .with_context(|| format!("{name} ended at once, see {}", log.display()))?;
        Ok(Self {
            name,
            id,
            child,
            log: log.to_path_buf(),
        })
    }

    /// Which process it is.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Returns once `is_ready` does; asks it every 50 ms.
    ///
    /// # Errors
    /// If the process ends first or takes longer than `patience`: with the
    /// last lines of its log.
    pub async fn wait_until_ready(
        &mut self,
        patience: Duration,
        is_ready: impl AsyncFn() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!(
                    "{} ended ({status}):\n{}",
                    self.name,
                    last_lines(&self.log, 25)
                );
            }
            if is_ready().await {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{} was not ready after {} s:\n{}",
                self.name,
                patience.as_secs(),
                last_lines(&self.log, 25)
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks it to end, after `grace` ends it, and collects it.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn stop(mut self, grace: Duration) -> Result<()> {
        // Collected while it is being stopped: otherwise it would stay a zombie.
        let (_, gone) = tokio::join!(self.child.wait(), self.id.stop(grace));
        anyhow::ensure!(gone, "{} (pid {}) does not end", self.name, self.id.pid);
        Ok(())
    }

    /// Ends it without asking, as a crash would.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// The end of a log, for an error message.
#[must_use]
pub fn last_lines(log: &Path, count: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    let mut tail = lines.get(from..).unwrap_or_default().join("\n  ");
    tail.insert_str(0, "  ");
    format!("{tail}\n  (all of it: {})", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) S 1) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(start_ticks(stat), Some(4242));
        assert_eq!(start_ticks(&stat.replace(") S 1 7", ") Z 1 7")), None);
    }

    #[tokio::test]
    async fn stops_what_it_started_and_nothing_else() {
        let dir = std::env::temp_dir().join(format!("freshet-process-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        let server = ServerProcess::start("sleeper", sleeper, &dir.join("log")).unwrap();
        let id = server.id();
        assert!(id.is_running());

        let recycled = ProcessId {
            start_ticks: id.start_ticks + 1,
            ..id
        };
        assert!(!recycled.is_running());
        assert!(recycled.stop(Duration::ZERO).await);
        assert!(id.is_running(), "the same number, but another process");

        server.stop(Duration::from_secs(5)).await.unwrap();
        assert!(!id.is_running());
        fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn says_why_a_server_did_not_become_ready() {
        let dir = std::env::temp_dir().join(format!("freshet-ready-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut failing = Command::new("sh");
        failing.args(["-c", "sleep 0.1; echo no such port; exit 3"]);
        let mut server = ServerProcess::start("thing", failing, &dir.join("log")).unwrap();
        let error = server
            .wait_until_ready(Duration::from_secs(5), async || false)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no such port"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}
