use super::*;
use crate::{EventMark, MAX_EVENTS, TRUNCATED_STEP_MS};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NOW_MS: i64 = 1_795_456_800_000;
const POLICY: SessionPolicy = SessionPolicy::DEFAULT;
const MINUTE: i64 = 60_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_MS).unwrap()
}

fn key() -> SessionKey {
    SessionKey::new("shop", "s-1")
}

/// An event `minutes` before now.
fn event(mark: u64, minutes: i64) -> SessionEvent {
    SessionEvent {
        key: key(),
        mark: EventMark(mark),
        at: Timestamp::from_millis(NOW_MS - minutes * MINUTE).unwrap(),
        source: "shop".to_owned(),
        session_id: Some("s-1".to_owned()),
        user_id: format!("user-{}", mark % 2),
        page: Some(format!("/page/{mark}")),
        is_page_view: !mark.is_multiple_of(3),
        referrer: mark
            .is_multiple_of(4)
            .then(|| format!("https://from.example/{mark}")),
        revenue: mark.is_multiple_of(5).then_some(0.1 * (mark + 1) as f64),
        synthetic: false,
        bot: false,
    }
}

/// The same of an event whose client names no session.
fn derived(event: SessionEvent) -> SessionEvent {
    SessionEvent {
        key: SessionKey::of_user("shop", "user-0"),
        user_id: "user-0".to_owned(),
        session_id: None,
        ..event
    }
}

fn merge(state: &mut SessionState, events: &[SessionEvent]) -> bool {
    let key = events.first().map_or_else(key, |event| event.key);
    state.merge(&key, events, &POLICY, now())
}

fn documents(state: &SessionState, events: &[SessionEvent]) -> Vec<SessionDocument> {
    let documents = state.documents(events).into_iter();
    documents.map(|(_, document)| document).collect()
}

fn sources(state: &SessionState, events: &[SessionEvent]) -> Vec<Value> {
    documents(state, events)
        .iter()
        .map(|d| serde_json::from_slice(&d.json).unwrap())
        .collect()
}

#[test]
fn a_document_has_every_field() {
    let mut view = event(1, 20);
    view.referrer = Some("https://search.example/".to_owned());
    let events = [event(5, 8), view, event(3, 12), event(10, 10)];
    let mut state = SessionState::default();
    assert!(merge(&mut state, &events));
    let expected = json!({
        "session_id": "s-1", "source": "shop", "user_id": "user-1",
        "start": "2026-11-23T17:40:00.000Z", "end": "2026-11-23T17:52:00.000Z", "duration": 720.0,
        "events": 4, "pages": 3, "entry_page": "/page/1", "exit_page": "/page/5",
        "referrer": "https://search.example/", "is_conversion": true, "conversions": 2,
        "revenue": 0.1 * 6.0 + 0.1 * 11.0, "bounce": 0,
    });
    let expected: Value = serde_json::from_str(&expected.to_string()).unwrap();
    assert_eq!(sources(&state, &events), [expected]);
}

#[test]
fn one_page_and_nothing_else_is_a_bounce() {
    let bounce = |events: &[SessionEvent]| {
        let mut state = SessionState::default();
        merge(&mut state, events);
        sources(&state, events)[0]["bounce"].clone()
    };
    assert_eq!(bounce(&[event(1, 1)]), 1);
    assert_eq!(bounce(&[event(3, 1)]), 0, "not a page");
    assert_eq!(bounce(&[event(1, 2), event(2, 1)]), 0, "two pages");
}

#[test]
fn a_pause_longer_than_the_limit_ends_a_session() {
    let mut state = SessionState::default();
    let events = [event(1, 100), event(2, 70), event(4, 39), event(7, 10)];
    merge(&mut state, &events);
    let starts: Vec<i64> = state
        .sessions
        .iter()
        .map(|s| s.start().as_millis())
        .collect();
    assert_eq!(starts, [NOW_MS - 100 * MINUTE, NOW_MS - 39 * MINUTE]);
    assert_eq!(
        state.session_at(events[1].at).unwrap().start(),
        events[0].at
    );
    assert_eq!(
        state.session_at(events[3].at).unwrap().start(),
        events[2].at
    );
    // One event between them makes them one; the later one's document goes.
    let later = documents(&state, &[event(7, 10)]).remove(0);
    let bridge = event(8, 50);
    assert!(merge(&mut state, std::slice::from_ref(&bridge)));
    assert_eq!(state.sessions.len(), 1);
    let joined = documents(&state, &[bridge]).remove(0);
    let gone: Vec<(&str, u64)> = joined
        .absorbed
        .iter()
        .map(|gone| (gone.id.as_str(), gone.version))
        .collect();
    assert_eq!(gone, [(later.id.as_str(), later.version + 1)]);
    assert!(joined.version > later.version);
}

