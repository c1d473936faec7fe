//! What the stack does at the moment: counts from the functions' lines, and how
//! long events take from the POST until they are found.

use crate::freshness::{Answer, Freshness};
use crate::health;
use freshet_local::function::LogLine;
use serde::Deserialize;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// How often newly searchable events are looked for.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How often health's last report is looked at.
const HEALTH_EVERY: Duration = Duration::from_secs(5);

/// Counts since the stack started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that collect received.
    pub received: u64,
    /// Events that collect refused.
    pub refused: u64,
    /// Events that went to the queue.
    pub queued: u64,
    /// Events that are in the index.
    pub indexed: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Items that the index refused.
    pub rejected: u64,
    /// Records and events that could not be read.
    pub undecodable: u64,
    /// Deliveries that must be repeated.
    pub retried: u64,
}

/// The metrics of an invocation; what is missing is 0.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Summary {
    stage: String,
    received: u64,
    rejected: u64,
    dead_letters: u64,
    indexed: u64,
    duplicates: u64,
    undecodable: u64,
    retried: u64,
}

impl Counts {
    /// Takes one line of a log; what has no metrics counts nothing.
    pub(crate) fn add(&mut self, line: &str) {
        let Ok(summary) = serde_json::from_str::<Summary>(line) else {
            return;
        };
        match summary.stage.as_str() {
            "collect" => {
                self.received += summary.received;
                self.refused += summary.rejected;
                self.queued += summary.dead_letters;
            }
            "enrich" => {
                self.indexed += summary.indexed;
                self.duplicates += summary.duplicates;
                self.rejected += summary.rejected;
                self.undecodable += summary.undecodable;
                self.retried += summary.retried;
            }
            _ => {}
        }
    }
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts since the start.
    pub counts: Counts,
    /// Events received in the last second.
    pub per_second: u64,
    /// Median seconds from POST to searchable, of the last minute.
    pub p50_s: Option<f64>,
    /// 95th percentile of the same.
    pub p95_s: Option<f64>,
    /// What health says, in some words.
    pub health: String,
}

/// Watches a stack.
pub struct Live {
    state: Arc<Mutex<State>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct State {
    counts: Counts,
    freshness: Freshness,
    last: (u64, Instant),
    health: String,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Live {
    /// Watches these logs and this index from now on.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn start(
        logs: broadcast::Receiver<LogLine>,
        opensearch_url: &str,
        alias: &str,
    ) -> anyhow::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            counts: Counts::default(),
            freshness: Freshness::default(),
            last: (0, Instant::now()),
            health: "not asked yet".to_owned(),
        }));
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(3))
            .build()?;
        let url = format!("{opensearch_url}/{alias}/_search?filter_path=aggregations");
        let tasks = vec![
            tokio::spawn(count(logs, Arc::clone(&state))),
            tokio::spawn(probe(http, url, Arc::clone(&state))),
        ];
        Ok(Self { state, tasks })
    }

    /// Watches what health says too.
    ///
    /// # Errors
    /// If the HTTP client cannot be made.
    pub fn with_health(mut self, url: &str) -> anyhow::Result<Self> {
        let (http, url, state) = (health::client()?, url.to_owned(), Arc::clone(&self.state));
        self.tasks.push(tokio::spawn(async move {
            loop {
                let said = health::state(&http, &url).await;
                lock(&state).health = said;
                tokio::time::sleep(HEALTH_EVERY).await;
            }
        }));
        Ok(self)
    }

    /// What is known now. Asking twice gives the rate in between.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut state = lock(&self.state);
        let (before, at) = state.last;
        let elapsed = at.elapsed().as_secs_f64().max(0.001);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let per_second = ((state.counts.received - before) as f64 / elapsed).round() as u64;
        state.last = (state.counts.received, Instant::now());
        Snapshot {
            counts: state.counts.clone(),
            per_second,
            p50_s: state.freshness.quantile_s(0.5),
            p95_s: state.freshness.quantile_s(0.95),
            health: state.health.clone(),
        }
    }
}

async fn count(mut logs: broadcast::Receiver<LogLine>, state: Arc<Mutex<State>>) {
    loop {
        match logs.recv().await {
            Ok(line) => lock(&state).counts.add(&line.text),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Looks for events that have become searchable since the last look.
async fn probe(http: reqwest::Client, url: String, state: Arc<Mutex<State>>) {
    loop {
        tokio::time::sleep(PROBE_EVERY).await;
        let question = Freshness::question(now_ms());
        // A cluster that does not answer is asked again; what it takes up in
        // the meantime counts with its age.
        let Ok(answer) = http.post(&url).json(&question).send().await else {
            continue;
        };
        let answered_ms = now_ms();
        if let Ok(answer) = answer.json::<Answer>().await {
            lock(&state).freshness.add(&answer, answered_ms);
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Snapshot {
    /// A panel of some lines; redrawn in place it is the live view.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        let seconds =
            |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |s| format!("{s:.2} s"));
        writeln!(
            f,
            "  events in      {:>10}   {:>7}/s",
            c.received, self.per_second
        )?;
        writeln!(f, "  indexed        {:>10}", c.indexed)?;
        writeln!(f, "  duplicates     {:>10}", c.duplicates)?;
        writeln!(
            f,
            "  rejected       {:>10}   at the door {}, by the index {}",
            c.refused + c.rejected,
            c.refused,
            c.rejected
        )?;
        writeln!(
            f,
            "  dead-lettered  {:>10}   queue {}, bucket {}",
            c.queued + c.rejected + c.undecodable,
            c.queued,
            c.rejected + c.undecodable
        )?;
        writeln!(f, "  to be retried  {:>10}", c.retried)?;
        write!(
            f,
            "  POST to searchable   p50 {}   p95 {}",
            seconds(self.p50_s),
            seconds(self.p95_s)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_telemetry::stages::{Collect, Enrich};

    #[test]
    fn counts_come_from_the_functions_metrics() {
        let mut counts = Counts::default();
        let (metrics, written) = freshet_telemetry::Metrics::kept("s");
        let mut collect = metrics.begin::<Collect>("r-1");
        collect.received.add(5_u64);
        collect.accepted.add(3_u64);
        collect.rejected.add(2_u64);
        collect.dead_letters.add(1_u64);
        drop(collect);
        let mut enrich = metrics.begin::<Enrich>("r-2");
        enrich.received.add(7_u64);
        enrich.indexed.add(2_u64);
        enrich.duplicates.add(1_u64);
        enrich.retried.add(4_u64);
        drop(enrich);
        written.lines().iter().for_each(|line| counts.add(line));
        counts.add("not json");
        let expected = Counts {
            received: 5,
            refused: 2,
            queued: 1,
            indexed: 2,
            duplicates: 1,
            retried: 4,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
    }
}
