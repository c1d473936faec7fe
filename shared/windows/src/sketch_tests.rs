//! Tests of estimates: everything that is printed is within what is said.

use super::*;
use crate::aggregator::Aggregator;
use crate::aggregators::Registry;
use crate::contribution::Contribution;
use crate::observation::{Details, EventHash, Observation, SessionHash, UserHash};
use crate::summary::Summary;
use crate::totals::Totals;
use crate::windowing::Window;
use freshet_events::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const WINDOW: Window = Window {
    start_s: 0,
    end_s: 300,
};
/// So little that a few ten thousand events outgrow it.
const BUDGET_BYTES: usize = 500_000;
/// Requirement F4.
const ONE_IN_A_THOUSAND: f64 = 0.001;

fn hash(n: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&n.to_le_bytes(), seed)
}

/// From 0 to 1, without structure.
fn uniform(n: u64, seed: u64) -> f64 {
    (hash(n, seed) >> 11) as f64 / (1_u64 << 53) as f64
}

fn off(counted: u64, truth: u64) -> f64 {
    (truth as f64 - counted as f64).abs() / truth.max(1) as f64
}

fn assert_within(counted: u64, truth: u64, share: f64, what: &str) {
    let off = off(counted, truth);
    assert!(
        off <= share,
        "{what}: {counted} of {truth}, {off} off, allowed {share}"
    );
}

/// A visit of a shop: few pages are looked at often.
#[derive(Clone, Copy)]
struct Visit {
    user: u64,
    page: u64,
    browser: usize,
    kind: usize,
}

const EVENTS: u64 = 1_000_000;
const TABLES: u64 = 25;
const BROWSERS: [&str; 4] = ["Chrome", "Firefox", "Mobile Safari", "Edge"];
const KINDS: [&str; 4] = ["page_view", "add_to_cart", "checkout_start", "purchase"];

impl Visit {
    fn of(n: u64) -> Self {
        let user = hash(n, 10) % 250_000;
        let page = 200_f64.powf(uniform(n, 11)) as u64;
        let browser = (hash(user, 12) % 4) as usize;
        let kind = [0, 0, 0, 0, 0, 0, 0, 1, 2, 3][(hash(n, 13) % 10) as usize];
        Self {
            user,
            page,
            browser,
            kind,
        }
    }

    /// A user has two sessions.
    fn session(n: u64, user: u64) -> u64 {
        user * 2 + hash(n, 14) % 2
    }
}

struct Unknown;

impl Details for Unknown {
    fn country(&self) -> Option<String> {
        None
    }

    fn amount(&self) -> Option<f64> {
        None
    }
}

