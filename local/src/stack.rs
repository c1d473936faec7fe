//! Reads a deployed CloudFormation stack: which functions, mappings and routes
//! it has, with every property as the template says.

mod alarms;
mod functions;
mod resolver;
mod schedules;

use crate::batch::FailurePolicy;
use crate::http_api::{Authorization, Cors};
use crate::kinesis::ReadFrom;
use crate::window;
use crate::{ACCOUNT, REGION};
pub use alarms::alarms;
use anyhow::{Context as _, bail};
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Stack, TemplateStage};
use functions::function_of;
use resolver::Resolver;
pub use schedules::StackSchedule;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A deployed stack.
#[derive(Debug)]
pub struct DeployedStack {
    /// Functions by logical id.
    pub functions: BTreeMap<String, StackFunction>,
    /// Event source mappings by logical id.
    pub mappings: BTreeMap<String, StackMapping>,
    /// Schedules by logical id.
    pub schedules: BTreeMap<String, StackSchedule>,
    /// The routes of the HTTP API.
    pub routes: Vec<StackRoute>,
    /// The HTTP API's physical id, which its address has.
    pub api_id: Option<String>,
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
    /// Its UUID.
    pub uuid: String,
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

/// A route as deployed.
#[derive(Debug, PartialEq, Eq)]
pub struct StackRoute {
    /// `RouteKey`.
    pub key: String,
    /// Logical id of the function behind it.
    pub function: String,
    /// `AuthorizationType`.
    pub authorization: Authorization,
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

/// What is read of any stack.
struct Deployment {
    /// Those whose condition holds.
    resources: Map<String, Value>,
    resolver: Resolver,
    outputs: BTreeMap<String, String>,
}

impl Deployment {
    async fn read(client: &Client, name: &str) -> anyhow::Result<Self> {
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
        let (parameters, lists) = parameters(&template, stack);
        let resolver = Resolver {
            physical,
            parameters,
            lists,
            conditions: template["Conditions"]
                .as_object()
                .cloned()
                .unwrap_or_default(),
        };
        Ok(Self {
            resources: created(&resolver, &template)?,
            resolver,
            outputs,
        })
    }
}

/// The values of a stack's parameters, AWS's own among them, and the names of
/// those that are lists.
fn parameters(template: &Value, stack: &Stack) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let name = stack.stack_name().unwrap_or_default();
    let id = stack.stack_id().unwrap_or_default();
    let own = [
        ("AWS::AccountId", ACCOUNT),
        ("AWS::Partition", "aws"),
        ("AWS::Region", REGION),
        ("AWS::StackId", id),
        ("AWS::StackName", name),
        ("AWS::URLSuffix", "amazonaws.com"),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let (mut values, mut lists) = (BTreeMap::from(own), BTreeSet::new());
    for (key, parameter) in template["Parameters"].as_object().into_iter().flatten() {
        let kind = parameter["Type"].as_str().unwrap_or_default();
        if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            lists.insert(key.clone());
        }
        let default = &parameter["Default"];
        let default = default
            .as_str()
            .map_or_else(|| default.to_string(), str::to_owned);
        values.insert(key.clone(), default);
    }
    for parameter in stack.parameters() {
        if let (Some(key), Some(value)) = (parameter.parameter_key(), parameter.parameter_value()) {
            values.insert(key.to_owned(), value.to_owned());
        }
    }
    (values, lists)
}

impl DeployedStack {
    /// Reads the stack `name` from the emulator at `endpoint`.
    ///
    /// # Errors
    /// If it is not there, or has a property that cannot be understood.
    pub async fn read(client: &Client, endpoint: &str, name: &str) -> anyhow::Result<Self> {
        let Deployment {
            resources,
            resolver,
            outputs,
        } = Deployment::read(client, name).await?;
        let resources = &resources;
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
            let mapping = read_mapping(&resolver, resources, id, properties);
            let mapping = mapping.with_context(|| format!("the mapping {id}"))?;
            mappings.insert(id.clone(), mapping);
        }
        let mut schedules = BTreeMap::new();
        for (id, properties) in of_type(resources, "AWS::Scheduler::Schedule") {
            let schedule = schedules::read_schedule(&resolver, resources, properties);
            let schedule = schedule.with_context(|| format!("the schedule {id}"))?;
            schedules.insert(id.clone(), schedule);
        }
        let api = of_type(resources, "AWS::ApiGatewayV2::Api").next();
        Ok(Self {
            functions,
            mappings,
            schedules,
            routes: read_routes(&resolver, resources)?,
            api_id: api.and_then(|(id, _)| resolver.physical.get(id).cloned()),
            cors: read_cors(&resolver, resources)?,
            outputs,
        })
    }
}

