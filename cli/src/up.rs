//! `freshet up`, `down` and `status`.

use crate::health;
use crate::live::Live;
use crate::paths::Paths;
use crate::process::last_lines;
use crate::progress::Progress;
use crate::run_record::RunRecord;
use crate::stack::{Endpoints, Ports, Stack, StackOptions};
use anyhow::{Context as _, Result};
use clap::Args;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Steps that the progress bar counts when everything is installed.
const STEPS: u64 = 6;
/// How long `down` waits for the stack to end in order.
const GRACE: Duration = Duration::from_secs(60);
/// How long `up --detach` waits: a first time downloads and compiles a lot.
const DETACHED_PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Start the whole stack and watch it.
#[derive(Args, Clone, Debug)]
pub struct Up {
    /// Return when it is ready, and leave it running.
    #[arg(long)]
    detach: bool,
    /// Throw away what an earlier run has indexed.
    #[arg(long)]
    fresh: bool,
    /// Shards of the stream.
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// Port of the HTTP API; 0 is any that is free, as for all ports.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Port of the demo shop.
    #[arg(long, default_value_t = 8081)]
    shop_port: u16,
    /// Port of the AWS emulator.
    #[arg(long, default_value_t = 4566)]
    aws_port: u16,
    /// Port of OpenSearch.
    #[arg(long, default_value_t = 9200)]
    search_port: u16,
    /// Where its state is kept, instead of .local
    #[arg(long)]
    state: Option<PathBuf>,
}

