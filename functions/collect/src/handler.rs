//! From the HTTP request to the stream, and back to an answer per event.

use crate::answer::{EventResult, Response, Status};
use crate::calls::CallRules;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::opt_out::OptOut;
use crate::prepare::{MAX_EVENTS, Prepared, Sender, prepare};
use crate::refusal::Refusal;
use crate::request::{CALL_MEDIA_TYPES, MEDIA_TYPES, Request};
use crate::routes::Route;
use crate::settings;
use crate::write_keys::WriteKeys;
use freshet_edge::{answer_by, now};
use freshet_events::Limits;
use freshet_segment::{CallType, Calls, Endpoint};
use freshet_telemetry::Metrics;
use freshet_telemetry::stages::Collect;
use lambda_runtime::LambdaEvent;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use uuid::Uuid;

/// A client waits this long at most, whatever the function's own timeout.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// A call that Segment does not have.
const UNKNOWN_CALL: (&str, &str) = (
    "call_unknown",
    "the calls are track, page, screen, identify, group, alias, batch and import",
);

/// The collector.
pub struct Handler {
    delivery: Delivery,
    keys: WriteKeys,
    limits: Limits,
    rules: CallRules,
    opt_out: OptOut,
}

impl Handler {
    /// A collector in front of a stream and a queue.
    #[must_use]
    pub fn new(delivery: Delivery, keys: WriteKeys, opt_out: OptOut, config: &Config) -> Self {
        Self {
            delivery,
            keys,
            limits: config.limits.clone(),
            rules: config.call_rules.clone(),
            opt_out,
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
            count_refusal(line, "request_malformed");
            let message = "not an HTTP API request of payload version 2.0";
            return Response::error(400, "request_malformed", message);
        };
        let (method, path) = request.route();
        let deadline = answer_by(function_deadline).min(begun + LONGEST_REQUEST);
        let response = match Route::of(method, path) {
            Route::Events => self.collect(&request, deadline, line).await,
            Route::Calls(endpoint) => self.calls(&request, endpoint, deadline, line).await,
            Route::Pixel(call) => self.pixel(&request, call, deadline, line).await,
            Route::SegmentSettings(key) => {
                return self
                    .settings(Some(&key), line, |_| settings::segment(&request, &key))
                    .await;
            }
            Route::RudderStackSettings => {
                let key = request.write_key();
                return self
                    .settings(key.as_deref(), line, settings::rudderstack)
                    .await;
            }
            Route::Health => return Response::healthy(),
            Route::MethodNotAllowed(allow) => {
                count_refusal(line, "method_not_allowed");
                return Response::method_not_allowed(allow);
            }
            Route::UnknownCall => {
                count_refusal(line, UNKNOWN_CALL.0);
                return Response::call_error(404, UNKNOWN_CALL.0, UNKNOWN_CALL.1);
            }
            Route::NotFound => {
                count_refusal(line, "not_found");
                return Response::error(404, "not_found", "there is nothing here");
            }
        };
        line.processing_latency.add(begun.elapsed());
        response
    }

    async fn collect(
        &self,
        request: &Request<'_>,
        deadline: Instant,
        line: &mut Collect,
    ) -> Response {
        let judged = async {
            let source = self.source(request.write_key().as_deref()).await?;
            let body = request.text(MEDIA_TYPES)?;
            line.bytes_in.add(body.len());
            let sender = self.sender(request, &source);
            Ok(prepare(&body, sender, &self.limits, now(), new_id)?)
        };
        match judged.await {
            Ok(prepared) => Response::results(&self.deliver(prepared, deadline, line).await),
            Err(Refusal {
                status,
                code,
                message,
            }) => {
                count_refusal(line, code);
                Response::error(status, code, &message)
            }
        }
    }

    /// Calls of an SDK, which wants other answers.
    async fn calls(
        &self,
        request: &Request<'_>,
        endpoint: Endpoint,
        deadline: Instant,
        line: &mut Collect,
    ) -> Response {
        let judged = async {
            let body = request.text(CALL_MEDIA_TYPES)?;
            line.bytes_in.add(body.len());
            Refusal::check_size(&body, 0, 0)?;
            let calls = Calls::split(&body, endpoint, MAX_EVENTS)?;
            Refusal::check_size(&body, calls.calls.len(), calls.shared_bytes())?;
            let key = request
                .write_key_in_headers()
                .or(calls.write_key.clone())
                .or_else(|| request.write_key_in_query());
            self.judge(&calls, request, key.as_deref()).await
        };
        let judged = judged.await;
        self.answer(judged, deadline, line).await
    }

    /// One call in the address of a picture.
    async fn pixel(
        &self,
        request: &Request<'_>,
        call: CallType,
        deadline: Instant,
        line: &mut Collect,
    ) -> Response {
        let judged = async {
            let body = freshet_segment::pixel(request.query(), call)?;
            line.bytes_in.add(body.len());
            let calls = Calls::split(&body, Endpoint::One(call), 1)?;
            self.judge(&calls, request, request.write_key().as_deref())
                .await
        };
        let judged = judged.await;
        self.answer(judged, deadline, line).await.into_pixel()
    }

    async fn judge(
        &self,
        calls: &Calls<'_>,
        request: &Request<'_>,
        key: Option<&str>,
    ) -> Result<Prepared, Refusal> {
        let source = self.source(key).await?;
        let sender = self.sender(request, &source);
        Ok(self
            .rules
            .prepare(calls, sender, &self.limits, now(), new_id))
    }

    /// Puts what was judged, and answers as SDKs expect.
    async fn answer(
        &self,
        judged: Result<Prepared, Refusal>,
        deadline: Instant,
        line: &mut Collect,
    ) -> Response {
        match judged {
            Ok(prepared) => Response::call_results(&self.deliver(prepared, deadline, line).await),
            Err(refusal) => {
                count_refusal(line, refusal.code);
                // What is too large is no more than a bad request to Segment.
                let status = if refusal.status == 413 {
                    400
                } else {
                    refusal.status
                };
                Response::call_error(status, refusal.code, &refusal.message)
            }
        }
    }

    /// Tells an SDK its settings, if `key` is a write key.
    async fn settings(
        &self,
        key: Option<&str>,
        line: &mut Collect,
        settings: impl FnOnce(&str) -> Value,
    ) -> Response {
        match self.source(key).await {
            Ok(source) => Response::settings(&settings(&source)),
            Err(refusal) => {
                count_refusal(line, refusal.code);
                Response::call_error(refusal.status, refusal.code, &refusal.message)
            }
        }
    }

    /// Delivers what was judged, and counts what each event is told.
    async fn deliver(
        &self,
        prepared: Prepared,
        deadline: Instant,
        line: &mut Collect,
    ) -> Vec<EventResult> {
        let results = self.delivery.deliver(prepared, deadline, line).await;
        count(&results, line);
        results
    }

    async fn source(&self, key: Option<&str>) -> Result<Arc<str>, Refusal> {
        Ok(self.keys.source(key).await?)
    }

    fn sender<'a>(&'a self, request: &'a Request<'_>, source: &'a str) -> Sender<'a> {
        Sender {
            source,
            ip_address: request.source_ip(),
            user_agent: request.user_agent(),
            wish: self.opt_out.wish(request),
        }
    }
}

fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// A request that was refused as a whole, before any event was judged.
fn count_refusal(line: &mut Collect, code: &'static str) {
    line.requests_refused.add(1_u64);
    line.refused_by.add(code, 1_u64);
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
