//! Aggregation on the real function, the emulated stream and table, and the
//! local event source mapping: what is counted is exact, whatever fails.

mod bench;
#[path = "../../shared/windows/tests/oracle/definition.rs"]
#[allow(dead_code)] // Here, copies are counted by when they really arrive.
mod definition;
mod merges;
mod traffic;

use anyhow::{Context as _, Result, ensure};
use bench::{Counting, Deployment, Writes};
use definition::{Rules, expected, in_time};
use freshet_events::Timestamp;
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use freshet_tables::SlotResult;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RULES: Rules = Rules {
    window: 5,
    slide: 1,
    lateness: 10,
    future: 5,
};
const AGGREGATORS: [&str; 3] = ["page_view", "conversion_funnel", "probe"];
const SHARDS: i32 = 12;
const EVENTS: usize = 100_000;
const LONGEST_BURST: Duration = Duration::from_secs(5);

/// A table that refuses, throttles and forgets to answer, in bursts that the
/// SDK's own retries do not outlast; and a function that is killed right after
/// the table has what it wrote.
fn storm(proxy: &FaultProxy, aggregate: Arc<freshet_local::function::Function>) -> Arc<AtomicU64> {
    let failures = Arc::new(AtomicU64::new(0));
    let failed = Arc::clone(&failures);
    let mut turn = 0_u64;
    let mut begun = Instant::now();
    proxy.set(move |seen: &Seen<'_>| {
        turn += 1;
        // A shard that is left alone asks little: for it, a burst ends by time.
        if turn.is_multiple_of(40) {
            begun = Instant::now();
        } else if begun.elapsed() > LONGEST_BURST {
            turn += 40 - turn % 40;
            begun = Instant::now();
        }
        let fail = |status, code: &str| {
            failed.fetch_add(1, Ordering::AcqRel);
            Verdict::Answer(status, format!(r#"{{"__type":"{code}"}}"#).into())
        };
        match turn / 40 % 5 {
            1 => fail(
                400,
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            ),
            3 if seen.operation == "PutItem" => fail(500, "InternalServerError"),
            _ if turn.is_multiple_of(97) && seen.operation == "PutItem" => {
                failed.fetch_add(1, Ordering::AcqRel);
                let aggregate = Arc::clone(&aggregate);
                let kill = move |_| {
                    aggregate.kill_environments();
                    None
                };
                Verdict::Change(seen.body.clone(), Box::new(kill))
            }
            _ => Verdict::Forward,
        }
    });
    failures
}

/// Results by aggregator and window's end.
type Slots = BTreeMap<(&'static str, i64), SlotResult>;

async fn slots(deployment: &Deployment, from_s: i64, to_s: i64) -> Result<Slots> {
    let mut all = BTreeMap::new();
    for name in AGGREGATORS {
        let page = deployment
            .results
            .slots(name, from_s, to_s, 100, now(), None)
            .await?;
        ensure!(page.next.is_none(), "more than a page");
        all.extend(
            page.slots
                .into_iter()
                .map(|slot| ((name, slot.window_end), slot)),
        );
    }
    Ok(all)
}

fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()).unwrap_or(Timestamp::EPOCH)
}

