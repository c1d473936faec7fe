//! OpenSearch goes away in the middle of 50,000 events and comes back: every
//! event is there once.

use crate::support::{Bench, bodies};
use anyhow::{Result, ensure};
use futures::StreamExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

const EVENTS: usize = 50_000;

async fn post_all(bench: &Bench, bodies: &[String]) -> Result<()> {
    let answers: Vec<Result<_>> = futures::stream::iter(bodies)
        .map(|body| bench.post(body.clone()))
        .buffer_unordered(4)
        .collect()
        .await;
    for answer in answers {
        let answer = answer?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_index_loses_and_doubles_nothing() -> Result<()> {
    let mut bench = Bench::start("outage").await?;
    let bodies = bodies("o", EVENTS, 500);
    let (before, rest) = bodies.split_at(bodies.len() / 3);
    let (during, after) = rest.split_at(rest.len() / 2);
    post_all(&bench, before).await?;
    bench.stack.opensearch.kill().await?; // as a power cut would
    post_all(&bench, during).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mapping = &bench.stack.cloud.mappings["EnrichMapping"];
    ensure!(
        !bench.stack.cloud.is_idle(),
        "records are waiting for the index"
    );
    ensure!(
        mapping.stats.given_up.load(Ordering::Acquire) == 0,
        "an outage is no failure of records"
    );
    bench.stack.opensearch.start().await?;
    post_all(&bench, after).await?;
    bench.settled_at(EVENTS as u64).await?;
    ensure!(bench.dead_letters("").await?.is_empty());
    bench.stop().await
}
