//! Tests of counting: failing aggregators, carried state, what it may take.

use super::*;
use crate::aggregator::{Aggregator, AggregatorError};
use crate::observation::{Details, EventHash, SessionHash, UserHash};
use crate::totals::Totals;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const PANE: i64 = 30_000_000;

fn hash(n: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&n.to_le_bytes(), seed)
}

fn at(pane: i64) -> Timestamp {
    Timestamp::from_millis(pane * 60_000 + 30_000).unwrap()
}

impl Details for f64 {
    fn country(&self) -> Option<String> {
        None
    }

    fn amount(&self) -> Option<f64> {
        Some(*self)
    }
}

/// Event `n` of a user of its own, in a pane.
fn event(n: u64, pane: i64, amount: &f64) -> Observation<'_> {
    Observation {
        id: EventHash(hash(n, 1)),
        event_id: "probe-1",
        synthetic: false,
        bot: false,
        user: UserHash(hash(n, 2)),
        session: SessionHash(hash(n / 4, 3)),
        at: at(pane),
        event_type: "page_view",
        path: Cow::Owned(format!("/{}", n % 7)),
        browser: "Firefox",
        details: amount,
    }
}

/// Counts events by what it is told to do with the others.
struct Counts {
    name: &'static str,
    of_every_third: fn() -> Result<(), AggregatorError>,
}

impl Aggregator for Counts {
    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        "Tests"
    }

    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        to.event("path", &event.path);
        to.session("path", &event.path);
        if event.id.0.is_multiple_of(3) {
            to.amount("path", "/half-way", 5.0);
            (self.of_every_third)()?;
        }
        Ok(())
    }

    fn result(&self, _totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        Err(AggregatorError("not asked for".to_owned()))
    }
}

/// Counts every event and its amount.
struct Sums(&'static str);

impl Aggregator for Sums {
    fn name(&self) -> &'static str {
        self.0
    }

    fn description(&self) -> &'static str {
        "Tests"
    }

    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        to.amount("all", "", event.details.amount().unwrap_or(0.0));
        Ok(())
    }

    fn result(&self, _totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        Err(AggregatorError("not asked for".to_owned()))
    }
}

fn registry(aggregators: Vec<Arc<dyn Aggregator>>) -> Registry {
    Registry::new(aggregators)
}

fn sums(name: &'static str) -> Arc<dyn Aggregator> {
    Arc::new(Sums(name))
}

/// The bytes of a piece's tables of one aggregator.
fn bytes_of(piece: &mut Piece, name: &str) -> Vec<(Pane, Vec<u8>)> {
    let of = piece.tables.iter_mut().filter(|(of, _, _)| of == name);
    of.map(|(_, pane, table)| (*pane, table.encode())).collect()
}

fn count(registry: &Registry, events: impl Iterator<Item = u64>) -> (Piece, Tally) {
    let mut accumulator = Accumulator::new(registry, Windowing::default());
    for n in events {
        accumulator.count(&event(n, PANE, &1.0), at(PANE));
    }
    accumulator.finish()
}

#[test]
fn one_that_panics_or_errs_is_left_out_for_that_event_alone() {
    let panics = || panic!("on purpose");
    let errs = || Err(AggregatorError("on purpose".to_owned()));
    let all = registry(vec![
        sums("before"),
        Arc::new(Counts {
            name: "panics",
            of_every_third: panics,
        }),
        sums("between"),
        Arc::new(Counts {
            name: "errs",
            of_every_third: errs,
        }),
        sums("after"),
    ]);
    let fails = |n: &u64| hash(*n, 1).is_multiple_of(3);
    let failing = (0..300).filter(fails).count() as u64;
    assert!((50..250).contains(&failing), "the test has both");

    let (mut piece, tally) = count(&all, 0..300);
    assert_eq!(tally.counted, 300);
    let failures = BTreeMap::from([("errs", failing), ("panics", failing)]);
    assert_eq!(tally.failures, failures);

    // They have what they would have of the other events, and nothing that
    // they added before they failed.
    let (mut others, _) = count(&all, (0..300).filter(|n| !fails(n)));
    for name in ["panics", "errs"] {
        let bytes = bytes_of(&mut piece, name);
        assert_eq!(bytes.len(), 1, "{name}");
        assert!(bytes == bytes_of(&mut others, name), "{name}");
    }
    // The others have what they have without them.
    let well = registry(vec![sums("before"), sums("between"), sums("after")]);
    let (mut alone, tally) = count(&well, 0..300);
    assert!(tally.failures.is_empty());
    for name in ["before", "between", "after"] {
        assert!(
            bytes_of(&mut piece, name) == bytes_of(&mut alone, name),
            "{name}"
        );
    }
}

#[test]
fn one_that_always_panics_has_no_table() {
    let always: fn() -> Result<(), AggregatorError> = || panic!("on purpose");
    let all = registry(vec![
        Arc::new(Counts {
            name: "panics",
            of_every_third: always,
        }),
        sums("sums"),
    ]);
    let (piece, tally) = count(&all, (0..300).filter(|n| hash(*n, 1).is_multiple_of(3)));
    let names: Vec<&str> = piece
        .tables
        .iter()
        .map(|(name, _, _)| name.as_str())
        .collect();
    assert_eq!(names, ["sums"]);
    assert_eq!(tally.failures["panics"], tally.counted);
}

