//! The whole stack: the write index rolls over under load by the policy's own
//! conditions, and the template is deployed again.

use crate::support::{Bench, bodies};
use anyhow::{Context as _, Result, ensure};
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus, TemplateStage};
use provision::lifecycle::policy::EVENTS;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events at least.
const LEAST: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn rollovers_under_load_lose_and_double_nothing() -> Result<()> {
    let bench = Bench::start("provision-rollover").await?;
    // The policy's conditions, in the words of the API that ISM calls; each is
    // lowered until it holds here, one a round, and all are ORed.
    let policy: Value = serde_json::from_str(EVENTS)?;
    let rollover = &policy["policy"]["states"][0]["actions"][1]["rollover"];
    let conditions = json!({
        "max_size": rollover["min_size"], "max_age": rollover["min_index_age"], "max_docs": rollover["min_doc_count"],
    });
    let unmet = bench
        .opensearch(
            "POST",
            "clickstream/_rollover",
            json!({"conditions": conditions}),
        )
        .await?;
    ensure!(
        unmet["rolled_over"] == false
            && unmet["conditions"].as_object().map(serde_json::Map::len) == Some(3),
        "{unmet}"
    );

    // Events keep coming until every rollover is done: enrich looks at the
    // alias every few seconds, so each index gets its share.
    let is_rolled = AtomicBool::new(false);
    let load = async {
        let mut sent = 0;
        while sent < LEAST || !is_rolled.load(Ordering::Acquire) {
            for body in bodies(&format!("r{sent}"), 200, 100) {
                let answer = bench.post(body).await?;
                ensure!(answer.status == 200, "{answer:?}");
            }
            sent += 200;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, anyhow::Error>(sent)
    };
    let roll = async {
        for (condition, value) in [
            ("max_docs", json!(50)),
            ("max_size", json!("1kb")),
            ("max_docs", json!(1)),
            ("max_age", json!("1s")),
        ] {
            let mut lowered = conditions.clone();
            lowered[condition] = value;
            let deadline = Instant::now() + Duration::from_secs(120);
            loop {
                let answer = bench
                    .opensearch(
                        "POST",
                        "clickstream/_rollover",
                        json!({"conditions": lowered}),
                    )
                    .await?;
                if answer["rolled_over"] == true {
                    break;
                }
                ensure!(Instant::now() < deadline, "{condition}: {answer}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let roll = async {
        let rolled = roll.await;
        is_rolled.store(true, Ordering::Release);
        rolled
    };
    let (sent, rolled) = tokio::join!(load, roll);
    rolled?;
    let sent = sent?;
    bench.settled_at(sent as u64).await?;
    // Counted by what they are, not only how many there are.
    let distinct = json!({"size": 0, "aggs": {"ids": {"cardinality": {"field": "event_id", "precision_threshold": 40000}}}});
    let answer = bench
        .opensearch("POST", "clickstream/_search", distinct)
        .await?;
    let ids = answer["aggregations"]["ids"]["value"]
        .as_u64()
        .context("no count")?;
    ensure!(
        ids.abs_diff(sent as u64) < sent as u64 / 50,
        "{ids} distinct events"
    );
    let indices = bench
        .opensearch("GET", "_alias/clickstream", json!({}))
        .await?;
    ensure!(
        indices.as_object().map(serde_json::Map::len) == Some(5),
        "{indices}"
    );
    ensure!(bench.dead_letters("").await?.is_empty());
    deployed_again(&bench).await?;
    bench.stop().await
}

/// A parameter makes CloudFormation ask provision again; so does new code,
/// which is a new version.
async fn deployed_again(bench: &Bench) -> Result<()> {
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let cloudformation = aws_sdk_cloudformation::Client::new(&aws);
    let stack = bench.stack.endpoints.stack.as_str();
    let original = cloudformation.get_template().stack_name(stack);
    let original = original
        .template_stage(TemplateStage::Original)
        .send()
        .await?;
    let original = original.template_body().context("no template")?.to_owned();
    update(&cloudformation, stack, &original, "2s").await?;
    let path = "_index_template/freshet-clickstream";
    let template = bench.opensearch("GET", path, json!({})).await?;
    ensure!(
        template.to_string().contains(r#""refresh_interval":"2s""#),
        "{template}"
    );

    // The same code under another name stands for new code; what it puts shows
    // that it was asked.
    let key = original
        .find("provision-")
        .and_then(|at| original[at..].split_once(".zip"))
        .map(|(key, _)| key)
        .context("no package of provision")?;
    let copy = freshet_local::cloud::s3(&aws).copy_object();
    copy.copy_source(format!("freshet-artifacts/{key}.zip"))
        .bucket("freshet-artifacts")
        .key("provision-new.zip")
        .send()
        .await?;
    bench
        .opensearch("DELETE", "_index_template/freshet-clickstream", json!({}))
        .await?;
    let changed = original.replace(&format!("{key}.zip"), "provision-new.zip");
    update(&cloudformation, stack, &changed, "2s").await?;
    let template = bench.opensearch("GET", path, json!({})).await?;
    ensure!(
        template["index_templates"][0]["name"] == "freshet-clickstream",
        "new code was not asked: {template}"
    );
    Ok(())
}

async fn update(
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    template: &str,
    refresh_interval: &str,
) -> Result<()> {
    let described = cloudformation
        .describe_stacks()
        .stack_name(stack)
        .send()
        .await?;
    let described = described.stacks().first().context("no stack")?;
    let parameters = described.parameters().iter().cloned();
    let parameters = parameters.map(|parameter| match parameter.parameter_key() {
        Some("IndexRefreshInterval") => Parameter::builder()
            .parameter_key("IndexRefreshInterval")
            .parameter_value(refresh_interval)
            .build(),
        _ => parameter,
    });
    cloudformation
        .update_stack()
        .stack_name(stack)
        .template_body(template)
        .set_parameters(Some(parameters.collect()))
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .send()
        .await?;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let described = cloudformation
            .describe_stacks()
            .stack_name(stack)
            .send()
            .await?;
        let described = described.stacks().first().context("no stack")?;
        match described.stack_status() {
            Some(StackStatus::UpdateComplete) => return Ok(()),
            Some(StackStatus::UpdateInProgress | StackStatus::UpdateCompleteCleanupInProgress) => {}
            other => anyhow::bail!("the update ended as {other:?}"),
        }
        ensure!(Instant::now() < deadline, "the update does not end");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