/// The template's resources, without those whose condition does not hold.
fn created(resolver: &Resolver, template: &Value) -> anyhow::Result<Map<String, Value>> {
    let resources = template["Resources"].as_object();
    let mut created = Map::new();
    for (id, resource) in resources.context("the template has no resources")? {
        if resolver.is_created(resource)? {
            created.insert(id.clone(), resource.clone());
        }
    }
    Ok(created)
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

fn read_mapping(
    resolver: &Resolver,
    resources: &Map<String, Value>,
    id: &str,
    properties: &Value,
) -> anyhow::Result<StackMapping> {
    if properties.get("FilterCriteria").is_some() {
        bail!("FilterCriteria is not emulated yet");
    }
    let number = |key: &str, default| resolver.number(properties.get(key), default);
    let start = match properties["StartingPosition"].as_str() {
        Some("TRIM_HORIZON") => ReadFrom::Oldest,
        Some("LATEST") => ReadFrom::Latest,
        other => bail!("StartingPosition {other:?} is not emulated"),
    };
    let parallelization_factor = usize::try_from(number("ParallelizationFactor", 1)?)?;
    let tumbling = Duration::from_secs(u64::try_from(number("TumblingWindowInSeconds", 0)?)?);
    let tumbling_window = (tumbling > Duration::ZERO).then_some(tumbling);
    window::check(tumbling_window, parallelization_factor)?;
    let retries = number("MaximumRetryAttempts", -1)?;
    let age_s = number("MaximumRecordAgeInSeconds", -1)?;
    let reports = properties["FunctionResponseTypes"].as_array();
    let on_failure = properties.pointer("/DestinationConfig/OnFailure/Destination");
    Ok(StackMapping {
        uuid: resolver.physical.get(id).context("no UUID")?.clone(),
        function: function_of(resources, &properties["FunctionName"]).context("FunctionName")?,
        stream: resolver
            .physical(&properties["EventSourceArn"])
            .context("EventSourceArn")?,
        batch_size: usize::try_from(number("BatchSize", 100)?)?,
        window: Duration::from_secs(u64::try_from(number("MaximumBatchingWindowInSeconds", 0)?)?),
        parallelization_factor,
        tumbling_window,
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

fn read_routes(
    resolver: &Resolver,
    resources: &Map<String, Value>,
) -> anyhow::Result<Vec<StackRoute>> {
    of_type(resources, "AWS::ApiGatewayV2::Route")
        .map(|(id, route)| {
            read_route(resolver, resources, route).with_context(|| format!("the route {id}"))
        })
        .collect()
}

fn read_route(
    resolver: &Resolver,
    resources: &Map<String, Value>,
    route: &Value,
) -> anyhow::Result<StackRoute> {
    let key = route["RouteKey"].as_str().context("RouteKey")?;
    let target = integration_of(&route["Target"]).context("Target")?;
    let (_, integration) = of_type(resources, "AWS::ApiGatewayV2::Integration")
        .find(|(id, _)| *id == target)
        .with_context(|| format!("no integration {target}"))?;
    let function = function_of(resources, &integration["IntegrationUri"]);
    let authorization = route.get("AuthorizationType");
    let authorization = authorization
        .map(|value| resolver.text(value))
        .transpose()?;
    Ok(StackRoute {
        key: key.to_owned(),
        function: function.context("IntegrationUri")?,
        authorization: match authorization.as_deref() {
            None | Some("NONE") => Authorization::None,
            Some("AWS_IAM") => Authorization::Iam,
            Some(other) => bail!("AuthorizationType {other} is not emulated"),
        },
    })
}

/// The logical id in a route's target, `integrations/` and a reference, as
/// `Fn::Sub` or `Fn::Join`.
fn integration_of(target: &Value) -> Option<&str> {
    if let Some(text) = target.get("Fn::Sub").and_then(Value::as_str) {
        return text.strip_prefix("integrations/${")?.strip_suffix('}');
    }
    let join = target.get("Fn::Join")?;
    let [folder, reference] = join.get(1)?.as_array()?.as_slice() else {
        return None;
    };
    let folder = format!("{}{}", folder.as_str()?, join.get(0)?.as_str()?);
    reference
        .get("Ref")?
        .as_str()
        .filter(|_| folder == "integrations/")
}

fn read_cors(resolver: &Resolver, resources: &Map<String, Value>) -> anyhow::Result<Option<Cors>> {
    let Some((_, api)) = of_type(resources, "AWS::ApiGatewayV2::Api").next() else {
        return Ok(None);
    };
    let Some(mut cors) = api.get("CorsConfiguration").cloned() else {
        return Ok(None);
    };
    cors = resolver.resolve(&cors).context("CorsConfiguration")?;
    Ok(Some(
        serde_json::from_value(cors).context("CorsConfiguration")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn routes(resources: &Value) -> anyhow::Result<Vec<StackRoute>> {
        read_routes(&Resolver::default(), resources.as_object().unwrap())
    }

    fn route(target: &Value, authorization: &Value) -> Value {
        json!({
            "Route": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {
                "RouteKey": "GET /x", "Target": target, "AuthorizationType": authorization,
            }},
            "Plain": {"Type": "AWS::Lambda::Function"},
            "Query": {"Type": "AWS::Lambda::Function"},
            "QueryAliaslive": {"Type": "AWS::Lambda::Alias", "Properties": {
                "FunctionName": {"Ref": "Query"},
            }},
            "Integration": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
                "IntegrationUri": {"Fn::GetAtt": ["Plain", "Arn"]},
            }},
            "QueryIntegration": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
                "IntegrationUri": {"Ref": "QueryAliaslive"},
            }},
        })
    }

    #[test]
    fn a_route_has_the_integration_that_it_names_and_no_other() {
        for (target, function) in [
            (
                json!({"Fn::Sub": "integrations/${QueryIntegration}"}),
                "Query",
            ),
            (json!({"Fn::Sub": "integrations/${Integration}"}), "Plain"),
            (
                json!({"Fn::Join": ["/", ["integrations", {"Ref": "Integration"}]]}),
                "Plain",
            ),
            (
                json!({"Fn::Join": ["", ["integrations/", {"Ref": "QueryIntegration"}]]}),
                "Query",
            ),
        ] {
            let route = &routes(&route(&target, &json!("NONE"))).unwrap()[0];
            assert_eq!(
                (route.function.as_str(), route.key.as_str()),
                (function, "GET /x")
            );
        }
        for target in [
            json!("integrations/Integration"),
            json!({"Fn::Sub": "integrations/${Integ}"}),
            json!({"Fn::Join": ["", ["integrations", {"Ref": "Integration"}]]}),
        ] {
            assert!(routes(&route(&target, &json!("NONE"))).is_err(), "{target}");
        }
    }

    #[test]
    fn a_routes_authorization_is_read_and_what_is_not_emulated_is_refused() {
        let target = json!({"Fn::Sub": "integrations/${Integration}"});
        let of = |kind: &str| routes(&route(&target, &json!(kind)));
        assert_eq!(of("AWS_IAM").unwrap()[0].authorization, Authorization::Iam);
        assert_eq!(of("NONE").unwrap()[0].authorization, Authorization::None);
        assert!(of("JWT").is_err());
    }

    fn mapping(changed: &Value) -> anyhow::Result<StackMapping> {
        let mut properties = json!({
            "FunctionName": {"Ref": "F"},
            "EventSourceArn": {"Fn::GetAtt": ["S", "Arn"]},
            "StartingPosition": "TRIM_HORIZON",
        });
        for (key, value) in changed.as_object().unwrap() {
            properties[key] = value.clone();
        }
        let mut resolver = Resolver::default();
        resolver.physical.insert("M".into(), "a-uuid".into());
        let resources = json!({
            "F": {"Type": "AWS::Lambda::Function"},
            "FAliaslive": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "F"}}},
        });
        read_mapping(&resolver, resources.as_object().unwrap(), "M", &properties)
    }

    #[test]
    fn a_mapping_has_its_uuid_and_the_function_behind_an_alias() {
        for function in ["F", "FAliaslive"] {
            let found = mapping(&json!({"FunctionName": {"Ref": function}})).unwrap();
            assert_eq!(
                (found.uuid.as_str(), found.function.as_str()),
                ("a-uuid", "F")
            );
        }
        assert!(mapping(&json!({"FunctionName": {"Ref": "Nobody"}})).is_err());
    }

    #[test]
    fn tumbling_windows_are_read_as_aws_takes_them() {
        let window = |changed| {
            mapping(&changed)
                .map(|mapping| mapping.tumbling_window)
                .ok()
        };
        assert_eq!(window(json!({})), Some(None));
        assert_eq!(
            window(json!({"TumblingWindowInSeconds": 0, "ParallelizationFactor": 4})),
            Some(None)
        );
        assert_eq!(
            window(json!({"TumblingWindowInSeconds": "900"})),
            Some(Some(Duration::from_secs(900)))
        );
        for refused in [
            json!({"TumblingWindowInSeconds": 901}),
            json!({"TumblingWindowInSeconds": -1}),
            json!({"TumblingWindowInSeconds": 60, "ParallelizationFactor": 2}),
            json!({"FilterCriteria": {}}),
        ] {
            assert!(mapping(&refused).is_err(), "{refused}");
        }
    }
}
