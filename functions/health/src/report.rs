//! What a run found: as a report for people, and as metrics.

use crate::checks::dead_letters::DeadLetters;
use crate::checks::domain::Domain;
use crate::checks::lag::Lag;
use crate::checks::ledger::Ledger;
use crate::checks::pipeline::Pipeline;
use crate::checks::probe::Probe;
use crate::checks::search::Cluster;
use crate::checks::stream::Stream;
use crate::checks::{Check, CheckError, Found};
use crate::verdict::{Judged, Overall, Status, Verdict, overall};
use freshet_events::Timestamp;
use freshet_telemetry::stages::{Consumer, Health};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What each check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The cluster.
    pub search: Found<Cluster>,
    /// The domain, if there is one.
    pub domain: Option<Found<Domain>>,
    /// The stream.
    pub stream: Found<Stream>,
    /// The consumers.
    pub lag: Found<Lag>,
    /// Dead letters.
    pub dead_letters: Found<DeadLetters>,
    /// The stages.
    pub pipeline: Found<Pipeline>,
    /// The ledger.
    pub ledger: Found<Ledger>,
    /// The probe.
    pub probe: Found<Probe>,
}

/// The report: small, and without anything of a visitor.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The whole.
    pub status: Overall,
    /// When the run began.
    pub checked_at: Timestamp,
    /// By check.
    pub checks: BTreeMap<Check, Entry>,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// How it came out.
    pub status: Status,
    /// Why it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it saw.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub values: Value,
}

impl Judged for Pipeline {
    fn judge(&self, _: &mut Verdict) {
        // Shown, not judged: no traffic is for an alarm to judge.
    }
}

impl Findings {
    /// The report of a run that began then.
    #[must_use]
    pub fn report(&self, checked_at: Timestamp) -> Report {
        let domain = self.domain.as_ref().map_or_else(skipped, entry);
        let checks = BTreeMap::from([
            (Check::Search, entry(&self.search)),
            (Check::Domain, domain),
            (Check::Stream, entry(&self.stream)),
            (Check::Lag, entry(&self.lag)),
            (Check::DeadLetters, entry(&self.dead_letters)),
            (Check::Pipeline, entry(&self.pipeline)),
            (Check::Ledger, entry(&self.ledger)),
            (Check::Probe, entry(&self.probe)),
        ]);
        let status = overall(checks.iter().map(|(check, entry)| (*check, entry.status)));
        Report {
            status,
            checked_at,
            checks,
        }
    }

    /// Why each check failed that did.
    fn failures(&self) -> [(Check, Option<&CheckError>); 8] {
        let domain = self.domain.as_ref();
        [
            (Check::Search, self.search.failure.as_ref()),
            (
                Check::Domain,
                domain.and_then(|domain| domain.failure.as_ref()),
            ),
            (Check::Stream, self.stream.failure.as_ref()),
            (Check::Lag, self.lag.failure.as_ref()),
            (Check::DeadLetters, self.dead_letters.failure.as_ref()),
            (Check::Pipeline, self.pipeline.failure.as_ref()),
            (Check::Ledger, self.ledger.failure.as_ref()),
            (Check::Probe, self.probe.failure.as_ref()),
        ]
    }

    /// Fills in what is known. What is not known is left out, but for what an
    /// alarm must see: a cluster or a domain that does not answer is as bad as
    /// can be, and a probe that did not come through has failed.
    pub fn measure(&self, line: &mut Health) {
        let cluster = self.search.value.as_ref();
        line.cluster_status = cluster.map_or(3, |c| u64::from(c.colour.number())).into();
        line.nodes = cluster.map(|c| c.nodes).into();
        line.active_primary_shards = cluster.map(|c| c.active_primary_shards).into();
        line.active_shards = cluster.map(|c| c.active_shards).into();
        line.relocating_shards = cluster.map(|c| c.relocating_shards).into();
        line.initializing_shards = cluster.map(|c| c.initializing_shards).into();
        line.unassigned_shards = cluster.map(|c| c.unassigned_shards).into();
        line.disk_used_percent = cluster.and_then(|c| c.disk_used_percent).into();
        line.heap_used_percent = cluster.and_then(|c| c.heap_used_percent).into();
        if let Some(domain) = &self.domain {
            let health = domain.value.as_ref().map_or(3, |domain| domain.health);
            line.domain_health = u64::from(health).into();
        }
        let stream = self.stream.value.as_ref();
        line.shards = stream.and_then(|s| s.shards).map(u64::from).into();
        line.write_throttles = stream.and_then(|s| s.write_throttles).into();
        line.read_throttles = stream.and_then(|s| s.read_throttles).into();
        let letters = self.dead_letters.value.as_ref();
        line.dead_letter_queue_depth = letters.and_then(|letters| letters.queue_depth).into();
        line.dead_letters = letters.and_then(|letters| letters.events).into();
        line.given_up = letters.and_then(|letters| letters.given_up).into();
        let ledger = self.ledger.value.as_ref();
        line.ledger_residue = ledger.map(|ledger| ledger.residue).into();
        line.ledger_uncertainty = ledger.map(|ledger| ledger.uncertainty).into();
        line.ledger_unbalanced = ledger.map(|ledger| ledger.unbalanced).into();
        let probe = self.probe.value.as_ref();
        line.probe_accepted = probe.and_then(|probe| probe.accepted_ms).into();
        line.probe_searchable = probe.and_then(|probe| probe.searchable_ms).into();
        line.probe_counted = probe.and_then(|probe| probe.counted_ms).into();
        line.probe_failed = probe.is_none_or(Probe::has_failed).into();
        let mut failed = 0_u64;
        for (check, failure) in self.failures() {
            failed += u64::from(failure.is_some());
            line.check_failed
                .set(check.as_str(), failure.is_some().into());
        }
        line.checks_failed = failed.into();
    }

    /// A line for each consumer, of its own stage.
    #[must_use]
    pub fn consumers(&self) -> Vec<Consumer> {
        let lag = self.lag.value.iter();
        let each = lag.flat_map(|lag| &lag.consumers);
        each.map(|(stage, behind)| Consumer {
            stage: (*stage).to_owned(),
            iterator_age: behind.iterator_age_ms.into(),
            lag_records: behind.records.into(),
        })
        .collect()
    }
}

fn entry<T: Judged + Serialize>(found: &Found<T>) -> Entry {
    let mut verdict = Verdict::good();
    if let Some(failure) = &found.failure {
        verdict.fail(failure);
    }
    if let Some(value) = &found.value {
        value.judge(&mut verdict);
    }
    Entry {
        status: verdict.status,
        message: (!verdict.reasons.is_empty()).then(|| verdict.reasons.join("; ")),
        values: serde_json::to_value(&found.value).unwrap_or_default(),
    }
}

const fn skipped() -> Entry {
    Entry {
        status: Status::Skipped,
        message: None,
        values: Value::Null,
    }
}
