//! Everything that a deployed stack needs to run on one machine.

use crate::function::{Function, FunctionConfig, LogLine};
use crate::http_api::{ApiConfig, BoundPort, HttpApi, INTEGRATION_TIMEOUT, Route};
use crate::kinesis::KinesisSource;
use crate::mapping::{Mapping, MappingConfig, S3OnFailure};
use crate::metrics::{Metrics, Publisher};
use crate::schedule::Schedule;
use crate::stack::{self, DeployedStack};
use anyhow::Context as _;
use aws_config::SdkConfig;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// How many environments of a function run at once, locally.
const MAX_CONCURRENCY: usize = 8;

/// The file of data points, in the state folder: one a line.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// How to run a stack.
#[derive(Clone, Debug)]
pub struct CloudOptions {
    /// Where the emulator of the other services listens.
    pub aws_endpoint: String,
    /// The deployed stack.
    pub stack_name: String,
    /// The bootstrap of each function, by logical id. Functions without one
    /// are left to the emulator.
    pub bootstraps: BTreeMap<String, PathBuf>,
    /// Folders that layers would bring, as functions see them (`/opt/…`), and
    /// what stands for them here.
    pub layers: Vec<(String, PathBuf)>,
    /// Where checkpoints, logs and metrics are kept.
    pub state: PathBuf,
    /// The HTTP API's port; 0 chooses a free one.
    pub http_port: u16,
    /// Variables that replace a function's own, by logical id: for tests that
    /// put a proxy in between.
    pub overrides: BTreeMap<String, Vec<(String, String)>>,
    /// How long a minute of the schedules is: shorter ones are for tests. None =
    /// nothing is scheduled.
    pub minute: Option<Duration>,
    /// Timeouts that replace a function's own, by logical id: for tests in
    /// which a minute is shorter.
    pub timeouts: BTreeMap<String, Duration>,
}

/// A running stack.
pub struct LocalCloud {
    /// Functions by logical id.
    pub functions: BTreeMap<String, Arc<Function>>,
    /// Mappings by logical id.
    pub mappings: BTreeMap<String, Mapping>,
    /// The HTTP API.
    pub api: HttpApi,
    /// The stack's outputs.
    pub outputs: BTreeMap<String, String>,
    /// What the functions write.
    pub logs: broadcast::Sender<LogLine>,
    /// What they write in embedded metric format, and what AWS would add.
    pub metrics: Metrics,
    schedules: Vec<Schedule>,
    publisher: Publisher,
    aws: SdkConfig,
    stack_name: String,
}

/// An AWS configuration for the emulator.
pub async fn aws_config(endpoint: &str) -> SdkConfig {
    let credentials =
        aws_sdk_kinesis::config::Credentials::new("test", "test", None, None, "local");
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new(crate::REGION))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .load()
        .await
}

/// An S3 client for the emulator.
#[must_use]
pub fn s3(aws: &SdkConfig) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(aws)
            .force_path_style(true)
            .build(),
    )
}

impl LocalCloud {
    /// Starts the stack's functions, mappings and HTTP API.
    ///
    /// # Errors
    /// If the stack cannot be read or a port is taken.
    pub async fn start(options: &CloudOptions) -> anyhow::Result<Self> {
        let aws = aws_config(&options.aws_endpoint).await;
        let cloudformation = aws_sdk_cloudformation::Client::new(&aws);
        let stack =
            DeployedStack::read(&cloudformation, &options.aws_endpoint, &options.stack_name)
                .await?;
        let (logs, _) = broadcast::channel(4_096);
        std::fs::create_dir_all(options.state.join("logs"))?;
        std::fs::create_dir_all(options.state.join("checkpoints"))?;
        let metrics = Metrics::default();
        let publisher = Publisher::start(
            metrics.clone(),
            aws_sdk_cloudwatch::Client::new(&aws),
            options.state.join(METRICS_FILE),
        );
        // Before the functions: one of them may be told where it is.
        let port = BoundPort::take(options.http_port).await?;
        let api = stack.api_id.as_deref().map(|id| (id, port.url.as_str()));
        let mut functions = BTreeMap::new();
        for (id, bootstrap) in &options.bootstraps {
            let deployed = stack
                .functions
                .get(id)
                .with_context(|| format!("the stack has no function {id}"))?;
            let config = FunctionConfig {
                name: deployed.name.clone(),
                bootstrap: bootstrap.clone(),
                environment: environment(options, id, &deployed.environment, api),
                timeout: options
                    .timeouts
                    .get(id)
                    .copied()
                    .unwrap_or(deployed.timeout),
                memory_mb: deployed.memory_mb,
                max_concurrency: MAX_CONCURRENCY,
                log_file: options.state.join("logs").join(format!("{id}.log")),
            };
            let function = Function::measured(config, logs.clone(), metrics.clone());
            functions.insert(id.clone(), Arc::new(function));
        }
        let mut mappings = BTreeMap::new();
        for (id, deployed) in stack.mappings {
            let function = functions
                .get(&deployed.function)
                .with_context(|| format!("{id} has no function"))?;
            let source =
                KinesisSource::new(aws_sdk_kinesis::Client::new(&aws), &deployed.stream).await?;
            let source = source.measured(metrics.clone());
            let on_failure = deployed
                .on_failure_bucket
                .map(|bucket| S3OnFailure::new(s3(&aws), bucket));
            let config = MappingConfig {
                id: deployed.uuid,
                batch_size: deployed.batch_size,
                window: deployed.window,
                parallelization_factor: deployed.parallelization_factor,
                tumbling_window: deployed.tumbling_window,
                start: deployed.start,
                policy: deployed.policy,
                checkpoint_file: options.state.join("checkpoints").join(format!("{id}.json")),
            };
            mappings.insert(
                id,
                Mapping::start(config, source, Arc::clone(function), on_failure).await?,
            );
        }
        let routes = stack.routes.into_iter().map(|route| {
            let function = functions
                .get(&route.function)
                .with_context(|| format!("the route {} has no function", route.key))?;
            Ok(Route {
                key: route.key,
                function: Arc::clone(function),
                authorization: route.authorization,
            })
        });
        let routes = routes.collect::<anyhow::Result<_>>()?;
        let config = ApiConfig {
            routes,
            cors: stack.cors,
            trust_forwarded_for: true,
            integration_timeout: INTEGRATION_TIMEOUT,
        };
        let api = HttpApi::serve(config, port)?;
        let mut schedules = Vec::new();
        for (id, schedule) in stack.schedules {
            // The emulator runs none, so that no run is a second one.
            let function = functions.get(&schedule.function);
            let function =
                function.with_context(|| format!("the schedule {id} has no function"))?;
            if let Some(minute) = options.minute {
                let function = Arc::clone(function);
                schedules.push(Schedule::start(&id, schedule, function, minute));
            }
        }
        Ok(Self {
            functions,
            mappings,
            api,
            outputs: stack.outputs,
            logs,
            metrics,
            schedules,
            publisher,
            aws,
            stack_name: options.stack_name.clone(),
        })
    }

