//! The document and the functions say the same: schemathesis asks whatever
//! `docs/openapi.yaml` allows, and what it does not, and finds nothing.

use crate::support::Bench;
use anyhow::{Context as _, Result, ensure};
use freshet_events::Timestamp;
use freshet_tables::{HealthReport, HealthTable, Put, ResultTable, SlotResult};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Slots that end around now, so that there is something to read.
const SLOTS: i64 = 7;
const NAMES: [&str; 3] = ["page_view", "conversion_funnel", "probe"];

#[tokio::test]
async fn schemathesis_finds_nothing() -> Result<()> {
    let bench = Bench::start("openapi").await?;
    let query = &bench.stack.endpoints.query_url;
    count(&bench).await?;
    // What is asked about must be there, or every answer would be a 404.
    for name in NAMES {
        let latest: Value = bench.get(&format!("{query}/{name}")).await?;
        ensure!(latest["result"].is_object(), "{latest}");
        let page: Value = bench.get(&format!("{query}/{name}?limit=2")).await?;
        ensure!(
            page["slots"].as_array().is_some_and(|s| s.len() == 2),
            "{page}"
        );
        ensure!(page["next"].is_string(), "{page}");
    }
    let base = query
        .strip_suffix("/v1/aggregations")
        .context("the address of query")?
        .to_owned();
    let state: Value = bench.get(&format!("{base}/v1/health")).await?;
    ensure!(state["status"] == "degraded", "{state}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/run.sh");
    let run = move || Command::new("bash").arg(script).arg(base).output();
    let output = tokio::task::spawn_blocking(run).await??;
    let told = String::from_utf8_lossy(&output.stdout);
    let end: String = told.lines().rev().take(80).collect::<Vec<_>>().join("\n");
    ensure!(
        output.status.success(),
        "(from its end)\n{end}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It says so itself, but it must have asked something as well.
    ensure!(
        told.contains("Tested: 15"),
        "not every operation was asked:\n{end}"
    );
    bench.stop().await
}

/// Stores results as aggregate does.
async fn count(bench: &Bench) -> Result<()> {
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let deployed = &bench.stack.cloud.outputs["AggregationTableName"];
    let table = ResultTable::new(&aws, deployed);
    let now_ms = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_millis(),
    )?;
    let now = Timestamp::from_millis(now_ms).context("the clock")?;
    let report = HealthReport {
        checked_at: now,
        status: "degraded".to_owned(),
        body: json!({"checks": {"search": {"status": "degraded"}}}).to_string(),
    };
    HealthTable::new(&aws, deployed).put(&report).await?;
    for name in NAMES {
        for minute in (0..SLOTS).rev() {
            let window_end = (now_ms / 60_000 + 2 - minute) * 60;
            let slot = SlotResult {
                window_start: window_end - 300,
                window_end,
                updated_at: now,
                approximate: minute == 1,
                body: body(name, window_end, minute == 1).to_string().into_bytes(),
                expires_at: window_end + 3_600,
            };
            let put = table.put_slot(name, &slot, "inputs", None).await?;
            ensure!(put == Put::Written(1), "{put:?}");
            table
                .put_latest(name, window_end, slot.expires_at, now)
                .await?;
        }
    }
    Ok(())
}

fn body(name: &str, window_end: i64, approximate: bool) -> Value {
    let pages: serde_json::Map<String, Value> = (0..80)
        .map(|n| (format!("/product/{n}"), json!(80 - n)))
        .collect();
    let result = if name == "probe" {
        json!({"events": 5, "event_ids": ["probe-1795629600000", "probe-1795629540000"]})
    } else if name == "page_view" {
        json!({
            "total_page_views": 3_240, "unique_pages": 80,
            "top_pages": {"/product/0": 80, "/product/1": 79},
            "unique_users_by_page": pages, "browser_distribution": {"Firefox": 3_000, "unknown": 240},
            "window_start": window_end - 300, "window_end": window_end,
        })
    } else {
        json!({
            "funnel_counts": {"landing": 40, "product_view": 61, "add_to_cart": 12, "checkout_start": 6, "purchase": 4},
            "conversion_rates": {"landing_rate": 1.0, "product_view_rate": 0.8, "purchase_rate": 0.1},
            "total_users_in_funnel": 40,
        })
    };
    if approximate {
        json!({"result": result, "error_bound": {"users": 0.02, "left_out": {"page": 7}}})
    } else {
        json!({"result": result})
    }
}
