//! A server in DynamoDB's place, for tests.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, retry::RetryConfig,
};
use wiremock::matchers::header;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// How to reach it.
pub(crate) fn aws(server: &MockServer, retries: RetryConfig) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(server.uri())
        .retry_config(retries)
        .build()
}

/// What it answers to an operation.
pub(crate) async fn on(
    server: &MockServer,
    operation: &str,
    respond: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) {
    let target = format!("DynamoDB_20120810.{operation}");
    Mock::given(header("x-amz-target", target))
        .respond_with(respond)
        .mount(server)
        .await;
}
