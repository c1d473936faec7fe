//! From the HTTP request to the stream, and back to an answer per event.

use crate::answer::{EventResult, Response, Status};
use crate::config::Config;
use crate::prepare::{Prepared, Sender, prepare};
use crate::request::Request;
use crate::write_keys::WriteKeys;
use freshet_edge::{answer_by, now};
use freshet_events::{BodyError, Limits, Notice};
use freshet_streams::{DeadLetterQueue, PutOutcome, Record, Stream};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use uuid::Uuid;

/// A client waits this long at most, whatever the function's own timeout.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);
/// The queue's share of the time: without it, a slow stream would leave none.
const QUEUE_SHARE: f64 = 0.4;
/// A request without a good event waits no longer than this for the stream to
/// take its notice.
const NOTICE_TIME: Duration = Duration::from_secs(1);

/// The collector.
pub struct Handler {
    stream: Stream,
    queue: DeadLetterQueue,
    keys: WriteKeys,
    limits: Limits,
}

impl Handler {
    /// A collector in front of `stream`, with `queue` for what it refuses.
    #[must_use]
    pub fn new(stream: Stream, queue: DeadLetterQueue, keys: WriteKeys, config: &Config) -> Self {
        Self {
            stream,
            queue,
            keys,
            limits: config.limits.clone(),
        }
    }

    /// Answers one request. Whatever the client sent, there is an answer.
    pub async fn handle(&self, payload: &str, function_deadline: SystemTime) -> Response {
        let Ok(request) = serde_json::from_str::<Request<'_>>(payload) else {
            return Response::error(
                400,
                "request_malformed",
                "not an HTTP API request of payload version 2.0",
            );
        };
        match request.route() {
            ("POST", "/v1/events") => {
                let deadline = answer_by(function_deadline).min(Instant::now() + LONGEST_REQUEST);
                self.collect(&request, deadline).await
            }
            ("GET" | "HEAD", "/health") => Response::healthy(),
            (_, "/v1/events" | "/health") => {
                Response::error(405, "method_not_allowed", "POST /v1/events or GET /health")
            }
            _ => Response::error(404, "not_found", "POST /v1/events or GET /health"),
        }
    }

    async fn collect(&self, request: &Request<'_>, deadline: Instant) -> Response {
        let source = match self.keys.source(request.write_key().as_deref()).await {
            Ok(source) => source,
            Err(error) => return Response::error(401, error.code(), &error.to_string()),
        };
        let body = match request.text() {
            Ok(body) => body,
            Err(error) => return Response::error(error.status(), error.code(), &error.to_string()),
        };
        let sender = Sender {
            source: &source,
            ip_address: request.source_ip(),
            user_agent: request.user_agent(),
        };
        let prepared = match prepare(&body, sender, &self.limits, now(), || {
            Uuid::now_v7().to_string()
        }) {
            Ok(prepared) => prepared,
            Err(error) => {
                let status = if matches!(error, BodyError::TooManyEvents { .. }) {
                    413
                } else {
                    400
                };
                return Response::error(status, error.code(), &error.to_string());
            }
        };
        let (results, counts) = self.put(prepared, deadline).await;
        counts.log(&results);
        Response::results(&results)
    }

    /// Puts the records and the notice. What becomes of the notice changes
    /// nothing: it is a line in a chart, and no event.
    async fn put_records(
        &self,
        records: Vec<Record>,
        notice: Option<&Notice>,
        deadline: Instant,
    ) -> Vec<PutOutcome> {
        let Some(notice) = notice else {
            return self.stream.put(&records, deadline).await;
        };
        let rider = Record {
            // Any shard will do, but not always the same one.
            partition_key: Uuid::now_v7().to_string(),
            data: notice.encode(),
        };
        let deadline = if records.is_empty() {
            deadline.min(Instant::now() + NOTICE_TIME)
        } else {
            deadline
        };
        let (outcomes, rider) = self.stream.put_with(records, rider, deadline).await;
        if let PutOutcome::Refused { code } = rider {
            let rejections = notice.total();
            tracing::warn!(code, rejections, "the stream refused a notice");
            freshet_telemetry::count(
                "RejectionsNotNoted",
                usize::try_from(rejections).unwrap_or(usize::MAX),
            );
        }
        outcomes
    }

    /// Puts the records, queues what the stream refused, and completes the results.
    async fn put(&self, prepared: Prepared, deadline: Instant) -> (Vec<EventResult>, Counts) {
        let Prepared {
            mut results,
            records,
            events_of_record,
            wire,
            notice,
        } = prepared;
        let mut counts = Counts {
            records: records.len(),
            ..Counts::default()
        };
        if records.is_empty() && notice.is_none() {
            return (results, counts);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let put_by = deadline - left.mul_f64(QUEUE_SHARE);
        let outcomes = self.put_records(records, notice.as_ref(), put_by).await;
        let mut reason = None;
        let mut refused = Vec::new();
        for (outcome, events) in outcomes.into_iter().zip(events_of_record) {
            if let PutOutcome::Refused { code } = outcome {
                reason = Some(code);
                refused.extend(events);
            }
        }
        let Some(reason) = reason else {
            return (results, counts);
        };
        refused.sort_unstable();
        let events: Vec<&RawValue> = refused
            .iter()
            .filter_map(|index| serde_json::from_slice(&wire[*index]).ok())
            .collect();
        let held = self.queue.send(&events, &reason, deadline).await;
        // Should one not have been read back, the lengths differ: retry all.
        let complete = held.len() == refused.len();
        for (at, index) in refused.iter().enumerate() {
            if complete && held[at] {
                counts.dead_lettered += 1;
            } else {
                let result = &mut results[*index];
                result.status = Status::Retry;
                result.code = Some(Cow::Borrowed("stream_unavailable"));
                result.message =
                    Some("neither the stream nor the queue took it; send it again".to_owned());
            }
        }
        (results, counts)
    }
}

#[derive(Default)]
struct Counts {
    records: usize,
    dead_lettered: usize,
}

impl Counts {
    /// One line a request: counts and codes, nothing of the events.
    fn log(&self, results: &[EventResult]) {
        let count = |status| {
            results
                .iter()
                .filter(|result| result.status == status)
                .count()
        };
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for result in results
            .iter()
            .filter(|result| result.status == Status::Drop)
        {
            *codes
                .entry(result.code.as_deref().unwrap_or_default())
                .or_default() += 1;
        }
        let codes: Vec<String> = codes
            .into_iter()
            .map(|(code, n)| format!("{code}={n}"))
            .collect();
        tracing::info!(
            received = results.len(),
            accepted = count(Status::Ok),
            rejected = count(Status::Drop),
            retry = count(Status::Retry),
            dead_lettered = self.dead_lettered,
            records = self.records,
            rejected_codes = codes.join(","),
            "request handled"
        );
    }
}
