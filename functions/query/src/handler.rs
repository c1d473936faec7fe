//! From the HTTP request to the table, and back to an answer.

use crate::access::Access;
use crate::answer::{Problem, Response};
use crate::config::Windows;
use crate::health::Health;
use crate::range::{self, ParameterError, Range};
use crate::request::{Request, percent_decoded};
use freshet_edge::{answer_by, now};
use freshet_events::Timestamp;
use freshet_tables::{ResultTable, SlotResult, TableError};
use freshet_telemetry::Metrics;
use freshet_telemetry::stages::Query;
use futures::FutureExt as _;
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::SystemTime;
use tokio::time::{Instant, timeout_at};

/// What is read, and below it one path an aggregation.
const ROOT: &str = "/v1/aggregations";
/// The system's last known state.
const HEALTH: &str = "/v1/health";
/// How long a result counts as fresh: one is merged every few seconds, and
/// until it expires late events may still change it.
const RESULT_MAX_AGE_S: u32 = 2;
/// A report is written each minute, and says how old it is.
const HEALTH_MAX_AGE_S: u32 = 5;
/// Names change with a deployment only.
const NAMES_MAX_AGE_S: u32 = 60;

/// What can be read: a name, and what is counted under it.
pub type Aggregation = (&'static str, &'static str);

/// What a path asks for.
enum Asked<'p> {
    Health,
    Names,
    Results(&'p str),
}

/// The reader.
pub struct Handler {
    table: ResultTable,
    health: Health,
    access: Access,
    windows: Windows,
    aggregations: Vec<Aggregation>,
}

#[derive(Serialize)]
struct Names<'a> {
    aggregations: Vec<Name<'a>>,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
    description: &'a str,
    href: String,
    window_seconds: i64,
    slide_seconds: i64,
}

#[derive(Serialize)]
struct Slots<'a> {
    name: &'a str,
    slots: Vec<Envelope<'a>>,
    next: Option<String>,
}

/// A slot: what the table says about it, and everything in its body.
#[derive(Serialize)]
struct Envelope<'a> {
    name: &'a str,
    window: Window,
    updated_at: Timestamp,
    approximate: bool,
    #[serde(flatten)]
    body: BTreeMap<String, &'a RawValue>,
}

#[derive(Serialize)]
struct Window {
    start: Timestamp,
    end: Timestamp,
    seconds: i64,
}

impl Handler {
    /// Reads these `aggregations` from `table`, and the system's state.
    #[must_use]
    pub fn new(
        table: ResultTable,
        health: Health,
        access: Access,
        windows: Windows,
        aggregations: Vec<Aggregation>,
    ) -> Self {
        Self {
            table,
            health,
            access,
            windows,
            aggregations,
        }
    }

    /// Answers one invocation, and writes its line whatever becomes of it.
    pub async fn invoke(&self, event: LambdaEvent<Box<RawValue>>, metrics: &Metrics) -> Response {
        let mut line = metrics.begin::<Query>(&event.context.request_id);
        let begun = Instant::now();
        let deadline = event.context.deadline();
        line.requests.add(1_u64);
        let response = self.handle(event.payload.get(), deadline).await;
        line.processing_latency.add(begun.elapsed());
        match response.status_code {
            304 => line.not_modified.add(1_u64),
            400..=499 => line.refused.add(1_u64),
            500.. => line.failed.add(1_u64),
            _ => {}
        }
        response
    }