/// Event `n`, made by a monitor.
fn synthetic(n: u64, amount: &f64) -> Observation<'_> {
    Observation {
        synthetic: true,
        ..event(n, PANE, amount)
    }
}

/// Event `n`, of a crawler.
fn of_a_bot(n: u64, amount: &f64) -> Observation<'_> {
    Observation {
        bot: true,
        ..event(n, PANE, amount)
    }
}

#[test]
fn synthetic_events_and_bots_are_shown_to_those_who_ask_for_them_alone() {
    let all = Registry::new(Registry::builtin().iter().cloned().chain([
        sums("sums"),
        Arc::new(Takes { bots: true }) as Arc<dyn Aggregator>,
        Arc::new(Takes { bots: false }),
    ]));
    let (mut visitors, _) = count(&all, 0..100);
    let names: Vec<&str> = visitors
        .tables
        .iter()
        .map(|(of, _, _)| of.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "page_view",
            "conversion_funnel",
            "sums",
            "takes_all",
            "takes_synthetic"
        ],
        "probe takes no room without synthetic events"
    );
    let mut accumulator = Accumulator::new(&all, Windowing::default());
    for n in 0..100 {
        accumulator.count(&event(n, PANE, &1.0), at(PANE));
        accumulator.count(&synthetic(1_000 + n, &1.0), at(PANE));
        accumulator.count(&of_a_bot(2_000 + n, &1.0), at(PANE));
    }
    let (mut both, tally) = accumulator.finish();
    assert_eq!((tally.counted, tally.failures.len()), (300, 0));
    for name in ["page_view", "conversion_funnel", "sums"] {
        assert!(
            bytes_of(&mut both, name) == bytes_of(&mut visitors, name),
            "{name}"
        );
    }
    for (name, events) in [("probe", 100), ("takes_synthetic", 200), ("takes_all", 300)] {
        let tables = both.tables.extract_if(.., |(of, _, _)| of == name);
        let tables: Vec<Table> = tables.map(|(_, _, table)| table).collect();
        let mut summary = crate::Summary::default();
        summary.unite(&tables, 10_000_000);
        let window = Windowing::default().window(crate::Slot(PANE));
        let totals = Totals::of(&[&summary], window);
        assert_eq!(totals.events("all"), events, "{name}");
    }
}

/// Counts every event, whoever made it; bots' if it takes them.
struct Takes {
    bots: bool,
}

impl Aggregator for Takes {
    fn name(&self) -> &'static str {
        if self.bots {
            "takes_all"
        } else {
            "takes_synthetic"
        }
    }

    fn takes_bots(&self) -> bool {
        self.bots
    }

    fn description(&self) -> &'static str {
        "Tests"
    }

    fn takes_synthetic(&self) -> bool {
        true
    }

    fn count(&self, _: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        to.event("all", "");
        Ok(())
    }

    fn result(&self, _totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        Err(AggregatorError("not asked for".to_owned()))
    }
}

/// What probe says of synthetic events with these ids, each of them twice.
fn probed(ids: &[String]) -> serde_json::Value {
    let registry = Registry::builtin();
    let windowing = Windowing::default();
    let mut accumulator = Accumulator::new(&registry, windowing);
    for _ in 0..2 {
        for (n, id) in (0..).zip(ids) {
            let event = Observation {
                event_id: id,
                ..synthetic(n, &1.0)
            };
            accumulator.count(&event, at(PANE));
        }
    }
    let (piece, _) = accumulator.finish();
    let tables = piece.tables.into_iter().filter(|(of, _, _)| of == "probe");
    let tables: Vec<Table> = tables.map(|(_, _, table)| table).collect();
    let mut summary = crate::Summary::default();
    summary.unite(&tables, 10_000_000);
    let slot = crate::Slot(*windowing.slots(Pane(PANE)).start());
    let totals = Totals::of(&[&summary], windowing.window(slot));
    let result = registry.get("probe").unwrap().result(&totals).unwrap();
    serde_json::from_str(result.get()).unwrap()
}

#[test]
fn probe_lists_the_last_probes_and_counts_the_others() {
    let owned = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    let long = format!("probe-{}", "9".repeat(59));
    let ids = owned(&[
        "probe-1",
        "load-7",
        "probe-3",
        "a-probe-5",
        &long,
        "probe-2",
    ]);
    assert_eq!(
        probed(&ids),
        serde_json::json!({"events": 6, "event_ids": ["probe-3", "probe-2", "probe-1"]})
    );
    let none = serde_json::json!({"events": 0, "event_ids": []});
    assert_eq!(probed(&[]), none);
    let many: Vec<String> = (0..250).map(|n| format!("probe-{n:03}")).collect();
    let result = probed(&many);
    assert_eq!(result["events"], 250);
    let listed = result["event_ids"].as_array().unwrap();
    assert_eq!(
        (listed.len(), &listed[0], &listed[99]),
        (100, &"probe-249".into(), &"probe-150".into())
    );
}

