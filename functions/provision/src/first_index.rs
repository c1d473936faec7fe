//! The first index behind the write alias.

use crate::cluster::{Cluster, ProvisionError};
use crate::live::Live;
use crate::outcome::Outcome;
use freshet_search::SearchError;
use serde_json::json;

/// The step's name.
pub const STEP: &str = "first write index";

/// Creates it unless the alias is there. Two provisions at once create one.
pub(crate) async fn provision(
    cluster: &Cluster<'_>,
    alias: &str,
    live: &Live,
) -> Result<Outcome, ProvisionError> {
    if live.has_alias {
        return Ok(Outcome::Unchanged);
    }
    // <clickstream-{now/d}-000001>, percent-encoded: date math in the name.
    let path = format!("%3C{alias}-%7Bnow%2Fd%7D-000001%3E");
    let body = json!({"aliases": {alias: {"is_write_index": true}}});
    match cluster.put(STEP, &path, &body).await {
        Ok(()) => Ok(Outcome::Created),
        Err(error) => match Live::read(cluster, alias).await {
            // Another provisioning was faster, perhaps on the other side of midnight.
            Ok(live) if live.has_alias && is_refusal(&error) => Ok(Outcome::Unchanged),
            _ => Err(error),
        },
    }
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
