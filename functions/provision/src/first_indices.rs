//! The first index of each kind. Later ones come by rollover, or with the
//! first document of a day.

use crate::cluster::{Cluster, ProvisionError};
use crate::live::Live;
use crate::outcome::{Outcome, Report};
use crate::templates::Kind;
use freshet_search::SearchError;
use serde_json::json;

/// Creates, where there is none, the write index behind its alias, and an
/// index of each daily kind: Dashboards shows an error for a pattern that no
/// index matches. Two provisions at once create one of each.
pub(crate) async fn provision(
    cluster: &Cluster<'_>,
    alias: &str,
    live: &Live,
    report: &mut Report,
) -> Result<(), ProvisionError> {
    for kind in Kind::ALL {
        let (step, number, body) = match kind {
            Kind::Events => (
                "first write index",
                "-000001",
                json!({"aliases": {alias: {"is_write_index": true}}}),
            ),
            Kind::Sessions => ("first sessions index", "", json!({})),
            Kind::Rejections => ("first rejections index", "", json!({})),
        };
        if live.has(kind) {
            report.add(step, Outcome::Unchanged);
            continue;
        }
        // <clickstream-{now/d}-000001>, percent-encoded: date math in the name.
        let path = format!("%3C{}%7Bnow%2Fd%7D{number}%3E", kind.prefix(alias));
        let outcome = match cluster.put(step, &path, &body).await {
            Ok(()) => Outcome::Created,
            Err(error) => match Live::read(cluster, alias).await {
                // Another provisioning was faster, perhaps on the other side of midnight.
                Ok(live) if live.has(kind) && is_refusal(&error) => Outcome::Unchanged,
                _ => return Err(error),
            },
        };
        report.add(step, outcome);
    }
    Ok(())
}

fn is_refusal(error: &ProvisionError) -> bool {
    matches!(
        error,
        ProvisionError::Request {
            source: SearchError::Status { status: 400, .. },
            ..
        }
    )
}
