//! `freshet send`: visitors of a shop, as many as you like.

use crate::paths::Paths;
use crate::sender::{self, Tally, Target};
use crate::stack::Endpoints;
use crate::traffic::{Generator, Plan};
use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Send the events of a shop's visitors.
///
/// The exit code is 1 if an event was dropped or given up.
#[derive(Args, Clone, Debug)]
pub struct Send {
    /// Events a second; 0 is as fast as they are taken.
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// How many events; without it, until Ctrl-C.
    #[arg(long)]
    events: Option<usize>,
    /// How many different visitors.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// The same seed gives the same events again, identifiers included: sent
    /// twice, they count as duplicates. [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Most events in one request.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=2500))]
    batch: u16,
    /// Most requests at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Where to post. [default: the local stack's collector]
    #[arg(long)]
    url: Option<String>,
    /// Sent as X-Write-Key.
    #[arg(long, env = "FRESHET_WRITE_KEY", hide_env_values = true)]
    write_key: Option<String>,
    /// Where the stack's state is kept, instead of .local
    #[arg(long)]
    state: Option<PathBuf>,
}

/// Over 10 s of backoff in the end: long enough for a deployment.
const MOST_RETRIES: u32 = 12;

impl Send {
    /// Runs the command and prints a summary.
    ///
    /// # Errors
    /// If there is no stack to send to.
    pub async fn run(self) -> Result<ExitCode> {
        let url = match self.url {
            Some(url) => url,
            None => Endpoints::read(Paths::new(self.state.as_deref())?.state())?.collect_url,
        };
        let seed = self.seed.unwrap_or_else(rand::random);
        let plan = Plan {
            seed,
            users: self.users,
            start_ms: jiff::Timestamp::now().as_millisecond(),
            events_per_second: self.rate,
        };
        let target = Target {
            url,
            write_key: self.write_key,
            rate: self.rate,
            batch: usize::from(self.batch),
            concurrency: usize::from(self.concurrency),
            most_retries: MOST_RETRIES,
        };
        println!("seed {seed}, {} visitors, to {}", self.users, target.url);
        let events = Generator::new(plan).take(self.events.unwrap_or(usize::MAX));
        let tally = Tally::default();
        let bar = progress_bar(self.events);
        let started = Instant::now();
        tokio::select! {
            sent = sender::send(&target, events, &tally) => sent?,
            () = show(&bar, &tally, started) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        bar.finish_and_clear();
        println!("{}", summary(&tally, started.elapsed()));
        let failed = [&tally.dropped, &tally.given_up];
        let all_well = failed.iter().all(|n| n.load(Ordering::Relaxed) == 0);
        Ok(if all_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && rate >= 0.0 {
        Ok(rate)
    } else {
        Err("events a second, 0 or more".to_owned())
    }
}

fn progress_bar(events: Option<usize>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match events {
        Some(events) => (
            ProgressBar::new(events as u64),
            "  {bar:30.cyan/black.bright} {msg}  {eta:.dim} left",
        ),
        None => (ProgressBar::new_spinner(), "  {spinner:.cyan} {msg}"),
    };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─");
    bar.with_style(style)
}

async fn show(bar: &ProgressBar, tally: &Tally, started: Instant) {
    loop {
        bar.set_position(ended(tally));
        bar.set_message(line(tally, started.elapsed()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn ended(tally: &Tally) -> u64 {
    [&tally.ok, &tally.dropped, &tally.given_up]
        .iter()
        .map(|n| n.load(Ordering::Relaxed))
        .sum()
}

fn line(tally: &Tally, elapsed: Duration) -> String {
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    let per_second = ended(tally) as f64 / elapsed.as_secs_f64().max(0.001);
    format!(
        "{} sent  {} ok  {} retried  {} dropped  {} given up  {per_second:.0}/s",
        count(&tally.sent),
        count(&tally.ok),
        count(&tally.retried),
        count(&tally.dropped),
        count(&tally.given_up),
    )
}

fn summary(tally: &Tally, elapsed: Duration) -> String {
    let mut text = format!("{} in {:.1} s", line(tally, elapsed), elapsed.as_secs_f64());
    let sent = tally.sent.load(Ordering::Relaxed);
    if let under_way @ 1.. = sent.saturating_sub(ended(tally)) {
        text.push_str(&format!("\n  {under_way} were still under way"));
    }
    for (reason, events) in tally.reasons() {
        text.push_str(&format!("\n  {events} × {reason}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_events() {
        assert_eq!(rate("0"), Ok(0.0));
        assert_eq!(rate("2.5"), Ok(2.5));
        for wrong in ["-1", "NaN", "inf", "many"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_summary_accounts_for_every_event() {
        let tally = Tally::default();
        tally.sent.store(10, Ordering::Relaxed);
        tally.ok.store(7, Ordering::Relaxed);
        tally.dropped.store(1, Ordering::Relaxed);
        let text = summary(&tally, Duration::from_secs(2));
        assert!(text.contains("10 sent  7 ok"), "{text}");
        assert!(text.contains("4/s in 2.0 s"), "{text}");
        assert!(text.contains("2 were still under way"), "{text}");
    }
}
