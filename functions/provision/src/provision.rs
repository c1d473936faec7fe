//! What a cluster needs before the first event is indexed.

use bytes::Bytes;
use freshet_search::{Method, Search, SearchError};
use serde_json::{Value, json};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// The mapping and settings of every backing index.
pub const INDEX_TEMPLATE: &str = include_str!("../../../infra/opensearch/events-template.json");

/// The template's name on the cluster.
pub const TEMPLATE_NAME: &str = "freshet-clickstream";

/// A domain that is being created answers after some minutes; CloudFormation
/// only starts this when it is there, so this is for its last moments.
const WAIT_FOR_CLUSTER: Duration = Duration::from_secs(120);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What differs between installations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The write alias.
    pub alias: String,
    /// Primary shards of each backing index.
    pub shards: u32,
    /// Replicas of each shard.
    pub replicas: u32,
    /// How soon a document is searchable, in OpenSearch's own notation.
    pub refresh_interval: String,
    /// The role to be allowed to index, where fine-grained access is on.
    pub enrich_role_arn: Option<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the first write index was created now.
    pub created_first_index: bool,
}

/// Why the cluster is not ready.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// A request failed.
    #[error("{step}: {source}{}", detail(.source))]
    Request {
        /// What was being done.
        step: &'static str,
        /// What the cluster said.
        #[source]
        source: SearchError,
    },
    /// The template that this was built with is broken.
    #[error("the index template is not what it should be")]
    Template,
}

fn detail(error: &SearchError) -> String {
    match error {
        SearchError::Status { body, .. } => format!(": {body}"),
        _ => String::new(),
    }
}

/// Waits for the cluster, forbids that indices of the alias come to be by
/// themselves, puts the index template, and creates the first write index
/// unless the alias is there.
///
/// # Errors
/// [`ProvisionError`] says at which step, and what the cluster said.
pub async fn provision(search: &Search, settings: &Settings) -> Result<Report, ProvisionError> {
    wait(search).await?;
    // A write to an index that was deleted must fail and be tried again, not
    // bring the name back as an index outside the alias.
    let no_auto_create =
        json!({"persistent": {"action.auto_create_index": format!("-{}*,+*", settings.alias)}});
    request(
        search,
        "forbid auto-creation",
        Method::Put,
        "_cluster/settings",
        Some(&no_auto_create),
    )
    .await?;
    if let Some(role) = &settings.enrich_role_arn {
        map_role(search, &settings.alias, role).await?;
    }
    let template = template(settings)?;
    let path = format!("_index_template/{TEMPLATE_NAME}");
    request(
        search,
        "put the index template",
        Method::Put,
        &path,
        Some(&template),
    )
    .await?;
    let created_first_index = create_first_index(search, &settings.alias).await?;
    tracing::info!(created_first_index, "the cluster is ready");
    Ok(Report {
        created_first_index,
    })
}

async fn wait(search: &Search) -> Result<(), ProvisionError> {
    let deadline = Instant::now() + WAIT_FOR_CLUSTER;
    loop {
        let answer = search
            .send(
                Method::Get,
                "_cluster/health?timeout=5s",
                None,
                REQUEST_TIMEOUT,
            )
            .await;
        match answer {
            Ok(_) => return Ok(()),
            Err(source) if Instant::now() >= deadline => {
                return Err(ProvisionError::Request {
                    step: "wait for the cluster",
                    source,
                });
            }
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn create_first_index(search: &Search, alias: &str) -> Result<bool, ProvisionError> {
    let step = "create the first write index";
    match search
        .send(
            Method::Head,
            &format!("_alias/{alias}"),
            None,
            REQUEST_TIMEOUT,
        )
        .await
    {
        Ok(_) => return Ok(false),
        Err(SearchError::Status { status: 404, .. }) => {}
        Err(source) => return Err(ProvisionError::Request { step, source }),
    }
    // <clickstream-{now/d}-000001>, percent-encoded: date math in the name.
    let path = format!("%3C{alias}-%7Bnow%2Fd%7D-000001%3E");
    let body = json!({"aliases": {alias: {"is_write_index": true}}});
    match request(search, step, Method::Put, &path, Some(&body)).await {
        Ok(()) => Ok(true),
        // Another provisioning was faster.
        Err(ProvisionError::Request {
            source: SearchError::Status { body, .. },
            ..
        }) if body.contains("resource_already_exists_exception") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets enrich's role index: without this mapping a domain with fine-grained
/// access refuses even a signed request.
async fn map_role(search: &Search, alias: &str, role_arn: &str) -> Result<(), ProvisionError> {
    let role = json!({
        "cluster_permissions": ["indices:data/write/bulk*", "indices:data/read/mget*", "cluster:monitor/health"],
        "index_permissions": [{
            "index_patterns": [format!("{alias}*")],
            "allowed_actions": [
                "indices:data/write/index", "indices:data/write/bulk*", "indices:data/read/get",
                "indices:data/read/mget*", "indices:admin/get", "indices:admin/aliases/get",
                "indices:monitor/settings/get",
            ],
        }],
    });
    let path = "_plugins/_security/api/roles/freshet_enrich";
    request(search, "put enrich's role", Method::Put, path, Some(&role)).await?;
    let mapping = json!({"backend_roles": [role_arn]});
    let path = "_plugins/_security/api/rolesmapping/freshet_enrich";
    request(
        search,
        "map enrich's role",
        Method::Put,
        path,
        Some(&mapping),
    )
    .await
}

fn template(settings: &Settings) -> Result<Value, ProvisionError> {
    let mut template: Value =
        serde_json::from_str(INDEX_TEMPLATE).map_err(|_| ProvisionError::Template)?;
    template["index_patterns"] = json!([format!("{}-*", settings.alias)]);
    let index = template
        .pointer_mut("/template/settings/index")
        .ok_or(ProvisionError::Template)?;
    index["number_of_shards"] = json!(settings.shards);
    index["number_of_replicas"] = json!(settings.replicas);
    index["refresh_interval"] = json!(settings.refresh_interval);
    Ok(template)
}

async fn request(
    search: &Search,
    step: &'static str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(), ProvisionError> {
    let body = body.map(|body| Bytes::from(body.to_string()));
    let answer = search.send(method, path, body, REQUEST_TIMEOUT).await;
    answer
        .map(drop)
        .map_err(|source| ProvisionError::Request { step, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_replace_the_templates_settings() {
        let settings = Settings {
            alias: "c".into(),
            shards: 2,
            replicas: 0,
            refresh_interval: "1s".into(),
            enrich_role_arn: None,
        };
        let template = template(&settings).unwrap();
        let index = &template["template"]["settings"]["index"];
        assert_eq!(
            (&index["number_of_shards"], &index["number_of_replicas"]),
            (&json!(2), &json!(0))
        );
        assert_eq!(
            (&index["refresh_interval"], &index["codec"]),
            (&json!("1s"), &json!("best_compression"))
        );
        assert_eq!(template["index_patterns"], json!(["c-*"]));
    }

    #[test]
    fn the_mapping_knows_just_the_metadata_that_events_know() {
        let template: Value = serde_json::from_str(INDEX_TEMPLATE).unwrap();
        let metadata = template
            .pointer("/template/mappings/properties/metadata/properties")
            .unwrap();
        let mut mapped: Vec<&str> = metadata
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut known: Vec<&str> = freshet_events::KNOWN_METADATA.to_vec();
        known.push("other");
        mapped.sort_unstable();
        known.sort_unstable();
        assert_eq!(mapped, known);
        assert_eq!(metadata["other"]["type"], "flat_object");
    }
}
