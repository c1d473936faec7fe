//! Roles and who has them, where fine-grained access control is on. Without
//! them a domain refuses even a signed request.

use crate::cluster::{Cluster, ProvisionError, failed, is_absent};
use crate::outcome::{Outcome, Report};
use crate::settings::{RoleArns, Settings};
use crate::templates::Kind;
use freshet_search::SearchError;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a report calls all of it where it does not apply.
pub(crate) const STEP: &str = "roles";

/// How often a role is compared anew after somebody else has put it meanwhile.
const ATTEMPTS: u32 = 3;

/// Whether fine-grained access control answers.
pub(crate) async fn is_controlled(cluster: &Cluster<'_>) -> Result<bool, ProvisionError> {
    match cluster.read("_plugins/_security/authinfo").await {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(failed("ask who is signed in", error)),
    }
}

/// Puts the roles and maps them; adds provision's own to `all_access`, so that
/// the master user's password is needed only once.
pub(crate) async fn provision(
    cluster: &Cluster<'_>,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), ProvisionError> {
    if !is_controlled(cluster).await? {
        let reason = "the cluster has no fine-grained access control".to_owned();
        report.add(STEP, Outcome::Skipped(reason));
        return Ok(());
    }
    let RoleArns {
        enrich,
        health,
        analysts,
        provision,
    } = &settings.role_arns;
    let alias = &settings.alias;
    let roles = [
        ("freshet_enrich", of_enrich(alias), enrich.as_slice()),
        ("freshet_health", of_health(alias), health.as_slice()),
        ("freshet_analyst", of_analysts(alias), analysts.as_slice()),
    ];
    for (name, role, arns) in roles {
        let outcome = put_role(cluster, name, &role).await?;
        report.add(format!("role {name}"), outcome);
        let outcome = map(cluster, name, arns).await?;
        report.add(format!("role mapping {name}"), outcome);
    }
    let outcome = map(cluster, "all_access", provision.as_slice()).await?;
    report.add("role mapping all_access", outcome);
    Ok(())
}

fn of_enrich(alias: &str) -> Value {
    let daily = [Kind::Sessions, Kind::Rejections].map(|kind| kind.pattern(alias));
    json!({
        "cluster_permissions": ["indices:data/write/bulk*", "indices:data/read/mget*"],
        "index_permissions": [
            {
                "index_patterns": [format!("{alias}*")],
                "allowed_actions": [
                    "indices:data/write/bulk*", "indices:data/write/index", "indices:data/write/update",
                    "indices:data/read/get", "indices:data/read/mget*",
                    "indices:admin/get", "indices:admin/aliases/get", "indices:monitor/settings/get",
                ],
            },
            {
                "index_patterns": daily,
                "allowed_actions": [
                    "indices:admin/create", "indices:admin/auto_create", "indices:admin/mapping/auto_put",
                    "indices:data/write/delete",
                ],
            },
        ],
    })
}

/// Reads how the cluster is, and searches for its own probes.
fn of_health(alias: &str) -> Value {
    json!({
        "cluster_permissions": ["cluster:monitor/*"],
        "index_permissions": [
            {"index_patterns": ["*"], "allowed_actions": ["indices:monitor/*"]},
            {"index_patterns": [format!("{alias}*")], "allowed_actions": ["indices:data/read/search"]},
        ],
    })
}

/// Reads events, and what Dashboards keeps for everyone.
fn of_analysts(alias: &str) -> Value {
    json!({
        "cluster_permissions": ["cluster_composite_ops_ro"],
        "index_permissions": [
            {
                "index_patterns": [format!("{alias}*")],
                "allowed_actions": [
                    "read", "indices:admin/get", "indices:admin/aliases/get", "indices:admin/resolve/index",
                    "indices:admin/mappings/get", "indices:admin/mappings/fields/get*",
                ],
            },
            {
                "index_patterns": [".kibana*", ".opensearch_dashboards*"],
                "allowed_actions": ["read", "indices:admin/get", "indices:admin/mappings/get"],
            },
        ],
        "tenant_permissions": [{"tenant_patterns": ["global_tenant"], "allowed_actions": ["kibana_all_read"]}],
    })
}