fn observe(n: u64, path: String, event_type: &'static str, visit: Visit) -> Observation<'static> {
    Observation {
        id: EventHash(hash(n, 1)),
        event_id: "",
        synthetic: false,
        bot: false,
        user: UserHash(hash(visit.user, 2)),
        session: SessionHash(hash(Visit::session(n, visit.user), 3)),
        at: Timestamp::from_millis(0).unwrap(),
        event_type,
        path: Cow::Owned(path),
        browser: BROWSERS[visit.browser],
        details: &Unknown,
    }
}

/// Tables of one aggregator: each event is in its table, and one of ten in
/// another as well.
fn tables(
    aggregator: &dyn Aggregator,
    events: u64,
    observe: impl Fn(u64) -> Observation<'static>,
) -> Vec<Table> {
    let mut contribution = Contribution::default();
    let mut tables = vec![Table::default(); TABLES as usize];
    for n in 0..events {
        let event = observe(n);
        contribution.clear();
        aggregator.count(&event, &mut contribution).unwrap();
        let mut add = |table: u64| {
            let table = &mut tables[(table % TABLES) as usize];
            table
                .add(&contribution, event.id, event.user, event.session)
                .unwrap();
        };
        add(hash(n, 20));
        if n % 10 == 0 {
            add(hash(n, 20) % TABLES + 7);
        }
    }
    for table in &mut tables {
        table.seal();
    }
    tables
}

fn summary(tables: &[Table]) -> Summary {
    let mut summary = Summary::default();
    for group in tables.chunks(4) {
        summary.unite(group, BUDGET_BYTES);
    }
    assert!(summary.exact().is_none(), "the test outgrows its budget");
    summary
}

fn totals_of(tables: &[Table]) -> Totals {
    Totals::of(&[&summary(tables)], WINDOW)
}

fn result(aggregator: &dyn Aggregator, totals: &Totals) -> Value {
    serde_json::from_str(aggregator.result(totals).unwrap().get()).unwrap()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn shop_event(n: u64) -> Observation<'static> {
    let visit = Visit::of(n);
    observe(
        n,
        format!("/product/{}", visit.page),
        KINDS[visit.kind],
        visit,
    )
}

/// The truth about the million visits, in plain sets.
#[derive(Default)]
struct Truth {
    views: u64,
    views_by_page: BTreeMap<String, u64>,
    users_by_page: BTreeMap<String, HashSet<u64>>,
    viewers: HashSet<u64>,
    views_by_browser: BTreeMap<String, u64>,
    landings: HashSet<u64>,
    steps: BTreeMap<&'static str, u64>,
    users_by_step: BTreeMap<&'static str, HashSet<u64>>,
    users: HashSet<u64>,
}

static TRUTH: LazyLock<Truth> = LazyLock::new(|| {
    let mut truth = Truth::default();
    for n in 0..EVENTS {
        let visit = Visit::of(n);
        let kind = KINDS[visit.kind];
        truth.users.insert(visit.user);
        truth
            .users_by_step
            .entry(kind)
            .or_default()
            .insert(visit.user);
        *truth.steps.entry(kind).or_default() += 1;
        if kind == "page_view" {
            let page = format!("/product/{}", visit.page);
            truth.views += 1;
            truth.viewers.insert(visit.user);
            truth.landings.insert(Visit::session(n, visit.user));
            *truth.views_by_page.entry(page.clone()).or_default() += 1;
            truth
                .users_by_page
                .entry(page)
                .or_default()
                .insert(visit.user);
            let browser = BROWSERS[visit.browser].to_owned();
            *truth.views_by_browser.entry(browser).or_default() += 1;
        }
    }
    truth
});

#[test]
fn page_views_of_a_million_events_are_within_the_bound() {
    let truth = &*TRUTH;
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let totals = totals_of(&tables(page_view.as_ref(), EVENTS, shop_event));
    let bound = totals.bound();
    assert!(!bound.is_exact());
    assert!(bound.left_out.is_empty(), "every page is listed");
    let (events, users) = (bound.events.unwrap(), bound.users.unwrap());
    // Also in spite of 100,000 copies.
    assert!(events < ONE_IN_A_THOUSAND, "{events}");
    assert!(users < 0.06, "{users}");

    let result = result(page_view.as_ref(), &totals);
    assert_within(
        count(&result["total_page_views"]),
        truth.views,
        events,
        "views",
    );
    assert_eq!(
        count(&result["unique_pages"]),
        truth.views_by_page.len() as u64
    );
    let top = result["top_pages"].as_object().unwrap();
    assert_eq!(top.len(), 10);
    for (page, views) in top {
        assert_within(count(views), truth.views_by_page[page], events, page);
    }
    let by_page = result["unique_users_by_page"].as_object().unwrap();
    assert_eq!(by_page.len(), truth.users_by_page.len());
    for (page, n) in by_page {
        assert_within(
            count(n),
            truth.users_by_page[page].len() as u64,
            users,
            page,
        );
    }
    for (browser, views) in result["browser_distribution"].as_object().unwrap() {
        assert_within(
            count(views),
            truth.views_by_browser[browser],
            events,
            browser,
        );
    }
    assert_within(totals.users(), truth.viewers.len() as u64, users, "viewers");
    for (page, n) in totals.values("page") {
        assert_within(n.events, truth.views_by_page[page], events, page);
    }
}

#[test]
fn the_funnel_of_a_million_events_is_within_the_bound() {
    let truth = &*TRUTH;
    let registry = Registry::builtin();
    let funnel = registry.get("conversion_funnel").unwrap();
    let totals = totals_of(&tables(funnel.as_ref(), EVENTS, shop_event));
    let bound = totals.bound();
    assert!(!bound.is_exact());
    let (events, users) = (bound.events.unwrap(), bound.users.unwrap());
    assert!(events < ONE_IN_A_THOUSAND, "{events}");
    assert!(users < 0.06, "{users}");

    let result = result(funnel.as_ref(), &totals);
    let counts = &result["funnel_counts"];
    let in_funnel = count(&result["total_users_in_funnel"]);
    assert_within(in_funnel, truth.users.len() as u64, users, "users");
    assert_within(
        count(&counts["landing"]),
        truth.landings.len() as u64,
        users,
        "landing",
    );
    // Every page is a product's.
    for (step, kind) in [
        ("product_view", "page_view"),
        ("add_to_cart", "add_to_cart"),
        ("checkout_start", "checkout_start"),
        ("purchase", "purchase"),
    ] {
        assert_within(count(&counts[step]), truth.steps[kind], events, step);
        let rate = result["conversion_rates"][format!("{step}_rate")]
            .as_f64()
            .unwrap();
        let in_step = truth.users_by_step[kind].len() as f64 / truth.users.len() as f64;
        // One estimate by another.
        assert!(
            (rate / in_step - 1.0).abs() < 2.0 * users,
            "{step}: {rate} {in_step}"
        );
        assert!(rate <= 1.0, "{step}: {rate}");
    }
}

/// What does not fit is estimated; what does, exact; and both add up.
#[test]
fn one_estimated_pane_among_exact_ones() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let events = 200_000;
    let mut panes = vec![summary(&tables(page_view.as_ref(), events, shop_event))];
    let exact_each = 500;
    for pane in 0..4 {
        let from = events + pane * exact_each;
        let mut summary = Summary::default();
        let few = tables(page_view.as_ref(), exact_each, |n| shop_event(from + n));
        summary.unite(&few, BUDGET_BYTES);
        assert!(summary.exact().is_some());
        panes.insert(pane as usize, summary);
    }
    let mut views: BTreeMap<String, u64> = BTreeMap::new();
    let mut users = HashSet::new();
    let all = events + 4 * exact_each;
    for visit in (0..all).map(Visit::of).filter(|visit| visit.kind == 0) {
        *views.entry(format!("/product/{}", visit.page)).or_default() += 1;
        users.insert(visit.user);
    }
    let totals = Totals::of(&panes.iter().collect::<Vec<_>>(), WINDOW);
    let bound = totals.bound();
    assert!(!bound.is_exact());
    let (events, users_off) = (bound.events.unwrap(), bound.users.unwrap());
    assert_within(totals.events("page"), views.values().sum(), events, "views");
    assert_within(totals.users(), users.len() as u64, users_off, "users");
    assert_eq!(totals.distinct("page"), views.len() as u64);
    for (page, n) in totals.values("page") {
        assert_within(
            n.events,
            views[page],
            events.max(0.5 / views[page] as f64),
            page,
        );
    }
}

