//! What was posted is in the terminal view and in the page's live funnel.

use crate::support::{Bench, event};
use anyhow::{Context as _, Result, ensure};
use freshet::top;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn posted_events_are_in_the_terminal_view() -> Result<()> {
    let bench = Bench::start("top").await?;
    let query_url = bench.stack.endpoints.query_url.clone();
    let empty = top::frame(&query_url, 80).await?;
    ensure!(empty.contains("Nothing was counted"), "{empty}");

    let step = |user: &str, kind: &str, path: &str| {
        let id = format!("{user}{kind}{path}");
        let extra = json!({
            "user_id": user, "session_id": user, "event_type": kind,
            "page_url": format!("https://shop.example{path}"),
        });
        event(&id, extra)
    };
    let mut events = Vec::new();
    for user in ["ada", "bob", "eve", "joe"] {
        events.push(step(user, "page_view", "/"));
    }
    for user in ["ada", "bob"] {
        events.push(step(user, "page_view", "/product/mug"));
    }
    events.push(step("ada", "add_to_cart", "/product/mug"));
    let answer = bench.post(json!({"events": events}).to_string()).await?;
    ensure!(
        answer.statuses().iter().all(|status| *status == "ok"),
        "{answer:?}"
    );

    // Shards are counted one after the other, and each publishes by itself.
    let deadline = Instant::now() + Duration::from_secs(60);
    let frame = loop {
        let frame = top::frame(&query_url, 80).await?;
        if frame.contains("6 page views of 2 pages") && frame.contains("of 4 users") {
            break frame;
        }
        ensure!(Instant::now() < deadline, "{frame}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let row = |name: &str| -> Result<Vec<&str>> {
        let line = frame.lines().find(|line| line.starts_with(name));
        let line = line.with_context(|| format!("no {name} in\n{frame}"))?;
        let numbers = line[name.len()..].split_whitespace();
        Ok(numbers.filter(|part| !part.contains('█')).collect())
    };
    // Users, of all, fewer than the step before, events; of landing, sessions.
    ensure!(row("landing")? == ["4", "100.0%", "–", "4"], "{frame}");
    ensure!(
        row("product view")? == ["2", "50.0%", "50.0%", "2"],
        "{frame}"
    );
    ensure!(
        row("add to cart")? == ["1", "25.0%", "50.0%", "1"],
        "{frame}"
    );
    ensure!(row("purchase")?.first() == Some(&"0"), "{frame}");
    ensure!(row("/product/mug")? == ["2", "2"], "{frame}");
    ensure!(row("/ ")? == ["4", "4"], "{frame}");
    ensure!(frame.contains(" · exact\n"), "{frame}");

    let page = format!(
        "{}/live/conversion_funnel",
        bench.stack.endpoints.dashboard_url
    );
    let first = bench.http.get(&page).send().await?;
    let tag = first.headers().get("etag").context("etag")?.clone();
    let slot: Value = first.json().await?;
    ensure!(slot["result"]["funnel_counts"]["landing"] == 4, "{slot}");
    let again = bench.http.get(&page).header("if-none-match", tag);
    ensure!(again.send().await?.status() == 304);
    bench.stop().await?;

    let gone = top::frame(&query_url, 80).await;
    let said = gone.err().map(|error| error.to_string());
    let said = said.context("an answer of nobody")?;
    ensure!(said.contains("does not answer"), "{said}");
    Ok(())
}