/// A load test must not outgrow a pane: what it takes is what visitors take.
#[test]
fn a_load_test_takes_no_more_room_than_its_events() {
    let memory_of = |prefix: &str| {
        let registry = Registry::builtin();
        let mut accumulator = Accumulator::new(&registry, Windowing::default());
        for n in 0..10_000 {
            let id = format!("{prefix}-{n}");
            let event = Observation {
                event_id: &id,
                ..synthetic(n, &1.0)
            };
            accumulator.count(&event, at(PANE));
        }
        let tables = accumulator.finish().0.tables;
        let bytes: usize = tables
            .iter()
            .map(|(_, _, table)| table.memory_bytes())
            .sum();
        bytes
    };
    let (load, probes) = (memory_of("load"), memory_of("probe"));
    assert!(load < 20 * 10_000, "{load}");
    assert!(probes > 4 * load, "the test has both: {load}, {probes}");
}

#[test]
fn state_of_aggregators_that_are_no_longer_registered_is_left_out() {
    let before = registry(vec![sums("gone"), sums("first"), sums("second")]);
    let (mut state, _) = count(&before, 0..100);
    let now = registry(vec![sums("second"), sums("new"), sums("first")]);
    let mut accumulator = Accumulator::new(&now, Windowing::default());
    accumulator.resume(Piece::decode(&state.encode()).unwrap());
    for n in 100..200 {
        accumulator.count(&event(n, PANE, &1.0), at(PANE));
    }
    let (mut piece, tally) = accumulator.finish();
    assert_eq!(tally.counted, 100, "what was carried was told before");

    let (mut whole, _) = count(&before, 0..200);
    let (mut since, _) = count(&before, 100..200);
    assert_eq!(piece.tables.len(), 3);
    assert!(bytes_of(&mut piece, "first") == bytes_of(&mut whole, "first"));
    assert!(bytes_of(&mut piece, "second") == bytes_of(&mut whole, "second"));
    assert!(bytes_of(&mut piece, "new") == bytes_of(&mut since, "first"));
}

#[test]
fn state_that_is_only_carried_does_not_change() {
    let registry = registry(vec![sums("a"), sums("b")]);
    let (mut piece, _) = count(&registry, 0..50);
    let bytes = piece.encode();
    let mut accumulator = Accumulator::new(&registry, Windowing::default());
    // Twice: a retry's state and its own piece.
    accumulator.resume(Piece::decode(&bytes).unwrap());
    accumulator.resume(Piece::decode(&bytes).unwrap());
    let (mut again, tally) = accumulator.finish();
    assert!(again.encode() == bytes);
    assert_eq!(tally, Tally::default());
}

#[test]
fn nothing_counted_is_an_empty_piece() {
    let registry = Registry::builtin();
    let (mut piece, _) = Accumulator::new(&registry, Windowing::default()).finish();
    assert!(piece.panes().is_empty());
    assert!(Piece::decode(&piece.encode()).unwrap().tables.is_empty());
}

#[test]
fn what_is_too_late_or_too_early_is_told_and_not_counted() {
    let registry = registry(vec![sums("a")]);
    let mut accumulator = Accumulator::new(&registry, Windowing::default());
    for (pane, n) in [
        (PANE, 0),
        (PANE - 11, 1),
        (PANE - 12, 2),
        (PANE + 5, 3),
        (PANE + 6, 4),
    ] {
        accumulator.count(&event(n, pane, &1.0), at(PANE));
    }
    let (piece, tally) = accumulator.finish();
    assert_eq!(piece.panes(), [Pane(PANE), Pane(PANE + 5)]);
    assert_eq!(
        (tally.counted, tally.late_dropped, tally.early_dropped),
        (2, 2, 1)
    );
}

/// The state must fit where Lambda keeps it, so what is promised must hold
/// for whatever clients send.
#[test]
fn a_piece_takes_no_more_than_was_said() {
    let amounts: [fn(u64) -> f64; 4] = [
        |_| 0.0,
        |n| (n % 10_000) as f64 / 100.0,
        |n| hash(n, 9) as f64 / 1e7,
        |n| if n % 2 == 0 { f64::MAX } else { f64::MIN },
    ];
    for (number, amount) in amounts.iter().enumerate() {
        for events in [1, 10, 1000, 20_000] {
            let registry = registry(vec![sums("a"), sums("b")]);
            let mut accumulator = Accumulator::new(&registry, Windowing::default());
            for n in 0..events {
                accumulator.count(&event(n, PANE + n as i64 % 3, &amount(n)), at(PANE));
            }
            let said = accumulator.encoded_bytes_at_most();
            let bytes = accumulator.finish().0.encode().len();
            assert!(
                bytes <= said,
                "amounts {number}, {events} events: {bytes}, said {said}"
            );
        }
    }
}
