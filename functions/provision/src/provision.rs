//! What a cluster needs before the first event is indexed, step by step.

use crate::cluster::{Cluster, REQUEST_TIMEOUT, failed};
use crate::lifecycle::PolicyApi;
use crate::live::{Live, Templates};
use crate::settings::Settings;
use crate::templates::{self, Kind};
use crate::{auto_creation, dashboards, first_indices, lifecycle, roles};
use freshet_search::{Method, Search};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub use crate::cluster::ProvisionError;
pub use crate::outcome::Report;

/// A domain that is being created answers after some minutes; CloudFormation
/// only starts this when it is there, so this is for its last moments.
const WAIT_FOR_CLUSTER: Duration = Duration::from_secs(120);

/// What is provisioned.
#[derive(Clone, Debug)]
pub struct Target {
    /// The cluster.
    pub search: Search,
    /// OpenSearch Dashboards, if it is to be provisioned.
    pub dashboards: Option<Search>,
}

/// Brings the cluster to what `settings` say, changing only what differs:
/// doing it again changes nothing. First everything is read and judged; the
/// live indices get new fields before the templates, and before the new enrich
/// writes them.
///
/// # Errors
/// [`ProvisionError`] says at which step, and what the cluster said.
/// [`ProvisionError::Incompatible`] and a missing policy API come before
/// anything is changed.
pub async fn provision(target: &Target, settings: &Settings) -> Result<Report, ProvisionError> {
    wait(&target.search).await?;
    let cluster = &Cluster::new(&target.search, settings.dry_run);
    let alias = &settings.alias;
    let mut report = Report::default();

    let policies = lifecycle::probe(cluster, settings).await?;
    let has_ism = policies == PolicyApi::Present;
    let templates = Kind::ALL
        .iter()
        .map(|kind| Ok((*kind, templates::render(*kind, settings, has_ism)?)))
        .collect::<Result<Templates, ProvisionError>>()?;
    let live = Live::read(cluster, alias).await?;
    live.judge(&templates)?;

    let outcome = auto_creation::provision(cluster, alias).await?;
    report.add(auto_creation::STEP, outcome);
    roles::provision(cluster, settings, &mut report).await?;
    live.bring_up_to_date(cluster, &templates, &mut report)
        .await?;
    for (kind, template) in &templates {
        let name = kind.resource_name(alias);
        let outcome = templates::provision(cluster, &name, template).await?;
        report.add(format!("template {name}"), outcome);
    }
    // A rollover or midnight in between made an index from the old template.
    if report.changed() && !settings.dry_run {
        let mut since = Report::default();
        let live = Live::read(cluster, alias).await?;
        live.bring_up_to_date(cluster, &templates, &mut since)
            .await?;
        if since.changed() {
            report.steps.extend(since.steps);
        }
    }
    lifecycle::provision(cluster, settings, &policies, &mut report).await?;
    first_indices::provision(cluster, alias, &live, &mut report).await?;
    let to_import = target.dashboards.as_ref();
    let to_import = to_import.map(|search| Cluster::new(search, settings.dry_run));
    let objects = freshet_dashboards::SAVED_OBJECTS;
    let outcome = dashboards::provision(to_import, objects, settings.on_missing).await?;
    report.add(dashboards::STEP, outcome);
    Ok(report)
}

async fn wait(search: &Search) -> Result<(), ProvisionError> {
    let deadline = Instant::now() + WAIT_FOR_CLUSTER;
    loop {
        let path = "_cluster/health?timeout=5s";
        let answer = search.send(Method::Get, path, None, REQUEST_TIMEOUT);
        match answer.await {
            Ok(_) => return Ok(()),
            // Waiting makes no wrong password right.
            Err(error)
                if matches!(error.status(), Some(401 | 403)) || Instant::now() >= deadline =>
            {
                return Err(failed("wait for the cluster", error));
            }
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}