    /// Answers one request. Whatever the client sent, there is an answer.
    pub async fn handle(&self, payload: &str, function_deadline: SystemTime) -> Response {
        let Ok(request) = serde_json::from_str::<Request<'_>>(payload) else {
            let detail = "not an HTTP API request of payload version 2.0";
            return Problem::new(400, "request_malformed", detail).into();
        };
        let work = timeout_at(
            answer_by(function_deadline),
            caught(self.answer(&request, now())),
        );
        let answer = work.await.unwrap_or_else(|_| Err(unavailable()));
        let response = answer.unwrap_or_else(Response::from);
        if request.method() == "HEAD" {
            response.without_body()
        } else {
            response
        }
    }

    async fn answer(&self, request: &Request<'_>, now: Timestamp) -> Result<Response, Problem> {
        let (stage, path) = request.path();
        let Some(asked) = asked(path) else {
            let detail = format!("GET {ROOT} or {HEALTH}");
            return Err(Problem::new(404, "not_found", detail));
        };
        if !matches!(request.method(), "GET" | "HEAD") {
            let detail = "it can only be read";
            return Err(Problem::new(405, "method_not_allowed", detail));
        }
        let entrance = self.access.check(request).await;
        entrance.map_err(|error| {
            let detail = format!("{error}: header X-Read-Key, or a bearer token");
            Problem::new(401, "read_key_wrong", detail)
        })?;
        match asked {
            Asked::Health => self.state(request, now).await,
            Asked::Names => self.names(request, stage),
            Asked::Results(name) => self.results(request, name, now).await,
        }
    }

    async fn state(&self, request: &Request<'_>, now: Timestamp) -> Result<Response, Problem> {
        range::none(request.query()).map_err(invalid)?;
        let report = self.health.report().await.map_err(failed)?;
        let state = self.health.state(report.as_ref(), now)?;
        Ok(Response::json(
            request,
            &state,
            self.fresh_for(HEALTH_MAX_AGE_S),
        ))
    }

    fn names(&self, request: &Request<'_>, stage: &str) -> Result<Response, Problem> {
        range::none(request.query()).map_err(invalid)?;
        let aggregations = self.aggregations.iter();
        let names = aggregations.map(|(name, description)| Name {
            name,
            description,
            href: format!("{stage}{ROOT}/{name}"),
            window_seconds: self.windows.window_s,
            slide_seconds: self.windows.slide_s,
        });
        let names = Names {
            aggregations: names.collect(),
        };
        Ok(Response::json(
            request,
            &names,
            self.fresh_for(NAMES_MAX_AGE_S),
        ))
    }

    async fn results(
        &self,
        request: &Request<'_>,
        name: &str,
        now: Timestamp,
    ) -> Result<Response, Problem> {
        let decoded = percent_decoded(name).unwrap_or_default();
        let known = self
            .aggregations
            .iter()
            .find(|(known, _)| *known == decoded);
        let Some((name, _)) = known else {
            let detail = format!("no aggregation has this name; GET {ROOT} lists them");
            return Err(Problem::new(404, "aggregation_unknown", detail));
        };
        let fresh = self.fresh_for(RESULT_MAX_AGE_S);
        let Some(range) = Range::parse(request.query()).map_err(invalid)? else {
            let latest = self.table.latest(name, now).await.map_err(failed)?;
            let Some(latest) = latest else {
                let detail = "nothing was counted in the windows that are kept";
                return Err(Problem::new(404, "no_result", detail));
            };
            return Ok(Response::json(request, &envelope(name, &latest)?, fresh));
        };
        // What is older has expired, deleted or not: no need to walk over it.
        let oldest = now.as_millis().div_euclid(1000) - self.windows.lifetime_s();
        let from = range.from.max(oldest);
        let read = self
            .table
            .slots(name, from, range.to, range.limit, now, range.after);
        let page = read.await.map_err(failed)?;
        let slots = page.slots.iter().map(|slot| envelope(name, slot));
        let slots = Slots {
            name,
            slots: slots.collect::<Result<_, _>>()?,
            next: page.next.map(|cursor| next_page(request, cursor)),
        };
        Ok(Response::json(request, &slots, fresh))
    }

    fn fresh_for(&self, seconds: u32) -> String {
        let scope = if self.access.is_public() {
            "public"
        } else {
            "private"
        };
        format!("{scope}, max-age={seconds}")
    }
}

fn asked(path: &str) -> Option<Asked<'_>> {
    if path == HEALTH {
        return Some(Asked::Health);
    }
    match path.strip_prefix(ROOT)? {
        "" => Some(Asked::Names),
        rest => {
            let name = rest.strip_prefix('/')?;
            let is_one = !name.is_empty() && !name.contains('/');
            is_one.then_some(Asked::Results(name))
        }
    }
}

/// A panic costs its own request and nothing else; the log has its place.
async fn caught(
    work: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    let caught = AssertUnwindSafe(work).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(Problem::internal()))
}

/// The request's own query, its cursor replaced.
fn next_page(request: &Request<'_>, cursor: i64) -> String {
    let (stage, path) = request.path();
    let is_cursor = |pair: &&str| {
        let name = pair.split('=').next().and_then(percent_decoded);
        name.as_deref() == Some("after")
    };
    let pairs = request.query().split('&').filter(|pair| !pair.is_empty());
    let kept: String = pairs
        .filter(|pair| !is_cursor(pair))
        .map(|pair| format!("{pair}&"))
        .collect();
    format!("{stage}{path}?{kept}after={cursor}")
}

fn envelope<'a>(name: &'a str, slot: &'a SlotResult) -> Result<Envelope<'a>, Problem> {
    let moment = |seconds: i64| {
        let ms = seconds.checked_mul(1000);
        ms.and_then(Timestamp::from_millis)
            .ok_or("a time is out of range")
    };
    let read = || -> Result<_, Box<dyn std::error::Error>> {
        let mut body: BTreeMap<String, &RawValue> = serde_json::from_slice(&slot.body)?;
        // What is said of every slot is not for a body to say differently.
        for ours in ["name", "window", "updated_at", "approximate"] {
            body.remove(ours);
        }
        let window = Window {
            start: moment(slot.window_start)?,
            end: moment(slot.window_end)?,
            seconds: slot.window_end - slot.window_start,
        };
        Ok((body, window))
    };
    let (body, window) = read().map_err(|error| {
        tracing::error!(%error, name, "a stored result cannot be read");
        Problem::internal()
    })?;
    Ok(Envelope {
        name,
        window,
        updated_at: slot.updated_at,
        approximate: slot.approximate,
        body,
    })
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn invalid(error: ParameterError) -> Problem {
    Problem::new(400, "parameter_invalid", error.to_string())
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn failed(error: TableError) -> Problem {
    tracing::error!(%error, code = error.code(), "the results cannot be read");
    if error.is_retryable() {
        unavailable()
    } else {
        Problem::internal()
    }
}

fn unavailable() -> Problem {
    let detail = "the results cannot be read at the moment";
    Problem::new(503, "store_unavailable", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let problem = caught(async { panic!("odd") }).await.unwrap_err();
        assert_eq!((problem.status, problem.code), (500, "internal_error"));
        assert!(!problem.detail.contains("odd"));
    }
}
