//! The bootstrap: telemetry, configuration, clients, run.

use anyhow::Context as _;
use aws_config::retry::RetryConfig;
use collect::config::Config;
use collect::delivery::Delivery;
use collect::handler::Handler;
use collect::opt_out::OptOut;
use collect::write_keys::WriteKeys;
use freshet_streams::{DeadLetterQueue, Stream};
use freshet_telemetry::Metrics;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_env().context("the configuration is wrong")?;
    freshet_telemetry::init(&config.log_level);
    // Retries are by record and by event, in the adapters.
    let aws = aws_config::from_env()
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    let stream = Stream::new(aws_sdk_kinesis::Client::new(&aws), &config.stream_name);
    let queue = DeadLetterQueue::new(
        aws_sdk_sqs::Client::new(&aws),
        &config.dead_letter_queue_url,
    );
    let of_secrets = aws_sdk_secretsmanager::config::Builder::from(&aws)
        .retry_config(RetryConfig::standard())
        .build();
    let secrets = aws_sdk_secretsmanager::Client::from_conf(of_secrets);
    let keys = match &config.write_keys_secret_id {
        None => WriteKeys::open(),
        Some(id) => WriteKeys::load(secrets.clone(), id.clone())
            .await
            .context("the write keys cannot be loaded")?,
    };
    let opt_out = OptOut::load(&secrets, &config.opt_out)
        .await
        .context("the key of pseudonyms cannot be loaded")?;
    let delivery = Delivery::new(stream, queue);
    let handler = &Handler::new(delivery, keys, opt_out, &config);
    let metrics = &Metrics::from_env();
    lambda_runtime::run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        Ok::<_, lambda_runtime::Error>(handler.invoke(event, metrics).await)
    }))
    .await
    .map_err(|error| anyhow::anyhow!(error))
}
