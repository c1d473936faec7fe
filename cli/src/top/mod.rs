//! `freshet top`: the numbers of the last five minutes, in a terminal.
//!
//! [`watch`] asks the query API each second, [`compose`] makes a frame's lines
//! of what is known, and [`screen`] shows them where there is a terminal.

mod compose;
mod door;
mod pace;
mod screen;
mod watch;
mod words;

use anyhow::Result;
use clap::Args;
use ratatui::text::Line;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use watch::{Source, View, Watch};

const EVERY: Duration = Duration::from_secs(1);
/// Where no terminal says how wide it is.
const COLUMNS: u16 = 80;

/// Watch pages, the funnel and browsers of the last five minutes.
#[derive(Args, Clone, Debug)]
pub struct Top {
    /// A deployed stack's `QueryUrl`, instead of the local stack
    #[arg(long, conflicts_with = "state")]
    url: Option<String>,
    /// The read key of the stack at --url
    #[arg(long, env = "FRESHET_READ_KEY", hide_env_values = true)]
    read_key: Option<String>,
    /// Print one frame and end; with 1 if nobody answered
    #[arg(long)]
    once: bool,
    /// Where the local stack's state is kept, instead of .local
    #[arg(long)]
    state: Option<PathBuf>,
}

impl Top {
    /// Runs the command.
    ///
    /// # Errors
    /// If the terminal or standard output fails. Nobody answering is no error:
    /// the view says so and goes on asking; with `--once` it is the exit code.
    pub async fn run(self) -> Result<ExitCode> {
        let once = self.once;
        let mut watch = Watch::new(self.source());
        if once {
            let view = watch.look(now_ms()).await;
            print(&view)?;
            let failed = view.trouble.is_some();
            return Ok(if failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        if std::io::stdout().is_terminal() {
            screen::run(watch).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            let view = watch.look(now_ms()).await;
            if !print(&view)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    fn source(self) -> Source {
        match self.url {
            Some(url) => Source::Url {
                url,
                read_key: self.read_key.filter(|key| !key.is_empty()),
            },
            None => Source::Stack(self.state),
        }
    }
}

/// One frame's text of what the API at `url` says now: what `--once` prints.
///
/// # Errors
/// If nobody answers as a query API does.
pub async fn frame(url: &str, columns: u16) -> Result<String> {
    let source = Source::Url {
        url: url.to_owned(),
        read_key: None,
    };
    let view = Watch::new(source).look(now_ms()).await;
    anyhow::ensure!(
        view.trouble.is_none(),
        "{}",
        view.trouble.unwrap_or_default()
    );
    Ok(text(&compose::compose(&view, columns, u16::MAX, now_ms())))
}

/// Prints a frame, and whether anybody reads on.
fn print(view: &View) -> Result<bool> {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.parse().ok());
    let terminal = || ratatui::crossterm::terminal::size().ok();
    let columns = columns.or_else(|| {
        let is_terminal = std::io::stdout().is_terminal();
        is_terminal
            .then(terminal)
            .flatten()
            .map(|(columns, _)| columns)
    });
    let columns = columns.unwrap_or(COLUMNS).max(1);
    let lines = compose::compose(view, columns, u16::MAX, now_ms());
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text(&lines)).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        // `freshet top | head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lines without colours, nor spaces at their ends.
fn text(lines: &[Line<'_>]) -> String {
    let mut all = String::new();
    for line in lines {
        let text: String = line
            .spans
            .iter()
            .map(|span| span.content.as_ref())
            .collect();
        all.push_str(text.trim_end());
        all.push('\n');
    }
    all
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
