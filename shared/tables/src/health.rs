//! The last report on the system's health: one item of the table of
//! aggregation, which health writes and query shows (decision 12).
//!
//! | attribute | |
//! |---|---|
//! | `pk` (S), `sk` (S) | `health`, `latest` |
//! | `checked_at` (N) | when it was checked, in milliseconds since 1970 |
//! | `status` (S) | `healthy`, `degraded` or `unhealthy` |
//! | `body` (S) | a JSON object with `checks` |
//! | `expires_at` (N) | TTL in seconds since 1970, seven days later |

use crate::TableError;
use crate::item::{Item, attribute, client, n, number, s};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use freshet_events::Timestamp;
use std::time::Duration;

/// A reader waits for the answer, and the next report is due in a minute.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(6);

/// The largest body: a report is read often, and whole.
pub const MAX_REPORT_BYTES: usize = 100_000;
/// How long a report can be looked at after health has fallen silent.
const LIFETIME_S: i64 = 7 * 24 * 60 * 60;

const PK: &str = "health";
const SK: &str = "latest";

/// What health found when it looked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// When it looked.
    pub checked_at: Timestamp,
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// A JSON object: `checks`, an object by the checks' names, and what else
    /// there is to say.
    pub body: String,
}

/// The last report, in the table of aggregation.
#[derive(Clone, Debug)]
pub struct HealthTable {
    client: Client,
    name: String,
}

impl HealthTable {
    /// The table `name`. Throttled requests are tried again as `aws` says.
    #[must_use]
    pub fn new(aws: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: client(aws, ATTEMPT_TIMEOUT, OPERATION_TIMEOUT),
            name: name.into(),
        }
    }

    /// Stores a report in place of the last one, whatever its time is: there is
    /// one writer, and one whose clock went back must not be silenced by what
    /// it wrote before.
    ///
    /// # Errors
    /// [`TableError`] if it is not known whether the table has it;
    /// [`TableError::TooLarge`] for a body above [`MAX_REPORT_BYTES`].
    pub async fn put(&self, report: &HealthReport) -> Result<(), TableError> {
        if report.body.len() > MAX_REPORT_BYTES {
            return Err(TableError::TooLarge {
                what: "a report",
                bytes: report.body.len(),
                limit: MAX_REPORT_BYTES,
            });
        }
        let checked_at = report.checked_at.as_millis();
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", s(PK))
            .item("sk", s(SK))
            .item("checked_at", n(checked_at))
            .item("status", s(&report.status))
            .item("body", s(&report.body))
            .item("expires_at", n(checked_at.div_euclid(1000) + LIFETIME_S));
        request.send().await.map_err(TableError::of)?;
        Ok(())
    }

    /// The last report, strongly consistent; `None` if there is none. How old
    /// it may be is for the reader to judge.
    ///
    /// # Errors
    /// [`TableError`] if it cannot be read.
    pub async fn get(&self) -> Result<Option<HealthReport>, TableError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", s(PK))
            .key("sk", s(SK))
            .consistent_read(true);
        let answer = request.send().await.map_err(TableError::of)?;
        answer.item.as_ref().map(report).transpose()
    }
}

fn report(item: &Item) -> Result<HealthReport, TableError> {
    Ok(HealthReport {
        checked_at: Timestamp::from_millis(number(item, "checked_at")?)
            .ok_or(TableError::Attribute("checked_at"))?,
        status: attribute(item, "status", AttributeValue::as_s)?.clone(),
        body: attribute(item, "body", AttributeValue::as_s)?.clone(),
    })
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
