//! Templates that live indices cannot take, and servers that lack something.

use super::node::{Node, settings};
use anyhow::{Result, ensure};
use provision::outcome::Outcome;
use provision::settings::{OnMissing, Settings};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_refused_by_name_or_reaches_the_live_index() -> Result<()> {
    let node = Node::start("provision-refused").await?;
    // As an older version left it: a field of another type in an old day, and
    // a write index that lacks new fields.
    let old = json!({"mappings": {"dynamic": "strict", "properties": {
        "revenue": {"type": "long"},
        "metadata": {"properties": {"amount": {"type": "keyword"}}}}}});
    node.send("PUT", "clickstream-2026.11.01-000001", old)
        .await?;
    let error = node.provision(&settings()).await.unwrap_err();
    ensure!(error.code() == "template_incompatible", "{error}");
    let text = error.to_string();
    for conflict in [
        "revenue is long in clickstream-2026.11.01-000001 and would be double",
        "metadata.amount is keyword in clickstream-2026.11.01-000001 and would be double",
    ] {
        ensure!(text.contains(conflict), "{text}");
    }
    ensure!(node.changes().is_empty(), "nothing was put");
    node.send("DELETE", "clickstream-2026.11.01-000001", Value::Null)
        .await?;

    let analysis = json!({"analyzer": {"url_analyzer": {"type": "custom", "tokenizer": "uax_url_email", "filter": ["lowercase", "stop"]}}});
    let older = json!({
        "aliases": {"clickstream": {"is_write_index": true}},
        "settings": {"number_of_replicas": 0, "analysis": analysis},
        "mappings": {"dynamic": "strict", "properties": {
            "@timestamp": {"type": "date"}, "own": {"type": "keyword"}, "page_url": {"type": "text", "analyzer": "url_analyzer"}}},
    });
    node.send("PUT", "clickstream-2026.11.02-000002", older)
        .await?;
    node.send(
        "PUT",
        "clickstream_sessions-2026.11.02",
        json!({"mappings": {"dynamic": "strict", "properties": {}}}),
    )
    .await?;
    let event = json!({"@timestamp": "2026-11-25T12:00:00Z", "session_duration": 4.5});
    let (status, _) = node
        .answer("POST", "clickstream/_doc", event.clone())
        .await?;
    ensure!(status == 400, "the field is new");
    let report = node.provision(&settings()).await?;
    let changes = node.changes();
    let at = |what: &str| changes.iter().position(|change| change.contains(what));
    let (mapping, template) = (
        at("clickstream-2026.11.02-000002/_mapping"),
        at("_index_template/freshet-clickstream"),
    );
    ensure!(
        mapping.is_some() && mapping < template,
        "the index before the template: {changes:?}"
    );
    ensure!(
        report.outcome("first write index") == Some(&Outcome::Unchanged),
        "{report}"
    );
    node.send("POST", "clickstream/_doc", event).await?;
    node.send(
        "POST",
        "clickstream_sessions-2026.11.02/_doc",
        json!({"bounce": 1}),
    )
    .await?;
    let live = node
        .send("GET", "clickstream/_mapping", Value::Null)
        .await?
        .to_string();
    ensure!(
        live.contains("\"own\"") && live.contains("\"ignore_above\":2048"),
        "fields of its own stay, sub-fields are added"
    );
    let again = node.provision(&settings()).await?;
    ensure!(!again.changed() && node.changes().is_empty(), "{again}");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_lacks_is_skipped_or_fails_by_parameter() -> Result<()> {
    let node = Node::start("provision-lacks").await?;
    let strict = Settings {
        on_missing: OnMissing::Fail,
        ..settings()
    };
    let error = node.provision(&strict).await.unwrap_err();
    ensure!(
        error.to_string().contains("no Index State Management"),
        "{error}"
    );
    ensure!(
        node.changes().is_empty(),
        "it failed before anything was put"
    );

    let report = node.provision(&settings()).await?;
    let skipped = |step: &str| match report.outcome(step) {
        Some(Outcome::Skipped(reason)) => reason.clone(),
        other => format!("{other:?}"),
    };
    ensure!(
        skipped("policy freshet-clickstream") == "the cluster has no Index State Management",
        "{report}"
    );
    ensure!(
        skipped("dashboards").starts_with("there is none at this address"),
        "{report}"
    );
    ensure!(
        skipped("roles") == "the cluster has no fine-grained access control",
        "{report}"
    );
    let alias = node.send("GET", "_alias/clickstream", Value::Null).await?;
    ensure!(alias.is_object(), "the rest was done");
    node.stop().await
}

/// A full cluster, which is not published for a laptop.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs FRESHET_OPENSEARCH_URL: a full cluster with ISM"]
async fn a_full_cluster_keeps_the_policy_and_manages_indices() -> Result<()> {
    use freshet_search::{Auth, Method};
    use provision::lifecycle::policy::{canonical, render};
    use provision::sign_in::{DashboardsUrl, connect};
    use provision::templates::Kind;
    use std::time::Duration;

    let url = std::env::var("FRESHET_OPENSEARCH_URL")?;
    let var = |name: &str| std::env::var(name).ok();
    let auth = match (
        var("FRESHET_OPENSEARCH_USER"),
        var("FRESHET_OPENSEARCH_PASSWORD"),
    ) {
        (Some(user), Some(password)) => Auth::Basic { user, password },
        _ => Auth::None,
    };
    let target = connect(&url, &DashboardsUrl::None, auth)?;
    // An alias of this run's own: the cluster may be somebody's.
    let alias = format!("freshet_test_{}", jiff::Timestamp::now().as_millisecond());
    let settings = Settings {
        alias: alias.clone(),
        on_missing: OnMissing::Fail,
        ..settings()
    };
    let first = provision::provision::provision(&target, &settings).await?;
    let again = provision::provision::provision(&target, &settings).await?;
    let send = async |method, path: String| -> Result<Value> {
        let answer = target
            .search
            .send(method, &path, None, Duration::from_secs(30))
            .await?;
        Ok(serde_json::from_slice(&answer)?)
    };
    let checked = async {
        ensure!(
            first.outcome("first write index") == Some(&Outcome::Created),
            "{first}"
        );
        ensure!(!again.changed(), "{again}");
        for kind in Kind::ALL {
            let path = format!("_plugins/_ism/policies/{}", kind.resource_name(&alias));
            let stored = send(Method::Get, path).await?;
            let wanted = render(kind, &alias, settings.tiers)?;
            ensure!(
                canonical(&stored["policy"]) == canonical(&wanted["policy"]),
                "{stored}"
            );
        }
        let explained = send(Method::Get, format!("_plugins/_ism/explain/{alias}-*")).await?;
        let policy = "index.plugins.index_state_management.policy_id";
        let managed = explained
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, index)| index[policy] == Kind::Events.resource_name(&alias));
        ensure!(managed.count() == 1, "{explained}");
        Ok(())
    };
    let checked = checked.await;
    for kind in Kind::ALL {
        let name = kind.resource_name(&alias);
        drop(send(Method::Delete, format!("_index_template/{name}")).await);
        drop(send(Method::Delete, format!("_plugins/_ism/policies/{name}")).await);
    }
    let indices = send(Method::Get, format!("_alias/{alias}")).await?;
    for index in indices
        .as_object()
        .into_iter()
        .flat_map(|indices| indices.keys())
    {
        send(Method::Delete, index.clone()).await?;
    }
    checked
}