impl Up {
    /// Runs the command.
    ///
    /// # Errors
    /// If the stack does not come up or does not end in order.
    pub async fn run(self) -> Result<()> {
        if self.detach {
            return self.detach();
        }
        let progress = Progress::new(STEPS);
        let options = StackOptions {
            state: self.state,
            ports: Ports {
                http: self.http_port,
                shop: self.shop_port,
                aws: self.aws_port,
                search: self.search_port,
            },
            shards: self.shards,
            fresh: self.fresh,
            minute: Some(Duration::from_secs(60)),
            ..StackOptions::default()
        };
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let stack = tokio::select! {
            stack = Stack::start(options, &progress) => stack?,
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("told to end"),
        };
        println!("{}", welcome(&stack.endpoints));
        let watching = watch(&stack);
        tokio::select! {
            result = watching => result?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        println!("\nstopping …");
        stack.stop().await?;
        println!("everything that was started has ended");
        Ok(())
    }

    /// Starts this same command in the background and waits until it is ready.
    fn detach(self) -> Result<()> {
        let paths = Paths::new(self.state.as_deref())?;
        if let Some(record) = RunRecord::read(paths.state())?
            && record.owner.is_running()
        {
            anyhow::bail!("the stack is up already (pid {})", record.owner.pid);
        }
        let log = paths.log("freshet");
        let output = std::fs::File::create(&log)?;
        let arguments = std::env::args_os()
            .skip(1)
            .filter(|argument| argument != "--detach");
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        let deadline = std::time::Instant::now() + DETACHED_PATIENCE;
        let mut shown = 0;
        let endpoints = loop {
            shown = show_more(&log, shown);
            if let Some(status) = child.try_wait()? {
                anyhow::bail!(
                    "the stack did not come up ({status}):\n{}",
                    last_lines(&log, 30)
                );
            }
            if let Ok(endpoints) = Endpoints::read(paths.state()) {
                break endpoints;
            }
            anyhow::ensure!(
                std::time::Instant::now() < deadline,
                "not ready in time:\n{}",
                last_lines(&log, 30)
            );
            std::thread::sleep(Duration::from_millis(200));
        };
        show_more(&log, shown);
        println!("{}", welcome(&endpoints));
        println!(
            "  in the background (pid {}): `freshet status`, `freshet down`",
            child.id()
        );
        Ok(())
    }
}

/// Prints the steps in the log from line `shown` on: whoever waits sees them
/// as if they were this command's own. Returns how many lines there were.
fn show_more(log: &Path, shown: usize) -> usize {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let marks = ["  ✓ ", "  … ", "  ✗ "];
    for line in whole.lines().skip(shown) {
        if marks.iter().any(|mark| line.starts_with(mark)) {
            // Nobody reading any more is no reason to fail.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    whole.lines().count()
}

fn welcome(endpoints: &Endpoints) -> String {
    let Endpoints {
        collect_url,
        query_url,
        shop_url,
        dashboard_url,
        search_url,
        ..
    } = endpoints;
    format!(
        "
  shop       {shop_url}   click around: every click becomes an event
  dashboard  {dashboard_url}   what visitors do now
  search     {search_url}
  collect    {collect_url}
  query      {query_url}/page_view   what the last five minutes counted; `./freshet top` shows it

  curl -H 'content-type: application/json' {collect_url} -d '
    {{\"user_id\":\"u1\",\"session_id\":\"s1\",\"event_type\":\"page_view\",
     \"page_url\":\"https://shop.example/\",\"timestamp\":\"'$(date -u +%FT%TZ)'\"}}'
"
    )
}

/// Redraws the live view each second; without a terminal a line now and then.
async fn watch(stack: &Stack) -> Result<()> {
    let endpoints = &stack.endpoints;
    let live = Live::start(
        stack.cloud.logs.subscribe(),
        &endpoints.opensearch_url,
        &endpoints.write_alias,
    )?
    .with_health(&endpoints.health_url())?;
    let terminal = std::io::stdout().is_terminal();
    let mut drawn = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(if terminal { 1 } else { 5 })).await;
        let snapshot = live.snapshot();
        let lag_ms = stack
            .cloud
            .mappings
            .values()
            .map(|m| m.stats.lag_ms.load(std::sync::atomic::Ordering::Acquire))
            .max();
        let lag_ms = if stack.cloud.is_idle() {
            0
        } else {
            lag_ms.unwrap_or(0).max(0)
        };
        let mut out = std::io::stdout().lock();
        if terminal {
            let panel = format!(
                "{snapshot}   lag {lag_ms} ms\n  health         {}\n\n  Ctrl-C stops everything",
                snapshot.health
            );
            if drawn > 0 {
                write!(out, "\x1b[{drawn}A\r\x1b[J")?;
            }
            drawn = panel.lines().count();
            writeln!(out, "{panel}")?;
        } else {
            let c = &snapshot.counts;
            writeln!(
                out,
                "in {} indexed {} duplicates {} rejected {} lag {lag_ms} ms health {}",
                c.received,
                c.indexed,
                c.duplicates,
                c.refused + c.rejected,
                snapshot.health
            )?;
        }
        out.flush()?;
    }
}

/// Stop exactly what `up` started.
#[derive(Args, Clone, Debug)]
pub struct Down {
    /// Where the stack's state is kept, instead of .local
    #[arg(long)]
    state: Option<PathBuf>,
}

impl Down {
    /// Runs the command.
    ///
    /// # Errors
    /// Names what does not end.
    pub async fn run(self) -> Result<()> {
        let paths = Paths::new(self.state.as_deref())?;
        let Some(record) = RunRecord::read(paths.state())? else {
            println!("nothing is running");
            return Ok(());
        };
        record.stop(GRACE).await?;
        let _ = std::fs::remove_file(paths.state().join("endpoints.json"));
        println!("stopped");
        Ok(())
    }
}

/// Say what is running and where.
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// Where the stack's state is kept, instead of .local
    #[arg(long)]
    state: Option<PathBuf>,
}

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// If the stack is not up: scripts see it by the exit code.
    pub async fn run(self) -> Result<()> {
        let paths = Paths::new(self.state.as_deref())?;
        let record = RunRecord::read(paths.state())?.filter(|record| record.owner.is_running());
        let record = record.context("the stack is not up")?;
        let state = |running: bool| if running { "running" } else { "gone" };
        println!("  freshet      pid {:<8} running", record.owner.pid);
        for (name, id) in &record.processes {
            println!("  {name:<12} pid {:<8} {}", id.pid, state(id.is_running()));
        }
        let endpoints = Endpoints::read(paths.state())?;
        println!("{}", welcome(&endpoints));
        let http = health::client()?;
        let state = health::state(&http, &endpoints.health_url()).await;
        println!("  health     {state}");
        Ok(())
    }
}

/// Warnings of the local cloud go to standard error; `RUST_LOG` shows more.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    drop(started); // a second call keeps the first subscriber
}
