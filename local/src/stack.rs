//! Reads a deployed CloudFormation stack: which functions, mappings and routes
//! it has, with every property as the template says.

use crate::batch::FailurePolicy;
use crate::http_api::Cors;
use crate::kinesis::ReadFrom;
use anyhow::{Context as _, bail};
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::TemplateStage;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A deployed stack.
#[derive(Debug)]
pub struct DeployedStack {
    /// Functions by logical id.
    pub functions: BTreeMap<String, StackFunction>,
    /// Event source mappings by logical id.
    pub mappings: BTreeMap<String, StackMapping>,
    /// Route keys of the HTTP API with the logical id of the function behind.
    pub routes: Vec<(String, String)>,
    /// The HTTP API's CORS configuration.
    pub cors: Option<Cors>,
    /// The stack's outputs.
    pub outputs: BTreeMap<String, String>,
}

/// A function as deployed.
#[derive(Debug)]
pub struct StackFunction {
    /// Its physical name.
    pub name: String,
    /// Its environment, every intrinsic resolved.
    pub environment: BTreeMap<String, String>,
    /// Its timeout.
    pub timeout: Duration,
    /// Its memory in MiB.
    pub memory_mb: u32,
}

/// A mapping as deployed.
#[derive(Debug)]
pub struct StackMapping {
    /// Logical id of the function.
    pub function: String,
    /// Physical name of the stream.
    pub stream: String,
    /// `BatchSize`.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub window: Duration,
    /// `ParallelizationFactor`.
    pub parallelization_factor: usize,
    /// `TumblingWindowInSeconds`, unless it is 0.
    pub tumbling_window: Option<Duration>,
    /// `StartingPosition`.
    pub start: ReadFrom,
    /// How failures are handled.
    pub policy: FailurePolicy,
    /// Physical name of the bucket that takes what is given up.
    pub on_failure_bucket: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionConfiguration {
    timeout: u64,
    memory_size: u32,
    #[serde(default)]
    environment: Environment,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Environment {
    variables: BTreeMap<String, String>,
}

/// Resolves what a property refers to.
struct Resolver {
    /// Physical ids by logical id.
    physical: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

impl Resolver {
    /// The logical id in `Ref` or `Fn::GetAtt`, or the text itself.
    fn target(value: &Value) -> Option<&str> {
        let get_att = value.get("Fn::GetAtt");
        value
            .as_str()
            .or_else(|| value.get("Ref")?.as_str())
            .or_else(|| get_att?.get(0)?.as_str())
            .or_else(|| get_att?.as_str()?.split('.').next())
    }

    fn physical(&self, value: &Value) -> Option<String> {
        let target = Self::target(value)?;
        Some(
            self.physical
                .get(target)
                .cloned()
                .unwrap_or_else(|| target.to_owned()),
        )
    }

    /// A number, be it literal, text, or a parameter.
    fn number(&self, value: Option<&Value>, default: i64) -> anyhow::Result<i64> {
        let Some(value) = value else {
            return Ok(default);
        };
        if let Some(number) = value.as_i64() {
            return Ok(number);
        }
        let text = match value.get("Ref").and_then(Value::as_str) {
            Some(parameter) => self.parameters.get(parameter).map(String::as_str),
            None => value.as_str(),
        };
        text.and_then(|text| text.parse().ok())
            .with_context(|| format!("{value} is no number"))
    }
}

impl DeployedStack {
    /// Reads the stack `name` from the emulator at `endpoint`.
    ///
    /// # Errors
    /// If it is not there, or has a property that cannot be understood.
    pub async fn read(client: &Client, endpoint: &str, name: &str) -> anyhow::Result<Self> {
        let template = client
            .get_template()
            .stack_name(name)
            .template_stage(TemplateStage::Processed)
            .send()
            .await?;
        let template: Value = serde_json::from_str(
            template
                .template_body()
                .context("the stack has no template")?,
        )?;
        let resources = template["Resources"]
            .as_object()
            .context("the template has no resources")?;
        let described = client
            .describe_stack_resources()
            .stack_name(name)
            .send()
            .await?;
        let physical = described
            .stack_resources()
            .iter()
            .filter_map(|r| {
                Some((
                    r.logical_resource_id()?.to_owned(),
                    r.physical_resource_id()?.to_owned(),
                ))
            })
            .collect();
        let stacks = client.describe_stacks().stack_name(name).send().await?;
        let stack = stacks.stacks().first().context("no such stack")?;
        let outputs = stack.outputs().iter();
        let outputs = outputs
            .filter_map(|o| Some((o.output_key()?.to_owned(), o.output_value()?.to_owned())))
            .collect();
        let mut parameters: BTreeMap<String, String> = BTreeMap::new();
        for (key, parameter) in template["Parameters"].as_object().into_iter().flatten() {
            let default = &parameter["Default"];
            parameters.insert(
                key.clone(),
                default
                    .as_str()
                    .map_or_else(|| default.to_string(), str::to_owned),
            );
        }
        for parameter in stack.parameters() {
            if let (Some(key), Some(value)) =
                (parameter.parameter_key(), parameter.parameter_value())
            {
                parameters.insert(key.to_owned(), value.to_owned());
            }
        }
        let resolver = Resolver {
            physical,
            parameters,
        };
        let mut functions = BTreeMap::new();
        for id in of_type(resources, "AWS::Lambda::Function").map(|(id, _)| id) {
            let name = resolver
                .physical
                .get(id)
                .with_context(|| format!("{id} was not created"))?;
            functions.insert(id.clone(), read_function(endpoint, name).await?);
        }
        let mut mappings = BTreeMap::new();
        for (id, properties) in of_type(resources, "AWS::Lambda::EventSourceMapping") {
            let mapping =
                read_mapping(&resolver, properties).with_context(|| format!("the mapping {id}"))?;
            mappings.insert(id.clone(), mapping);
        }
        Ok(Self {
            functions,
            mappings,
            routes: read_routes(resources)?,
            cors: read_cors(&resolver, resources)?,
            outputs,
        })
    }
}

fn of_type<'a>(
    resources: &'a Map<String, Value>,
    kind: &'a str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    resources
        .iter()
        .filter(move |(_, r)| r["Type"] == kind)
        .map(|(id, r)| (id, &r["Properties"]))
}

async fn read_function(endpoint: &str, name: &str) -> anyhow::Result<StackFunction> {
    // The template holds intrinsics; the emulator's Lambda has them resolved.
    let url = format!("{endpoint}/2015-03-31/functions/{name}/configuration");
    let answer = reqwest::get(url).await?.error_for_status()?;
    let configuration: FunctionConfiguration = answer.json().await?;
    Ok(StackFunction {
        name: name.to_owned(),
        environment: configuration.environment.variables,
        timeout: Duration::from_secs(configuration.timeout),
        memory_mb: configuration.memory_size,
    })
}

fn read_mapping(resolver: &Resolver, properties: &Value) -> anyhow::Result<StackMapping> {
    if properties.get("FilterCriteria").is_some() {
        bail!("FilterCriteria is not emulated yet");
    }
    let number = |key: &str, default| resolver.number(properties.get(key), default);
    let start = match properties["StartingPosition"].as_str() {
        Some("TRIM_HORIZON") => ReadFrom::Oldest,
        Some("LATEST") => ReadFrom::Latest,
        other => bail!("StartingPosition {other:?} is not emulated"),
    };
    let tumbling = Duration::from_secs(u64::try_from(number("TumblingWindowInSeconds", 0)?)?);
    let retries = number("MaximumRetryAttempts", -1)?;
    let age_s = number("MaximumRecordAgeInSeconds", -1)?;
    let reports = properties["FunctionResponseTypes"].as_array();
    let on_failure = properties.pointer("/DestinationConfig/OnFailure/Destination");
    Ok(StackMapping {
        function: Resolver::target(&properties["FunctionName"])
            .context("FunctionName")?
            .to_owned(),
        stream: resolver
            .physical(&properties["EventSourceArn"])
            .context("EventSourceArn")?,
        batch_size: usize::try_from(number("BatchSize", 100)?)?,
        window: Duration::from_secs(u64::try_from(number("MaximumBatchingWindowInSeconds", 0)?)?),
        parallelization_factor: usize::try_from(number("ParallelizationFactor", 1)?)?,
        tumbling_window: (tumbling > Duration::ZERO).then_some(tumbling),
        start,
        policy: FailurePolicy {
            report_batch_item_failures: reports
                .is_some_and(|types| types.iter().any(|t| t == "ReportBatchItemFailures")),
            bisect: properties["BisectBatchOnFunctionError"]
                .as_bool()
                .unwrap_or(false),
            max_retries: u32::try_from(retries).ok(),
            max_age_ms: (age_s >= 0).then_some(age_s * 1000),
        },
        on_failure_bucket: on_failure.and_then(|destination| resolver.physical(destination)),
    })
}

fn read_routes(resources: &Map<String, Value>) -> anyhow::Result<Vec<(String, String)>> {
    of_type(resources, "AWS::ApiGatewayV2::Route")
        .map(|(id, route)| {
            let key = route["RouteKey"]
                .as_str()
                .with_context(|| format!("{id} has no RouteKey"))?;
            // integrations/${LogicalId}, as Fn::Sub or Fn::Join.
            let target = route["Target"].to_string();
            let (_, integration) = of_type(resources, "AWS::ApiGatewayV2::Integration")
                .find(|(integration, _)| target.contains(integration.as_str()))
                .with_context(|| format!("{id} has no integration"))?;
            let function =
                Resolver::target(&integration["IntegrationUri"]).context("IntegrationUri")?;
            Ok((key.to_owned(), function.to_owned()))
        })
        .collect()
}

fn read_cors(resolver: &Resolver, resources: &Map<String, Value>) -> anyhow::Result<Option<Cors>> {
    let Some((_, api)) = of_type(resources, "AWS::ApiGatewayV2::Api").next() else {
        return Ok(None);
    };
    let Some(mut cors) = api.get("CorsConfiguration").cloned() else {
        return Ok(None);
    };
    if let Some(parameter) = cors["AllowOrigins"].get("Ref").and_then(Value::as_str) {
        let origins = resolver
            .parameters
            .get(parameter)
            .cloned()
            .unwrap_or_default();
        cors["AllowOrigins"] = origins
            .split(',')
            .map(|origin| Value::from(origin.trim()))
            .collect();
    }
    Ok(Some(
        serde_json::from_value(cors).context("CorsConfiguration")?,
    ))
}
