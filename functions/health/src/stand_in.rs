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
