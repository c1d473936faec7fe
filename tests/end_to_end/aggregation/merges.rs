//! Merges that race for one slot, each having put a piece of its own.

use super::bench::Counting;
use super::now;
use aggregate::merging::Merger;
use anyhow::{Context as _, Result, ensure};
use freshet_events::Timestamp;
use freshet_local::cloud::aws_config;
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use freshet_tables::{ChainName, ChainTable, Manifest, PieceEntry, ResultTable};
use freshet_windows::{
    Accumulator, Details, EventHash, Observation, Piece, Registry, SessionHash, Slot, UserHash,
    Windowing,
};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const BUDGET_BYTES: usize = 1_000_000;
const ARRIVAL_WINDOW_S: i64 = 60;
const ROUNDS: u64 = 12;

struct NoDetails;

impl Details for NoDetails {
    fn country(&self) -> Option<String> {
        None
    }

    fn amount(&self) -> Option<f64> {
        None
    }
}

/// One page view, of a user of its own.
fn piece(number: u64, at: Timestamp) -> Piece {
    let registry = Registry::builtin();
    let mut accumulator = Accumulator::new(&registry, Windowing::default());
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let view = Observation {
        id: EventHash(hash),
        event_id: "",
        synthetic: false,
        bot: false,
        user: UserHash(hash),
        session: SessionHash(hash),
        at,
        event_type: "page_view",
        path: Cow::Borrowed("/"),
        browser: "Firefox",
        details: &NoDetails,
    };
    accumulator.count(&view, at);
    accumulator.finish().0
}

/// A process that counts and merges.
struct Process {
    shard: String,
    chains: ChainTable,
    results: ResultTable,
    merger: Merger,
}

impl Process {
    async fn new(shard: &str, endpoint: &str, table: &str) -> Self {
        let aws = aws_config(endpoint).await;
        let (chains, results) = (ChainTable::new(&aws, table), ResultTable::new(&aws, table));
        Self {
            shard: shard.to_owned(),
            chains: chains.clone(),
            results: results.clone(),
            merger: Merger::new(
                chains,
                results,
                Registry::builtin(),
                Windowing::default(),
                BUDGET_BYTES,
            ),
        }
    }

    /// Puts a piece with one page view, as a chain of its own.
    async fn put(&self, number: u64, at: Timestamp) -> Result<()> {
        let mut piece = piece(number, at);
        let panes = piece.panes().iter().map(|pane| pane.0).collect();
        let bytes = piece.encode();
        let expires_s = at.as_millis() / 1000 + 3_600;
        let (name, parts) = self
            .chains
            .put_piece(&self.shard, &bytes, expires_s)
            .await?;
        let second = at.as_millis() / 1000;
        let manifest = Manifest {
            chain: ChainName {
                window_start: second - second % ARRIVAL_WINDOW_S,
                shard: self.shard.clone(),
                first: number.to_string(),
            },
            last: number.to_string(),
            pieces: vec![PieceEntry {
                name,
                parts,
                bytes: u32::try_from(bytes.len())?,
                panes,
            }],
            late_dropped: 0,
            early_dropped: 0,
        };
        self.chains.put_manifest(&manifest, expires_s).await?;
        Ok(())
    }

    async fn merge(&self, slot: Slot) -> Result<()> {
        self.merger
            .merge(&BTreeSet::from([slot]), slot, ARRIVAL_WINDOW_S)
            .await?;
        Ok(())
    }

    async fn views(&self) -> Result<u64> {
        let slot = self
            .results
            .latest("page_view", now())
            .await?
            .context("no result")?;
        let body: Value = serde_json::from_slice(&slot.body)?;
        body["result"]["total_page_views"]
            .as_u64()
            .context("no total")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_that_race_lose_nothing() -> Result<()> {
    let counting = Counting::start("merges", 1).await?;
    counting.create_table("merges").await?;
    let at = now();
    let slot = Windowing::default().current(at);

    // Whoever comes first: everybody puts and merges at once.
    let mut crowd = Vec::new();
    for n in 0..4_u64 {
        crowd.push(Process::new(&format!("shard-{n}"), counting.url(), "merges").await);
    }
    for round in 0..ROUNDS {
        let all = crowd
            .iter()
            .zip(0..)
            .map(async |(process, n): (&Process, u64)| {
                process.put(1 + round * 4 + n, at).await?;
                process.merge(slot).await
            });
        futures::future::try_join_all(all).await?;
        ensure!(crowd[0].views().await? == (round + 1) * 4, "round {round}");
    }

    // One that has read everything is held up; meanwhile more is put and
    // merged. What the first one writes then must not undo it.
    let proxy = FaultProxy::start(counting.url()).await?;
    let slow = Process::new("shard-slow", &proxy.url, "merges").await;
    let quick = Arc::new(Process::new("shard-quick", counting.url(), "merges").await);
    let (held_up, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (once, refusals) = (Arc::clone(&held_up), Arc::clone(&refused));
    let other = Arc::clone(&quick);
    proxy.set(move |seen: &Seen<'_>| {
        let is_result =
            seen.operation == "PutItem" && String::from_utf8_lossy(seen.body).contains("slot#");
        if is_result && !once.swap(true, Ordering::AcqRel) {
            let other = Arc::clone(&other);
            let quicker = async move {
                other.put(1_001, at).await?;
                other.merge(slot).await
            };
            let handle = tokio::runtime::Handle::current();
            let done = tokio::task::block_in_place(|| handle.block_on(quicker));
            assert!(done.is_ok(), "{done:?}");
        }
        let refusals = Arc::clone(&refusals);
        Verdict::Change(
            seen.body.clone(),
            Box::new(move |answer| {
                if String::from_utf8_lossy(&answer).contains("ConditionalCheckFailed") {
                    refusals.fetch_add(1, Ordering::AcqRel);
                }
                Some(answer)
            }),
        )
    });
    slow.put(1_000, at).await?;
    slow.merge(slot).await?;
    ensure!(held_up.load(Ordering::Acquire));
    ensure!(
        refused.load(Ordering::Acquire) >= 1,
        "the held-up write was refused"
    );
    ensure!(quick.views().await? == ROUNDS * 4 + 2);
    counting.stop(Vec::new()).await
}
