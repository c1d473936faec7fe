//! Results agree exactly with an oracle, whatever happens to events between
//! the client and the store: copies, disorder, clock skew, batches, attempts
//! that are given up, windows that end early, resharding, merges in any order.

// What fails in a test's own machinery fails the test.
#![allow(clippy::unwrap_used)]

#[path = "oracle/definition.rs"]
mod definition;
#[path = "../examples/revenue_per_country.rs"]
mod example;
#[path = "oracle/lambda.rs"]
mod lambda;

use definition::{Delivery, Event, Rules, Traffic, event_id, expected, minute_ms};
use freshet_windows::{Aggregator, Observation, Pane, Piece, Registry, Table, Windowing};
use lambda::{Course, Invocation, event_hash, merge, pieces, result};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// 2026-11-23T10:00:00Z.
const BASE_MS: i64 = 1_795_428_000_000;
const MOST_EVENTS: usize = 120;
const SPAN_MS: i64 = 9 * 60_000;

fn registry() -> Registry {
    let builtin = Registry::builtin();
    let revenue = Arc::new(example::RevenuePerCountry) as Arc<dyn Aggregator>;
    Registry::new(builtin.iter().cloned().chain([revenue]))
}

fn windowing(rules: Rules) -> Windowing {
    Windowing {
        window_minutes: rules.window,
        slide_minutes: rules.slide,
        lateness_minutes: rules.lateness,
        future_minutes: rules.future,
    }
}

/// When a copy reaches the stream.
#[derive(Clone, Debug)]
enum Arrival {
    /// So long after the event by its client's clock, which may be fast.
    After(i64),
    /// So long after the last moment at which it is waited for.
    AfterLateness(i64),
    /// So long after the first moment at which it is taken.
    AfterFuture(i64),
}

fn arrival() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        6 => (0_i64..20_000).prop_map(Arrival::After),
        4 => (-120_000_i64..180_000).prop_map(Arrival::After),
        2 => (0_i64..900_000).prop_map(Arrival::After),
        1 => (-800_000_i64..0).prop_map(Arrival::After),
        1 => (-1_i64..=1).prop_map(Arrival::AfterLateness),
        1 => (-1_i64..=1).prop_map(Arrival::AfterFuture),
    ]
}

fn path() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        6 => (0..4).prop_map(|n| Some(format!("/product/{n}"))),
        4 => (0..14).prop_map(|n| Some(format!("/page/{n}"))),
        1 => select(vec!["/", "/products", "/productivity", "/Product/1", "unknown", "", "/shop/product"])
            .prop_map(|path| Some(path.to_owned())),
    ]
}

fn event() -> impl Strategy<Value = (Event, Vec<Arrival>)> {
    let event_type = prop_oneof![
        6 => Just("page_view"),
        2 => Just("add_to_cart"),
        1 => Just("checkout_start"),
        2 => Just("purchase"),
        1 => select(vec!["click", "landing", "product_view", ""]),
    ];
    let browser = select(vec![None, Some("Chrome"), Some("Firefox"), Some("Edge")]);
    let country = select(vec![None, Some("Japan"), Some("Portugal"), Some("Chile")]);
    let amount = option::of(-500_i64..100_000);
    // Sessions are not tied to users: one may have several users, and a user's several shards.
    (
        (prop::bool::weighted(0.15), prop::bool::weighted(0.1)),
        0_usize..12,
        0_usize..15,
        0..SPAN_MS,
        event_type,
        path(),
        browser,
        country,
        amount,
    )
        .prop_map(
            |(
                (synthetic, bot),
                user,
                session,
                at,
                event_type,
                path,
                browser,
                country,
                amount_cents,
            )| {
                Event {
                    // Its place is known later.
                    event_id: String::new(),
                    synthetic,
                    bot,
                    user,
                    session,
                    at_ms: BASE_MS + at,
                    event_type,
                    path,
                    browser,
                    country,
                    amount_cents,
                }
            },
        )
        .prop_flat_map(|event| (Just(event), vec(arrival(), 1..4)))
}

fn traffic(rules: Rules) -> impl Strategy<Value = Traffic> {
    vec(event(), 0..MOST_EVENTS).prop_map(move |events| {
        let mut traffic = Traffic {
            events: Vec::new(),
            deliveries: Vec::new(),
        };
        for (mut event, arrivals) in events {
            let minute = minute_ms(event.at_ms);
            for arrival in arrivals {
                let arrived_ms = match arrival {
                    Arrival::After(ms) => event.at_ms + ms,
                    Arrival::AfterLateness(ms) => minute + (1 + rules.lateness) * 60_000 + ms,
                    Arrival::AfterFuture(ms) => minute - rules.future * 60_000 + ms,
                };
                traffic.deliveries.push(Delivery {
                    event: traffic.events.len(),
                    arrived_ms,
                });
            }
            event.event_id = event_id(traffic.events.len());
            traffic.events.push(event);
        }
        traffic
    })
}

fn invocation() -> impl Strategy<Value = Invocation> {
    (
        1_usize..12,
        any::<bool>(),
        prop::bool::weighted(0.2),
        vec(1_usize..15, 0..3),
    )
        .prop_map(|(records, publishes, ends_chain, given_up)| Invocation {
            records,
            publishes,
            ends_chain,
            given_up,
        })
}

fn course() -> impl Strategy<Value = Course> {
    (
        1_usize..=12,
        option::of(BASE_MS..BASE_MS + SPAN_MS),
        vec(invocation(), 1..8),
        vec(any::<Index>(), 1..10),
        vec(1_usize..6, 1..5),
    )
        .prop_map(
            |(shards, reshard_at_ms, invocations, merge_order, merge_groups)| Course {
                shards,
                reshard_at_ms,
                invocations,
                merge_order,
                merge_groups,
            },
        )
}

