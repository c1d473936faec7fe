//! Merges: what all shards have counted becomes the results of slots.

use crate::panes::Panes;
use freshet_edge::now;
use freshet_events::Timestamp;
use freshet_tables::{
    ChainError, ChainTable, Manifest, PieceEntry, PieceName, Put, ResultTable, SlotResult, Stored,
    TableError,
};
use freshet_windows::{Aggregator, ErrorBound, Piece, Registry, Slot, Totals, Windowing};
use futures::{StreamExt as _, TryStreamExt as _};
use rand::RngExt as _;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;

/// How often a merge begins again because another one was faster.
const ATTEMPTS: u32 = 12;
/// Pieces and versions that are read at once.
const READS_AT_ONCE: usize = 16;

/// Why slots could not be merged.
#[derive(Debug, Error)]
pub enum MergeError {
    /// The counted is not to be had.
    #[error(transparent)]
    Chains(#[from] ChainError),
    /// The results are not to be had.
    #[error(transparent)]
    Results(#[from] TableError),
    /// Others were faster, every time.
    #[error("a slot was overtaken {ATTEMPTS} times")]
    Contended,
}

impl MergeError {
    /// Whether another attempt may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Chains(error) => error.is_retryable(),
            Self::Results(error) => error.is_retryable(),
            Self::Contended => true,
        }
    }
}

/// What a merge did, beside its results.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Results that were written.
    pub written: u64,
    /// Results that an aggregator could not state, or that no item can hold.
    pub failed: u64,
    /// Pieces that cannot be read.
    pub unreadable: u64,
}

/// Merges slots, and remembers the panes between merges.
pub struct Merger {
    chains: ChainTable,
    results: ResultTable,
    registry: Registry,
    windowing: Windowing,
    budget_bytes: usize,
    panes: Mutex<Panes>,
    /// The end of the slot that this process has named as the latest, by aggregator.
    named: Mutex<HashMap<&'static str, i64>>,
}

/// The chains that can hold something of some slots.
struct Sources {
    /// For each pane, its pieces.
    by_pane: HashMap<i64, BTreeSet<PieceName>>,
    /// Where each piece is.
    entries: HashMap<PieceName, (String, PieceEntry)>,
}

impl Merger {
    /// A merger over these tables. A pane's summary is exact while it takes at
    /// most `budget_bytes` of memory.
    #[must_use]
    pub fn new(
        chains: ChainTable,
        results: ResultTable,
        registry: Registry,
        windowing: Windowing,
        budget_bytes: usize,
    ) -> Self {
        Self {
            chains,
            results,
            registry,
            windowing,
            budget_bytes,
            panes: Mutex::default(),
            named: Mutex::default(),
        }
    }

    /// Tells it of pieces that this process has put, which then need not be read.
    pub async fn know(&self, pieces: Vec<(PieceName, Piece)>) {
        self.panes.lock().await.add(pieces, self.budget_bytes);
    }

    /// The newest slot that every aggregator has named as the latest; `None` if
    /// one has none.
    ///
    /// # Errors
    /// [`MergeError`] if the table does not say.
    pub async fn latest_named(&self, now: Timestamp) -> Result<Option<Slot>, MergeError> {
        let mut named = self.named.lock().await;
        let mut oldest: Option<i64> = None;
        for aggregator in self.registry.iter() {
            let name = aggregator.name();
            let end_s = match named.get(name) {
                Some(end_s) => *end_s,
                None => match self.results.latest(name, now).await? {
                    Some(slot) => slot.window_end,
                    None => return Ok(None),
                },
            };
            named.insert(name, end_s);
            oldest = Some(oldest.map_or(end_s, |oldest| oldest.min(end_s)));
        }
        Ok(oldest.map(|end_s| self.windowing.ending_at(end_s)))
    }

