//! Tests of exact totals: what is counted, and how honest the bound is.

use super::*;
use crate::contribution::Contribution;
use crate::observation::{EventHash, SessionHash, UserHash};
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const WINDOW: Window = Window {
    start_s: 0,
    end_s: 300,
};

fn hash(n: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&n.to_le_bytes(), seed)
}

/// A table of events, each with its user and its session.
fn table(
    events: impl Iterator<Item = (u64, u64, u64)>,
    count: impl Fn(u64, &mut Contribution),
) -> Table {
    let mut table = Table::default();
    let mut contribution = Contribution::default();
    for (event, user, session) in events {
        contribution.clear();
        count(event, &mut contribution);
        let event = EventHash(hash(event, 1));
        let (user, session) = (UserHash(hash(user, 2)), SessionHash(hash(session, 3)));
        table.add(&contribution, event, user, session).unwrap();
    }
    table.seal();
    table
}

fn totals(tables: Vec<Table>) -> Totals {
    let panes: Vec<Summary> = tables.into_iter().map(Summary::Exact).collect();
    Totals::of(&panes.iter().collect::<Vec<_>>(), WINDOW)
}

/// Far below the truth is as wrong as above it.
fn assert_within(counted: u64, truth: u64, share: f64, what: &str) {
    let off = (truth as f64 - counted as f64).abs() / truth as f64;
    assert!(
        off <= share,
        "{what}: {counted} of {truth}, {off} off, said {share}"
    );
}

#[test]
fn users_and_sessions_count_once_in_a_window_and_events_in_each_pane() {
    let pane = |events: std::ops::Range<u64>| {
        table(events.map(|n| (n, n % 5, n % 3)), |n, to| {
            to.event("kind", if n % 2 == 0 { "even" } else { "odd" });
            to.session("kind", "even");
            to.user("seen", "all");
        })
    };
    let totals = totals(vec![pane(0..10), pane(10..20), Table::default()]);
    let counts = |events, users, sessions| Counts {
        events,
        users,
        sessions,
        amount_micros: 0,
    };
    assert_eq!(totals.users(), 5);
    assert_eq!(
        totals.values("kind"),
        [("even", counts(10, 5, 3)), ("odd", counts(10, 5, 0))]
    );
    // Of a row that counts an event elsewhere, too.
    assert_eq!(totals.get("seen", "all"), counts(0, 5, 0));
    assert_eq!(totals.events("kind"), 20);
    assert_eq!(totals.events("seen"), 0);
    assert_eq!(totals.distinct("kind"), 2);
    assert_eq!(totals.get("kind", "neither"), Counts::default());
    assert_eq!((totals.distinct("none"), totals.events("none")), (0, 0));
    assert!(totals.values("none").is_empty());
    assert!(totals.bound().is_exact());
    assert_eq!(totals.window(), WINDOW);
}

#[test]
fn rows_of_users_alone_are_no_events() {
    let only_users = table((0..100).map(|n| (n, n % 7, 0)), |_, to| {
        to.user("step", "landing");
    });
    assert_eq!(only_users.rows().len(), 7);
    let totals = totals(vec![only_users]);
    let landing = Counts {
        users: 7,
        ..Counts::default()
    };
    assert_eq!(totals.values("step"), [("landing", landing)]);
    assert_eq!(totals.users(), 7);
}

#[test]
fn amounts_beyond_all_money_saturate() {
    for (amount, sum) in [
        (f64::MAX, i64::MAX),
        (f64::MIN, i64::MIN),
        (f64::INFINITY, i64::MAX),
    ] {
        let pane = |from| {
            table((from..from + 3).map(|n| (n, n, n)), |_, to| {
                to.amount("all", "", amount);
            })
        };
        let totals = totals(vec![pane(0), pane(3)]);
        assert_eq!(totals.get("all", "").amount_micros, sum);
        assert_eq!(totals.get("all", "").events, 6);
    }
    let cancel = table((0..4).map(|n| (n, n, n)), |n, to| {
        to.amount("all", "", if n < 2 { f64::MAX } else { f64::MIN });
    });
    // Two of the largest and two of the smallest: what is left does not
    // depend on which come first.
    assert_eq!(totals(vec![cancel]).get("all", "").amount_micros, -2);
    let nan = table((0..1).map(|n| (n, n, n)), |_, to| {
        to.amount("all", "", f64::NAN);
    });
    assert_eq!(totals(vec![nan]).get("all", "").amount_micros, 0);
}