/// The parts of a role that we set, in an order of their own.
fn canonical(role: &Value) -> Value {
    let set = |list: &Value| -> BTreeSet<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let permissions = |list: &Value, patterns: &str| -> Vec<Value> {
        let items = list.as_array().into_iter().flatten();
        items
            .map(|item| {
                json!([
                    set(&item[patterns]),
                    set(&item["allowed_actions"]),
                    set(&item["fls"]),
                    set(&item["masked_fields"]),
                    item["dls"].as_str().filter(|dls| !dls.is_empty())
                ])
            })
            .collect()
    };
    json!([
        set(&role["cluster_permissions"]),
        permissions(&role["index_permissions"], "index_patterns"),
        permissions(&role["tenant_permissions"], "tenant_patterns"),
    ])
}

async fn put_role(
    cluster: &Cluster<'_>,
    name: &str,
    role: &Value,
) -> Result<Outcome, ProvisionError> {
    let path = format!("_plugins/_security/api/roles/{name}");
    put_if(
        cluster,
        &format!("role {name}"),
        name,
        &path,
        |live| match live {
            None => Some((role.clone(), Outcome::Created)),
            Some(live) if canonical(live) == canonical(role) => None,
            Some(_) => Some((role.clone(), Outcome::Updated("permissions".to_owned()))),
        },
    )
    .await
}

/// Adds IAM roles to a mapping; whoever is in it stays.
async fn map(
    cluster: &Cluster<'_>,
    name: &str,
    arns: &[String],
) -> Result<Outcome, ProvisionError> {
    if arns.is_empty() {
        return Ok(Outcome::Skipped("no IAM role was named".to_owned()));
    }
    let path = format!("_plugins/_security/api/rolesmapping/{name}");
    put_if(
        cluster,
        &format!("role mapping {name}"),
        name,
        &path,
        |live| {
            let none = json!({});
            let kept = live.unwrap_or(&none);
            let list = |key: &str| kept[key].as_array().cloned().unwrap_or_default();
            let mut backend_roles = list("backend_roles");
            let missing: Vec<&String> = arns
                .iter()
                .filter(|arn| !backend_roles.iter().any(|kept| kept == *arn))
                .collect();
            if missing.is_empty() {
                return None;
            }
            backend_roles.extend(missing.iter().map(|arn| json!(arn)));
            let mut mapping = json!({
                "backend_roles": backend_roles, "hosts": list("hosts"), "users": list("users"),
                "and_backend_roles": list("and_backend_roles"),
            });
            if let Some(text) = kept["description"].as_str() {
                mapping["description"] = json!(text);
            }
            let outcome = match live {
                None => Outcome::Created,
                Some(_) => Outcome::Updated(format!("{} more", missing.len())),
            };
            Some((mapping, outcome))
        },
    )
    .await
}

/// Puts what `wanted` makes of what is there, or nothing.
async fn put_if(
    cluster: &Cluster<'_>,
    step: &str,
    name: &str,
    path: &str,
    wanted: impl Fn(Option<&Value>) -> Option<(Value, Outcome)>,
) -> Result<Outcome, ProvisionError> {
    let mut attempt = 1;
    loop {
        let found = cluster.find(step, path).await?;
        let live = found.as_ref().and_then(|found| found.get(name));
        let Some((body, outcome)) = wanted(live) else {
            return Ok(Outcome::Unchanged);
        };
        match cluster.put(step, path, &body).await {
            // The security plugin keeps all roles in one document.
            Err(ProvisionError::Request {
                source: SearchError::Status { status: 409, .. },
                ..
            }) if attempt < ATTEMPTS => attempt += 1,
            other => return other.map(|()| outcome),
        }
    }
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