    /// Brings these slots up to date with all that is stored: each aggregator's
    /// result, and `latest` if one of them is `current`. `arrival_window_s` is
    /// the length of arrival windows.
    ///
    /// # Errors
    /// [`MergeError`] if a slot is not known to be up to date. What is written
    /// by then is right: another attempt goes on from there.
    pub async fn merge(
        &self,
        slots: &BTreeSet<Slot>,
        current: Slot,
        arrival_window_s: i64,
    ) -> Result<Merged, MergeError> {
        let mut merged = Merged::default();
        let mut left: Vec<(Slot, Arc<dyn Aggregator>)> = slots
            .iter()
            .flat_map(|slot| {
                self.registry
                    .iter()
                    .map(|aggregator| (*slot, Arc::clone(aggregator)))
            })
            .collect();
        let mut first_versions = HashMap::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let most = 20_u64 << attempt.min(5);
                let wait = rand::rng().random_range(0..most);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            left = self
                .attempt(
                    left,
                    current,
                    arrival_window_s,
                    &mut first_versions,
                    &mut merged,
                )
                .await?;
            if left.is_empty() {
                return Ok(merged);
            }
        }
        Err(MergeError::Contended)
    }

    /// Merges each of these once. Returns those where another merge was faster.
    async fn attempt(
        &self,
        wanted: Vec<(Slot, Arc<dyn Aggregator>)>,
        current: Slot,
        arrival_window_s: i64,
        first_versions: &mut HashMap<(Slot, &'static str), u64>,
        merged: &mut Merged,
    ) -> Result<Vec<(Slot, Arc<dyn Aggregator>)>, MergeError> {
        // In this order: what is based on a version has read all that the
        // writer of that version had, or more.
        let versions = self.versions(&wanted).await?;
        let slots: BTreeSet<Slot> = wanted.iter().map(|(slot, _)| *slot).collect();
        let sources = self.sources(&slots, arrival_window_s).await?;
        let mut panes = self.panes.lock().await;
        let unreadable = self.read_unseen(&mut panes, &slots, &sources).await?;
        merged.unreadable += unreadable.len() as u64;

        let mut overtaken = Vec::new();
        for ((slot, aggregator), stored) in wanted.into_iter().zip(versions) {
            let version = stored.as_ref().map_or(0, |stored| stored.version);
            let first = *first_versions
                .entry((slot, aggregator.name()))
                .or_insert(version);
            // Who wrote the second version since then has read the one before
            // it, and after that what this merge wants to add.
            let is_done_by_others = version >= first + 2;
            let mut inputs = panes.inputs(aggregator.name(), slot, &self.windowing);
            let lacks_pieces = sources.has_any(self.windowing.panes(slot), &unreadable);
            if lacks_pieces {
                // Who can read them writes it again.
                inputs.push_str("-partly");
            }
            let is_current_result = stored
                .as_ref()
                .is_some_and(|stored| stored.inputs == inputs);
            // What lacks pieces never replaces what may have them.
            let is_kept = lacks_pieces && stored.is_some();
            if !(is_current_result || is_kept || is_done_by_others) {
                let summaries = panes.of_slot(aggregator.name(), slot, &self.windowing);
                let totals = Totals::of(&summaries, self.windowing.window(slot));
                let Some(result) = self.state(aggregator.as_ref(), slot, &totals, now()) else {
                    merged.failed += 1;
                    continue;
                };
                let based_on = stored.as_ref().map(|stored| stored.version);
                match self
                    .results
                    .put_slot(aggregator.name(), &result, &inputs, based_on)
                    .await
                {
                    Ok(Put::Written(_)) => merged.written += 1,
                    Ok(Put::Overtaken) => {
                        overtaken.push((slot, aggregator));
                        continue;
                    }
                    Err(error) if error.is_retryable() => return Err(error.into()),
                    Err(error) => {
                        let name = aggregator.name();
                        tracing::error!(aggregator = name, code = error.code(), %error, "a result cannot be stored");
                        merged.failed += 1;
                        continue;
                    }
                }
            }
            if slot == current {
                self.name_latest(aggregator.name(), slot).await?;
            }
        }
        Ok(overtaken)
    }

    /// Names a slot as the latest, once.
    async fn name_latest(&self, aggregator: &'static str, slot: Slot) -> Result<(), TableError> {
        let mut named = self.named.lock().await;
        let end_s = self.windowing.window(slot).end_s;
        if named.get(aggregator).is_none_or(|named| *named < end_s) {
            let expires_s = self.windowing.result_expires_s(slot);
            self.results
                .put_latest(aggregator, end_s, expires_s, now())
                .await?;
            named.insert(aggregator, end_s);
        }
        Ok(())
    }

    async fn versions(
        &self,
        wanted: &[(Slot, Arc<dyn Aggregator>)],
    ) -> Result<Vec<Option<Stored>>, MergeError> {
        let reads = wanted.iter().map(|(slot, aggregator)| {
            self.results
                .stored(aggregator.name(), self.windowing.window(*slot).end_s)
        });
        let versions = futures::stream::iter(reads).buffered(READS_AT_ONCE);
        Ok(versions.try_collect().await?)
    }

    /// The pieces of every chain that can hold something of these slots.
    async fn sources(
        &self,
        slots: &BTreeSet<Slot>,
        arrival_window_s: i64,
    ) -> Result<Sources, MergeError> {
        let (Some(first), Some(last)) = (slots.first(), slots.last()) else {
            return Ok(Sources {
                by_pane: HashMap::new(),
                entries: HashMap::new(),
            });
        };
        let now_s = now().as_millis().div_euclid(1000);
        // An arrival window begins before what arrives in it.
        let from_s = self.windowing.arrivals(*first).0 - arrival_window_s;
        let to_s = self.windowing.arrivals(*last).1;
        let manifests = self.chains.chains(from_s, to_s, now_s).await?;
        let panes = slots
            .iter()
            .flat_map(|slot| self.windowing.panes(*slot))
            .collect();
        Ok(Sources::of(manifests, &panes))
    }

    async fn read_unseen(
        &self,
        panes: &mut Panes,
        slots: &BTreeSet<Slot>,
        sources: &Sources,
    ) -> Result<BTreeSet<PieceName>, MergeError> {
        if let Some(first) = slots.first() {
            let oldest = *self.windowing.panes(*first).start() - self.windowing.window_minutes;
            panes.retain(&sources.by_pane, freshet_windows::Pane(oldest));
        }
        let unseen: BTreeSet<PieceName> = sources
            .by_pane
            .iter()
            .flat_map(|(pane, wanted)| panes.unseen(*pane, wanted))
            .collect();
        let reads = unseen.iter().filter_map(|name| {
            let (shard, entry) = sources.entries.get(name)?;
            Some(
                async move { Ok::<_, ChainError>((*name, self.chains.piece(shard, entry).await?)) },
            )
        });
        let read: Vec<(PieceName, Vec<u8>)> = futures::stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let mut unreadable = BTreeSet::new();
        let mut pieces = Vec::with_capacity(read.len());
        for (name, bytes) in read {
            match Piece::decode(&bytes) {
                Ok(piece) => pieces.push((name, piece)),
                // Of a newer release. To wait for that one would stop all.
                Err(error) => {
                    tracing::error!(piece = %name, code = error.code(), %error, "a piece cannot be read");
                    unreadable.insert(name);
                }
            }
        }
        panes.add(pieces, self.budget_bytes);
        Ok(unreadable)
    }

    /// An aggregator's result; `None` if it fails or panics.
    fn state(
        &self,
        aggregator: &dyn Aggregator,
        slot: Slot,
        totals: &Totals,
        now: Timestamp,
    ) -> Option<SlotResult> {
        let stated = catch_unwind(AssertUnwindSafe(|| aggregator.result(totals)));
        let name = aggregator.name();
        let result = match stated {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                tracing::error!(aggregator = name, %error, "an aggregator states no result");
                return None;
            }
            Err(_) => {
                tracing::error!(aggregator = name, "an aggregator panicked at its result");
                return None;
            }
        };
        let bound = Some(totals.bound()).filter(|bound| !bound.is_exact());
        // Raw JSON and numbers always serialise.
        let body = serde_json::to_vec(&Body {
            result: &result,
            error_bound: bound,
        })
        .ok()?;
        let window = self.windowing.window(slot);
        Some(SlotResult {
            window_start: window.start_s,
            window_end: window.end_s,
            updated_at: now,
            approximate: bound.is_some(),
            body,
            expires_at: self.windowing.result_expires_s(slot),
        })
    }
}

/// A stored result's JSON.
#[derive(Serialize)]
struct Body<'a> {
    result: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_bound: Option<&'a ErrorBound>,
}

impl Sources {
    fn of(manifests: Vec<Manifest>, panes: &BTreeSet<i64>) -> Self {
        let mut by_pane: HashMap<i64, BTreeSet<PieceName>> = HashMap::new();
        let mut entries = HashMap::new();
        for manifest in manifests {
            for entry in manifest.pieces {
                for pane in entry.panes.iter().filter(|pane| panes.contains(pane)) {
                    by_pane.entry(*pane).or_default().insert(entry.name);
                }
                entries.insert(entry.name, (manifest.chain.shard.clone(), entry));
            }
        }
        Self { by_pane, entries }
    }

    /// Whether any of `names` is about one of these panes.
    fn has_any(&self, panes: impl IntoIterator<Item = i64>, names: &BTreeSet<PieceName>) -> bool {
        let mut pieces = panes.into_iter().filter_map(|pane| self.by_pane.get(&pane));
        pieces.any(|pieces| !pieces.is_disjoint(names))
    }
}
