//! The edges of an invocation: payloads, state, records that cannot be read.

use crate::counting::count_records;
use crate::invocation::{Answer, Invocation, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_enrichment::{Enricher, bots::Bots, geo::Geo, user_agent::UserAgents};
use freshet_events::wire::Packer;
use freshet_tables::{ChainName, Manifest, PieceEntry, PieceName};
use freshet_windows::{Pane, Registry, Slot, Summary, Totals, Windowing};
use serde_json::{Value, json};
use std::path::Path;

/// 2026-11-25T18:30:00Z.
const START_S: i64 = 1_795_631_400;

pub(crate) fn record(number: u64, data: &[u8]) -> Value {
    json!({
        "eventID": format!("shardId-000000000003:{number}"),
        "kinesis": {
            "partitionKey": "u", "sequenceNumber": number.to_string(),
            "data": STANDARD.encode(data), "approximateArrivalTimestamp": START_S as f64 + 7.25,
        },
    })
}

pub(crate) fn view(id: &str, ago_s: i64) -> Vec<u8> {
    json!({
        "event_id": id, "user_id": "u", "session_id": "s", "event_type": "page_view",
        "page_url": "https://shop.example/product/1", "timestamp": (START_S - ago_s) * 1000,
    })
    .to_string()
    .into_bytes()
}

pub(crate) fn payload(records: &[Value], state: &State, is_final: bool) -> String {
    json!({
        "Records": records, "state": state, "shardId": "shardId-000000000003",
        "window": {"start": "2026-11-25T18:30:00Z", "end": "2026-11-25T18:31:00Z"},
        "isFinalInvokeForWindow": is_final, "isWindowTerminatedEarly": false,
    })
    .to_string()
}

pub(crate) fn enricher() -> Enricher {
    let regexes = b"user_agent_parsers: []\nos_parsers: []\ndevice_parsers: []\n";
    Enricher::new(
        UserAgents::from_yaml(regexes)
            .unwrap()
            .with_bots(Bots::from_json(b"[]").unwrap()),
        Geo::open::<&Path>(&[]).unwrap(),
    )
}

#[test]
fn a_chain_begins_with_its_first_record_and_goes_on_with_its_state() {
    let records = [record(41, &view("a", 0)), record(42, &view("b", 0))];
    let first = payload(&records, &State::default(), false);
    let first = Invocation::read(&first).unwrap();
    let (mut manifest, carried) = first.chain().unwrap().unwrap();
    let chain = ChainName {
        window_start: START_S,
        shard: "shardId-000000000003".to_owned(),
        first: "41".to_owned(),
    };
    assert_eq!((&manifest.chain, manifest.last.as_str()), (&chain, "42"));
    assert!(carried.is_none() && !first.ends_chain());

    manifest.late_dropped = 3;
    manifest.pieces.push(PieceEntry {
        name: PieceName::of("shard", b"content"),
        parts: 1,
        bytes: 7,
        panes: vec![29_927_190],
    });
    let counted = count_records(
        &first.records,
        None,
        &enricher(),
        &Registry::builtin(),
        Windowing::default(),
    );
    let mut piece = counted.pieces.into_iter().next().unwrap();
    let state = State::of(&manifest, Some(&piece.encode()));
    // As Lambda hands it on: through JSON.
    let answer = serde_json::to_value(Answer::go_on(state)).unwrap();
    let state: State = serde_json::from_value(answer["state"].clone()).unwrap();

    let next = payload(&[record(43, b"")], &state, false);
    let next = Invocation::read(&next).unwrap();
    let (again, carried) = next.chain().unwrap().unwrap();
    let expected = Manifest {
        last: "43".to_owned(),
        ..manifest.clone()
    };
    assert_eq!(again, expected);
    assert_eq!(carried.unwrap().panes(), [Pane(START_S / 60)]);

    let last = payload(&[], &state, true);
    let last = Invocation::read(&last).unwrap();
    assert!(last.ends_chain());
    assert_eq!(last.chain().unwrap().unwrap().0, manifest);
    assert_eq!(
        serde_json::to_value(Answer::ended()).unwrap(),
        json!({"state": {}})
    );
}

#[test]
fn a_bot_s_event_is_in_no_table() {
    let of = |user_agent: &str| {
        let mut event: Value = serde_json::from_slice(&view("a", 0)).unwrap();
        event["metadata"] = json!({"user_agent": user_agent});
        let records = [record(41, event.to_string().as_bytes())];
        let payload = payload(&records, &State::default(), false);
        let invocation = Invocation::read(&payload).unwrap();
        let counted = count_records(
            &invocation.records,
            None,
            &enricher(),
            &Registry::builtin(),
            Windowing::default(),
        );
        assert_eq!((counted.unreadable, counted.tally.counted), (0, 1));
        let tables = &counted.pieces[0].tables;
        tables.iter().map(|(of, _, _)| of.clone()).collect()
    };
    let names: Vec<String> = of("Mozilla/5.0 Chrome/142");
    assert_eq!(names, ["page_view", "conversion_funnel"]);
    let names: Vec<String> = of("Mozilla/5.0 HeadlessChrome/142");
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn an_empty_final_invocation_of_nothing_is_no_chain() {
    let nothing = payload(&[], &State::default(), true);
    assert!(
        Invocation::read(&nothing)
            .unwrap()
            .chain()
            .unwrap()
            .is_none()
    );
}

#[test]
fn without_a_tumbling_window_it_is_refused() {
    let payload = json!({"Records": [record(5, b"")]}).to_string();
    let error = Invocation::read(&payload).err().unwrap();
    assert!(error.to_string().contains("tumbling window"), "{error}");
}

#[test]
fn a_state_that_is_not_ours_is_an_error() {
    for (field, text) in [
        ("manifest", "?"),
        ("manifest", "AAAA"),
        ("carried", "?"),
        ("carried", "AAAA"),
    ] {
        let mut foreign = json!({"first": "1", "last": "1"});
        foreign[field] = json!(text);
        let state = serde_json::from_value(foreign).unwrap();
        let payload = payload(&[record(2, b"")], &state, false);
        let error = Invocation::read(&payload).unwrap().chain().unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        let invocation = Invocation::read(&payload).unwrap();
        let (manifest, carried) = invocation.new_chain().unwrap().unwrap();
        assert_eq!(
            (manifest.chain.first.as_str(), carried.is_none()),
            ("2", true)
        );
    }
    assert!(Invocation::read("{}").is_err());
}

#[test]
fn what_cannot_be_read_is_told_and_does_not_hold_the_rest() {
    let mut no_base64 = record(1, b"");
    no_base64["kinesis"]["data"] = json!("?");
    let lines = [
        view("a", 0),
        b"{\"no\":\"event\"}".to_vec(),
        view("late", 3_600),
    ]
    .join(&b'\n');
    let records = [
        no_base64,
        record(2, &[2, 0xff, 0xff]),
        record(3, &lines),
        record(4, &[3, 1]),
        record(5, &view("b", 60)),
    ];
    let payload = payload(&records, &State::default(), false);
    let invocation = Invocation::read(&payload).unwrap();
    let counted = count_records(
        &invocation.records,
        None,
        &enricher(),
        &Registry::builtin(),
        Windowing::default(),
    );
    assert_eq!(counted.unreadable, 4);
    assert_eq!((counted.tally.counted, counted.tally.late_dropped), (2, 1));
    let [piece] = counted.pieces.as_slice() else {
        panic!("one piece")
    };
    assert_eq!(piece.panes(), [Pane(START_S / 60 - 1), Pane(START_S / 60)]);
}

#[test]
fn without_page_and_session_a_view_is_of_an_unknown_page_and_one_session_of_its_user() {
    let mut packer = Packer::new();
    for (id, user, event_type) in [
        ("a", "u", "page_view"),
        ("b", "u", "page_view"),
        ("c", "v", "page_view"),
        ("d", "v", "purchase"),
    ] {
        let event = json!({
            "event_id": id, "source": "shop", "user_id": user, "event_type": event_type,
            "timestamp": START_S * 1000, "received_at": START_S * 1000, "metadata": {},
        });
        packer.push(event.to_string().as_bytes());
    }
    let payload = payload(&[record(1, &packer.finish())], &State::default(), false);
    let invocation = Invocation::read(&payload).unwrap();
    let (registry, windowing) = (Registry::builtin(), Windowing::default());
    let counted = count_records(&invocation.records, None, &enricher(), &registry, windowing);
    assert_eq!((counted.unreadable, counted.tally.counted), (0, 4));
    let [piece] = counted.pieces.as_slice() else {
        panic!("one piece")
    };
    let result = |name: &str| -> Value {
        let of = piece.tables.iter().filter(|(of, _, _)| of == name);
        let tables: Vec<_> = of.map(|(_, _, table)| table.clone()).collect();
        let mut summary = Summary::default();
        summary.unite(&tables, 1_000_000);
        let slot = Slot(*windowing.slots(Pane(START_S / 60)).start());
        let totals = Totals::of(&[&summary], windowing.window(slot));
        let json = registry.get(name).unwrap().result(&totals).unwrap();
        serde_json::from_str(json.get()).unwrap()
    };
    let views = result("page_view");
    assert_eq!(
        (&views["total_page_views"], &views["top_pages"]),
        (&json!(3), &json!({"unknown": 3}))
    );
    let funnel = result("conversion_funnel");
    let counts = json!({"landing": 2, "product_view": 0, "add_to_cart": 0, "checkout_start": 0, "purchase": 1});
    assert_eq!(funnel["funnel_counts"], counts);
}
