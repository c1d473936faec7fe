//! What the function does with the crate: shards, tumbling windows of arrival
//! time, chains of invocations with state, attempts that are given up after
//! they had put their piece, and merges.

use crate::definition::{Delivery, Event, Traffic, event_id};
use freshet_events::{DocumentId, Timestamp};
use freshet_windows::{
    Accumulator, Details, EventHash, Observation, Pane, Piece, Registry, SessionHash, Slot,
    Summary, Table, Totals, UNKNOWN, UserHash, Windowing,
};
use proptest::sample::Index;
use std::borrow::Cow;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Far more than any of the tests' panes takes.
pub(crate) const BUDGET_BYTES: usize = 50_000_000;

/// How records reach the function, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) shards: usize,
    /// From then on, half the users of each shard have another.
    pub(crate) reshard_at_ms: Option<i64>,
    /// One after the other for each batch, and again from the first.
    pub(crate) invocations: Vec<Invocation>,
    /// Which of the remaining pieces is merged next, again and again.
    pub(crate) merge_order: Vec<Index>,
    /// How many tables are merged at once, again and again.
    pub(crate) merge_groups: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) records: usize,
    /// It puts what it has, rather than hand it on.
    pub(crate) publishes: bool,
    /// Lambda ends the chain after it: a final invocation without records.
    pub(crate) ends_chain: bool,
    /// Attempts before it that were given up after they had put their piece,
    /// with as many records.
    pub(crate) given_up: Vec<usize>,
}

impl Details for Event {
    fn country(&self) -> Option<String> {
        self.country.map(str::to_owned)
    }

    fn amount(&self) -> Option<f64> {
        self.amount_cents.map(|cents| cents as f64 / 100.0)
    }
}

pub(crate) fn event_hash(event: usize) -> EventHash {
    EventHash(DocumentId::new("shop", &event_id(event)).short())
}

pub(crate) fn user_hash(user: usize) -> UserHash {
    UserHash(xxh3_64(format!("user-{user}").as_bytes()))
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

fn observe(event: &Event, identity: usize) -> Observation<'_> {
    Observation {
        id: event_hash(identity),
        event_id: &event.event_id,
        synthetic: event.synthetic,
        bot: event.bot,
        user: user_hash(event.user),
        session: SessionHash(xxh3_64(format!("session-{}", event.session).as_bytes())),
        at: moment(event.at_ms),
        event_type: event.event_type,
        path: Cow::Borrowed(event.path.as_deref().unwrap_or(UNKNOWN)),
        browser: event.browser.unwrap_or(UNKNOWN),
        details: event,
    }
}

/// The state that an invocation was given, and its records, become a piece.
fn invoke(
    registry: &Registry,
    windowing: Windowing,
    traffic: &Traffic,
    state: Option<&[u8]>,
    records: &[Delivery],
) -> Vec<u8> {
    let mut accumulator = Accumulator::new(registry, windowing);
    if let Some(state) = state {
        accumulator.resume(Piece::decode(state).unwrap());
    }
    for record in records {
        let event = observe(&traffic.events[record.event], record.event);
        accumulator.count(&event, moment(record.arrived_ms));
    }
    let (mut piece, tally) = accumulator.finish();
    assert_eq!(
        tally.counted + tally.late_dropped + tally.early_dropped,
        records.len() as u64
    );
    assert!(tally.failures.is_empty());
    piece.encode()
}

/// Every piece that is put on the way.
pub(crate) fn pieces(
    registry: &Registry,
    windowing: Windowing,
    traffic: &Traffic,
    course: &Course,
) -> Vec<Vec<u8>> {
    let mut chains: BTreeMap<(usize, i64), Vec<Delivery>> = BTreeMap::new();
    for copy in &traffic.deliveries {
        let hash = user_hash(traffic.events[copy.event].user).0 as usize;
        let mut shard = hash % course.shards;
        if course.reshard_at_ms.is_some_and(|at| copy.arrived_ms >= at) && hash >> 32 & 1 == 1 {
            shard += course.shards;
        }
        let arrival_window = copy.arrived_ms.div_euclid(60_000);
        chains
            .entry((shard, arrival_window))
            .or_default()
            .push(*copy);
    }
    let mut invocations = course.invocations.iter().cycle();
    let mut put = Vec::new();
    for mut records in chains.into_values() {
        records.sort_by_key(|copy| copy.arrived_ms);
        let invoke = |state: &Option<Vec<u8>>, records: &[Delivery]| {
            invoke(registry, windowing, traffic, state.as_deref(), records)
        };
        let mut state = None;
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let invocation = invocations.next().unwrap();
            for &records in &invocation.given_up {
                put.push(invoke(&state, &rest[..records.min(rest.len())]));
            }
            let (batch, after) = rest.split_at(invocation.records.min(rest.len()));
            rest = after;
            let piece = invoke(&state, batch);
            assert!(
                piece == invoke(&state, batch),
                "an attempt that is repeated has the same piece"
            );
            state = Some(piece);
            if invocation.ends_chain {
                let last = invoke(&state, &[]);
                put.extend([last, state.take().unwrap()]);
            } else if invocation.publishes {
                put.extend(state.take());
            }
        }
        if state.is_some() {
            put.push(invoke(&state, &[]));
        }
    }
    put
}

/// What the pieces have, united by aggregator and pane.
pub(crate) fn merge(pieces: Vec<Vec<u8>>, course: &Course) -> BTreeMap<(String, Pane), Summary> {
    let mut order = course.merge_order.iter().cycle();
    let mut tables: BTreeMap<(String, Pane), Vec<Table>> = BTreeMap::new();
    let mut rest = pieces;
    while !rest.is_empty() {
        let next = rest.swap_remove(order.next().unwrap().index(rest.len()));
        for (aggregator, pane, table) in Piece::decode(&next).unwrap().tables {
            tables.entry((aggregator, pane)).or_default().push(table);
        }
    }
    let mut groups = course.merge_groups.iter().cycle();
    let unite = |tables: Vec<Table>| {
        let mut summary = Summary::default();
        let mut rest = tables.as_slice();
        while !rest.is_empty() {
            let (group, after) = rest.split_at((*groups.next().unwrap()).min(rest.len()));
            summary.unite(group, BUDGET_BYTES);
            rest = after;
        }
        summary
    };
    let mut unite = unite;
    tables
        .into_iter()
        .map(|(key, tables)| (key, unite(tables)))
        .collect()
}

/// A slot's result of an aggregator, as it is stored.
pub(crate) fn result(
    registry: &Registry,
    windowing: Windowing,
    summaries: &BTreeMap<(String, Pane), Summary>,
    aggregator: &str,
    slot: i64,
) -> String {
    let panes: Vec<&Summary> = windowing
        .panes(Slot(slot))
        .filter_map(|pane| summaries.get(&(aggregator.to_owned(), Pane(pane))))
        .collect();
    let totals = Totals::of(&panes, windowing.window(Slot(slot)));
    assert!(totals.bound().is_exact(), "{:?}", totals.bound());
    let aggregator = registry.get(aggregator).unwrap();
    aggregator.result(&totals).unwrap().get().to_owned()
}
