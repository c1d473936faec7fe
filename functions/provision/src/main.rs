//! The bootstrap: telemetry, configuration, run.

use anyhow::Context as _;
use lambda_runtime::{LambdaEvent, service_fn};
use provision::config::Config;
use provision::custom_resource::{Answerer, Request};
use provision::provision::provision;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = &Config::from_env().context("the configuration is wrong")?;
    freshet_telemetry::init(&config.log_level);
    let answerer = &Answerer::new()?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Request>| async move {
        let work = async {
            let target = config
                .connect()
                .await
                .map_err(|error| format!("{error:#}"))?;
            provision(&target, &config.settings)
                .await
                .map_err(|error| error.to_string())
        };
        answerer
            .handle(&event.payload, event.context.deadline(), work)
            .await
            .map_err(lambda_runtime::Error::from)
    }))
    .await
    .map_err(|error| anyhow::anyhow!(error))
}
