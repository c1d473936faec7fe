//! Provisioning again, and twice at once.

use super::node::{Node, settings};
use anyhow::{Result, ensure};
use provision::outcome::Outcome;
use provision::settings::Settings;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_changes_nothing_and_two_at_once_both_succeed() -> Result<()> {
    let node = Node::start("provision-again").await?;
    let dry = Settings {
        dry_run: true,
        ..settings()
    };
    let first = node.provision(&dry).await?;
    ensure!(
        first.outcome("first write index") == Some(&Outcome::Created),
        "{first}"
    );
    ensure!(node.changes().is_empty(), "a dry run changes nothing");
    let (_, answer) = node
        .answer("GET", "_index_template/freshet-*", Value::Null)
        .await?;
    ensure!(
        answer["index_templates"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{answer}"
    );

    // Two at once, from nothing.
    let (one, other) = (node.target(), node.target());
    let settings = settings();
    let (one, other) = tokio::join!(
        provision::provision::provision(&one, &settings),
        provision::provision::provision(&other, &settings)
    );
    let (one, other) = (one?, other?);
    let created =
        [&one, &other].map(|report| report.outcome("first write index") == Some(&Outcome::Created));
    ensure!(
        created.iter().filter(|created| **created).count() == 1,
        "{one}\n{other}"
    );
    let indices = node.send("GET", "_alias/clickstream", Value::Null).await?;
    ensure!(
        indices.as_object().map(serde_json::Map::len) == Some(1),
        "{indices}"
    );

    // With documents in the daily indices, which there are since just now.
    let daily = "clickstream_sessions-*,clickstream_rejections-*";
    let daily = node.send("GET", daily, Value::Null).await?;
    let daily: Vec<&String> = daily
        .as_object()
        .into_iter()
        .flat_map(|all| all.keys())
        .collect();
    ensure!(daily.len() == 2, "{daily:?}");
    for index in daily {
        node.send("POST", &format!("{index}/_doc"), json!({"source": "shop"}))
            .await?;
    }
    node.changes();
    for settings in [
        settings.clone(),
        Settings {
            dry_run: true,
            ..settings.clone()
        },
    ] {
        let again = node.provision(&settings).await?;
        ensure!(!again.changed(), "{again}");
        ensure!(
            node.changes().is_empty(),
            "nothing that changes anything was sent"
        );
        let steps: Vec<&str> = again.steps.iter().map(|step| step.name.as_str()).collect();
        ensure!(
            steps
                .iter()
                .filter(|step| step.starts_with("index "))
                .count()
                == 3,
            "{steps:?}"
        );
    }

    // Only what differs is changed, on the templates and on the live indices.
    let slower = Settings {
        refresh_interval: "7s".to_owned(),
        ..settings.clone()
    };
    let report = node.provision(&slower).await?;
    let changes = node.changes();
    ensure!(
        changes.len() == 6,
        "three templates, and the settings of one live index of each kind: {changes:?}"
    );
    ensure!(
        report.outcome("template freshet-clickstream")
            == Some(&Outcome::Updated("refresh_interval".to_owned())),
        "{report}"
    );
    let live = node
        .send(
            "GET",
            "clickstream/_settings?flat_settings=true",
            Value::Null,
        )
        .await?;
    ensure!(
        live.to_string()
            .contains(r#""index.refresh_interval":"7s""#),
        "{live}"
    );
    // What operators have set for other indices stays.
    let theirs = json!({"persistent": {"action.auto_create_index": "-secret*,+*"}});
    node.send("PUT", "_cluster/settings", theirs).await?;
    node.provision(&slower).await?;
    let set = node
        .send("GET", "_cluster/settings?flat_settings=true", Value::Null)
        .await?;
    let expected = "+clickstream_sessions-*,+clickstream_rejections-*,-clickstream*,-secret*,+*";
    ensure!(
        set["persistent"]["action.auto_create_index"] == expected,
        "{set}"
    );
    node.stop().await
}
