//! `freshet bench aggregate`: a minute of one shard, as Lambda hands it over in
//! a tumbling window, and the article's own algorithm beside it.

use super::minute::Minute;
use super::{Measure, ROUNDS, freshness};
use crate::install::install;
use crate::paths::Paths;
use crate::progress::Progress;
use aggregate::counting::count_records;
use aggregate::invocation::Invocation;
use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use freshet_edge::records::Batch;
use freshet_enrichment::{Enricher, geo::Geo, user_agent::UserAgents};
use freshet_events::Timestamp;
use freshet_events::wire::{Position, Record};
use freshet_windows::{
    Accumulator, Details, EventHash, Observation, Piece, Registry, SessionHash, UNKNOWN, UserHash,
    Windowing,
};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;
use tokio::process::Command;

/// Measure aggregation.
#[derive(Args, Clone, Debug)]
pub(super) struct AggregateBench {
    /// Events of the shard's minute.
    #[arg(long, default_value_t = 60_000)]
    events: usize,
    /// Different users among them.
    #[arg(long, default_value_t = 45_000)]
    users: usize,
    /// What a user does in the minute comes in one request, and so in few records.
    #[arg(long)]
    packed: bool,
    /// Seconds for each buffer of the article's algorithm; 0 leaves it out.
    #[arg(long, default_value_t = 3.0)]
    article_seconds: f64,
    /// Measure how fresh the latest result is, too, on a stack started for it.
    #[arg(long)]
    stack: bool,
}

impl AggregateBench {
    /// Runs the command.
    ///
    /// # Errors
    /// If something cannot be installed, made or measured.
    pub(super) async fn run(self) -> Result<()> {
        let paths = Paths::new(None)?;
        let installed = install(&paths, &Progress::silent()).await?;
        let minute = Minute::of(self.events, self.users, self.packed)?;
        minute.print();
        let regexes = std::fs::read(installed.lookups.join("regexes.yaml"))?;
        let enricher = Enricher::new(UserAgents::from_yaml(&regexes)?, Geo::open::<&Path>(&[])?);
        in_process(&minute, &enricher)?;
        if self.article_seconds > 0.0 {
            let script = paths.checkout().join("tests/aggregate_baseline/article.py");
            article(&installed.python, &script, self.article_seconds).await?;
        }
        if self.stack {
            freshness::measure().await?;
        }
        Ok(())
    }
}

/// The function's steps without I/O, one thread, interleaved.
fn in_process(minute: &Minute, enricher: &Enricher) -> Result<()> {
    let payloads: Vec<String> = minute
        .batches
        .iter()
        .map(|batch| batch.payload("{}"))
        .collect();
    let counter = Counter {
        enricher,
        registry: Registry::builtin(),
    };
    let seen = Seen::of(&payloads, enricher)?;
    let (mut decode, mut whole, mut count) =
        (Measure::default(), Measure::default(), Measure::default());
    for _ in 0..=ROUNDS {
        decode.round(&payloads, decode_once)?;
        whole.round(&payloads, |payload| counter.to_piece(payload))?;
        count.round(&["the minute".to_owned()], |_| Ok(counter.count(&seen)))?;
    }
    println!("\nin process, one core       events/s    ns/event   MB/s in");
    decode.print("decode");
    whole.print("envelope to piece");
    // Its input is no bytes any more.
    let (events, _) = count.median();
    println!(
        "{:<24}{events:>12.0}{:>12.0}",
        "aggregation itself",
        1e9 / events
    );
    counter.print_state(&seen, minute.events);
    Ok(())
}

/// Every event of the minute as aggregators see it, decoded.
struct Seen {
    events: Vec<Decoded>,
}

struct Decoded {
    hashes: (EventHash, UserHash, SessionHash),
    at: Timestamp,
    arrived: Timestamp,
    event_type: String,
    path: String,
    browser: String,
}

/// No built-in aggregator asks for them.
struct NoDetails;

impl Details for NoDetails {
    fn country(&self) -> Option<String> {
        None
    }

    fn amount(&self) -> Option<f64> {
        None
    }
}