    /// The alarms of the stack and of those nested in it, as
    /// [`stack::alarms`] has them.
    ///
    /// # Errors
    /// If a stack cannot be read, or an alarm has what cannot be resolved.
    pub async fn alarms(&self) -> anyhow::Result<Map<String, Value>> {
        let cloudformation = aws_sdk_cloudformation::Client::new(&self.aws);
        stack::alarms(&cloudformation, &self.stack_name).await
    }

    /// Invokes nothing that is scheduled from now on, or again.
    pub fn pause_schedules(&self, paused: bool) {
        for schedule in &self.schedules {
            schedule.pause(paused);
        }
    }

    /// Whether every record that was read is finished.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.mappings.values().all(Mapping::is_idle)
    }

    /// Ends schedules and mappings first, then functions, and waits for their
    /// processes, and for what they have measured.
    pub async fn shutdown(mut self) {
        self.schedules.clear();
        self.mappings.clear();
        for function in self.functions.values() {
            function.shutdown().await;
        }
        self.publisher.finish().await;
    }
}

/// A function's variables, with the emulator in AWS's place, and what listens
/// here in that of the HTTP API: its id, and the address.
fn environment(
    options: &CloudOptions,
    id: &str,
    deployed: &BTreeMap<String, String>,
    api: Option<(&str, &str)>,
) -> BTreeMap<String, String> {
    let mut variables = deployed.clone();
    for value in variables.values_mut() {
        for (folder, here) in &options.layers {
            *value = value.replace(folder.as_str(), &here.display().to_string());
        }
        if let Some((api_id, url)) = api {
            *value = with_local_api(value, api_id, url);
        }
    }
    for (key, value) in [
        ("AWS_ENDPOINT_URL", options.aws_endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ] {
        variables.insert(key.to_owned(), value.to_owned());
    }
    for (key, value) in options.overrides.get(id).into_iter().flatten() {
        variables.insert(key.clone(), value.clone());
    }
    variables
}

/// A value in which an address of the API, `https://<id>.execute-api.<host>`, is
/// `url` instead.
fn with_local_api(value: &str, api_id: &str, url: &str) -> String {
    for scheme in ["https://", "http://"] {
        let Some((before, rest)) = value.split_once(&format!("{scheme}{api_id}.execute-api."))
        else {
            continue;
        };
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".-:".contains(c)));
        let after = end.map_or("", |end| &rest[end..]);
        return format!("{before}{url}{}", with_local_api(after, api_id, url));
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_api_are_local_and_no_others() {
        let local = |value| with_local_api(value, "a1", "http://127.0.0.1:8080");
        for (value, expected) in [
            (
                "http://a1.execute-api.127.0.0.1:4566/v1/events",
                "http://127.0.0.1:8080/v1/events",
            ),
            (
                "https://a1.execute-api.us-east-1.amazonaws.com",
                "http://127.0.0.1:8080",
            ),
            (
                "x=http://a1.execute-api.h:1/y,http://a1.execute-api.h:1",
                "x=http://127.0.0.1:8080/y,http://127.0.0.1:8080",
            ),
            ("http://b1.execute-api.h/v1", "http://b1.execute-api.h/v1"),
            ("http://127.0.0.1:9200", "http://127.0.0.1:9200"),
        ] {
            assert_eq!(local(value), expected);
        }
    }
}
