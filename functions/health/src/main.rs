//! The bootstrap: telemetry, configuration, clients, run.

use anyhow::Context as _;
use freshet_search::{Auth, Search};
use freshet_telemetry::Metrics;
use health::config::{AuthKind, Config};
use health::handler::Handler;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env().context("the configuration is wrong")?;
    freshet_telemetry::init(&config.log_level);
    let aws = aws_config::from_env().load().await;
    let auth = match config.auth {
        AuthKind::None => Auth::None,
        AuthKind::SigV4 => Auth::SigV4(Box::new(aws.clone())),
    };
    let search = Search::connect(&config.opensearch_url, auth)?;
    let handler = &Handler::new(config, &aws, search, Metrics::from_env())?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        let context = event.context;
        let report = handler.handle(&context.request_id, context.deadline());
        Ok::<_, lambda_runtime::Error>(report.await)
    }))
    .await
    .map_err(|error| anyhow::anyhow!(error))
}
