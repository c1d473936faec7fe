//! Posts events as a good client does: in batches, a few requests at a time,
//! and again what the answer says to send again.

use crate::traffic::Event;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rand::RngExt as _;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Where events go, and how fast.
#[derive(Clone, Debug)]
pub struct Target {
    /// The whole address, `…/v1/events`.
    pub url: String,
    /// Goes into `X-Write-Key`.
    pub write_key: Option<String>,
    /// Events a second; 0: as fast as they are taken.
    pub rate: f64,
    /// Events in one request, at most.
    pub batch: usize,
    /// Requests at the same time, at most.
    pub concurrency: usize,
    /// How often an event is sent again before it is given up.
    pub most_retries: u32,
}

/// How the events fared. One event ends in exactly one of `ok`, `dropped` and
/// `given_up`.
#[derive(Debug, Default)]
pub struct Tally {
    /// Taken from the source.
    pub sent: AtomicU64,
    /// Durable.
    pub ok: AtomicU64,
    /// Refused for good.
    pub dropped: AtomicU64,
    /// Still to be sent again after the last attempt.
    pub given_up: AtomicU64,
    /// Times that an event was sent again.
    pub retried: AtomicU64,
    reasons: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    /// Why events were not ok at first or at last, with how often.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn because(&self, reason: String, events: u64) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.entry(reason).or_default() += events;
    }
}

/// How often events are taken from the source when there is a rate.
const TICK: Duration = Duration::from_millis(50);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Posts all of `events`, and counts in `tally` while it does.
///
/// # Errors
/// If no HTTP client can be made. What happens to events is in the tally.
pub async fn send(
    target: &Target,
    events: impl Iterator<Item = Event>,
    tally: &Tally,
) -> reqwest::Result<()> {
    let mut client = Client::builder()
        .pool_max_idle_per_host(target.concurrency)
        .timeout(Duration::from_secs(30));
    if target.url.starts_with("http://127.0.0.1") || target.url.starts_with("http://localhost") {
        // A proxy that the environment names cannot reach this machine's loopback.
        client = client.no_proxy();
    }
    let client = client.build()?;
    let mut events = events.peekable();
    let mut under_way = FuturesUnordered::new();
    let started = Instant::now();
    let mut next_tick = started;
    let mut taken: u64 = 0;
    while events.peek().is_some() {
        let mut due = target.batch.max(1) * target.concurrency.max(1);
        if target.rate > 0.0 {
            // Waits for the tick while requests go on.
            loop {
                tokio::select! {
                    () = sleep_until(next_tick) => break,
                    Some(()) = under_way.next() => {}
                }
            }
            next_tick += TICK;
            let by_now = ((next_tick - started).as_secs_f64() * target.rate) as u64;
            due = usize::try_from(by_now.saturating_sub(taken)).unwrap_or(usize::MAX);
        }
        while due > 0 && events.peek().is_some() {
            let size = due.min(target.batch.max(1));
            let batch: Vec<Event> = events.by_ref().take(size).collect();
            due -= size;
            taken += batch.len() as u64;
            tally.sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if under_way.len() >= target.concurrency.max(1) {
                under_way.next().await;
            }
            under_way.push(deliver(&client, target, batch, tally));
        }
    }
    while under_way.next().await.is_some() {}
    Ok(())
}

