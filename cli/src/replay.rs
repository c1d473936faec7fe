//! Dead letters go through the same code again: from the queue and the bucket
//! back onto the stream, where enrich takes them up like any other record.
//!
//! Putting an event twice changes nothing, because its document is created
//! once by its identity. So everything here prefers twice to never: a message
//! is deleted after the stream has it, an object is noted as done after that.
//!
//! Never printed or logged: a payload, a user id, an IP address.

mod command;
mod driver;
mod letters;
mod metric;
mod progress;
mod put;
mod queue;
mod summary;
mod target;

pub use command::{Args, execute};
pub use metric::Replayed;
pub use progress::ProgressError;
pub use queue::{QueueError, ReplayQueue};
pub use summary::{Counts, Failure, Summary};
pub use target::{Target, TargetError};

use driver::Replay;
use freshet_deadletters::object::{REJECTED, UNDECODABLE};
use freshet_deadletters::on_failure::ON_FAILURE;
use freshet_deadletters::{DeadLetterStore, StoreError};
use freshet_events::Timestamp;
use freshet_streams::Stream;
use progress::Progress;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// A shape of dead letters, by where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// Messages of the collector, when the stream refused.
    Queue,
    /// Items that the index refused.
    Rejected,
    /// Records that enrich could not read.
    Undecodable,
    /// Batches whose attempts were exhausted.
    OnFailure,
}

impl Kind {
    /// All of them, in the order they are replayed.
    pub const ALL: [Self; 4] = [
        Self::Queue,
        Self::Rejected,
        Self::Undecodable,
        Self::OnFailure,
    ];

    /// Its name on the command line and in the summary.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Rejected => "rejected",
            Self::Undecodable => "undecodable",
            Self::OnFailure => "on-failure",
        }
    }

    /// Where in the bucket it is kept; nothing for the queue.
    const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Queue => None,
            Self::Rejected => Some(REJECTED),
            Self::Undecodable => Some(UNDECODABLE),
            Self::OnFailure => Some(ON_FAILURE),
        }
    }
}

/// From when on dead letters are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// As the user wrote it: `2h`, `2026-11-23`.
    pub text: String,
    /// The moment that was meant.
    pub at: Timestamp,
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only what was sent or stored from then on.
    pub since: Option<Since>,
    /// Only this code: of a rejection or a queue message, or the condition of
    /// Lambda's on-failure object.
    pub code: Option<String>,
    /// Only these shapes.
    pub kinds: BTreeSet<Kind>,
    /// Count, and change nothing.
    pub dry_run: bool,
    /// Where to note which objects are done; nowhere: an interrupted replay
    /// starts over.
    pub progress: Option<PathBuf>,
    /// The most events put in a second, so that live traffic keeps its share
    /// of the stream; 0 for no bound.
    pub events_per_s: u32,
    /// How long to wait for a stream that takes nothing at all.
    pub patience: Duration,
}

impl Default for Options {
    /// Everything, from the beginning, at 5,000 events a second.
    fn default() -> Self {
        Self {
            since: None,
            code: None,
            kinds: Kind::ALL.into(),
            dry_run: false,
            progress: None,
            events_per_s: 5_000,
            patience: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// What is selected, in words: two replays of the same words may share
    /// their progress.
    #[must_use]
    pub fn selection(&self) -> String {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let mut words = format!("kinds {}", kinds.join(","));
        if let Some(since) = &self.since {
            words += &format!(" since {}", since.text);
        }
        if let Some(code) = &self.code {
            words += &format!(" code {code}");
        }
        words
    }
}

/// Where dead letters are read and where they go.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The stream. Its client must not retry by itself.
    pub stream: Stream,
    /// The collector's dead-letter queue.
    pub queue: ReplayQueue,
    /// The dead-letter bucket.
    pub store: DeadLetterStore,
    /// What the stack's ledger is told.
    pub metric: Replayed,
}

/// Why a replay could not begin or go on. What single letters lack is in the
/// [`Summary`] instead.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The bucket cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue cannot be read.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Progress cannot be noted.
    #[error(transparent)]
    Progress(#[from] ProgressError),
}

/// Replays what `options` select. `watch` sees the counts after every letter.
///
/// The stream refusing everything ends a replay early, with what is left
/// untouched: [`Summary::stopped`] says so, and the same call goes on later.
///
/// # Errors
/// [`ReplayError`] if the bucket or the queue cannot be read, or progress not
/// be noted. Nothing is lost then either.
pub async fn run(
    options: &Options,
    clients: &Clients,
    watch: &mut (dyn FnMut(&Summary) + Send),
) -> Result<Summary, ReplayError> {
    let selection = options.selection();
    let since = options.since.as_ref().map(|since| since.at);
    let progress = match &options.progress {
        Some(path) if !options.dry_run => Some(Progress::open(path, &selection, since)?),
        _ => None,
    };
    let mut replay = Replay::new(options, clients, watch, progress);
    let done = replay.all().await;
    replay.tell().await;
    done?;
    let (summary, progress) = replay.into_parts();
    if let Some(progress) = progress.filter(|_| summary.stopped.is_none()) {
        progress.finish()?;
    }
    Ok(summary)
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
