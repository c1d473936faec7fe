//! The stream: its shards, and whether it turned anything away.

use super::{CheckError, Found};
use crate::series::{Asked, Series};
use aws_sdk_kinesis::Client;
use serde::Serialize;
use std::sync::Arc;

const SERVICE: &str = "Kinesis";

/// What there is to say of the stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stream {
    /// `ACTIVE`, or `UPDATING` while shards are split or merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Open ones: what is left of a split counts no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// Records turned away in the last period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_throttles: Option<f64>,
    /// Reads turned away in the last period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_throttles: Option<f64>,
}

/// Asks Kinesis for the shards; the throttles are CloudWatch's. Either is told
/// without the other.
pub async fn check(
    client: &Client,
    name: &str,
    series: impl Future<Output = Result<Arc<Series>, CheckError>>,
) -> Found<Stream> {
    let summary = client.describe_stream_summary().stream_name(name).send();
    let (summary, series) = futures::join!(summary, series);
    let mut stream = Stream::default();
    let mut failure = None;
    let summary = summary.map_err(|error| CheckError::of(SERVICE, &error));
    match summary.map(|answer| answer.stream_description_summary) {
        Ok(Some(summary)) => {
            stream.status = Some(summary.stream_status().as_str().to_owned());
            stream.shards = u32::try_from(summary.open_shard_count()).ok();
        }
        Ok(None) => failure = Some(CheckError::Answer(SERVICE)),
        Err(error) => failure = Some(error),
    }
    match series {
        Ok(series) => {
            stream.write_throttles = Some(series.latest(Asked::WriteThrottles));
            stream.read_throttles = Some(series.latest(Asked::ReadThrottles));
        }
        Err(error) => failure = failure.or(Some(error)),
    }
    Found {
        value: Some(stream),
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::{aws, on};
    use serde_json::{Value, json};
    use wiremock::{MockServer, ResponseTemplate};

    pub(crate) fn summary(status: &str, open: u32) -> Value {
        json!({"StreamDescriptionSummary": {"StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "StreamStatus": status, "RetentionPeriodHours": 168, "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [],
            "OpenShardCount": open}})
    }

    fn series() -> impl Future<Output = Result<Arc<Series>, CheckError>> {
        let mut series = Series::empty(0, 60_000, 3);
        series.set(Asked::WriteThrottles, &[9.0, 0.0, 4.0]);
        std::future::ready(Ok(Arc::new(series)))
    }

    #[tokio::test]
    async fn a_shard_that_splits_leaves_open_ones() {
        let server = MockServer::builder().start().await;
        let answer = ResponseTemplate::new(200).set_body_json(summary("UPDATING", 3));
        on(&server, "Kinesis_20131202.DescribeStreamSummary", answer).await;
        let found = check(&Client::new(&aws(&server)), "s", series()).await;
        let stream = Stream {
            status: Some("UPDATING".into()),
            shards: Some(3),
            write_throttles: Some(4.0),
            read_throttles: Some(0.0),
        };
        assert_eq!(found, Ok(stream).into());
    }

    #[tokio::test]
    async fn what_one_of_the_two_does_not_say_the_other_does() {
        let server = MockServer::builder().start().await;
        let answer = ResponseTemplate::new(200).set_body_json(summary("ACTIVE", 2));
        on(&server, "Kinesis_20131202.DescribeStreamSummary", answer).await;
        let down = async { Err(CheckError::Timeout) };
        let found = check(&Client::new(&aws(&server)), "s", down).await;
        assert_eq!(found.failure, Some(CheckError::Timeout));
        let stream = found.value.unwrap();
        assert_eq!((stream.shards, stream.write_throttles), (Some(2), None));

        server.reset().await;
        let found = check(&Client::new(&aws(&server)), "s", series()).await;
        assert!(found.failure.is_some());
        assert_eq!(found.value.unwrap().write_throttles, Some(4.0));
    }
}
