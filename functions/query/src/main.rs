//! The bootstrap: telemetry, configuration, clients, run.

use anyhow::Context as _;
use freshet_keys::Keys;
use freshet_tables::{HealthTable, ResultTable};
use freshet_telemetry::Metrics;
use freshet_windows::Registry;
use lambda_runtime::{LambdaEvent, service_fn};
use query::access::Access;
use query::config::{Authorization, Config};
use query::handler::Handler;
use query::health::Health;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env().context("the configuration is wrong")?;
    freshet_telemetry::init(&config.log_level);
    let aws = aws_config::from_env().load().await;
    let access = match config.authorization {
        Authorization::Iam => Access::Iam,
        Authorization::None => Access::anyone(),
        Authorization::ReadKey => {
            let secrets = aws_sdk_secretsmanager::Client::new(&aws);
            let keys = Keys::load(secrets, config.read_keys_secret_id, &[]).await;
            Access::ReadKey(keys.context("the read keys cannot be loaded")?)
        }
    };
    let health = Health::new(HealthTable::new(&aws, &config.table), config.health_stale_s);
    let table = ResultTable::new(&aws, config.table);
    let registry = Registry::builtin();
    let aggregations = registry
        .iter()
        .map(|counted| (counted.name(), counted.description()));
    let aggregations = aggregations.collect();
    let handler = &Handler::new(table, health, access, config.windows, aggregations);
    let metrics = &Metrics::from_env();
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        Ok::<_, lambda_runtime::Error>(handler.invoke(event, metrics).await)
    }))
    .await
    .map_err(|error| anyhow::anyhow!(error))
}
