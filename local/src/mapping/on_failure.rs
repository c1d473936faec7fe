//! The on-failure destination: what is given up is kept with its payload.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// A batch that is given up.
#[derive(Clone, Debug)]
pub struct FailedBatch {
    pub(super) mapping_id: String,
    pub(super) function_arn: String,
    pub(super) condition: String,
    pub(super) invocations: u32,
    pub(super) shard_id: String,
    pub(super) stream_arn: String,
    pub(super) first_sequence_number: String,
    pub(super) last_sequence_number: String,
    pub(super) first_arrived_ms: i64,
    pub(super) last_arrived_ms: i64,
    pub(super) batch_size: usize,
}

impl FailedBatch {
    /// `aws/lambda/<mapping>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<uuid>`, as AWS names it.
    #[must_use]
    pub fn key(&self, now_ms: i64) -> String {
        let now = iso8601(now_ms);
        let (day, second) = (&now[..10], now[..19].replace(':', "."));
        format!(
            "aws/lambda/{}/{}/{}/{second}-{}",
            self.mapping_id,
            self.shard_id,
            day.replace('-', "/"),
            Uuid::now_v7()
        )
    }

    /// The invocation record, as AWS writes it.
    #[must_use]
    pub fn record(&self, now_ms: i64, payload: &Value) -> Value {
        json!({
            "requestContext": {
                "requestId": Uuid::now_v7().to_string(),
                "functionArn": self.function_arn,
                "condition": self.condition,
                "approximateInvokeCount": self.invocations,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": iso8601(now_ms),
            "KinesisBatchInfo": {
                "shardId": self.shard_id,
                "startSequenceNumber": self.first_sequence_number,
                "endSequenceNumber": self.last_sequence_number,
                "approximateArrivalOfFirstRecord": iso8601(self.first_arrived_ms),
                "approximateArrivalOfLastRecord": iso8601(self.last_arrived_ms),
                "batchSize": self.batch_size,
                "streamArn": self.stream_arn,
            },
            "payload": payload.to_string(),
        })
    }
}

/// Keeps what is given up.
pub trait OnFailure: Send + Sync + 'static {
    /// Keeps a batch; returns only when it is kept.
    fn give_up(&self, batch: &FailedBatch, payload: &Value) -> impl Future<Output = ()> + Send;
}

/// An S3 bucket: the one destination that takes the payload.
pub struct S3OnFailure {
    client: Client,
    bucket: String,
}

impl S3OnFailure {
    /// The bucket of this name.
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self {
            client,
            bucket: bucket.into(),
        }
    }
}

impl OnFailure for S3OnFailure {
    async fn give_up(&self, batch: &FailedBatch, payload: &Value) {
        let now = super::now_ms();
        let (key, body) = (
            batch.key(now),
            batch.record(now, payload).to_string().into_bytes(),
        );
        let mut pause = Duration::from_millis(200);
        loop {
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(&key)
                .body(ByteStream::from(body.clone()));
            match put.send().await {
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(%error, "the on-failure destination refuses; trying again");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

fn iso8601(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_aws_documents_it() {
        let batch = FailedBatch {
            mapping_id: "m".into(),
            function_arn: "arn:f".into(),
            condition: "RetryAttemptsExhausted".into(),
            invocations: 3,
            shard_id: "shardId-000000000000".into(),
            stream_arn: "arn:s".into(),
            first_sequence_number: "1".into(),
            last_sequence_number: "2".into(),
            first_arrived_ms: 0,
            last_arrived_ms: 1,
            batch_size: 2,
        };
        let key = batch.key(1_795_460_154_123);
        assert!(
            key.starts_with("aws/lambda/m/shardId-000000000000/2026/11/23/2026-11-23T18.55.54-"),
            "{key}"
        );
        let record = batch.record(1_795_460_154_123, &json!({"Records": []}));
        assert_eq!(record["payload"], "{\"Records\":[]}");
        assert_eq!(record["timestamp"], "2026-11-23T18:55:54.123Z");
        assert_eq!(
            record["KinesisBatchInfo"]["approximateArrivalOfLastRecord"],
            "1970-01-01T00:00:00.001Z"
        );
        assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    }
}