/// Sends a batch until every event of it has its end.
async fn deliver(client: &Client, target: &Target, mut batch: Vec<Event>, tally: &Tally) {
    for attempt in 0..=target.most_retries {
        if attempt > 0 {
            tally
                .retried
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        let wait = match post(client, target, &batch).await {
            Outcome::PerEvent(results, wait) => {
                settle(&mut batch, &results, tally);
                wait
            }
            Outcome::Again(reason, wait) => {
                tally.because(reason, batch.len() as u64);
                wait
            }
            Outcome::Refused(reason) => {
                tally.because(reason, batch.len() as u64);
                tally
                    .dropped
                    .fetch_add(batch.len() as u64, Ordering::Relaxed);
                return;
            }
        };
        if batch.is_empty() {
            return;
        }
        if attempt < target.most_retries {
            sleep(wait.unwrap_or_else(|| backoff(attempt))).await;
        }
    }
    tally
        .given_up
        .fetch_add(batch.len() as u64, Ordering::Relaxed);
}

/// Full jitter: anything up to a bound that doubles.
fn backoff(attempt: u32) -> Duration {
    let bound = FIRST_BACKOFF
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(LONGEST_BACKOFF);
    bound.mul_f64(rand::rng().random())
}

#[derive(Debug, Deserialize)]
struct Answer {
    results: Vec<EventResult>,
}

#[derive(Debug, Deserialize)]
struct EventResult {
    index: usize,
    status: Status,
    code: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Retry,
    Drop,
}

#[derive(Debug)]
enum Outcome {
    /// An answer for each event, and how long to wait with those to be sent again.
    PerEvent(Vec<EventResult>, Option<Duration>),
    /// No answer: all of it again.
    Again(String, Option<Duration>),
    /// All of it never again.
    Refused(String),
}

async fn post(client: &Client, target: &Target, batch: &[Event]) -> Outcome {
    #[derive(Serialize)]
    struct Body<'a> {
        events: &'a [Event],
    }
    let mut request = client.post(&target.url).json(&Body { events: batch });
    if let Some(key) = &target.write_key {
        request = request.header("x-write-key", key);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Outcome::Again("no connection".into(), None),
        Err(error) if error.is_timeout() => {
            return Outcome::Again("no answer in time".into(), None);
        }
        Err(_) => return Outcome::Again("the connection broke off".into(), None),
    };
    let status = answer.status();
    let wait = answer
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let Ok(body) = answer.bytes().await else {
        return Outcome::Again("the connection broke off".into(), None);
    };
    read(status, &body, batch.len(), wait)
}

/// An answer counts event by event only if it speaks of each of them once.
fn read(status: StatusCode, body: &[u8], sent: usize, wait: Option<Duration>) -> Outcome {
    if let Ok(mut answer) = serde_json::from_slice::<Answer>(body) {
        answer.results.sort_by_key(|result| result.index);
        let indices = answer.results.iter().map(|result| result.index);
        if indices.eq(0..sent) {
            return Outcome::PerEvent(answer.results, wait);
        }
    }
    let reason = format!("HTTP {}", status.as_u16());
    let again = status.is_success()
        || status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    if again {
        Outcome::Again(reason, wait)
    } else {
        Outcome::Refused(reason)
    }
}

