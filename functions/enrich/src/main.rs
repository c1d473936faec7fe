//! The bootstrap: telemetry, configuration, lookups, clients, run.

use anyhow::Context as _;
use enrich::config::{AuthKind, Config};
use enrich::handler::{Handler, Stores};
use enrich::sessions::Sessions;
use freshet_deadletters::DeadLetterStore;
use freshet_enrichment::{Enricher, bots::Bots, geo::Geo, user_agent::UserAgents};
use freshet_search::{Auth, DailyIndices, Indexer, Search};
use freshet_tables::SessionTable;
use freshet_telemetry::Metrics;
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
    let s3 = aws_sdk_s3::config::Builder::from(&aws)
        .force_path_style(config.s3_path_style)
        .build();
    let dead_letters = DeadLetterStore::new(
        aws_sdk_s3::Client::from_conf(s3),
        &config.dead_letter_bucket,
    );
    let sessions = config
        .session_table
        .map(|table| Sessions::new(SessionTable::new(&aws, table), config.session_policy));
    let auth = match config.auth {
        AuthKind::None => Auth::None,
        AuthKind::SigV4 => Auth::SigV4(Box::new(aws)),
    };
    let search = Search::connect(&config.opensearch_url, auth)?;
    let stores = Stores {
        indexer: Indexer::new(search.clone(), &config.write_alias, config.bulk_limits),
        daily: DailyIndices::new(search.clone(), config.bulk_limits),
        search,
        alias: config.write_alias,
        dead_letters,
    };
    let handler = &Handler::new(enricher, stores, sessions);
    let metrics = &Metrics::from_env();
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        Ok::<_, lambda_runtime::Error>(handler.invoke(event, metrics).await?)
    }))
    .await
    .map_err(|error| anyhow::anyhow!(error))
}
