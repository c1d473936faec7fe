//! Which stream, queue and bucket: of the local stack, or of a deployed one.

use super::{Clients, ReplayQueue, Replayed};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_cloudformation::error::{DisplayErrorContext, SdkError};
use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksError;
use aws_sdk_kinesis::config::Credentials;
use freshet_deadletters::DeadLetterStore;
use freshet_streams::Stream;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// A server that accepts a request and never answers must not hold a replay.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why it is not known where dead letters are.
#[derive(Debug, Error)]
pub enum TargetError {
    /// There is no local stack.
    #[error(
        "no local stack is running here ({} is missing): start one with ./freshet up, or name a deployed one with --stack",
        path.display()
    )]
    NotRunning {
        /// Where its endpoints would be.
        path: PathBuf,
    },
    /// The local stack's endpoints cannot be read.
    #[error("{} cannot be read", path.display())]
    Endpoints {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// CloudFormation does not describe the stack.
    #[error("the stack cannot be described: {}", DisplayErrorContext(.0))]
    Describe(#[source] Box<SdkError<DescribeStacksError>>),
    /// The stack has no such output: it is not one of ours.
    #[error("the stack {stack} has no output {output}")]
    Output {
        /// The stack.
        stack: String,
        /// What is missing.
        output: &'static str,
    },
}

/// Where the dead letters of a stack are, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The stack's name: a dimension of its metrics.
    pub stack: String,
    /// The stream's name.
    pub stream: String,
    /// The collector's dead-letter queue.
    pub dead_letter_queue_url: String,
    /// The dead-letter bucket's name.
    pub dead_letter_bucket: String,
}

/// What this needs of `endpoints.json`.
#[derive(Deserialize)]
struct Endpoints {
    aws_endpoint: String,
    region: String,
    stack: String,
    stream: String,
    dead_letter_queue_url: String,
    dead_letter_bucket: String,
}

impl Target {
    /// The local stack whose state is in `state`, with the configuration of
    /// clients that reach it.
    ///
    /// # Errors
    /// [`TargetError`] if it does not run.
    pub async fn local(state: &Path) -> Result<(Self, SdkConfig), TargetError> {
        let path = state.join("endpoints.json");
        let read = std::fs::read(&path).and_then(|json| Ok(serde_json::from_slice(&json)?));
        let endpoints: Endpoints = read.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TargetError::NotRunning { path: path.clone() },
            _ => TargetError::Endpoints {
                path: path.clone(),
                source,
            },
        })?;
        // The local servers take any credentials; real ones stay at home.
        let config = aws_config::from_env()
            .endpoint_url(endpoints.aws_endpoint)
            .region(Region::new(endpoints.region))
            .credentials_provider(Credentials::new("test", "test", None, None, "local"))
            .load()
            .await;
        let target = Self {
            stack: endpoints.stack,
            stream: endpoints.stream,
            dead_letter_queue_url: endpoints.dead_letter_queue_url,
            dead_letter_bucket: endpoints.dead_letter_bucket,
        };
        Ok((target, config))
    }

    /// The deployed stack called `stack`, by its outputs.
    ///
    /// # Errors
    /// [`TargetError`] if there is no such stack or it lacks an output.
    pub async fn deployed(stack: &str, aws: &SdkConfig) -> Result<Self, TargetError> {
        let client = aws_sdk_cloudformation::Client::new(aws);
        let answer = client.describe_stacks().stack_name(stack).send().await;
        let answer = answer.map_err(|error| TargetError::Describe(Box::new(error)))?;
        let outputs = answer.stacks().first().map_or(&[][..], |s| s.outputs());
        let output = |name: &'static str| {
            let found = outputs
                .iter()
                .find(|output| output.output_key() == Some(name))
                .and_then(|output| output.output_value());
            found.map(str::to_owned).ok_or_else(|| TargetError::Output {
                stack: stack.to_owned(),
                output: name,
            })
        };
        Ok(Self {
            stack: stack.to_owned(),
            stream: output("StreamName")?,
            dead_letter_queue_url: output("DeadLetterQueueUrl")?,
            dead_letter_bucket: output("DeadLetterBucketName")?,
        })
    }

    /// Clients for all three.
    #[must_use]
    pub fn clients(&self, aws: &SdkConfig) -> Clients {
        let aws = aws
            .to_builder()
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            )
            .build();
        // Retries of puts are by record, in the adapter.
        let kinesis = aws_sdk_kinesis::config::Builder::from(&aws)
            .retry_config(RetryConfig::disabled())
            .build();
        // A local server has no host name for each bucket.
        let s3 = aws_sdk_s3::config::Builder::from(&aws)
            .force_path_style(aws.endpoint_url().is_some())
            .build();
        Clients {
            stream: Stream::new(aws_sdk_kinesis::Client::from_conf(kinesis), &self.stream),
            queue: ReplayQueue::new(aws_sdk_sqs::Client::new(&aws), &self.dead_letter_queue_url),
            metric: Replayed::new(aws_sdk_cloudwatch::Client::new(&aws), &self.stack),
            store: DeadLetterStore::new(
                aws_sdk_s3::Client::from_conf(s3),
                &self.dead_letter_bucket,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    #[tokio::test]
    async fn says_that_no_local_stack_runs() {
        let state = std::env::temp_dir().join("freshet-no-such-state");
        assert!(matches!(
            Target::local(&state).await,
            Err(TargetError::NotRunning { .. })
        ));
    }

    #[tokio::test]
    async fn reads_the_endpoints_of_a_local_stack() {
        let state = std::env::temp_dir().join(format!("freshet-target-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let endpoints = r#"{"aws_endpoint":"http://127.0.0.1:1","region":"eu-west-1","stack":"freshet","stream":"s","dead_letter_queue_url":"q","dead_letter_bucket":"b","write_alias":"w"}"#;
        std::fs::write(state.join("endpoints.json"), endpoints).unwrap();
        let (target, config) = Target::local(&state).await.unwrap();
        assert_eq!(
            (target.stream.as_str(), config.endpoint_url()),
            ("s", Some("http://127.0.0.1:1"))
        );
        std::fs::write(state.join("endpoints.json"), "{").unwrap();
        assert!(matches!(
            Target::local(&state).await,
            Err(TargetError::Endpoints { .. })
        ));
        std::fs::remove_dir_all(&state).unwrap();
    }

    #[tokio::test]
    async fn reads_the_outputs_of_a_deployed_stack() {
        let server = MockServer::start().await;
        let describe = |keys: &[&str]| {
            let outputs: String = keys
                .iter()
                .map(|key| format!("<member><OutputKey>{key}</OutputKey><OutputValue>v-{key}</OutputValue></member>"))
                .collect();
            let xml = format!(
                "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>f</StackName><CreationTime>2026-11-23T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
            );
            Mock::given(method("POST"))
                .respond_with(ResponseTemplate::new(200).set_body_string(xml))
        };
        let aws = aws_config::from_env()
            .endpoint_url(server.uri())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .load()
            .await;
        describe(&["StreamName", "DeadLetterQueueUrl", "DeadLetterBucketName"])
            .mount(&server)
            .await;
        let target = Target::deployed("f", &aws).await.unwrap();
        assert_eq!(target.dead_letter_bucket, "v-DeadLetterBucketName");
        server.reset().await;
        describe(&["StreamName"]).mount(&server).await;
        assert!(matches!(
            Target::deployed("f", &aws).await,
            Err(TargetError::Output {
                output: "DeadLetterQueueUrl",
                ..
            })
        ));
    }
}
