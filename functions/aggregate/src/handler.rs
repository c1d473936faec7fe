//! From a batch to the table, and the state that the next batch needs.

use crate::config::Config;
use crate::counting::{Counted, count_records};
use crate::invocation::{Answer, Invocation, InvocationError, MAX_STATE_BYTES, State};
use crate::merging::{MergeError, Merged, Merger};
use freshet_edge::now;
use freshet_enrichment::Enricher;
use freshet_events::Timestamp;
use freshet_tables::{ChainError, ChainTable, Manifest, ManifestPut, PieceEntry, ResultTable};
use freshet_telemetry::Metrics;
use freshet_telemetry::stages::Aggregate;
use freshet_windows::{Pane, Piece, Registry, Slot, Windowing};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
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

    /// Handles one invocation, and writes its line whatever becomes of it.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub async fn invoke(
        &self,
        event: LambdaEvent<Box<RawValue>>,
        metrics: &Metrics,
    ) -> Result<Answer, HandleError> {
        let mut line = metrics.begin::<Aggregate>(&event.context.request_id);
        self.handle(event.payload.get(), &mut line).await
    }

    /// Counts one batch, publishes what was counted or hands it on, and brings
    /// the slots that it touches up to date.
    ///
    /// # Errors
    /// [`HandleError`] if the batch is not known to be counted: Lambda delivers
    /// it again, with the state that it had. Whatever was stored by then is
    /// stored again and counts once.
    pub async fn handle(&self, payload: &str, line: &mut Aggregate) -> Result<Answer, HandleError> {
        let invocation = Invocation::read(payload)?;
        count_batch(&invocation, line);
        let chain = match invocation.chain() {
            // A newer release wrote it. To wait for that one would hold the shard.
            Err(error @ InvocationError::State(_)) => {
                tracing::error!(%error, "a chain begins anew");
                line.states_unreadable.add(1_u64);
                invocation.new_chain()?
            }
            chain => chain?,
        };
        let Some((mut manifest, carried)) = chain else {
            return Ok(Answer::ended());
        };
        let now = now();
        let arrival_window = invocation.arrival_window()?;
        if self.windowing.piece_expires_s(arrival_window.1) <= seconds(now) {
            // Catching up: nobody could read its slots any more.
            tracing::warn!(
                window_start_s = arrival_window.0,
                "an arrival window is too old to be counted"
            );
            line.records_too_old.add(invocation.records.len());
            return Ok(Answer::ended());
        }
        let counted = count_records(
            &invocation.records,
            carried,
            &self.enricher,
            &self.registry,
            self.windowing,
        );
        count_events(&counted, line);
        manifest.late_dropped += counted.tally.late_dropped;
        manifest.early_dropped += counted.tally.early_dropped;
        let mut pieces: Vec<(Piece, Vec<u8>)> = Vec::with_capacity(counted.pieces.len());
        for mut piece in counted.pieces {
            let bytes = piece.encode();
            pieces.push((piece, bytes));
        }

        if !invocation.ends_chain() && self.can_wait(&invocation, now, &pieces) {
            let carried = pieces.first().map(|(_, bytes)| bytes.as_slice());
            return Ok(Answer::go_on(State::of(&manifest, carried)));
        }
        let touched = self.publish(&mut manifest, pieces, arrival_window).await?;
        let merged = match self
            .merge(touched, arrival_window.1 - arrival_window.0, now)
            .await
        {
            // What was counted is stored; another attempt would find the same.
            Err(error) if !error.is_retryable() => {
                tracing::error!(%error, "slots cannot be brought up to date");
                line.merges_failed.add(1_u64);
                Merged::default()
            }
            merged => merged?,
        };
        line.slots_written.add(merged.written);
        line.aggregator_failures.add(merged.failed);
        line.pieces_unreadable.add(merged.unreadable);
        let merged_ms = freshet_edge::now().as_millis();
        for received_at in &counted.received_at {
            line.processing_latency
                .add_millis(merged_ms - received_at.as_millis());
        }
        Ok(if invocation.ends_chain() {
            Answer::ended()
        } else {
            Answer::go_on(State::of(&manifest, None))
        })
    }

    /// Whether what was counted may be handed on: more records wait already,
    /// and the state has room for it.
    fn can_wait(
        &self,
        invocation: &Invocation<'_>,
        now: Timestamp,
        pieces: &[(Piece, Vec<u8>)],
    ) -> bool {
        // As base64, and some room for the manifest.
        let has_room = match pieces {
            [(_, bytes)] => bytes.len() * 4 / 3 <= MAX_STATE_BYTES * 3 / 4,
            _ => false,
        };
        let waiting = invocation
            .last_arrival()
            .is_some_and(|last| now.seconds_since(last) > self.publish_interval.as_secs_f64());
        has_room && waiting
    }

    /// Stores pieces, then the manifest that names them. Returns the panes that
    /// they are about.
    async fn publish(
        &self,
        manifest: &mut Manifest,
        pieces: Vec<(Piece, Vec<u8>)>,
        (_, arrival_end_s): (i64, i64),
    ) -> Result<Vec<Pane>, ChainError> {
        let expires_s = self.windowing.piece_expires_s(arrival_end_s);
        let mut touched = Vec::new();
        let mut named = Vec::new();
        for (piece, bytes) in pieces {
            let panes = piece.panes();
            if panes.is_empty() {
                continue;
            }
            let shard = &manifest.chain.shard;
            let (name, parts) = self.chains.put_piece(shard, &bytes, expires_s).await?;
            manifest.pieces.push(PieceEntry {
                name,
                parts,
                // Pieces are cut long before they have 4 GB.
                bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                panes: panes.iter().map(|pane| pane.0).collect(),
            });
            named.push((name, piece));
            touched.extend(panes);
        }
        let says_something =
            !manifest.pieces.is_empty() || manifest.late_dropped + manifest.early_dropped > 0;
        if says_something {
            // An invocation that was overtaken has counted what is counted already.
            let put = self.chains.put_manifest(manifest, expires_s).await?;
            if put == ManifestPut::Written {
                self.merger.know(named).await;
            }
        }
        Ok(touched)
    }

    /// Merges the slots of these panes that have begun and are still kept, the
    /// current one, and those that passed since the latest one that is named:
    /// in a pause nobody wrote them.
    async fn merge(
        &self,
        touched: Vec<Pane>,
        arrival_window_s: i64,
        now: Timestamp,
    ) -> Result<Merged, MergeError> {
        let current = self.windowing.current(now);
        let now_s = seconds(now);
        let is_kept = |slot: &Slot| self.windowing.result_expires_s(*slot) > now_s;
        let mut slots: BTreeSet<Slot> = touched
            .into_iter()
            .flat_map(|pane| self.windowing.slots(pane))
            .map(Slot)
            .filter(|slot| *slot <= current && is_kept(slot))
            .collect();
        slots.insert(current);
        let passed = self
            .merger
            .latest_named(now)
            .await?
            .map_or(current.0, |latest| latest.0 + 1);
        slots.extend((passed..current.0).map(Slot).filter(is_kept));
        self.merger.merge(&slots, current, arrival_window_s).await
    }
}

const fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

/// Notes what there is to do, and how old its last record is.
fn count_batch(invocation: &Invocation<'_>, line: &mut Aggregate) {
    line.records.add(invocation.records.len());
    for record in &invocation.records {
        line.bytes_in.add(record.data_bytes());
    }
    if let Some(last) = invocation.last_arrival() {
        line.consumer_lag
            .add_millis(now().as_millis() - last.as_millis());
    }
}

/// Notes what became of the events.
fn count_events(counted: &Counted, line: &mut Aggregate) {
    let tally = &counted.tally;
    for (aggregator, events) in &tally.failures {
        tracing::error!(aggregator, events, "an aggregator failed to count events");
        line.aggregator_failures.add(*events);
    }
    line.received.add(counted.received_at.len());
    line.received.add(counted.unreadable);
    line.counted.add(tally.counted);
    line.late_dropped.add(tally.late_dropped);
    line.early_dropped.add(tally.early_dropped);
    line.undecodable.add(counted.unreadable);
}
