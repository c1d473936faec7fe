//! What results mean, said in plain sets and sorting over all events, without
//! anything of the crate: the requirements C1 to C6 and decision 11.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const MINUTE_MS: i64 = 60_000;

/// Something that happened. Its place in [`Traffic::events`] is its identity.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// [`event_id`] of its place.
    pub(crate) event_id: String,
    pub(crate) synthetic: bool,
    pub(crate) bot: bool,
    pub(crate) user: usize,
    pub(crate) session: usize,
    pub(crate) at_ms: i64,
    pub(crate) event_type: &'static str,
    pub(crate) path: Option<String>,
    pub(crate) browser: Option<&'static str>,
    pub(crate) country: Option<&'static str>,
    pub(crate) amount_cents: Option<i64>,
}

/// What the event of this identity is called: every other one is a probe.
pub(crate) fn event_id(identity: usize) -> String {
    let kind = ["event", "probe"][identity % 2];
    format!("{kind}-{identity}")
}

/// A copy of an event on the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) event: usize,
    pub(crate) arrived_ms: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    pub(crate) events: Vec<Event>,
    pub(crate) deliveries: Vec<Delivery>,
}

/// Minutes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) window: i64,
    pub(crate) slide: i64,
    pub(crate) lateness: i64,
    pub(crate) future: i64,
}

/// The first second of a slot's window, and the first after it.
pub(crate) fn window(rules: Rules, slot: i64) -> (i64, i64) {
    let end = (slot + 1) * rules.slide * 60;
    (end - rules.window * 60, end)
}

/// When an event's minute begins.
pub(crate) fn minute_ms(at_ms: i64) -> i64 {
    at_ms.div_euclid(MINUTE_MS) * MINUTE_MS
}

/// Whether a copy that came then is counted: before the lateness after its
/// minute's end is over, and not before the future that is allowed.
pub(crate) fn in_time(rules: Rules, at_ms: i64, arrived_ms: i64) -> bool {
    let minute = minute_ms(at_ms);
    arrived_ms < minute + (1 + rules.lateness) * MINUTE_MS
        && arrived_ms >= minute - rules.future * MINUTE_MS
}

/// What one slot's results must be.
pub(crate) struct Expected {
    /// By aggregator.
    pub(crate) results: [(&'static str, Value); 4],
    pub(crate) top_pages_in_order: Vec<(String, u64)>,
}

pub(crate) fn expected(traffic: &Traffic, rules: Rules, slot: i64) -> Expected {
    let (start_s, end_s) = window(rules, slot);
    // An event counts once, if any of its copies came in time.
    let identities: BTreeSet<usize> = traffic
        .deliveries
        .iter()
        .filter(|copy| in_time(rules, traffic.events[copy.event].at_ms, copy.arrived_ms))
        .map(|copy| copy.event)
        .collect();
    let (synthetic, events): (Vec<&Event>, Vec<&Event>) = identities
        .into_iter()
        .map(|event| &traffic.events[event])
        .filter(|event| (start_s * 1000..end_s * 1000).contains(&event.at_ms))
        .partition(|event| event.synthetic);
    let events: Vec<&Event> = events.into_iter().filter(|event| !event.bot).collect();
    let (page_view, top_pages_in_order) = page_view(&events, start_s, end_s);
    Expected {
        results: [
            ("page_view", page_view),
            ("conversion_funnel", conversion_funnel(&events)),
            ("revenue_per_country", revenue_per_country(&events)),
            ("probe", probe(&synthetic)),
        ],
        top_pages_in_order,
    }
}

fn page_view(events: &[&Event], start_s: i64, end_s: i64) -> (Value, Vec<(String, u64)>) {
    let views: Vec<&&Event> = events
        .iter()
        .filter(|event| event.event_type == "page_view")
        .collect();
    let mut pages: BTreeMap<&str, u64> = BTreeMap::new();
    let mut users: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let mut browsers: BTreeMap<&str, u64> = BTreeMap::new();
    for view in &views {
        let page = view.path.as_deref().unwrap_or("unknown");
        *pages.entry(page).or_default() += 1;
        users.entry(page).or_default().insert(view.user);
        *browsers
            .entry(view.browser.unwrap_or("unknown"))
            .or_default() += 1;
    }
    let mut top: Vec<(String, u64)> = pages.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect();
    // The map was in the order of names, and this keeps it among equals.
    top.sort_by_key(|(_, views)| std::cmp::Reverse(*views));
    top.truncate(10);
    let by_page: BTreeMap<&str, usize> = users.iter().map(|(page, u)| (*page, u.len())).collect();
    let result = json!({
        "total_page_views": views.len(),
        "unique_pages": pages.len(),
        "top_pages": top.iter().cloned().collect::<BTreeMap<String, u64>>(),
        "unique_users_by_page": by_page,
        "browser_distribution": browsers,
        "window_start": start_s,
        "window_end": end_s,
    });
    (result, top)
}

fn conversion_funnel(events: &[&Event]) -> Value {
    let is_product = |event: &Event| {
        event.event_type == "page_view"
            && event
                .path
                .as_ref()
                .is_some_and(|path| path.starts_with("/product"))
    };
    let of = |step: &str| -> Vec<&Event> {
        let in_step = |event: &Event| match step {
            "landing" => event.event_type == "page_view",
            "product_view" => is_product(event),
            _ => event.event_type == step,
        };
        events.iter().copied().filter(|e| in_step(e)).collect()
    };
    let users = |events: &[&Event]| -> BTreeSet<usize> { events.iter().map(|e| e.user).collect() };
    let steps = [
        "landing",
        "product_view",
        "add_to_cart",
        "checkout_start",
        "purchase",
    ];
    let in_funnel: BTreeSet<usize> = steps.iter().flat_map(|step| users(&of(step))).collect();
    let mut counts = Map::new();
    let mut rates = Map::new();
    for step in steps {
        let events = of(step);
        let count = if step == "landing" {
            let sessions: BTreeSet<usize> = events.iter().map(|event| event.session).collect();
            sessions.len()
        } else {
            events.len()
        };
        counts.insert(step.to_owned(), json!(count));
        if !in_funnel.is_empty() {
            let rate = users(&events).len() as f64 / in_funnel.len() as f64;
            rates.insert(format!("{step}_rate"), json!(rate));
        }
    }
    json!({
        "funnel_counts": counts,
        "conversion_rates": rates,
        "total_users_in_funnel": in_funnel.len(),
    })
}

fn probe(synthetic: &[&Event]) -> Value {
    let ids = synthetic.iter().map(|event| event.event_id.as_str());
    let probes: BTreeSet<&str> = ids.filter(|id| id.starts_with("probe-")).collect();
    let newest_first: Vec<&str> = probes.into_iter().rev().collect();
    json!({"events": synthetic.len(), "event_ids": newest_first})
}

fn revenue_per_country(events: &[&Event]) -> Value {
    let mut cents: BTreeMap<&str, i64> = BTreeMap::new();
    let mut purchases = 0;
    for event in events.iter().filter(|e| e.event_type == "purchase") {
        purchases += 1;
        *cents.entry(event.country.unwrap_or("unknown")).or_default() +=
            event.amount_cents.unwrap_or(0);
    }
    let units = |cents: i64| (cents * 10_000) as f64 / 1e6;
    let by_country: BTreeMap<&str, f64> = cents.iter().map(|(c, n)| (*c, units(*n))).collect();
    json!({
        "revenue_by_country": by_country,
        "total_revenue": units(cents.values().sum()),
        "purchases": purchases,
    })
}
