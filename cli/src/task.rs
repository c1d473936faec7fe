//! Commands that run to their end while their output tells how far they are.

use crate::process::last_lines;
use crate::progress::Step;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Stdio;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;

/// What a line of output says about how far a command is.
#[derive(Debug, PartialEq, Eq)]
pub enum Sign {
    /// So many parts of so many are done, and what is being done.
    Parts(u64, u64, String),
    /// What is being done.
    Doing(String),
}

/// Runs `command` to its end, with all its output in `log`, showing what
/// `read` finds in it. Returns the last line of its standard output.
///
/// Lines may end in a carriage return, as those of progress bars do.
///
/// # Errors
/// If it cannot be started or does not succeed: with the end of the log.
pub async fn run(
    mut command: Command,
    log: &Path,
    step: &Step,
    mut read: impl FnMut(&str) -> Option<Sign>,
) -> Result<String> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let mut kept = File::create(log)
        .await
        .with_context(|| log.display().to_string())?;
    let (send, mut lines) = mpsc::channel::<(bool, String)>(64);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let readers = async move {
        tokio::join!(
            forward_lines(stdout, true, send.clone()),
            forward_lines(stderr, false, send)
        )
    };
    let mut last = String::new();
    let keep = async {
        while let Some((is_stdout, line)) = lines.recv().await {
            match read(&line) {
                Some(Sign::Parts(done, of, what)) => step.advance(done, of, &what),
                Some(Sign::Doing(what)) => step.note(&what),
                None => {}
            }
            kept.write_all(line.as_bytes()).await?;
            kept.write_all(b"\n").await?;
            if is_stdout {
                last = line;
            }
        }
        kept.flush().await
    };
    let (_, written) = tokio::join!(readers, keep);
    written.with_context(|| log.display().to_string())?;
    let status = child.wait().await?;
    anyhow::ensure!(
        status.success(),
        "{program} failed ({status}):\n{}",
        last_lines(log, 25)
    );
    Ok(last)
}

async fn forward_lines(
    from: Option<impl AsyncRead + Unpin>,
    is_stdout: bool,
    to: mpsc::Sender<(bool, String)>,
) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; 8192];
    let mut line = Vec::new();
    // An error of the pipe is its end; the exit status says what happened.
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        for &byte in chunk.get(..read).unwrap_or_default() {
            if matches!(byte, b'\n' | b'\r') {
                if !line.is_empty() {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    let _ = to.send((is_stdout, text)).await;
                    line.clear();
                }
            } else {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        let text = String::from_utf8_lossy(&line).into_owned();
        let _ = to.send((is_stdout, text)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    #[tokio::test]
    async fn reads_both_streams_and_returns_the_last_line() {
        let log = std::env::temp_dir().join(format!("freshet-task-{}.log", std::process::id()));
        let step = Progress::silent().step("task");
        let mut command = Command::new("sh");
        command.args(["-c", r"printf 'a\rb\nfolder\n'; echo warning >&2"]);
        let mut seen = Vec::new();
        let last = run(command, &log, &step, |line| {
            seen.push(line.to_owned());
            None
        })
        .await
        .unwrap();
        seen.sort();
        assert_eq!(seen, ["a", "b", "folder", "warning"]);
        assert_eq!(last, "folder");

        let mut failing = Command::new("sh");
        failing.args(["-c", "echo no space left >&2; exit 1"]);
        let error = run(failing, &log, &step, |_| None).await.unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        step.done("");
        std::fs::remove_file(log).unwrap();
    }
}
