//! A stream, a secret and a collector for tests.

use crate::config::Config;
use crate::delivery::Delivery;
use crate::handler::Handler;
use crate::opt_out::OptOut;
use crate::write_keys::WriteKeys;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_streams::{DeadLetterQueue, Stream};
use serde_json::{Value, json};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) const GOOD: &str = r#"{"user_id":"u","session_id":"s","event_type":"page_view","page_url":"https://a.example/","timestamp":"NOW"}"#;

pub(crate) fn events(events: &[&str]) -> String {
    let now = freshet_edge::now().to_string();
    format!("[{}]", events.join(",").replace("NOW", &now))
}

/// A stream that answers so, and a collector in front of it. The queue takes
/// nothing: no test here may need it.
pub(crate) async fn collector(
    stream: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, Handler) {
    collector_with(stream, None, OptOut::Ignore, &[]).await
}

/// The same, which knows these write keys, follows these wishes, and has these
/// variables.
pub(crate) async fn collector_with(
    stream: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
    keys: Option<Value>,
    opt_out: OptOut,
    vars: &[(&str, &str)],
) -> (MockServer, Handler) {
    let server = MockServer::builder().start().await;
    Mock::given(method("POST"))
        .and(header("x-amz-target", "Kinesis_20131202.PutRecords"))
        .respond_with(stream)
        .mount(&server)
        .await;
    let credentials = Credentials::new("test", "test", None, None, "test");
    let kinesis = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials.clone())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(server.uri())
        .build();
    let sqs = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials.clone())
        .retry_config(RetryConfig::disabled())
        .endpoint_url(server.uri())
        .build();
    let keys = match keys {
        None => WriteKeys::open(),
        Some(keys) => {
            let secret = json!({"Name": "keys", "SecretString": keys.to_string()});
            Mock::given(header("x-amz-target", "secretsmanager.GetSecretValue"))
                .respond_with(ResponseTemplate::new(200).set_body_json(secret))
                .mount(&server)
                .await;
            let secrets = aws_sdk_secretsmanager::Config::builder()
                .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(credentials)
                .endpoint_url(server.uri())
                .build();
            let client = aws_sdk_secretsmanager::Client::from_conf(secrets);
            WriteKeys::load(client, "keys".to_owned()).await.unwrap()
        }
    };
    let vars = [("STREAM_NAME", "s"), ("DEAD_LETTER_QUEUE_URL", "q")]
        .iter()
        .chain(vars)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let delivery = Delivery::new(
        Stream::new(aws_sdk_kinesis::Client::from_conf(kinesis), "s"),
        DeadLetterQueue::new(aws_sdk_sqs::Client::from_conf(sqs), "q"),
    );
    let config = Config::from_vars(vars).unwrap();
    (server, Handler::new(delivery, keys, opt_out, &config))
}

/// Takes every record but those that `refuse` is true for.
pub(crate) fn answer(request: &Request, refuse: impl Fn(&[u8]) -> bool) -> ResponseTemplate {
    let entry = |data: Vec<u8>| {
        if refuse(&data) {
            json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
        } else {
            json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        }
    };
    let answers: Vec<Value> = records(request).into_iter().map(entry).collect();
    ResponseTemplate::new(200).set_body_json(json!({"FailedRecordCount": 0, "Records": answers}))
}

/// The records of a request to the stream.
pub(crate) fn records(request: &Request) -> Vec<Vec<u8>> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let records = body["Records"].as_array().unwrap();
    records
        .iter()
        .map(|record| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap())
        .collect()
}