/// 300,000 views: half of them of 20 pages, the others of 50,000.
fn crawled(n: u64) -> (bool, String, Visit) {
    let visit = Visit {
        kind: 0,
        ..Visit::of(n)
    };
    let is_hot = n.is_multiple_of(2);
    let page = if is_hot {
        format!("/hot/{}", hash(n, 30) % 20)
    } else {
        format!("/random/{}", hash(n, 30) % 50_000)
    };
    (is_hot, page, visit)
}

#[test]
fn more_values_than_are_listed() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let events = 300_000;
    let crawled_event = |n| {
        let (_, page, visit) = crawled(n);
        observe(n, page, "page_view", visit)
    };
    let totals = totals_of(&tables(page_view.as_ref(), events, crawled_event));
    let mut views: BTreeMap<String, u64> = BTreeMap::new();
    for (_, page, _) in (0..events).map(crawled) {
        *views.entry(page).or_default() += 1;
    }
    let bound = totals.bound();
    let left_out = bound.left_out["page"];
    assert!(!bound.left_out.contains_key("browser"));
    assert!(left_out < 300, "says little: {left_out}");
    let result = result(page_view.as_ref(), &totals);

    assert_within(
        count(&result["total_page_views"]),
        events,
        ONE_IN_A_THOUSAND,
        "views",
    );
    assert_within(
        count(&result["unique_pages"]),
        views.len() as u64,
        bound.users.unwrap(),
        "pages",
    );
    let top = result["top_pages"].as_object().unwrap();
    for (page, n) in top {
        assert!(page.starts_with("/hot/"), "{page}");
        // Always listed, so nothing of them was left out.
        assert_within(count(n), views[page], ONE_IN_A_THOUSAND, page);
    }
    let listed = totals.values("page");
    assert!((1000..=2000).contains(&listed.len()), "{}", listed.len());
    assert_eq!(
        listed
            .iter()
            .filter(|(page, _)| page.starts_with("/hot/"))
            .count(),
        20
    );
    for (page, n) in &listed {
        assert!(n.events <= views[*page], "{page}: too many");
        let share = (bound.events.unwrap() * views[*page] as f64).ceil() as u64;
        assert!(
            n.events + left_out + share >= views[*page],
            "{page}: too few"
        );
    }
    let listed: HashSet<&str> = listed.iter().map(|(page, _)| *page).collect();
    for (page, views) in &views {
        assert!(
            listed.contains(page.as_str()) || *views <= left_out,
            "{page}: {views}"
        );
    }
}