impl Seen {
    fn of(payloads: &[String], enricher: &Enricher) -> Result<Self> {
        let mut events = Vec::new();
        for payload in payloads {
            each_event(payload, |event, arrived| {
                let browser = enricher.browser(event);
                events.push(Decoded {
                    hashes: Observation::hashes(event),
                    at: event.timestamp(),
                    arrived,
                    event_type: event.event_type().to_owned(),
                    path: enricher
                        .path(event)
                        .map_or(UNKNOWN.to_owned(), Cow::into_owned),
                    browser: browser.map_or(UNKNOWN.to_owned(), |found| found.name.to_string()),
                });
            })?;
        }
        Ok(Self { events })
    }
}

struct Counter<'a> {
    enricher: &'a Enricher,
    registry: Registry,
}

impl Counter<'_> {
    /// What the function does with a batch before it writes.
    fn to_piece(&self, payload: &str) -> Result<usize> {
        let invocation = Invocation::read(payload)?;
        let counted = count_records(
            &invocation.records,
            None,
            self.enricher,
            &self.registry,
            Windowing::default(),
        );
        let events = usize::try_from(counted.tally.counted)?;
        for mut piece in counted.pieces {
            std::hint::black_box(piece.encode());
        }
        Ok(events)
    }

    fn count(&self, seen: &Seen) -> usize {
        std::hint::black_box(self.piece(seen));
        seen.events.len()
    }

    fn piece(&self, seen: &Seen) -> Piece {
        let mut accumulator = Accumulator::new(&self.registry, Windowing::default());
        for event in &seen.events {
            let (id, user, session) = event.hashes;
            let observation = Observation {
                id,
                event_id: "",
                synthetic: false,
                bot: false,
                user,
                session,
                at: event.at,
                event_type: &event.event_type,
                path: Cow::Borrowed(&event.path),
                browser: &event.browser,
                details: &NoDetails,
            };
            accumulator.count(&observation, event.arrived);
        }
        accumulator.finish().0
    }

    /// What the minute takes when it is written.
    fn print_state(&self, seen: &Seen, events: usize) {
        let mut piece = self.piece(seen);
        println!("\nthe minute, written           bytes   bytes/event");
        for (aggregator, _, table) in &mut piece.tables {
            let bytes = table.encode().len();
            println!(
                "{aggregator:<24}{bytes:>12}{:>14.2}",
                bytes as f64 / events as f64
            );
        }
    }
}

/// From the envelope to events; they are thrown away.
fn decode_once(payload: &str) -> Result<usize> {
    let mut events = 0;
    each_event(payload, |event, _| {
        std::hint::black_box(event);
        events += 1;
    })?;
    Ok(events)
}

/// Shows every event of a batch, and when it arrived.
fn each_event(
    payload: &str,
    mut show: impl FnMut(&freshet_events::Event<'_>, Timestamp),
) -> Result<()> {
    let batch: Batch<'_> = serde_json::from_str(payload)?;
    for envelope in &batch.records {
        let position = Position {
            shard_id: envelope.shard_id(),
            sequence_number: envelope.sequence_number().as_str(),
            arrived_at: envelope.arrived_at(),
        };
        let data = envelope.data().ok().context("a record is not base64")?;
        let record = Record::open(&data)?;
        for (index, text) in record.split()?.into_iter().enumerate() {
            let event = record.read(text, index, &position);
            let event = event.map_err(|rejection| anyhow!("{rejection:?}"))?;
            show(&event, envelope.arrived_at());
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct ArticleFigures {
    python: String,
    runs: Vec<ArticleRun>,
}

#[derive(Deserialize)]
struct ArticleRun {
    buffer: u64,
    events_per_second: f64,
}

/// Runs the article's algorithm and prints its figures.
async fn article(python: &Path, script: &Path, seconds: f64) -> Result<()> {
    let output = Command::new(python)
        .arg(script)
        .args(["--seconds", &seconds.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .await
        .context("python")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let figures: ArticleFigures = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
    println!(
        "\nthe article's algorithm, Python {}, a dict for Redis",
        figures.python
    );
    for run in figures.runs {
        println!(
            "buffer of {:<14}{:>12.1} events/s",
            run.buffer, run.events_per_second
        );
    }
    Ok(())
}
