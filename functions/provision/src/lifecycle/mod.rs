//! Index State Management: the policies, and the indices they manage.

pub mod policy;

use crate::cluster::{Cluster, ProvisionError, failed, is_absent, said};
use crate::outcome::{Outcome, Report};
use crate::settings::{OnMissing, Settings};
use crate::templates::Kind;
use freshet_search::{Method, SearchError};
use serde_json::{Value, json};

const WHAT: &str = "the policy API";
/// How often a policy is compared anew after somebody else has put it meanwhile.
const ATTEMPTS: u32 = 3;

/// Whether the cluster has the policy API, or why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyApi {
    Present,
    Missing(String),
}

/// Asks for a policy that may not be there.
///
/// # Errors
/// If the API is missing and that is to be a failure.
pub(crate) async fn probe(
    cluster: &Cluster<'_>,
    settings: &Settings,
) -> Result<PolicyApi, ProvisionError> {
    let path = policy_path(&Kind::Events.resource_name(&settings.alias));
    let reason = match cluster.read(&path).await {
        Ok(_) => return Ok(PolicyApi::Present),
        Err(error) if is_absent(&error) => "the cluster has no Index State Management".to_owned(),
        Err(SearchError::Status { status: 404, .. }) => return Ok(PolicyApi::Present),
        Err(error) => match error.status() {
            Some(401 | 403) => said(&error),
            _ => return Err(failed("read the lifecycle policy", error)),
        },
    };
    match settings.on_missing {
        OnMissing::Skip => Ok(PolicyApi::Missing(reason)),
        OnMissing::Fail => Err(ProvisionError::Missing { what: WHAT, reason }),
    }
}

fn policy_path(name: &str) -> String {
    format!("_plugins/_ism/policies/{name}")
}

/// Puts each policy that differs, and attaches it to what exists.
pub(crate) async fn provision(
    cluster: &Cluster<'_>,
    settings: &Settings,
    api: &PolicyApi,
    report: &mut Report,
) -> Result<(), ProvisionError> {
    for kind in Kind::ALL {
        let name = kind.resource_name(&settings.alias);
        let step = format!("policy {name}");
        if let PolicyApi::Missing(reason) = api {
            report.add(step, Outcome::Skipped(reason.clone()));
            continue;
        }
        let pattern = kind.pattern(&settings.alias);
        let wanted = policy::render(kind, &settings.alias, settings.tiers)?;
        let outcome = put(cluster, &step, &name, &wanted).await?;
        let is_changed = matches!(outcome, Outcome::Updated(_));
        report.add(step, outcome);
        let managed = manage(cluster, &name, &pattern, is_changed).await?;
        report.add(format!("indices under policy {name}"), managed);
    }
    Ok(())
}

/// Puts a policy unless the cluster has the same.
async fn put(
    cluster: &Cluster<'_>,
    step: &str,
    name: &str,
    wanted: &Value,
) -> Result<Outcome, ProvisionError> {
    let mut attempt = 1;
    loop {
        let live = cluster.find(step, &policy_path(name)).await?;
        let mut path = policy_path(name);
        let outcome = match &live {
            None => Outcome::Created,
            Some(live)
                if policy::canonical(&live["policy"]) == policy::canonical(&wanted["policy"]) =>
            {
                return Ok(Outcome::Unchanged);
            }
            Some(live) => {
                let (seq_no, term) = (&live["_seq_no"], &live["_primary_term"]);
                path.push_str(&format!("?if_seq_no={seq_no}&if_primary_term={term}"));
                Outcome::Updated("states or conditions".to_owned())
            }
        };
        match cluster.change(Method::Put, &path, wanted).await {
            Ok(_) => return Ok(outcome),
            // Somebody put it since: theirs may be the same.
            Err(SearchError::Status { status: 409, .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(SearchError::Status { body, .. }) if body.contains("use a different priority") => {
                return Err(ProvisionError::PolicyClash {
                    policy: name.to_owned(),
                    reason: reason(&body),
                });
            }
            Err(error) => return Err(failed(step, error)),
        }
    }
}

/// The reason in an error's body, or all of it.
fn reason(body: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let reason = parsed
        .as_ref()
        .and_then(|body| body["error"]["reason"].as_str());
    reason.unwrap_or(body).to_owned()
}

/// Attaches a policy to indices that have none, and tells those that it
/// manages that it has changed. Those under another policy are left alone.
async fn manage(
    cluster: &Cluster<'_>,
    name: &str,
    pattern: &str,
    is_changed: bool,
) -> Result<Outcome, ProvisionError> {
    let step = format!("indices under policy {name}");
    let path = format!("_plugins/_ism/explain/{pattern}?size=1000");
    let explained = cluster.find(&step, &path).await?.unwrap_or_default();
    let (mut free, mut ours, mut others) = (Vec::new(), 0, Vec::new());
    for (index, state) in explained.as_object().into_iter().flatten() {
        if !state.is_object() {
            continue; // total_managed_indices
        }
        match policy_of(state) {
            None => free.push(index.as_str()),
            Some(policy) if policy == name => ours += 1,
            Some(_) => others.push(index.as_str()),
        }
    }
    let body = json!({"policy_id": name});
    let mut done = Vec::new();
    if !free.is_empty() {
        let path = format!("_plugins/_ism/add/{}", free.join(","));
        let answer = cluster.change(Method::Post, &path, &body).await;
        let answer = answer.map_err(|error| failed(&step, error))?;
        done.push(told("attached to", free.len(), &answer, cluster));
    }
    if is_changed && ours > 0 {
        let path = format!("_plugins/_ism/change_policy/{pattern}");
        let answer = cluster.change(Method::Post, &path, &body).await;
        let answer = answer.map_err(|error| failed(&step, error))?;
        done.push(told("changed for", ours, &answer, cluster));
    }
    if !others.is_empty() {
        let left = format!("left under other policies: {}", others.join(", "));
        if done.is_empty() {
            return Ok(Outcome::Skipped(left));
        }
        done.push(left);
    }
    Ok(if done.is_empty() {
        Outcome::Unchanged
    } else {
        Outcome::Updated(done.join("; "))
    })
}

fn policy_of(state: &Value) -> Option<&str> {
    ["plugins", "opendistro"]
        .iter()
        .find_map(|owner| state[format!("index.{owner}.index_state_management.policy_id")].as_str())
}

/// What became of each index: failures come in an answer that says 200. An
/// index that already has a policy was attached by the policy's own template
/// meanwhile.
fn told(done: &str, asked: usize, answer: &Value, cluster: &Cluster<'_>) -> String {
    if cluster.is_dry_run() {
        return format!("{done} {asked}");
    }
    let updated = answer["updated_indices"].as_u64().unwrap_or(0);
    let failures: Vec<String> = answer["failed_indices"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|failed| {
            let reason = failed["reason"].as_str().unwrap_or("no reason given");
            let is_attached = reason.contains("already has a policy");
            (!is_attached)
                .then(|| format!("{}: {reason}", failed["index_name"].as_str().unwrap_or("?")))
        })
        .collect();
    if failures.is_empty() {
        format!("{done} {updated}")
    } else {
        format!("{done} {updated}, not {}", failures.join(", "))
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
