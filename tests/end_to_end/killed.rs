//! enrich is killed after the index has a batch and before it says so: the
//! batch comes again, and nothing is doubled or missing, also when the write
//! index changes in between.

use crate::support::{Bench, bodies};
use anyhow::{Context as _, Result, ensure};
use freshet_local::fault::{Seen, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn enrich_killed_between_bulk_and_answer_doubles_nothing() -> Result<()> {
    let bench = Bench::start("killed").await?;
    let enrich = Arc::clone(
        bench
            .stack
            .cloud
            .functions
            .get("EnrichFunction")
            .context("no enrich")?,
    );
    let rollover = format!(
        "{}/clickstream/_rollover",
        bench.stack.endpoints.opensearch_url
    );
    let mut expected = 0;
    for (round, rolls_over) in [("plain", false), ("rolled", true), ("rolled-again", true)] {
        let killed = Arc::new(AtomicBool::new(false));
        let (flag, enrich, rollover) = (Arc::clone(&killed), Arc::clone(&enrich), rollover.clone());
        bench.search.set(move |seen: &Seen<'_>| {
            if !seen.path.contains("/_bulk") || flag.swap(true, Ordering::AcqRel) {
                return Verdict::Forward;
            }
            let (enrich, rollover) = (Arc::clone(&enrich), rollover.clone());
            Verdict::Change(
                seen.body.clone(),
                Box::new(move |_| {
                    // The index has it; nobody hears of it.
                    enrich.kill_environments();
                    if rolls_over {
                        let request = async { reqwest::Client::new().post(rollover).send().await };
                        let handle = tokio::runtime::Handle::current();
                        let answer = tokio::task::block_in_place(|| handle.block_on(request));
                        assert!(
                            answer.is_ok_and(|a| a.status().is_success()),
                            "the rollover itself"
                        );
                    }
                    None
                }),
            )
        });
        for body in bodies(round, 900, 300) {
            ensure!(bench.post(body).await?.status == 200);
        }
        expected += 900;
        bench.settled_at(expected).await?;
        ensure!(killed.load(Ordering::Acquire), "{round}: enrich was killed");
    }
    let indices = bench
        .opensearch("GET", "_alias/clickstream", serde_json::json!({}))
        .await?;
    ensure!(
        indices.as_object().map(serde_json::Map::len) == Some(3),
        "{indices}"
    );
    let stats = &bench.stack.cloud.mappings["EnrichMapping"].stats;
    ensure!(
        stats.errors.load(Ordering::Acquire) >= 3,
        "every kill failed an invocation"
    );
    bench.stop().await
}
