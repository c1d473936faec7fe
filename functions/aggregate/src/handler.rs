//! From a batch to the table, and the state that the next batch needs.

use crate::config::Config;
use crate::counting::count_records;
use crate::invocation::{Answer, Invocation, InvocationError, MAX_STATE_BYTES, State};
use crate::merging::{MergeError, Merged, Merger};
use freshet_edge::now;
use freshet_enrichment::Enricher;
use freshet_events::Timestamp;
use freshet_tables::{ChainError, ChainTable, Manifest, PieceEntry, ResultTable};
use freshet_windows::{Accumulator, Pane, Piece, Registry, Slot, Tally, Windowing};
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;

/// Why a batch must be delivered again.
#[derive(Debug, Error)]
pub enum HandleError {
    /// It cannot be begun.
    #[error(transparent)]
    Invocation(#[from] InvocationError),
    /// What was counted could not be stored.
    #[error("{} ({})", .0, .0.code())]
    Store(#[from] ChainError),
    /// It is stored, and slots could not be brought up to date.
    #[error("slots are not up to date: {0}")]
    Merge(#[from] MergeError),
}

/// The counting consumer.
pub struct Handler {
    enricher: Enricher,
    registry: Registry,
    windowing: Windowing,
    publish_interval: Duration,
    chains: ChainTable,
    merger: Merger,
}

impl Handler {
    /// A consumer that counts for these aggregators.
    #[must_use]
    pub fn new(
        enricher: Enricher,
        registry: Registry,
        chains: ChainTable,
        results: ResultTable,
        config: &Config,
    ) -> Self {
        let merger = Merger::new(
            chains.clone(),
            results,
            registry.clone(),
            config.windowing,
            config.pane_budget_bytes,
        );
        Self {
            enricher,
            registry,
            windowing: config.windowing,
            publish_interval: config.publish_interval,
            chains,
            merger,
        }
    }

    /// Counts one batch, publishes what was counted or hands it on, and brings
    /// the slots that it touches up to date.
    ///
    /// # Errors
    /// [`HandleError`] if the batch is not known to be counted: Lambda delivers
    /// it again, with the state that it had. Whatever was stored by then is
    /// stored again and counts once.
    pub async fn handle(&self, payload: &str) -> Result<Answer, HandleError> {
        let invocation = Invocation::read(payload)?;
        let Some((mut manifest, carried)) = invocation.chain()? else {
            return Ok(Answer::ended());
        };
        let mut accumulator = Accumulator::new(&self.registry, self.windowing);
        if let Some(piece) = carried {
            accumulator.resume(piece);
        }
        let unreadable = count_records(&invocation.records, &self.enricher, &mut accumulator);
        let (mut piece, tally) = accumulator.finish();
        manifest.late_dropped += tally.late_dropped;
        manifest.early_dropped += tally.early_dropped;
        let bytes = piece.encode();
        let now = now();

        let merged = if invocation.ends_chain() || !self.can_wait(&invocation, now, bytes.len()) {
            let arrival_window = invocation.arrival_window()?;
            let touched = self
                .publish(&mut manifest, piece, &bytes, arrival_window, now)
                .await?;
            let length_s = arrival_window.1 - arrival_window.0;
            Some(self.merge(touched, length_s, now).await?)
        } else {
            None
        };
        report(&tally, unreadable, merged.as_ref());
        Ok(if invocation.ends_chain() {
            Answer::ended()
        } else {
            let carried = merged.is_none().then_some(bytes);
            Answer::go_on(State::of(&manifest, carried.as_deref()))
        })
    }

    /// Whether what was counted may be handed on: more records wait already,
    /// and the state has room for it.
    fn can_wait(&self, invocation: &Invocation<'_>, now: Timestamp, piece_bytes: usize) -> bool {
        // As base64, and some room for the manifest.
        let has_room = piece_bytes * 4 / 3 <= MAX_STATE_BYTES * 3 / 4;
        let waiting = invocation
            .last_arrival()
            .is_some_and(|last| now.seconds_since(last) > self.publish_interval.as_secs_f64());
        has_room && waiting
    }

    /// Stores a piece, then the manifest that names it. Returns the panes that
    /// it is about.
    async fn publish(
        &self,
        manifest: &mut Manifest,
        piece: Piece,
        bytes: &[u8],
        (_, arrival_end_s): (i64, i64),
        now: Timestamp,
    ) -> Result<Vec<Pane>, ChainError> {
        let now_s = now.as_millis().div_euclid(1000);
        let expires_s = self.windowing.piece_expires_s(arrival_end_s.max(now_s));
        let panes = piece.panes();
        if !panes.is_empty() {
            let shard = &manifest.chain.shard;
            let (name, parts) = self.chains.put_piece(shard, bytes, expires_s).await?;
            manifest.pieces.push(PieceEntry {
                name,
                parts,
                // Pieces are cut long before they have 4 GB.
                bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                panes: panes.iter().map(|pane| pane.0).collect(),
            });
            self.merger.know(name, piece).await;
        }
        let counted_nothing =
            manifest.pieces.is_empty() && manifest.late_dropped + manifest.early_dropped == 0;
        if counted_nothing {
            return Ok(panes);
        }
        // An invocation that was overtaken has counted what is counted already.
        self.chains.put_manifest(manifest, expires_s).await?;
        Ok(panes)
    }

    /// Merges the slots of these panes that have begun and are still kept, and
    /// the current one, which moves on even when nothing comes.
    async fn merge(
        &self,
        touched: Vec<Pane>,
        arrival_window_s: i64,
        now: Timestamp,
    ) -> Result<Merged, MergeError> {
        let current = self.windowing.current(now);
        let now_s = now.as_millis().div_euclid(1000);
        let mut slots: BTreeSet<Slot> = touched
            .into_iter()
            .flat_map(|pane| self.windowing.slots(pane))
            .map(Slot)
            .filter(|slot| *slot <= current && self.windowing.result_expires_s(*slot) > now_s)
            .collect();
        slots.insert(current);
        self.merger.merge(&slots, current, arrival_window_s).await
    }
}

/// Counts what an operator wants to know.
fn report(tally: &Tally, unreadable: u64, merged: Option<&Merged>) {
    let failures: u64 = tally.failures.values().sum();
    for (aggregator, events) in &tally.failures {
        tracing::error!(aggregator, events, "an aggregator failed to count events");
    }
    let failed = failures + merged.map_or(0, |merged| merged.failed);
    let unreadable_pieces = merged.map_or(0, |merged| merged.unreadable);
    for (metric, value) in [
        ("LateDropped", tally.late_dropped),
        ("EarlyDropped", tally.early_dropped),
        ("AggregatorFailures", failed),
        ("PiecesUnreadable", unreadable_pieces),
    ] {
        if value > 0 {
            freshet_telemetry::count(metric, usize::try_from(value).unwrap_or(usize::MAX));
        }
    }
    tracing::debug!(
        counted = tally.counted,
        unreadable,
        written = merged.map(|merged| merged.written),
        "batch counted"
    );
}
