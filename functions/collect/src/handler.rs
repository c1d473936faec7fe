//! From the HTTP request to the stream, and back to an answer per event.

use crate::answer::{EventResult, Response, Status};
use crate::config::Config;
use crate::prepare::{Prepared, Sender, prepare};
use crate::request::Request;
use crate::write_keys::WriteKeys;
use freshet_edge::{answer_by, now};
use freshet_events::{BodyError, Limits, Notice};
use freshet_streams::{DeadLetterQueue, PutOutcome, Record, Stream};
use freshet_telemetry::Metrics;
use freshet_telemetry::stages::Collect;
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use std::borrow::Cow;
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

    /// Answers one invocation, and writes its line whatever becomes of it.
    pub async fn invoke(&self, event: LambdaEvent<Box<RawValue>>, metrics: &Metrics) -> Response {
        let mut line = metrics.begin::<Collect>(&event.context.request_id);
        let deadline = event.context.deadline();
        self.handle(event.payload.get(), deadline, &mut line).await
    }

    /// Answers one request. Whatever the client sent, there is an answer.
    pub async fn handle(
        &self,
        payload: &str,
        function_deadline: SystemTime,
        line: &mut Collect,
    ) -> Response {
        let begun = Instant::now();
        let Ok(request) = serde_json::from_str::<Request<'_>>(payload) else {
            return refuse(
                line,
                400,
                "request_malformed",
                "not an HTTP API request of payload version 2.0",
            );
        };
        match request.route() {
            ("POST", "/v1/events") => {
                let deadline = answer_by(function_deadline).min(Instant::now() + LONGEST_REQUEST);
                let response = self.collect(&request, deadline, line).await;
                line.processing_latency.add(begun.elapsed());
                response
            }
            ("GET" | "HEAD", "/health") => Response::healthy(),
            (_, "/v1/events" | "/health") => refuse(
                line,
                405,
                "method_not_allowed",
                "POST /v1/events or GET /health",
            ),
            _ => refuse(line, 404, "not_found", "POST /v1/events or GET /health"),
        }
    }

    async fn collect(
        &self,
        request: &Request<'_>,
        deadline: Instant,
        line: &mut Collect,
    ) -> Response {
        let source = match self.keys.source(request.write_key().as_deref()).await {
            Ok(source) => source,
            Err(error) => return refuse(line, 401, error.code(), &error.to_string()),
        };
        let body = match request.text() {
            Ok(body) => body,
            Err(error) => return refuse(line, error.status(), error.code(), &error.to_string()),
        };
        line.bytes_in.add(body.len());
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
                return refuse(line, status, error.code(), &error.to_string());
            }
        };
        let results = self.put(prepared, deadline, line).await;
        count(&results, line);
        Response::results(&results)
    }

    /// Puts the records and the notice. What becomes of the notice changes
    /// nothing: it is a line in a chart, and no event.
    async fn put_records(
        &self,
        records: Vec<Record>,
        notice: Option<&Notice>,
        deadline: Instant,
        line: &mut Collect,
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
            line.rejections_not_noted.add(rejections);
        }
        outcomes
    }

    /// Puts the records, queues what the stream refused, and completes the results.
    async fn put(
        &self,
        prepared: Prepared,
        deadline: Instant,
        line: &mut Collect,
    ) -> Vec<EventResult> {
        let Prepared {
            mut results,
            records,
            events_of_record,
            wire,
            notice,
        } = prepared;
        line.records.add(records.len());
        for record in &records {
            line.bytes_out.add(record.data.len());
        }
        if records.is_empty() && notice.is_none() {
            return results;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let put_by = deadline - left.mul_f64(QUEUE_SHARE);
        let outcomes = self
            .put_records(records, notice.as_ref(), put_by, line)
            .await;
        let mut reason = None;
        let mut refused = Vec::new();
        for (outcome, events) in outcomes.into_iter().zip(events_of_record) {
            if let PutOutcome::Refused { code } = outcome {
                reason = Some(code);
                refused.extend(events);
            }
        }
        let Some(reason) = reason else {
            return results;
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
                line.dead_letters.add(1_u64);
            } else {
                let result = &mut results[*index];
                result.status = Status::Retry;
                result.code = Some(Cow::Borrowed("stream_unavailable"));
                result.message =
                    Some("neither the stream nor the queue took it; send it again".to_owned());
            }
        }
        results
    }
}

/// The answer to a request none of whose events was judged.
fn refuse(line: &mut Collect, status: u16, code: &'static str, message: &str) -> Response {
    line.requests_refused.add(1_u64);
    line.refused_by.add(code, 1_u64);
    Response::error(status, code, message)
}

/// Counts what each event was told.
fn count(results: &[EventResult], line: &mut Collect) {
    line.received.add(results.len());
    for result in results {
        match (result.status, &result.code) {
            (Status::Ok, _) => line.accepted.add(1_u64),
            (Status::Retry, _) => line.retry.add(1_u64),
            (Status::Drop, code) => {
                line.rejected.add(1_u64);
                // Only a code of ours may become a metric's name.
                let code = match code {
                    Some(Cow::Borrowed(code)) => code,
                    _ => "other",
                };
                line.rejected_by.add(code, 1_u64);
            }
        }
    }
}