fn result(slot: &SlotResult) -> Result<Value> {
    let body: Value = serde_json::from_slice(&slot.body)?;
    ensure!(
        !slot.approximate && body.get("error_bound").is_none(),
        "exact: {body}"
    );
    Ok(body["result"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_events_are_counted_exactly_whatever_fails() -> Result<()> {
    let counting = Counting::start("aggregation", SHARDS).await?;
    let writes = Arc::new(Writes::default());
    let calm = counting
        .deploy("calm", |proxy, _| writes.watch(proxy))
        .await?;
    let mut failures = Arc::default();
    let stormy = counting
        .deploy("stormy", |proxy, function| {
            failures = storm(proxy, function);
        })
        .await?;

    // Something that has expired is in the table from the beginning.
    let gone_s = now().as_millis() / 1000 - 3_600;
    let expired = SlotResult {
        window_start: gone_s - 300,
        window_end: gone_s,
        updated_at: now(),
        approximate: false,
        body: b"{}".to_vec(),
        expires_at: gone_s + 600,
    };
    calm.results
        .put_slot("page_view", &expired, "", None)
        .await?;
    ensure!(counting.items(&calm, gone_s).await? == 1);
    let seen = calm
        .results
        .slots("page_view", gone_s - 60, gone_s + 60, 10, now(), None)
        .await?;
    ensure!(seen.slots.is_empty(), "an expired slot is shown: {seen:?}");

    let start_ms = jiff::Timestamp::now().as_millisecond();
    let traffic = traffic::of_a_shop(EVENTS, start_ms);
    let half = traffic.deliveries.len() / 2;
    counting.put(&traffic, 0..half).await?;
    // In mid-window: half the users of one shard move, and those of two come together.
    counting.reshard().await?;
    counting
        .put(&traffic, half..traffic.deliveries.len())
        .await?;
    counting.settled(&[&calm, &stormy]).await?;

    let (failed, errors) = (failures.load(Ordering::Acquire), stormy.errors());
    ensure!(
        failed > 50 && errors > 5,
        "{failed} requests and {errors} invocations failed"
    );
    ensure!(calm.errors() == 0, "nothing fails in a calm");

    let first_s = start_ms / 1000 - 600;
    let of_calm = slots(&calm, first_s, first_s + 3_600).await?;
    let of_stormy = slots(&stormy, first_s, first_s + 3_600).await?;
    let mut compared = 0;
    for ((name, end_s), slot) in &of_calm {
        let truth = expected(&traffic, RULES, end_s / 60 - 1);
        let (_, truth) = truth
            .results
            .iter()
            .find(|(of, _)| of == name)
            .context("an aggregator")?;
        // Through text, as the result went.
        let truth: Value = serde_json::from_str(&truth.to_string())?;
        ensure!(
            result(slot)? == truth,
            "{name} until {end_s}: {} instead of {truth}",
            result(slot)?
        );
        let Some(stormy) = of_stormy.get(&(*name, *end_s)) else {
            continue;
        };
        ensure!(
            result(stormy)? == truth,
            "{name} until {end_s} in the storm: {}",
            result(stormy)?
        );
        compared += 1;
    }
    // Three minutes of events, and the windows that hold any of them.
    ensure!(
        compared >= 3 * 4,
        "{compared} slots of {} and {}",
        of_calm.len(),
        of_stormy.len()
    );
    for deployment in [&calm, &stormy] {
        for name in AGGREGATORS {
            let latest = deployment.results.latest(name, now()).await?;
            let newest = slots(deployment, first_s, first_s + 3_600).await?;
            let newest = newest
                .keys()
                .filter(|(of, _)| *of == name)
                .map(|(_, end)| *end)
                .max();
            ensure!(
                latest.map(|slot| slot.window_end) == newest,
                "latest is the newest"
            );
        }
        let dropped = counting.dropped(deployment, start_ms).await?;
        let late = traffic
            .deliveries
            .iter()
            .filter(|copy| !in_time(RULES, traffic.events[copy.event].at_ms, copy.arrived_ms));
        ensure!(dropped == late.count() as u64, "{dropped} dropped as late");
    }

    // docs/decisions/0011-aggregation.md states both.
    let units = writes.units_per_million(traffic.deliveries.len());
    println!("{units} write units per million events: {writes:?}");
    ensure!(
        units < 80_000,
        "{units} write units per million events: {writes:?}"
    );

    // DynamoDB deletes what has expired, some time later.
    for _ in 0..90 {
        if counting.items(&calm, gone_s).await? == 0 {
            return counting.stop(vec![calm, stormy]).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    anyhow::bail!("what has expired is never deleted")
}