#[test]
fn many_events_of_one_user_alike_are_not_called_exact() {
    let alike = |events: u64| {
        table((0..events).map(|n| (n, 0, 0)), |_, to| {
            to.event("page", "/");
        })
    };
    // 200 × 199 / 2 pairs / 2^22 = 0.005 expected losses.
    assert!(totals(vec![alike(200)]).bound().is_exact());
    for events in [400, 4_000, 40_000, 400_000] {
        let totals = totals(vec![alike(events)]);
        let share = totals.bound().events.unwrap();
        assert!(share < 0.1, "{share}");
        assert_within(totals.events("page"), events, share, "events");
    }
}

/// A robot's page among many others': the bound holds for its count as well.
#[test]
fn the_bound_holds_for_each_value() {
    let robot = 20_000_u64;
    let others = 300_000;
    let pane = table(
        (0..robot + others).map(|n| (n, n.saturating_sub(robot), 0)),
        |n, to| to.event("page", if n < robot { "/robots" } else { "/" }),
    );
    let totals = totals(vec![pane]);
    let share = totals.bound().events.unwrap();
    assert_within(
        totals.get("page", "/robots").events,
        robot,
        share,
        "the robot's page",
    );
    assert_within(totals.get("page", "/").events, others, share, "the others'");
    assert_within(totals.events("page"), robot + others, share, "all");
    assert!(
        totals.get("page", "/robots").events < robot,
        "the test has losses"
    );
}

#[test]
fn many_users_are_not_called_exact_and_the_bound_is_small() {
    let users = 400_000;
    for sessions in [false, true] {
        let pane = table((0..users).map(|n| (n, n, n)), |_, to| {
            to.event("page", "/");
            if sessions {
                to.session("page", "/");
            }
        });
        let totals = totals(vec![pane]);
        let share = totals.bound().users.unwrap();
        assert!(share < 0.001, "{share}");
        assert_within(totals.users(), users, share, "users");
        assert_within(
            totals.get("page", "/").users,
            users,
            share,
            "users of the page",
        );
        if sessions {
            assert_within(totals.get("page", "/").sessions, users, share, "sessions");
        }
    }
    let few = table((0..100_000).map(|n| (n, n, n)), |_, to| {
        to.event("page", "/");
    });
    assert!(totals(vec![few]).bound().is_exact());
}

/// Tables whose cells were numbered in another order say the same.
#[test]
fn the_order_of_cells_does_not_matter() {
    let count = |n: u64, to: &mut Contribution| {
        to.event("page", &format!("/{}", n % 300));
        to.session("page", &format!("/{}", n % 300));
    };
    let rows = |n: u64| (n, n % 50, n % 80);
    let mut upwards = table((0..2000).map(rows), count);
    let mut downwards = table((0..2000).rev().map(rows), count);
    let halves = [
        table((1000..2000).map(rows), count),
        table((0..1100).rev().map(rows), count),
    ];
    let mut united = Table::default();
    for half in &halves {
        // Through bytes, where cells are numbered by their use.
        united
            .unite(&Table::decode(&half.clone().encode()).unwrap())
            .unwrap();
    }
    united.seal();
    let bytes = upwards.encode();
    assert!(bytes == downwards.encode());
    assert!(bytes == united.encode());
    let of = |table| {
        let totals = totals(vec![table]);
        totals
            .values("page")
            .into_iter()
            .map(|(v, c)| (v.to_owned(), c))
            .collect::<Vec<_>>()
    };
    let pages = of(upwards);
    assert_eq!(pages.len(), 300);
    assert_eq!(pages, of(united));
    let distinct: HashSet<&String> = pages.iter().map(|(page, _)| page).collect();
    assert_eq!(distinct.len(), 300);
}
