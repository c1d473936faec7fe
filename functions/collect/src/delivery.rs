//! From what was judged to the stream, and to the queue if that refuses.

use crate::answer::{EventResult, Status};
use crate::prepare::Prepared;
use freshet_events::Notice;
use freshet_streams::{DeadLetterQueue, PutOutcome, Record, Stream};
use freshet_telemetry::stages::Collect;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// The queue's share of the time: without it, a slow stream would leave none.
const QUEUE_SHARE: f64 = 0.4;
/// A request without a good event waits no longer than this for the stream to
/// take its notice.
const NOTICE_TIME: Duration = Duration::from_secs(1);

/// Where accepted events go.
pub struct Delivery {
    stream: Stream,
    queue: DeadLetterQueue,
}

impl Delivery {
    /// To `stream`, and to `queue` what it refuses.
    #[must_use]
    pub const fn new(stream: Stream, queue: DeadLetterQueue) -> Self {
        Self { stream, queue }
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

    /// Puts the records, queues what the stream refused, and completes the
    /// results.
    pub async fn deliver(
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
