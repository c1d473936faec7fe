//! A person with a browser walks through the shop, and every click is found.

use crate::support::{Bench, browser};
use anyhow::{Context as _, Result, ensure};

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_the_shop_is_found_enriched() -> Result<()> {
    let bench = Bench::start("browser").await?;
    let pictures = bench.stack.paths.state().join("pictures");
    std::fs::create_dir_all(&pictures)?;
    let pictures = pictures.display().to_string();
    let walk = browser("walk.mjs", &[&bench.stack.endpoints.shop_url, &pictures])?;
    let sent = walk["event_ids"].as_array().context("event_ids")?;
    ensure!(sent.len() >= 7, "{walk}");
    bench.settled_at(sent.len() as u64).await?;
    let mut types = Vec::new();
    let mut paths = Vec::new();
    for id in sent {
        let document = bench.document(id.as_str().context("an id")?).await?;
        ensure!(
            document["user_id"] == walk["user_id"] && document["session_id"] == walk["session_id"],
            "{document}"
        );
        ensure!(
            document["user_agent_parsed"]["name"] == "Chrome" && document.get("bot").is_none(),
            "{document}"
        );
        if document["event_type"] == "purchase" {
            ensure!(
                document["revenue"].as_f64() == walk["amount"].as_f64()
                    && document["is_conversion"] == true,
                "{document}"
            );
        }
        types.push(
            document["event_type"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
        paths.push(document["url_path"].as_str().unwrap_or_default().to_owned());
    }
    for wanted in ["page_view", "add_to_cart", "checkout_start", "purchase"] {
        ensure!(
            types.iter().any(|kind| kind == wanted),
            "no {wanted} among {types:?}"
        );
    }
    ensure!(
        paths.iter().any(|path| path == "/")
            && paths.iter().any(|path| path.starts_with("/product")),
        "{paths:?}"
    );
    bench.stop().await
}
