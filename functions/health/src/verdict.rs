//! What is good, what is not, and what that makes of the whole. Pure.
//!
//! These thresholds are for people who look; alarms have their own, on the
//! metrics, as parameters.

use crate::checks::dead_letters::DeadLetters;
use crate::checks::domain::Domain;
use crate::checks::lag::Lag;
use crate::checks::ledger::Ledger;
use crate::checks::probe::Probe;
use crate::checks::search::{Cluster, Colour};
use crate::checks::stream::Stream;
use crate::checks::{Check, CheckError};
use serde::Serialize;

/// Where OpenSearch stops giving a node new shards.
const DISK_WARNING_PERCENT: f64 = 85.0;
/// Where it makes indices read-only.
const DISK_FAILING_PERCENT: f64 = 95.0;
/// Where garbage collection begins to take the time.
const HEAP_WARNING_PERCENT: f64 = 85.0;
/// The article's number.
const LAG_WARNING_RECORDS: f64 = 1_000_000.0;
const LAG_WARNING_MS: f64 = 60_000.0;
const LAG_FAILING_MS: f64 = 15.0 * 60_000.0;
const PROBE_WARNING_MS: u64 = 30_000;

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There is nothing to look at.
    Skipped,
    /// Good.
    Ok,
    /// Not good, and events still come through.
    Warning,
    /// Bad, or not known.
    Failing,
}

/// How the whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Every check is good.
    Healthy,
    /// Something is not good, or not known.
    Degraded,
    /// Events do not come through, or soon will not.
    Unhealthy,
}

impl Overall {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A status, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: Status,
    /// Everything that is not good.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Good, until something is found.
    #[must_use]
    pub const fn good() -> Self {
        Self {
            status: Status::Ok,
            reasons: Vec::new(),
        }
    }

    /// A check that could not look at (all of) it.
    pub fn fail(&mut self, failure: &CheckError) {
        self.note(true, Status::Failing, || failure.to_string());
    }

    fn note(&mut self, holds: bool, status: Status, reason: impl FnOnce() -> String) {
        if holds {
            self.status = self.status.max(status);
            self.reasons.push(reason());
        }
    }

    fn warn(&mut self, holds: bool, reason: impl FnOnce() -> String) {
        self.note(holds, Status::Warning, reason);
    }
}

/// What can be judged.
pub trait Judged {
    /// Whether it is good.
    fn judge(&self, verdict: &mut Verdict);
}

impl Judged for Cluster {
    fn judge(&self, verdict: &mut Verdict) {
        let red = matches!(self.colour, Colour::Red | Colour::Unknown);
        verdict.note(red, Status::Failing, || "a primary shard is missing".into());
        verdict.warn(self.colour == Colour::Yellow, || {
            format!("{} shards have no node", self.unassigned_shards)
        });
        if let Some(disk) = self.disk_used_percent {
            let full = || format!("a disk is {disk:.0} % full");
            verdict.note(disk >= DISK_FAILING_PERCENT, Status::Failing, full);
            let filling = (DISK_WARNING_PERCENT..DISK_FAILING_PERCENT).contains(&disk);
            verdict.warn(filling, full);
        }
        if let Some(heap) = self.heap_used_percent {
            verdict.warn(heap >= HEAP_WARNING_PERCENT, || {
                format!("a heap is {heap:.0} % full")
            });
        }
    }
}

impl Judged for Domain {
    fn judge(&self, verdict: &mut Verdict) {
        let state = || {
            format!(
                "the domain is {} and its health {}",
                self.state, self.health
            )
        };
        verdict.note(self.health >= 2, Status::Failing, state);
        verdict.warn(self.health == 1, state);
    }
}

impl Judged for Stream {
    fn judge(&self, verdict: &mut Verdict) {
        if let Some(status) = &self.status {
            let usable = matches!(status.as_str(), "ACTIVE" | "UPDATING");
            verdict.note(!usable, Status::Failing, || {
                format!("the stream is {status}")
            });
        }
        let writes = self.write_throttles.unwrap_or_default();
        let reads = self.read_throttles.unwrap_or_default();
        verdict.warn(writes > 0.0, || format!("{writes} records were throttled"));
        verdict.warn(reads > 0.0, || format!("{reads} reads were throttled"));
    }
}

