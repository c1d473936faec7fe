//! Everything that a deployed stack needs to run on one machine.

use crate::function::{Function, FunctionConfig, LogLine};
use crate::http_api::{ApiConfig, HttpApi, INTEGRATION_TIMEOUT, Route};
use crate::kinesis::KinesisSource;
use crate::mapping::{Mapping, MappingConfig, S3OnFailure};
use crate::stack::DeployedStack;
use anyhow::Context as _;
use aws_config::SdkConfig;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;

/// How many environments of a function run at once, locally.
const MAX_CONCURRENCY: usize = 8;

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
    /// Where checkpoints and logs are kept.
    pub state: PathBuf,
    /// The HTTP API's port; 0 chooses a free one.
    pub http_port: u16,
    /// Variables that replace a function's own, by logical id: for tests that
    /// put a proxy in between.
    pub overrides: BTreeMap<String, Vec<(String, String)>>,
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
        let mut functions = BTreeMap::new();
        for (id, bootstrap) in &options.bootstraps {
            let deployed = stack
                .functions
                .get(id)
                .with_context(|| format!("the stack has no function {id}"))?;
            let config = FunctionConfig {
                name: deployed.name.clone(),
                bootstrap: bootstrap.clone(),
                environment: environment(options, id, &deployed.environment),
                timeout: deployed.timeout,
                memory_mb: deployed.memory_mb,
                max_concurrency: MAX_CONCURRENCY,
                log_file: options.state.join("logs").join(format!("{id}.log")),
            };
            functions.insert(id.clone(), Arc::new(Function::new(config, logs.clone())));
        }
        let mut mappings = BTreeMap::new();
        for (id, deployed) in stack.mappings {
            let function = functions
                .get(&deployed.function)
                .with_context(|| format!("{id} has no function"))?;
            let source =
                KinesisSource::new(aws_sdk_kinesis::Client::new(&aws), &deployed.stream).await?;
            let on_failure = deployed
                .on_failure_bucket
                .map(|bucket| S3OnFailure::new(s3(&aws), bucket));
            let config = MappingConfig {
                id: id.clone(),
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
        let api = HttpApi::start(config, options.http_port).await?;
        Ok(Self {
            functions,
            mappings,
            api,
            outputs: stack.outputs,
            logs,
        })
    }

    /// Whether every record that was read is finished.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.mappings.values().all(Mapping::is_idle)
    }

    /// Ends mappings first, then functions, and waits for their processes.
    pub async fn shutdown(mut self) {
        self.mappings.clear();
        for function in self.functions.values() {
            function.shutdown().await;
        }
    }
}

/// A function's variables, with the emulator in AWS's place.
fn environment(
    options: &CloudOptions,
    id: &str,
    deployed: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = deployed.clone();
    for value in variables.values_mut() {
        for (folder, here) in &options.layers {
            *value = value.replace(folder.as_str(), &here.display().to_string());
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