fn rules() -> impl Strategy<Value = Rules> {
    prop_oneof![
        3 => Just((5, 1, 10, 10)),
        1 => select(vec![(1, 1, 10, 10), (6, 2, 3, 1), (10, 5, 0, 0), (4, 4, 1, 10)]),
    ]
    .prop_map(|(window, slide, lateness, future)| Rules {
        window,
        slide,
        lateness,
        future,
    })
}

/// A map in the order of its text.
#[derive(Debug, PartialEq)]
struct InOrder(Vec<(String, u64)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = InOrder;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of counts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<InOrder, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(InOrder(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[derive(Deserialize)]
struct TopPages {
    top_pages: InOrder,
}

/// Every slot that an event touches, counted or not, and one on either side.
fn slots(traffic: &Traffic, windowing: Windowing) -> BTreeSet<i64> {
    let minutes = traffic.events.iter().map(|e| e.at_ms.div_euclid(60_000));
    let touched = minutes.map(|minute| windowing.slots(Pane(minute)));
    touched
        .flat_map(|slots| slots.start() - 1..=slots.end() + 1)
        .collect()
}

fn case() -> impl Strategy<Value = (Rules, Traffic, Course)> {
    rules().prop_flat_map(|rules| (Just(rules), traffic(rules), course()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn results_are_those_of_the_oracle((rules, traffic, course) in case()) {
        let (registry, windowing) = (registry(), windowing(rules));
        let summaries = merge(pieces(&registry, windowing, &traffic, &course), &course);
        for slot in slots(&traffic, windowing) {
            let expected = expected(&traffic, rules, slot);
            let result = |name| result(&registry, windowing, &summaries, name, slot);
            for (name, expected) in expected.results {
                // Both through text: serde_json reads a number's last digit as it likes.
                let expected: Value = serde_json::from_str(&expected.to_string()).unwrap();
                let result: Value = serde_json::from_str(&result(name)).unwrap();
                prop_assert_eq!(result, expected, "{} of slot {}", name, slot);
            }
            let top: TopPages = serde_json::from_str(&result("page_view")).unwrap();
            prop_assert_eq!(top.top_pages.0, expected.top_pages_in_order, "slot {}", slot);
        }
    }

    #[test]
    fn the_same_events_have_the_same_bytes_whatever_their_course(
        (rules, traffic, course) in case(), other in course()
    ) {
        let (registry, windowing) = (registry(), windowing(rules));
        let united = |course: &Course| {
            let mut united: BTreeMap<(String, Pane), Table> = BTreeMap::new();
            for piece in pieces(&registry, windowing, &traffic, course) {
                for (aggregator, pane, table) in Piece::decode(&piece).unwrap().tables {
                    united.entry((aggregator, pane)).or_default().unite(&table).unwrap();
                }
            }
            united.into_iter().map(|(key, mut table)| (key, table.encode())).collect::<BTreeMap<_, _>>()
        };
        prop_assert!(united(&course) == united(&other));
    }
}

/// Tables tell a user's events apart by 22 bits. That they are enough is
/// bounded elsewhere; here no two of the events may be alike.
#[test]
fn the_tests_events_differ_in_the_bits_that_are_kept() {
    let kept: HashSet<u64> = (0..MOST_EVENTS).map(|n| event_hash(n).0 >> 42).collect();
    assert_eq!(kept.len(), MOST_EVENTS);
}

/// One identity is one event, whatever else its copies say; sessions and
/// events of two sources are never one, users are.
#[test]
fn source_and_id_name_an_event() {
    let hashes = |source: &str, id: &str, session: &str, page: &str| {
        let wire = serde_json::json!({
            "event_id": id, "source": source, "user_id": "u", "session_id": session, "event_type": "page_view",
            "page_url": page, "timestamp": BASE_MS, "received_at": BASE_MS, "metadata": {},
        });
        let wire = wire.to_string();
        Observation::hashes(&freshet_events::Event::from_wire(&wire).unwrap())
    };
    let (event, user, session) = hashes("shop", "e", "s", "https://a.example/");
    assert_eq!(
        hashes("shop", "e", "s", "https://a.example/other"),
        (event, user, session)
    );
    for (source, id, of_session) in [("app", "e", "s"), ("sho", "pe", "ps"), ("shop", "f", "t")] {
        let other = hashes(source, id, of_session, "https://a.example/");
        assert_ne!(other.0, event, "{source} {id}");
        assert_ne!(other.2, session, "{source} {of_session}");
        assert_eq!(other.1, user);
    }
}

/// Sessions that are derived are one for each user of a source, and none that
/// is given, whatever it is called.
#[test]
fn a_derived_session_is_named_by_source_and_user() {
    let session = |source: &str, user: &str, given: Option<&str>| {
        let mut wire = serde_json::json!({
            "event_id": "e", "source": source, "user_id": user, "event_type": "page_view",
            "timestamp": BASE_MS, "received_at": BASE_MS, "metadata": {},
        });
        if let Some(given) = given {
            wire["session_id"] = given.into();
        }
        let wire = wire.to_string();
        Observation::hashes(&freshet_events::Event::from_wire(&wire).unwrap()).2
    };
    let derived = session("shop", "u", None);
    assert_eq!(session("shop", "u", None), derived);
    for (source, user, given) in [
        ("shop", "u", Some("u")),
        ("shop", "other", None),
        ("app", "u", None),
        ("sho", "pu", None),
        ("shop", "other", Some("u")),
    ] {
        assert_ne!(
            session(source, user, given),
            derived,
            "{source} {user} {given:?}"
        );
    }
    // Given ids do not depend on the user.
    assert_eq!(
        session("shop", "u", Some("s")),
        session("shop", "v", Some("s"))
    );
}