#[test]
fn a_page_view_without_a_page_is_counted_and_is_no_entry() {
    let nowhere = |mark, minutes| SessionEvent {
        page: None,
        ..event(mark, minutes)
    };
    let events = [nowhere(1, 30), event(2, 20), event(4, 10), nowhere(5, 1)];
    let mut state = SessionState::default();
    merge(&mut state, &events);
    let document = sources(&state, &events).remove(0);
    assert_eq!(
        (
            &document["pages"],
            &document["entry_page"],
            &document["exit_page"]
        ),
        (&json!(4), &json!("/page/2"), &json!("/page/4"))
    );
    let mut state = SessionState::default();
    merge(&mut state, &events[..1]);
    let document = sources(&state, &events[..1]).remove(0);
    assert_eq!(
        (&document["pages"], &document["bounce"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (document.get("entry_page"), document.get("exit_page")),
        (None, None)
    );
}

#[test]
fn a_derived_session_is_named_by_its_document_as_long_as_it_lives() {
    let mut state = SessionState::default();
    let of = |state: &SessionState, event: &SessionEvent| {
        let document = documents(state, std::slice::from_ref(event)).remove(0);
        let json: Value = serde_json::from_slice(&document.json).unwrap();
        assert_eq!(json["session_id"], *document.id);
        document.id
    };
    let [first, pause, bridge] = [(1, 90), (2, 40), (4, 65)].map(|(n, m)| derived(event(n, m)));
    merge(&mut state, std::slice::from_ref(&first));
    merge(&mut state, std::slice::from_ref(&pause));
    let ids = [of(&state, &first), of(&state, &pause)];
    assert_ne!(ids[0], ids[1], "31 minutes or more make another session");
    // Earlier, later and in between: the earlier one lives on.
    for more in [derived(event(5, 100)), derived(event(7, 80)), bridge] {
        merge(&mut state, std::slice::from_ref(&more));
        assert_eq!(of(&state, &more), ids[0]);
    }
    assert_eq!(of(&state, &pause), ids[0]);
}

#[test]
fn no_session_id_names_a_derived_session() {
    let of_user = SessionKey::of_user("shop", "u");
    assert_eq!(of_user, SessionKey::of_user("shop", "u"));
    for (source, id) in [("shop", "u"), ("shop", of_user.as_str()), ("", "shopu")] {
        assert_ne!(SessionKey::new(source, id), of_user, "{source} {id}");
    }
    assert_ne!(SessionKey::of_user("sho", "pu"), of_user);
}

#[test]
fn what_no_visitor_made_is_of_no_session() {
    let synthetic = SessionEvent {
        synthetic: true,
        ..event(1, 0)
    };
    let bot = SessionEvent {
        bot: true,
        ..event(1, 0)
    };
    for foreign in [synthetic, bot] {
        let mut state = SessionState::default();
        assert!(!merge(&mut state, std::slice::from_ref(&foreign)));
        assert!(state.is_empty());
        // Nor does it change one that is there.
        merge(&mut state, &[event(2, 5)]);
        let before = state.clone();
        assert!(!merge(&mut state, &[foreign]));
        assert_eq!(state, before);
    }
}

#[test]
fn a_session_keeps_its_document_when_its_start_moves_to_another_day() {
    let midnight = Timestamp::parse_iso8601("2026-11-23T00:00:00Z").unwrap();
    let at = |mark, ms| SessionEvent {
        at: midnight.saturating_add_millis(ms),
        ..event(mark, 0)
    };
    let mut state = SessionState::default();
    let after = at(1, 60_000);
    merge(&mut state, std::slice::from_ref(&after));
    let first = documents(&state, std::slice::from_ref(&after)).remove(0);
    let before = at(2, -60_000);
    merge(&mut state, std::slice::from_ref(&before));
    let second = documents(&state, std::slice::from_ref(&before)).remove(0);
    assert_eq!((second.id, second.day), (first.id, first.day.clone()));
    assert_eq!(first.day, "2026.11.23");
    assert_eq!(
        sources(&state, &[before])[0]["start"],
        "2026-11-22T23:59:00.000Z"
    );
}

#[test]
fn what_is_older_than_the_policy_remembers_belongs_to_no_session() {
    let days = |n: i64| n * 24 * 60;
    let mut state = SessionState::default();
    assert!(!merge(&mut state, &[event(1, days(8) + 1)]));
    assert!(merge(&mut state, &[event(2, days(8) - 1)]));
    assert_eq!(state.session_at(event(1, days(8) + 1).at), None);
    let expires = state.expires_at(&POLICY).as_millis();
    assert_eq!(expires, NOW_MS + MINUTE + POLICY.inactivity_ms);
    // Then it is forgotten, whether or not the table has dropped it.
    let later = Timestamp::from_millis(expires + 1).unwrap();
    state.merge(&key(), [&event(4, 0)], &POLICY, later);
    assert_eq!(state.sessions.len(), 1);
    assert!(state.sessions[0].has(EventMark(4)));
}

#[test]
fn an_event_within_the_horizon_continues_a_session_from_beyond() {
    let days = 8 * 24 * 60;
    let mut state = SessionState::default();
    let earlier = Timestamp::from_millis(NOW_MS - 60 * MINUTE).unwrap();
    state.merge(&key(), [&event(1, days + 10)], &POLICY, earlier);
    merge(&mut state, &[event(2, days - 10)]);
    assert_eq!(state.sessions.len(), 1, "one session, not two");
    assert_eq!(state.sessions[0].start(), event(1, days + 10).at);
}

#[test]
fn a_clock_of_another_age_makes_no_session() {
    let mut state = SessionState::default();
    assert!(!merge(&mut state, &[event(1, -25 * 60)]));
    let ages = SessionEvent {
        at: Timestamp::parse_iso8601("9999-01-01").unwrap(),
        ..event(2, 0)
    };
    assert!(!merge(&mut state, &[ages]));
    assert!(
        merge(&mut state, &[event(4, -23 * 60)]),
        "a clock that is fast"
    );
}

#[test]
fn every_absorbed_document_is_deleted_however_many_there_are() {
    // One session every 40 minutes, each written, then bridged all at once.
    let apart: Vec<SessionEvent> = (0..50).map(|n| event(n, 40 * n as i64)).collect();
    let between: Vec<SessionEvent> = (0..49)
        .map(|n| event(100 + n, 40 * n as i64 + 20))
        .collect();
    let mut state = SessionState::default();
    let mut index = Index::default();
    for event in &apart {
        merge(&mut state, std::slice::from_ref(event));
        let written = documents(&state, std::slice::from_ref(event));
        written.iter().for_each(|document| index.put(document));
    }
    assert_eq!(index.sources().len(), 50);
    merge(&mut state, &between);
    let written = documents(&state, &between);
    written.iter().for_each(|document| index.put(document));
    let all: Vec<SessionEvent> = apart.into_iter().chain(between).collect();
    assert_eq!(index.sources(), by_definition(&all));
    assert_eq!(written[0].absorbed.len(), 49);
    // They are not sent along for ever.
    for n in 200..240 {
        merge(&mut state, &[event(n, 0)]);
    }
    assert!(documents(&state, &[event(200, 0)])[0].absorbed.is_empty());
}

#[test]
fn sessions_that_begin_and_join_in_one_batch_leave_nothing_to_delete() {
    let mut state = SessionState::default();
    let batch = [event(1, 40), event(2, 0), event(4, 20)];
    merge(&mut state, &batch);
    let written = documents(&state, &batch);
    assert_eq!((written.len(), written[0].absorbed.len()), (1, 0));
}

#[test]
fn the_largest_state_fits_into_an_item() {
    let hostile = |n: u64| SessionEvent {
        at: Timestamp::from_millis(NOW_MS - n as i64 * 40 * MINUTE).unwrap(),
        referrer: Some("\u{1}".repeat(2_000)),
        page: Some("\"".repeat(2_000)),
        user_id: "\\".repeat(300),
        is_page_view: true,
        revenue: Some(f64::MAX),
        mark: EventMark(u64::MAX - n),
        ..event(n, 0)
    };
    let mut state = SessionState::default();
    merge(&mut state, &(0..200).map(hostile).collect::<Vec<_>>());
    let many = |n: u64| SessionEvent {
        at: Timestamp::from_millis(NOW_MS - n as i64).unwrap(),
        mark: EventMark(u64::MAX - 1_000 - n),
        ..hostile(0)
    };
    merge(&mut state, &(0..5_000).map(many).collect::<Vec<_>>());
    let text = state.to_text();
    assert!(
        text.len() <= state.stored_bytes(),
        "{} of {}",
        text.len(),
        state.stored_bytes()
    );
    assert!(text.len() <= crate::MAX_STATE_BYTES, "{}", text.len());
    assert!(text.len() > crate::MAX_STATE_BYTES / 2, "{}", text.len());
}

#[test]
fn a_session_without_end_is_cut_and_says_so() {
    let start_ms = NOW_MS - 1_000_000;
    let at = |n: usize, ms: i64| SessionEvent {
        at: Timestamp::from_millis(start_ms + ms).unwrap(),
        ..event(n as u64, 0)
    };
    let many: Vec<SessionEvent> = (0..MAX_EVENTS + 10).map(|n| at(n, n as i64)).collect();
    let mut state = SessionState::default();
    merge(&mut state, &many);
    let document = sources(&state, &many[..1]).remove(0);
    assert_eq!(
        (&document["events"], &document["truncated"]),
        (&json!(MAX_EVENTS), &json!(true))
    );
    // Its end moves in steps, so that not every event writes all of it.
    let end = state.sessions[0].end();
    assert!(!merge(&mut state, &many), "nothing new");
    let soon = at(9_000, MAX_EVENTS as i64 + 5_000);
    assert!(!merge(&mut state, std::slice::from_ref(&soon)));
    assert_eq!(state.session_at(soon.at).unwrap().start(), many[0].at);
    let step = at(9_001, end.as_millis() - start_ms + TRUNCATED_STEP_MS);
    assert!(merge(&mut state, std::slice::from_ref(&step)));
    assert_eq!(state.sessions[0].end(), step.at);
    assert_eq!(sources(&state, &[step])[0]["events"], MAX_EVENTS);
}

#[test]
fn an_id_used_for_ever_remembers_its_newest_sessions() {
    let hourly: Vec<SessionEvent> = (0..100).map(|n| event(n, (100 - n as i64) * 60)).collect();
    let mut state = SessionState::default();
    merge(&mut state, &hourly);
    assert_eq!(state.sessions.len(), MAX_SESSIONS);
    assert_eq!(state.sessions.last().unwrap().start(), hourly[99].at);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let mut state = SessionState::default();
    let long = SessionEvent {
        page: Some("é".repeat(5_000)),
        referrer: Some("x".repeat(5_000)),
        ..event(1, 1)
    };
    merge(&mut state, std::slice::from_ref(&long));
    let document = sources(&state, &[long]).remove(0);
    assert_eq!(document["entry_page"].as_str().unwrap().len(), 1_024);
    assert_eq!(document["referrer"].as_str().unwrap().len(), 1_024);
}

#[test]
fn other_text_is_no_state() {
    use crate::StoredError;
    for text in ["", "{}", "[]", r#"{"v":1}"#, r#"{"v":1,"sessions":[{}]}"#] {
        let read = SessionState::from_text(text);
        assert!(matches!(read, Err(StoredError::Malformed(_))), "{text}");
    }
    let newer = SessionState::from_text(r#"{"v":2,"sessions":{"other":"shape"}}"#);
    assert!(matches!(newer, Err(StoredError::Version(2))));
    let mut state = SessionState::default();
    merge(&mut state, &[event(1, 1)]);
    let odd = state.to_text().replace(r#""seen":""#, r#""seen":"AA"#);
    assert!(matches!(
        SessionState::from_text(&odd),
        Err(StoredError::Value("marks"))
    ));
}

/// The index, as external versions make it: a write or a deletion counts if
/// its version is not lower than what is there, a tombstone included.
#[derive(Default)]
struct Index(BTreeMap<(String, String), (u64, Option<Value>)>);

impl Index {
    fn put(&mut self, document: &SessionDocument) {
        let json = serde_json::from_slice(&document.json).unwrap();
        self.apply(&document.id, &document.day, document.version, Some(json));
        for gone in &document.absorbed {
            self.apply(&gone.id, &gone.day, gone.version, None);
        }
    }

    fn apply(&mut self, id: &str, day: &str, version: u64, json: Option<Value>) {
        let place = (day.to_owned(), id.to_owned());
        let known = self.0.get(&place).map_or(0, |(version, _)| *version);
        if version >= known {
            self.0.insert(place, (version, json));
        }
    }

    /// What is there. A derived session's id is that of its document, and by
    /// definition it has none.
    fn sources(&self) -> Vec<Value> {
        let there = |((_, id), (_, json)): (&(String, String), &(u64, Option<Value>))| {
            let mut json = json.clone()?;
            if json["session_id"] == **id {
                json["session_id"] = Value::Null;
            }
            Some(json)
        };
        let mut found: Vec<Value> = self.0.iter().filter_map(there).collect();
        found.sort_by_key(|json| json["start"].to_string());
        found
    }
}

/// The sessions of these events by their definition: sort, cut at pauses, count.
fn by_definition(events: &[SessionEvent]) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut events: Vec<&SessionEvent> = events.iter().filter(|e| seen.insert(e.mark)).collect();
    events.sort_by_key(|e| (e.at, e.mark));
    let mut runs: Vec<Vec<&SessionEvent>> = Vec::new();
    for event in events {
        let pause = runs
            .last()
            .and_then(|run| run.last())
            .map(|before| event.at.as_millis() - before.at.as_millis());
        match runs.last_mut() {
            Some(run) if pause.is_some_and(|ms| ms <= POLICY.inactivity_ms) => run.push(event),
            _ => runs.push(vec![event]),
        }
    }
    runs.iter().map(|run| summary(run)).collect()
}

fn summary(run: &[&SessionEvent]) -> Value {
    let (first, last) = (run[0], run[run.len() - 1]);
    let views: Vec<&&SessionEvent> = run.iter().filter(|e| e.is_page_view).collect();
    let seen: Vec<&String> = views.iter().filter_map(|e| e.page.as_ref()).collect();
    let mut earned: Vec<(EventMark, f64)> = run
        .iter()
        .filter_map(|e| Some((e.mark, e.revenue?)))
        .collect();
    earned.sort_by_key(|(mark, _)| *mark);
    let revenue = earned.iter().fold(0.0, |sum, (_, amount)| sum + amount);
    let mut source = json!({
        "session_id": first.session_id, "source": "shop", "user_id": first.user_id,
        "start": first.at, "end": last.at,
        "duration": (last.at.as_millis() - first.at.as_millis()) as f64 / 1000.0,
        "events": run.len(), "pages": views.len(), "is_conversion": !earned.is_empty(),
        "conversions": earned.len(), "revenue": revenue,
        "bounce": u8::from(run.len() == 1 && views.len() == 1),
    });
    if let (Some(entry), Some(exit)) = (seen.first(), seen.last()) {
        source["entry_page"] = json!(entry);
        source["exit_page"] = json!(exit);
    }
    if let Some(referrer) = &first.referrer {
        source["referrer"] = json!(referrer);
    }
    // By way of text, as in the index: reading decimals may round.
    serde_json::from_str(&source.to_string()).unwrap()
}

proptest! {
    /// Any order, any batches, any repetition, and documents written in any
    /// order: the index ends with the sessions by their definition.
    #[test]
    fn the_index_converges_to_the_definition(
        minutes in prop::collection::vec((0_i64..600, prop::bool::weighted(0.8)), 1..40),
        named in any::<bool>(),
        arrivals in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..60),
        order in any::<prop::sample::Index>(),
        delay in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let events: Vec<SessionEvent> = minutes
            .iter()
            .enumerate()
            .map(|(n, (minutes, has_page))| {
                let mut event = event(n as u64, *minutes);
                event.page = event.page.filter(|_| *has_page);
                if named { event } else { derived(event) }
            })
            .collect();
        // Some arrive early or twice, and all at some time.
        let mut arriving: Vec<(&SessionEvent, bool)> =
            arrivals.iter().map(|(at, ends)| (at.get(&events), *ends)).collect();
        let rotate = order.index(events.len());
        arriving.extend(events[rotate..].iter().chain(&events[..rotate]).map(|e| (e, e.mark.0 % 2 == 0)));

        let mut stored = SessionState::default().to_text();
        let mut written = Vec::new();
        let mut batch: Vec<SessionEvent> = Vec::new();
        let total = arriving.len();
        for (n, (event, ends)) in arriving.into_iter().enumerate() {
            batch.push(event.clone());
            if ends || n + 1 == total {
                let mut state = SessionState::from_text(&stored).unwrap();
                let changed = merge(&mut state, &batch);
                for event in &batch {
                    let session = state.session_at(event.at).unwrap();
                    prop_assert!(session.start() <= event.at, "no duration is negative");
                }
                prop_assert_eq!(changed, state.to_text() != stored);
                stored = state.to_text();
                written.extend(documents(&state, &batch));
                batch.clear();
            }
        }
        // Writers overtake each other.
        for at in delay {
            let from = at.index(written.len());
            let document = written.remove(from);
            written.push(document);
        }
        let mut index = Index::default();
        written.iter().for_each(|document| index.put(document));
        prop_assert_eq!(index.sources(), by_definition(&events));
    }

    #[test]
    fn no_text_makes_reading_panic(text in ".{0,200}") {
        let _ = SessionState::from_text(&text);
    }
}
