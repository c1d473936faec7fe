//! How long it takes from the answer of collect until an event is in `latest`.

use super::now;
use crate::progress::Progress;
use crate::stack::{Stack, StackOptions};
use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Single events, one after the other, for more than an arrival window.
const EVENTS: u64 = 250;
const BETWEEN: Duration = Duration::from_millis(300);
/// How often `latest` is asked for.
const POLL: Duration = Duration::from_millis(50);
/// After this an event is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Posts page views, one at a time, to a stack of its own with the template's
/// parameters, and watches the latest total.
pub(super) async fn measure() -> Result<()> {
    let state = std::env::temp_dir().join(format!("freshet-fresh-{}", std::process::id()));
    let options = StackOptions {
        state: Some(state.clone()),
        fresh: true,
        ..StackOptions::default()
    };
    let stack = Stack::start(options, &Progress::silent()).await?;
    let histogram = watch(&stack).await;
    stack.stop().await?;
    std::fs::remove_dir_all(state)?;
    let histogram = histogram?;
    let seconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "\nevent to latest         p50 {:.2} s, p95 {:.2} s, max {:.2} s ({} single events)",
        seconds(0.5),
        seconds(0.95),
        seconds(1.0),
        histogram.len()
    );
    Ok(())
}

async fn watch(stack: &Stack) -> Result<Histogram<u64>> {
    let collect_url = stack.endpoints.collect_url.clone();
    let latest_url = collect_url.replace("/v1/events", "/v1/aggregations/page_view");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut histogram = Histogram::new(3)?;
    // When each event that is not in the total yet was answered.
    let mut waiting: VecDeque<Instant> = VecDeque::new();
    let (mut sent, mut seen) = (0, 0);
    let mut next_event = Instant::now();
    while seen < EVENTS {
        if sent < EVENTS && Instant::now() >= next_event {
            next_event += BETWEEN;
            let answer = http
                .post(&collect_url)
                .json(&page_view(sent))
                .send()
                .await?;
            ensure!(answer.status().is_success(), "collect: {}", answer.status());
            waiting.push_back(Instant::now());
            sent += 1;
        }
        let total = total(&http, &latest_url).await?;
        while seen < total {
            let answered = waiting.pop_front().context("counted more than was sent")?;
            histogram.record(u64::try_from(answered.elapsed().as_millis())?)?;
            seen += 1;
        }
        let oldest = waiting.front().map_or(Duration::ZERO, Instant::elapsed);
        ensure!(oldest < PATIENCE, "event {seen} is never counted");
        tokio::time::sleep(POLL).await;
    }
    Ok(histogram)
}

/// Page views of the latest window: all that were sent, as it is longer than
/// this takes.
async fn total(http: &reqwest::Client, url: &str) -> Result<u64> {
    let answer = http.get(url).send().await?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(0);
    }
    let latest: Value = answer.error_for_status()?.json().await?;
    latest["result"]["total_page_views"]
        .as_u64()
        .context("a total")
}

fn page_view(number: u64) -> Value {
    json!({
        "user_id": format!("user-{number}"), "session_id": format!("session-{number}"),
        "event_type": "page_view", "page_url": "https://shop.example/",
        "timestamp": now().as_millis(),
    })
}
