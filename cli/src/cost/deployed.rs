//! What a deployed stack is made of.

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudformation::primitives::DateTime;
use freshet_cost::{Deployment, DeploymentError, Stream, Template, TemplateError};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use thiserror::Error;

/// Why it is not known what a stack is made of.
#[derive(Debug, Error)]
pub(super) enum DeployedError {
    /// There is no such stack in this account and region, or no permission.
    #[error("the stack {stack} cannot be described: {why}")]
    Describe {
        /// Which.
        stack: String,
        /// What CloudFormation said.
        why: String,
    },
    /// Its template is not one of ours.
    #[error("the template of the stack {stack} cannot be used: {source}")]
    Template {
        /// Which.
        stack: String,
        /// Why.
        source: TemplateError,
    },
    /// It is a stack, but not of ours.
    #[error("the stack {stack} is none of Freshet's: {source}")]
    NotOurs {
        /// Which.
        stack: String,
        /// What it lacks.
        source: DeploymentError,
    },
}

/// A resource of a stack.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    /// In the template.
    pub(super) logical_id: String,
    /// Its type.
    pub(super) kind: String,
    /// In the account.
    pub(super) physical_id: String,
    /// Whether it is the stack's own, and not one of a nested stack.
    pub(super) is_own: bool,
}

/// A deployed stack.
#[derive(Debug)]
pub(super) struct Deployed {
    /// Its name.
    pub(super) name: String,
    /// Where it is.
    pub(super) region: String,
    /// Whose it is.
    pub(super) account: String,
    /// When it was created, seconds since 1970.
    pub(super) created_s: Option<i64>,
    /// What it is made of, as its template and parameters say.
    pub(super) deployment: Deployment,
    /// What there really is, nested stacks too.
    pub(super) resources: Vec<Resource>,
}

impl Deployed {
    /// Asks CloudFormation.
    pub(super) async fn describe(stack: &str, aws: &SdkConfig) -> Result<Self, DeployedError> {
        let client = Client::new(aws);
        let answer = client.describe_stacks().stack_name(stack).send().await;
        let answer = answer.map_err(|error| failed(stack, &error))?;
        let Some(described) = answer.stacks().first() else {
            return Err(DeployedError::Describe {
                stack: stack.to_owned(),
                why: "there is none".to_owned(),
            });
        };
        // arn:aws:cloudformation:<region>:<account>:stack/…
        let arn: Vec<&str> = described
            .stack_id()
            .unwrap_or_default()
            .split(':')
            .collect();
        let part = |n: usize| arn.get(n).copied().unwrap_or_default().to_owned();
        let template = client.get_template().stack_name(stack).send().await;
        let template = template.map_err(|error| failed(stack, &error))?;
        let of_template = |source| DeployedError::Template {
            stack: stack.to_owned(),
            source,
        };
        let template =
            Template::parse(template.template_body().unwrap_or_default()).map_err(of_template)?;
        let parameters = described.parameters().iter();
        let given = parameters.filter_map(|parameter| {
            Some((parameter.parameter_key()?, parameter.parameter_value()?))
        });
        let values = template.values(given).map_err(of_template)?;
        let mut deployment = Deployment::of(&template, &values, &|_| None).map_err(|source| {
            DeployedError::NotOurs {
                stack: stack.to_owned(),
                source,
            }
        })?;
        let resources = resources(&client, stack).await?;
        let count = |kind: &str| {
            let of = resources.iter().filter(|resource| resource.kind == kind);
            u32::try_from(of.count()).unwrap_or(u32::MAX)
        };
        deployment.alarms = count("AWS::CloudWatch::Alarm");
        deployment.composite_alarms = count("AWS::CloudWatch::CompositeAlarm");
        deployment.dashboards = count("AWS::CloudWatch::Dashboard");
        Ok(Self {
            name: described.stack_name().unwrap_or(stack).to_owned(),
            region: part(3),
            account: part(4),
            created_s: described.creation_time().map(DateTime::secs),
            deployment,
            resources,
        })
    }

    /// The physical id of the stack's own resource.
    pub(super) fn own(&self, logical_id: &str) -> Option<&str> {
        let mut own = self.resources.iter().filter(|resource| resource.is_own);
        let found = own.find(|resource| resource.logical_id == logical_id);
        found.map(|resource| resource.physical_id.as_str())
    }

    /// All resources of a type, with their logical ids.
    pub(super) fn all<'d>(&'d self, kind: &'d str) -> impl Iterator<Item = &'d Resource> {
        self.resources
            .iter()
            .filter(move |resource| resource.kind == kind)
    }

    /// The shards that there really are; as the parameters say where Kinesis
    /// does not answer.
    pub(super) async fn stream(&self, aws: &SdkConfig) -> Result<Option<Stream>, String> {
        let Some(stream) = self.own("EventStream") else {
            return Ok(None);
        };
        let kinesis = aws_sdk_kinesis::Client::new(aws);
        let answer = kinesis
            .describe_stream_summary()
            .stream_name(stream)
            .send()
            .await
            .map_err(|error| reason(&error))?;
        let Some(summary) = answer.stream_description_summary() else {
            return Ok(None);
        };
        let on_demand = summary
            .stream_mode_details()
            .is_some_and(|mode| mode.stream_mode().as_str() == "ON_DEMAND");
        let shards = u32::try_from(summary.open_shard_count()).unwrap_or(0);
        Ok(Some(if on_demand {
            Stream::OnDemand
        } else {
            Stream::Shards(shards)
        }))
    }
}

/// A stack's resources and those of its nested stacks, however deep.
async fn resources(client: &Client, stack: &str) -> Result<Vec<Resource>, DeployedError> {
    let mut stacks = vec![stack.to_owned()];
    let mut found: BTreeMap<String, Resource> = BTreeMap::new();
    while let Some(next) = stacks.pop() {
        let mut pages = client
            .list_stack_resources()
            .stack_name(&next)
            .into_paginator()
            .items()
            .send();
        while let Some(resource) = pages.next().await {
            let resource = resource.map_err(|error| failed(stack, &error))?;
            let (Some(logical_id), Some(kind), Some(physical_id)) = (
                resource.logical_resource_id(),
                resource.resource_type(),
                resource.physical_resource_id(),
            ) else {
                // Nothing that has no identity yet costs anything.
                continue;
            };
            if kind == "AWS::CloudFormation::Stack" && !found.contains_key(physical_id) {
                stacks.push(physical_id.to_owned());
            }
            found.insert(
                format!("{kind} {physical_id}"),
                Resource {
                    logical_id: logical_id.to_owned(),
                    kind: kind.to_owned(),
                    physical_id: physical_id.to_owned(),
                    is_own: next == stack,
                },
            );
        }
    }
    Ok(found.into_values().collect())
}

fn failed<E>(stack: &str, error: &SdkError<E>) -> DeployedError
where
    E: ProvideErrorMetadata + StdError + 'static,
    SdkError<E>: StdError + 'static,
{
    DeployedError::Describe {
        stack: stack.to_owned(),
        why: reason(error),
    }
}

/// What the service said; else what happened on the way, and its first cause.
pub(super) fn reason<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
    SdkError<E>: StdError + 'static,
{
    if let Some(message) = error.as_service_error().and_then(|error| error.message()) {
        return message.to_owned();
    }
    let mut cause: &dyn StdError = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("{error}: {cause}")
}
