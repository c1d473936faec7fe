//! What Lambda stores when a batch's attempts are exhausted: its invocation
//! record, with the whole event as payload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_events::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use thiserror::Error;

/// Prefix of Lambda's on-failure objects.
pub const ON_FAILURE: &str = "aws/lambda/";

/// One failed batch.
#[derive(Debug)]
pub struct FailedBatch {
    /// Why Lambda gave up: `RetryAttemptsExhausted`, `RecordAgeExceeded`, ….
    pub condition: String,
    /// The records, as they were on the stream.
    pub records: Vec<FailedRecord>,
}

/// One record of a failed batch.
#[derive(Clone, PartialEq, Eq)]
pub struct FailedRecord {
    /// The shard it was read from.
    pub shard_id: String,
    /// Its sequence number there.
    pub sequence_number: String,
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// Its bytes; if the payload's text for them is not base64, that text.
    pub data: Vec<u8>,
}

impl fmt::Debug for FailedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedRecord")
            .field("shard_id", &self.shard_id)
            .field("sequence_number", &self.sequence_number)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// Why an object is not what Lambda stores.
#[derive(Debug, Error)]
pub enum OnFailureError {
    /// Not an invocation record.
    #[error("not an invocation record of Lambda")]
    Json(#[source] serde_json::Error),
    /// It holds no payload: the destination was not S3.
    #[error("the invocation record has no payload")]
    NoPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    request_context: RequestContext,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct RequestContext {
    condition: String,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "Records")]
    records: Vec<Envelope>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "eventID")]
    event_id: String,
    kinesis: Kinesis,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis {
    sequence_number: String,
    data: String,
    approximate_arrival_timestamp: f64,
}

/// Reads an object that Lambda stored. AWS documents the payload as text; an
/// object in its place is read too.
///
/// # Errors
/// [`OnFailureError`] if it is something else.
pub fn read(object: &[u8]) -> Result<FailedBatch, OnFailureError> {
    let invocation: Invocation = serde_json::from_slice(object).map_err(OnFailureError::Json)?;
    let payload: Payload = match invocation.payload {
        Value::String(text) => serde_json::from_str(&text).map_err(OnFailureError::Json)?,
        Value::Null => return Err(OnFailureError::NoPayload),
        other => serde_json::from_value(other).map_err(OnFailureError::Json)?,
    };
    Ok(FailedBatch {
        condition: invocation.request_context.condition,
        records: payload.records.into_iter().map(record).collect(),
    })
}

/// What is odd about one record must not hold the others: it is read as
/// enrich itself reads it, so that its events keep their identity.
fn record(envelope: Envelope) -> FailedRecord {
    // An event id is "<shard>:<sequence number>".
    let shard_id = envelope
        .event_id
        .split_once(':')
        .map_or("unknown", |(shard, _)| shard);
    let kinesis = envelope.kinesis;
    FailedRecord {
        shard_id: shard_id.to_owned(),
        sequence_number: kinesis.sequence_number,
        arrived_at: Timestamp::from_seconds(kinesis.approximate_arrival_timestamp)
            .unwrap_or(Timestamp::EPOCH),
        data: STANDARD
            .decode(&kinesis.data)
            .unwrap_or_else(|_| kinesis.data.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(payload: &Value) -> Vec<u8> {
        json!({"version": "1.0", "requestContext": {"condition": "RetryAttemptsExhausted"}, "payload": payload})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn reads_the_payload_as_text_or_object() {
        let payload = json!({"Records": [{
            "eventID": "shardId-000000000001:4957", "eventSource": "aws:kinesis",
            "kinesis": {"sequenceNumber": "4957", "data": "AQI=", "partitionKey": "u", "approximateArrivalTimestamp": 1.5},
        }]});
        let expected = FailedRecord {
            shard_id: "shardId-000000000001".into(),
            sequence_number: "4957".into(),
            arrived_at: Timestamp::from_millis(1_500).unwrap(),
            data: vec![1, 2],
        };
        for payload in [json!(payload.to_string()), payload] {
            let batch = read(&object(&payload)).unwrap();
            assert_eq!(batch.condition, "RetryAttemptsExhausted");
            assert_eq!(batch.records, std::slice::from_ref(&expected));
        }
    }

    #[test]
    fn an_odd_record_does_not_hold_the_others() {
        let record = |event_id: &str, data: &str, arrived: f64| {
            json!({"eventID": event_id, "kinesis": {
            "sequenceNumber": "1", "data": data, "partitionKey": "u", "approximateArrivalTimestamp": arrived}})
        };
        let payload =
            json!({"Records": [record("no shard", "?", -1.0), record("s:1", "AQI=", 1.0)]});
        let records = read(&object(&payload)).unwrap().records;
        assert_eq!(
            (records[0].shard_id.as_str(), records[0].arrived_at),
            ("unknown", Timestamp::EPOCH)
        );
        assert_eq!(
            (&*records[0].data, &*records[1].data),
            (&b"?"[..], &[1, 2][..])
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn says_what_is_missing() {
        assert!(matches!(read(b"{}"), Err(OnFailureError::Json(_))));
        assert!(matches!(
            read(&object(&Value::Null)),
            Err(OnFailureError::NoPayload)
        ));
    }
}