impl Judged for Lag {
    fn judge(&self, verdict: &mut Verdict) {
        for (stage, behind) in &self.consumers {
            let (age, records) = (behind.iterator_age_ms, behind.records);
            let told = || {
                format!(
                    "{stage} is {:.0} s and {records} records behind",
                    age / 1_000.0
                )
            };
            let failing = age >= LAG_FAILING_MS;
            verdict.note(failing, Status::Failing, told);
            let slow = age >= LAG_WARNING_MS || records > LAG_WARNING_RECORDS;
            verdict.warn(slow && !failing, told);
        }
    }
}

impl Judged for DeadLetters {
    fn judge(&self, verdict: &mut Verdict) {
        let depth = self.queue_depth.unwrap_or_default();
        let events = self.events.unwrap_or_default();
        verdict.warn(depth > 0, || format!("{depth} messages wait in the queue"));
        verdict.warn(events > 0, || format!("{events} events were given up"));
        let unreadable = self.unreadable;
        verdict.warn(unreadable > 0, || {
            format!("{unreadable} records or objects cannot be read")
        });
        let left = self.left;
        verdict.warn(left > 0, || format!("{left} objects are not counted yet"));
        verdict.warn(self.incomplete, || {
            "more objects than can be listed: some are not counted".into()
        });
    }
}

impl Judged for Ledger {
    fn judge(&self, verdict: &mut Verdict) {
        let missing = self.unbalanced;
        verdict.warn(missing > 0.0, || {
            format!("{missing} accepted events have no outcome")
        });
    }
}

impl Judged for Probe {
    fn judge(&self, verdict: &mut Verdict) {
        for (seen, what) in [
            (self.accepted_ms, "accepted"),
            (self.searchable_ms, "searchable"),
            (self.counted_ms, "counted"),
        ] {
            let missing = seen.is_none();
            verdict.note(missing, Status::Failing, || {
                format!("the probe was not {what} in time")
            });
            let slow = seen.is_some_and(|ms| ms > PROBE_WARNING_MS);
            verdict.warn(slow, || format!("the probe was {what} late"));
            if missing && what == "accepted" {
                break;
            }
        }
    }
}