/// Counts the events that are done and leaves those to be sent again.
fn settle(batch: &mut Vec<Event>, results: &[EventResult], tally: &Tally) {
    let mut again = Vec::new();
    for (event, result) in batch.drain(..).zip(results) {
        if let Some(code) = &result.code {
            tally.because(code.clone(), 1);
        }
        match result.status {
            Status::Ok => _ = tally.ok.fetch_add(1, Ordering::Relaxed),
            Status::Drop => _ = tally.dropped.fetch_add(1, Ordering::Relaxed),
            Status::Retry => again.push(event),
        }
    }
    *batch = again;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Generator, Plan};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use wiremock::matchers::{header, method};
    use wiremock::{Mock, MockServer, Request, ResponseTemplate};

    fn events(count: usize) -> impl Iterator<Item = Event> {
        let plan = Plan {
            seed: 1,
            users: 20,
            start_ms: 0,
            events_per_second: 0.0,
        };
        Generator::new(plan).take(count)
    }

    fn target(server: &MockServer) -> Target {
        Target {
            url: format!("{}/v1/events", server.uri()),
            write_key: Some("key".into()),
            rate: 0.0,
            batch: 10,
            concurrency: 3,
            most_retries: 3,
        }
    }

    fn ids(request: &Request) -> Vec<String> {
        let body: Value = request.body_json().unwrap();
        let events = body["events"].as_array().unwrap().clone();
        let ids = events.iter().map(|event| event["event_id"].as_str());
        ids.map(|id| id.unwrap().to_owned()).collect()
    }

    fn results(statuses: impl Iterator<Item = &'static str>) -> Value {
        let results = statuses.enumerate().map(|(index, status)| {
            json!({"index": index, "status": status, "code": (status != "ok").then_some("because")})
        });
        json!({ "results": results.collect::<Vec<_>>() })
    }

    fn counts(tally: &Tally) -> [u64; 5] {
        [
            &tally.sent,
            &tally.ok,
            &tally.dropped,
            &tally.given_up,
            &tally.retried,
        ]
        .map(|count| count.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn only_what_must_be_is_sent_again() {
        let server = MockServer::start().await;
        let seen: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
        let kept = Arc::clone(&seen);
        Mock::given(method("POST"))
            .and(header("x-write-key", "key"))
            .respond_with(move |request: &Request| {
                let mut seen = kept.lock().unwrap();
                // Every third event is dropped, every third wants a second time.
                let statuses = ids(request).into_iter().map(|id| {
                    let kind = id.bytes().map(u32::from).sum::<u32>() % 3;
                    let times = seen.entry(id).or_default();
                    *times += 1;
                    match (kind, *times) {
                        (0, _) => "drop",
                        (1, 1) => "retry",
                        _ => "ok",
                    }
                });
                let statuses: Vec<_> = statuses.collect();
                ResponseTemplate::new(200).set_body_json(results(statuses.into_iter()))
            })
            .mount(&server)
            .await;
        let tally = Tally::default();
        send(&target(&server), events(95), &tally).await.unwrap();

        let [sent, ok, dropped, given_up, retried] = counts(&tally);
        assert_eq!((sent, given_up), (95, 0));
        assert_eq!(ok + dropped, 95);
        let twice = seen.lock().unwrap().values().filter(|&&n| n == 2).count() as u64;
        assert_eq!(retried, twice);
        assert!(twice > 0 && dropped > 0);
        assert_eq!(tally.reasons()["because"], dropped + retried);
    }

    #[tokio::test]
    async fn an_outage_ends_in_giving_up_and_a_refusal_at_once() {
        let server = MockServer::start().await;
        let unavailable = ResponseTemplate::new(503).insert_header("retry-after", "0");
        Mock::given(method("POST"))
            .respond_with(unavailable)
            .mount(&server)
            .await;
        let tally = Tally::default();
        send(&target(&server), events(10), &tally).await.unwrap();
        assert_eq!(counts(&tally), [10, 0, 0, 10, 30]);

        server.reset().await;
        let refused = ResponseTemplate::new(401);
        Mock::given(method("POST"))
            .respond_with(refused)
            .expect(1)
            .mount(&server)
            .await;
        let tally = Tally::default();
        send(&target(&server), events(10), &tally).await.unwrap();
        assert_eq!(counts(&tally), [10, 0, 10, 0, 0]);
        assert_eq!(tally.reasons()["HTTP 401"], 10);
    }

    #[test]
    fn an_answer_about_other_events_is_no_answer() {
        let body = json!({"results": [{"index": 0, "status": "ok"}]}).to_string();
        for (sent, per_event) in [(1, true), (2, false), (0, false)] {
            let outcome = read(StatusCode::OK, body.as_bytes(), sent, None);
            assert_eq!(matches!(outcome, Outcome::PerEvent(..)), per_event);
        }
    }

    #[tokio::test]
    async fn the_rate_is_kept() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(|request: &Request| {
                let all = ids(request).into_iter().map(|_| "ok");
                ResponseTemplate::new(200).set_body_json(results(all))
            })
            .mount(&server)
            .await;
        let target = Target {
            rate: 200.0,
            ..target(&server)
        };
        let started = Instant::now();
        send(&target, events(100), &Tally::default()).await.unwrap();
        assert!(started.elapsed() >= Duration::from_millis(400));
    }
}
