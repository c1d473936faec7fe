//! The bootstrap: telemetry, configuration, lookups, clients, run.

use aggregate::config::Config;
use aggregate::handler::Handler;
use anyhow::Context as _;
use freshet_enrichment::{Enricher, bots::Bots, geo::Geo, user_agent::UserAgents};
use freshet_tables::{ChainTable, ResultTable};
use freshet_telemetry::Metrics;
use freshet_windows::Registry;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env().context("the configuration is wrong")?;
    freshet_telemetry::init(&config.log_level);
    let regexes =
        std::fs::read(&config.ua_regexes_path).context("the user-agent regexes cannot be read")?;
    let crawlers =
        std::fs::read(&config.crawlers_path).context("the crawlers' user agents cannot be read")?;
    let enricher = Enricher::new(
        UserAgents::from_yaml(&regexes)?.with_bots(Bots::from_json(&crawlers)?),
        Geo::open(&config.geoip_paths)?,
    );
    let aws = aws_config::from_env().load().await;
    let handler = &Handler::new(
        enricher,
        Registry::builtin(),
        ChainTable::new(&aws, &config.table),
        ResultTable::new(&aws, &config.table),
        &config,
    );
    let metrics = &Metrics::from_env();
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        Ok::<_, lambda_runtime::Error>(handler.invoke(event, metrics).await?)
    }))
    .await
    .map_err(|error| anyhow::anyhow!(error))
}
