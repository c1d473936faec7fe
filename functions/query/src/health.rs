//! The system's state, as health has stored it last.

use crate::answer::Problem;
use freshet_events::Timestamp;
use freshet_tables::{HealthReport, HealthTable, TableError};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What health may say. Anything else is not known.
const STATES: [&str; 3] = ["healthy", "degraded", "unhealthy"];
const UNKNOWN: &str = "unknown";

/// Reads the last report.
#[derive(Clone, Debug)]
pub struct Health {
    table: HealthTable,
    stale_s: i64,
}

/// The last report, and what it is worth now.
#[derive(Debug, serde::Serialize)]
pub(crate) struct State<'a> {
    status: &'a str,
    checked_at: Option<Timestamp>,
    age_seconds: Option<i64>,
    #[serde(serialize_with = "or_none_of_them")]
    checks: Option<&'a RawValue>,
    #[serde(flatten)]
    more: BTreeMap<String, &'a RawValue>,
}

impl Health {
    /// Reads from `table`; what is older than `stale_s` seconds says nothing
    /// about now.
    #[must_use]
    pub const fn new(table: HealthTable, stale_s: i64) -> Self {
        Self { table, stale_s }
    }

    /// The last report.
    ///
    /// # Errors
    /// [`TableError`] if the table cannot be read.
    pub(crate) async fn report(&self) -> Result<Option<HealthReport>, TableError> {
        self.table.get().await
    }

    /// What a report says about `now`: `unknown` if there is none, or if it is
    /// from long ago or from the future, as a clock is then wrong. What it
    /// found stays, for whoever asks what was last known.
    ///
    /// # Errors
    /// [`Problem`] if its body is not what health writes.
    pub(crate) fn state<'a>(
        &self,
        report: Option<&'a HealthReport>,
        now: Timestamp,
    ) -> Result<State<'a>, Problem> {
        let Some(report) = report else {
            return Ok(State {
                status: UNKNOWN,
                checked_at: None,
                age_seconds: None,
                checks: None,
                more: BTreeMap::new(),
            });
        };
        let read: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(&report.body);
        let mut more = read.map_err(|error| {
            tracing::error!(%error, "the stored report cannot be read");
            Problem::internal()
        })?;
        // What is said of every report is not for a body to say differently.
        for ours in ["status", "checked_at", "age_seconds"] {
            more.remove(ours);
        }
        let age_ms = now.as_millis() - report.checked_at.as_millis();
        let is_of_now = age_ms.abs() <= self.stale_s * 1000;
        let known = STATES.iter().find(|state| **state == report.status);
        Ok(State {
            status: known.filter(|_| is_of_now).unwrap_or(&UNKNOWN),
            checked_at: Some(report.checked_at),
            age_seconds: Some(age_ms.max(0) / 1000),
            checks: more.remove("checks"),
            more,
        })
    }
}

/// The checks as they are stored, or an object without any.
#[allow(clippy::ref_option)] // serde calls it with a reference to the field
fn or_none_of_them<S: Serializer>(
    checks: &Option<&RawValue>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match checks {
        Some(checks) => checks.serialize(serializer),
        None => serializer.collect_map(std::iter::empty::<(&str, ())>()),
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
