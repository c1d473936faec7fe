use super::StageMetrics;
use crate::values::{ByWord, Family, Level, Millis, Percent};
use metrique::writer::Entry;

/// `CheckFailed.<check>`.
pub enum CheckFailedBy {}

impl Family for CheckFailedBy {
    const NAME: &'static str = "CheckFailed";
}

/// One look at everything. What a check could not find out is absent.
#[derive(Debug, Default, Entry)]
#[entry(rename_all = "PascalCase")]
pub struct Health {
    /// 0 green, 1 yellow, 2 red, 3 no answer.
    pub cluster_status: Level,
    /// Nodes of the cluster.
    pub nodes: Level,
    /// Primary shards that are active.
    pub active_primary_shards: Level,
    /// Shards that are active.
    pub active_shards: Level,
    /// Shards that move.
    pub relocating_shards: Level,
    /// Shards that start.
    pub initializing_shards: Level,
    /// Shards without a node.
    pub unassigned_shards: Level,
    /// Of the fullest node's disk.
    pub disk_used_percent: Percent,
    /// Of the fullest node's heap.
    pub heap_used_percent: Percent,
    /// The domain, as the control plane sees it: 0 to 3 like the cluster's.
    pub domain_health: Level,
    /// Open shards of the stream.
    pub shards: Level,
    /// Puts that the stream throttled.
    pub write_throttles: Level,
    /// Reads that the stream throttled.
    pub read_throttles: Level,
    /// Messages in the dead-letter queue.
    pub dead_letter_queue_depth: Level,
    /// Events in on-failure objects of the last period.
    pub dead_letters: Level,
    /// Those of enrich's mapping: they have no other outcome.
    pub given_up: Level,
    /// Events that the ledger misses.
    pub ledger_residue: Level,
    /// Events that one period of lag more or less would change.
    pub ledger_uncertainty: Level,
    /// The residue that lasts, or 0.
    pub ledger_unbalanced: Level,
    /// From posting the probe until it was answered `ok`.
    pub probe_accepted: Millis,
    /// From posting the probe until it was found.
    pub probe_searchable: Millis,
    /// From posting the probe until it was counted.
    pub probe_counted: Millis,
    /// 0 or 1.
    pub probe_failed: Level,
    /// Checks that failed.
    pub checks_failed: Level,
    /// 0 or 1 for each check.
    #[entry(flatten)]
    pub check_failed: ByWord<CheckFailedBy, Level>,
    /// Of the whole look.
    pub duration: Millis,
}

impl StageMetrics for Health {
    fn stage(&self) -> &'static str {
        "health"
    }
}

/// How far behind a consumer of the stream is, in a line of its stage.
#[derive(Debug, Default, Entry)]
#[entry(rename_all = "PascalCase")]
pub struct Consumer {
    /// `enrich` or `aggregate`.
    #[entry(ignore)]
    pub stage: String,
    /// Of the oldest record that it has not read.
    pub iterator_age: Millis,
    /// Estimated records that it has not read.
    pub lag_records: Level,
}

impl StageMetrics for Consumer {
    fn stage(&self) -> &str {
        &self.stage
    }
}
