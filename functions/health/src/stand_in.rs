//! Servers in place of AWS, for tests.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use wiremock::matchers::header;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// How to reach it.
pub(crate) fn aws(server: &MockServer) -> SdkConfig {
    at(&server.uri())
}

/// The same, at this address.
pub(crate) fn at(uri: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(uri)
        .retry_config(RetryConfig::disabled())
        .build()
}

/// What it answers to a target.
pub(crate) async fn on(server: &MockServer, target: &str, answer: ResponseTemplate) {
    let asked = Mock::given(header("x-amz-target", target));
    asked.respond_with(answer).mount(server).await;
}

/// What CloudWatch answers: for each query, its points by time in seconds.
/// (It speaks CBOR, of which this writes as much as is needed.)
pub(crate) fn metric_data(results: &[(String, Vec<(i64, f64)>)]) -> ResponseTemplate {
    metric_data_as(results, "Complete")
}

/// The same, with this status of every result.
pub(crate) fn metric_data_as(
    results: &[(String, Vec<(i64, f64)>)],
    status: &str,
) -> ResponseTemplate {
    let mut body = vec![0xa1];
    text(&mut body, "MetricDataResults");
    head(&mut body, 0x80, results.len());
    for (id, points) in results {
        head(&mut body, 0xa0, 4);
        for (name, value) in [("Id", id.as_str()), ("StatusCode", status)] {
            text(&mut body, name);
            text(&mut body, value);
        }
        text(&mut body, "Timestamps");
        head(&mut body, 0x80, points.len());
        for (at_s, _) in points {
            body.extend([0xc1, 0x1b]);
            body.extend(at_s.to_be_bytes());
        }
        text(&mut body, "Values");
        head(&mut body, 0x80, points.len());
        for (_, value) in points {
            body.push(0xfb);
            body.extend(value.to_be_bytes());
        }
    }
    ResponseTemplate::new(200)
        .insert_header("smithy-protocol", "rpc-v2-cbor")
        .set_body_raw(body, "application/cbor")
}

/// CloudWatch's refusal.
pub(crate) fn throttled() -> ResponseTemplate {
    let mut body = vec![0xa1];
    text(&mut body, "__type");
    text(&mut body, "com.amazonaws.cloudwatch#ThrottlingException");
    ResponseTemplate::new(400)
        .insert_header("smithy-protocol", "rpc-v2-cbor")
        .set_body_raw(body, "application/cbor")
}

fn text(body: &mut Vec<u8>, text: &str) {
    head(body, 0x60, text.len());
    body.extend(text.as_bytes());
}

fn head(body: &mut Vec<u8>, kind: u8, length: usize) {
    body.push(kind | 0x19);
    body.extend(u16::try_from(length).unwrap().to_be_bytes());
}