/// The whole: events come through if the cluster, the stream and the probe do.
pub fn overall(checks: impl IntoIterator<Item = (Check, Status)>) -> Overall {
    let mut overall = Overall::Healthy;
    for (check, status) in checks {
        let vital = matches!(check, Check::Search | Check::Stream | Check::Probe);
        match status {
            Status::Failing if vital => return Overall::Unhealthy,
            Status::Failing | Status::Warning => overall = Overall::Degraded,
            Status::Ok | Status::Skipped => {}
        }
    }
    overall
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::lag::Behind;

    fn judged(what: &impl Judged) -> Status {
        let mut verdict = Verdict::good();
        what.judge(&mut verdict);
        assert_eq!(verdict.reasons.is_empty(), verdict.status == Status::Ok);
        verdict.status
    }

    fn cluster(colour: Colour, disk: f64, heap: f64) -> Cluster {
        Cluster {
            colour,
            nodes: 1,
            active_primary_shards: 1,
            active_shards: 1,
            relocating_shards: 0,
            initializing_shards: 0,
            unassigned_shards: 1,
            disk_used_percent: Some(disk),
            heap_used_percent: Some(heap),
            documents: None,
            store_bytes: None,
        }
    }

    #[test]
    fn a_cluster_is_as_good_as_its_colour_and_its_fullest_node() {
        for (colour, disk, heap, status) in [
            (Colour::Green, 84.9, 84.9, Status::Ok),
            (Colour::Green, 85.0, 0.0, Status::Warning),
            (Colour::Green, 94.9, 0.0, Status::Warning),
            (Colour::Green, 95.0, 0.0, Status::Failing),
            (Colour::Green, 0.0, 85.0, Status::Warning),
            (Colour::Yellow, 0.0, 0.0, Status::Warning),
            (Colour::Yellow, 95.0, 0.0, Status::Failing),
            (Colour::Red, 0.0, 0.0, Status::Failing),
            (Colour::Unknown, 0.0, 0.0, Status::Failing),
        ] {
            assert_eq!(
                judged(&cluster(colour, disk, heap)),
                status,
                "{colour:?} {disk} {heap}"
            );
        }
    }

    #[test]
    fn domain_and_stream() {
        for (health, status) in [
            (0, Status::Ok),
            (1, Status::Warning),
            (2, Status::Failing),
            (3, Status::Failing),
        ] {
            let state = "Active".to_owned();
            assert_eq!(judged(&Domain { health, state }), status);
        }
        for (state, throttles, status) in [
            ("ACTIVE", 0.0, Status::Ok),
            ("UPDATING", 0.0, Status::Ok),
            ("ACTIVE", 1.0, Status::Warning),
            ("DELETING", 0.0, Status::Failing),
        ] {
            let stream = Stream {
                status: Some(state.to_owned()),
                write_throttles: Some(throttles),
                ..Stream::default()
            };
            assert_eq!(judged(&stream), status, "{state}");
        }
        assert_eq!(judged(&Stream::default()), Status::Ok);
    }

    #[test]
    fn lag_by_age_and_by_records() {
        for (iterator_age_ms, records, status) in [
            (59_999.0, 1_000_000.0, Status::Ok),
            (60_000.0, 0.0, Status::Warning),
            (0.0, 1_000_001.0, Status::Warning),
            (900_000.0, 0.0, Status::Failing),
        ] {
            let behind = Behind {
                iterator_age_ms,
                records,
            };
            let consumers = [("enrich", behind)].into();
            assert_eq!(judged(&Lag { consumers }), status);
        }
    }

    #[test]
    fn dead_letters_and_the_ledger_warn() {
        let none = DeadLetters::default;
        assert_eq!(judged(&none()), Status::Ok);
        for odd in [
            DeadLetters {
                queue_depth: Some(1),
                ..none()
            },
            DeadLetters {
                events: Some(1),
                ..none()
            },
            DeadLetters {
                unreadable: 1,
                ..none()
            },
            DeadLetters { left: 1, ..none() },
            DeadLetters {
                incomplete: true,
                ..none()
            },
        ] {
            assert_eq!(judged(&odd), Status::Warning, "{odd:?}");
        }
        assert_eq!(judged(&Ledger::default()), Status::Ok);
        let unbalanced = Ledger {
            unbalanced: 1.0,
            ..Ledger::default()
        };
        assert_eq!(judged(&unbalanced), Status::Warning);
    }

    #[test]
    fn a_probe_comes_through_on_both_ways_and_in_time() {
        let probe = |accepted_ms, searchable_ms, counted_ms| Probe {
            accepted_ms,
            searchable_ms,
            counted_ms,
        };
        let some = Some(30_000);
        for (probe, status) in [
            (probe(some, some, some), Status::Ok),
            (probe(some, Some(30_001), some), Status::Warning),
            (probe(some, None, some), Status::Failing),
            (probe(some, some, None), Status::Failing),
            (probe(None, None, None), Status::Failing),
        ] {
            assert_eq!(judged(&probe), status, "{probe:?}");
            assert_eq!(probe.has_failed(), status == Status::Failing);
        }
    }

    #[test]
    fn the_whole_is_unhealthy_where_events_do_not_come_through() {
        let good = Check::ALL.map(|check| (check, Status::Ok));
        assert_eq!(overall(good), Overall::Healthy);
        for check in Check::ALL {
            let with = |status| {
                let others = good.into_iter().filter(move |(other, _)| *other != check);
                overall(others.chain([(check, status)]))
            };
            assert_eq!(with(Status::Skipped), Overall::Healthy);
            assert_eq!(with(Status::Warning), Overall::Degraded);
            let vital = ["search", "stream", "probe"].contains(&check.as_str());
            let failing = if vital {
                Overall::Unhealthy
            } else {
                Overall::Degraded
            };
            assert_eq!(with(Status::Failing), failing, "{check:?}");
        }
    }
}
