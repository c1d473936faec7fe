//! The whole stack: the write index rolls over under load by the policy's own
//! conditions, and the template is deployed again.

use crate::support::{Bench, bodies};
use anyhow::{Context as _, Result, ensure};
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use futures::StreamExt as _;
use provision::lifecycle::policy::EVENTS;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TOTAL: usize = 12_000;

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

    let load = async {
        let bodies = bodies("r", TOTAL, 100);
        let answers: Vec<Result<_>> = futures::stream::iter(bodies)
            .map(|body| bench.post(body))
            .buffer_unordered(4)
            .collect()
            .await;
        for answer in answers {
            let answer = answer?;
            ensure!(answer.status == 200, "{answer:?}");
        }
        Ok(())
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
    let (loaded, rolled) = tokio::join!(load, roll);
    loaded?;
    rolled?;
    bench.settled_at(TOTAL as u64).await?;
    // Counted by what they are, not only how many there are.
    let distinct = json!({"size": 0, "aggs": {"ids": {"cardinality": {"field": "event_id", "precision_threshold": 40000}}}});
    let answer = bench
        .opensearch("POST", "clickstream/_search", distinct)
        .await?;
    let ids = answer["aggregations"]["ids"]["value"]
        .as_u64()
        .context("no count")?;
    ensure!(
        ids.abs_diff(TOTAL as u64) < TOTAL as u64 / 100,
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

/// New code of provision is a new version, which makes CloudFormation ask
/// again; so does a parameter.
async fn deployed_again(bench: &Bench) -> Result<()> {
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let cloudformation = aws_sdk_cloudformation::Client::new(&aws);
    let stack = bench.stack.endpoints.stack.as_str();
    let described = cloudformation
        .describe_stacks()
        .stack_name(stack)
        .send()
        .await?;
    let parameters = described
        .stacks()
        .first()
        .context("no stack")?
        .parameters()
        .to_vec();
    let parameters: Vec<Parameter> = parameters
        .into_iter()
        .map(|parameter| match parameter.parameter_key() {
            Some("IndexRefreshInterval") => Parameter::builder()
                .parameter_key("IndexRefreshInterval")
                .parameter_value("2s")
                .build(),
            _ => parameter,
        })
        .collect();
    cloudformation
        .update_stack()
        .stack_name(stack)
        .use_previous_template(true)
        .set_parameters(Some(parameters))
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
        let status = described
            .stacks()
            .first()
            .and_then(|stack| stack.stack_status().cloned());
        match status {
            Some(StackStatus::UpdateComplete) => break,
            Some(StackStatus::UpdateInProgress | StackStatus::UpdateCompleteCleanupInProgress) => {}
            other => anyhow::bail!("the update ended as {other:?}"),
        }
        ensure!(Instant::now() < deadline, "the update does not end");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let template = bench
        .opensearch(
            "GET",
            "_index_template/freshet-clickstream?flat_settings=true",
            json!({}),
        )
        .await?;
    ensure!(
        template
            .to_string()
            .contains(r#""index.refresh_interval":"2s""#),
        "{template}"
    );
    Ok(())
}