/// A robot that looks at a page of its own each time: one user, one count of
/// what is not listed.
#[test]
fn one_user_of_many_values() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let events = 200_000;
    let robot = |n| {
        let visit = Visit {
            user: 7,
            page: 0,
            browser: 0,
            kind: 0,
        };
        observe(n, format!("/search/{n}"), "page_view", visit)
    };
    let totals = totals_of(&tables(page_view.as_ref(), events, robot));
    let bound = totals.bound();
    let share = bound.events.unwrap().max(ONE_IN_A_THOUSAND);
    assert_within(totals.events("page"), events, share, "views");
    assert_eq!(totals.users(), 1);
    // They are estimated though there is one user, and it is said how well.
    assert_within(
        totals.distinct("page"),
        events,
        bound.users.unwrap(),
        "pages",
    );
}

/// A robot that looks at one page again and again.
#[test]
fn one_user_of_one_value() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let events = 200_000;
    let robot = |n| {
        let visit = Visit {
            user: 7,
            page: 0,
            browser: 0,
            kind: 0,
        };
        observe(n, "/".to_owned(), "page_view", visit)
    };
    let totals = totals_of(&tables(page_view.as_ref(), events, robot));
    let bound = totals.bound();
    assert_within(
        totals.events("page"),
        events,
        bound.events.unwrap(),
        "views",
    );
    assert!(bound.events.unwrap() < 0.2);
}

#[test]
fn amounts_add_up() {
    let mut contribution = Contribution::default();
    let mut tables = vec![Table::default(); 10];
    let events = 100_000;
    let mut micros = BTreeMap::from([("a", 0), ("b", 0)]);
    for n in 0..events {
        let country = if n % 3 == 0 { "a" } else { "b" };
        let cents = (hash(n, 40) % 100_000) as i64;
        *micros.get_mut(country).unwrap() += cents * 10_000;
        contribution.clear();
        contribution.amount("country", country, cents as f64 / 100.0);
        for copy in 0..=u64::from(n % 10 == 0) {
            let table = &mut tables[((n + copy) % 10) as usize];
            let user = UserHash(hash(n % 30_000, 2));
            table
                .add(&contribution, EventHash(hash(n, 1)), user, SessionHash(0))
                .unwrap();
        }
    }
    for table in &mut tables {
        table.seal();
    }
    let totals = totals_of(&tables);
    for (country, micros) in micros {
        let counted = totals.get("country", country);
        let off = (counted.amount_micros - micros).unsigned_abs() as f64 / micros as f64;
        assert!(off < ONE_IN_A_THOUSAND, "{country}: {off}");
        let truth = events.div_ceil(3) * u64::from(country == "a")
            + (events - events.div_ceil(3)) * u64::from(country == "b");
        assert_within(counted.events, truth, ONE_IN_A_THOUSAND, country);
    }
}

#[test]
fn amounts_beyond_all_money_saturate() {
    let mut table = Table::default();
    let mut contribution = Contribution::default();
    for n in 0..10 {
        contribution.clear();
        contribution.amount("country", "a", f64::MAX);
        let (event, user) = (EventHash(hash(n, 1)), UserHash(hash(n, 2)));
        table
            .add(&contribution, event, user, SessionHash(0))
            .unwrap();
    }
    table.seal();
    let mut summary = Summary::default();
    summary.unite(&[table], 10);
    let totals = Totals::of(&[&summary, &summary], WINDOW);
    assert_eq!(totals.get("country", "a").amount_micros, i64::MAX);
}

/// The estimates may differ; that they are within the bound may not.
#[test]
fn the_order_of_merges_does_not_matter_much() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let events = 60_000;
    let crawled_event = |n| {
        let (_, page, visit) = crawled(n);
        observe(n, page, "page_view", visit)
    };
    let mut tables = tables(page_view.as_ref(), events, crawled_event);
    let mut views: BTreeMap<String, u64> = BTreeMap::new();
    let mut users = HashSet::new();
    for (_, page, visit) in (0..events).map(crawled) {
        *views.entry(page).or_default() += 1;
        users.insert(visit.user);
    }
    for order in 0..4 {
        match order {
            1 => tables.reverse(),
            2 => tables.rotate_left(9),
            3 => tables.swap(0, 20),
            _ => {}
        }
        let totals = totals_of(&tables);
        let bound = totals.bound();
        let off = bound.users.unwrap();
        assert_within(
            totals.events("page"),
            events,
            2.0 * ONE_IN_A_THOUSAND,
            "views",
        );
        assert_within(totals.users(), users.len() as u64, off, "users");
        assert_within(totals.distinct("page"), views.len() as u64, off, "pages");
        for (page, n) in totals.values("page").iter().take(20) {
            assert!(page.starts_with("/hot/"), "{page}");
            assert_within(n.events, views[*page], ONE_IN_A_THOUSAND, page);
        }
    }
}

/// As long as the set of all tables fits, it is exact, however often its
/// parts are repeated.
#[test]
fn repetitions_do_not_use_up_the_budget() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let table = tables(page_view.as_ref(), 20_000, shop_event).swap_remove(0);
    let budget = table.memory_bytes() * 3 / 2;
    let mut summary = Summary::default();
    for _ in 0..5 {
        summary.unite(&vec![table.clone(); 5], budget);
    }
    let mut exact = summary.exact().expect("it fits").clone();
    assert!(exact.encode() == table.clone().encode());
}

/// Everybody is in the step, and two estimates of everybody differ.
#[test]
fn no_more_users_reach_a_step_than_there_are() {
    let registry = Registry::builtin();
    let funnel = registry.get("conversion_funnel").unwrap();
    let mut too_many = 0;
    for population in 0..6 {
        let all_buy = |n| {
            let visit = Visit {
                user: population * 1_000_000 + n,
                page: 0,
                browser: 0,
                kind: 3,
            };
            observe(n, "/".to_owned(), "purchase", visit)
        };
        let totals = totals_of(&tables(funnel.as_ref(), 50_000, all_buy));
        too_many += u64::from(totals.get("step", "purchase").users > totals.users());
        let result = result(funnel.as_ref(), &totals);
        let rate = result["conversion_rates"]["purchase_rate"]
            .as_f64()
            .unwrap();
        assert!((0.9..=1.0).contains(&rate), "{rate}");
    }
    assert!(too_many > 0, "the test has such populations");
}

/// Batches that were delivered again, with more values than are listed: an
/// event that was seen while its value was not listed is still one.
#[test]
fn everything_twice_with_more_values_than_are_listed() {
    let registry = Registry::builtin();
    let page_view = registry.get("page_view").unwrap();
    let events = 200_000;
    let crawled_event = |n| {
        let (_, page, visit) = crawled(n);
        observe(n, page, "page_view", visit)
    };
    let mut twice = tables(page_view.as_ref(), events, crawled_event);
    twice.extend(twice.clone());
    let totals = totals_of(&twice);
    assert!(totals.bound().left_out["page"] > 0);
    for dimension in ["page", "browser"] {
        assert_within(
            totals.events(dimension),
            events,
            ONE_IN_A_THOUSAND,
            dimension,
        );
    }
}
