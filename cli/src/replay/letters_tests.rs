use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_deadletters::object::{Batch, EventPlace, write};
use freshet_enrichment::{Enricher, geo::Geo, user_agent::UserAgents};
use freshet_events::wire::Packer;
use proptest::prelude::*;
use serde_json::json;
use serde_json::value::RawValue;

const ARRIVED_MS: i64 = 1_795_456_800_250;

fn wire_event(id: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","source":"shop","user_id":"u","session_id":"s","event_type":"page_view","page_url":"https://a.example/p","timestamp":1000,"received_at":2000,"metadata":{{"ip_address":"203.0.113.7"}}}}"#
    )
}

fn plain_event(user: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","session_id":"s","event_type":"page_view","page_url":"https://a.example/p","timestamp":1000,"metadata":{{}}}}"#
    )
}

fn arrived_at() -> Timestamp {
    Timestamp::from_millis(ARRIVED_MS).unwrap()
}

fn packed(events: &[String]) -> Vec<u8> {
    let mut packer = Packer::new();
    events
        .iter()
        .for_each(|event| packer.push(event.as_bytes()));
    packer.finish()
}

fn queue_letter(events: &[String]) -> Vec<u8> {
    let events: Vec<Box<RawValue>> = events
        .iter()
        .map(|event| RawValue::from_string(event.clone()).unwrap())
        .collect();
    let events = events.iter().map(AsRef::as_ref).collect();
    QueueMessage::new("throttled", events)
        .to_body()
        .into_bytes()
}

/// As Lambda stores it: the event as text in the invocation record.
fn on_failure_letter(records: &[Vec<u8>]) -> Vec<u8> {
    let record = |(n, data): (usize, &Vec<u8>)| {
        json!({"eventID": format!("shardId-000000000001:{}", 100 + n), "kinesis": {
            "sequenceNumber": (100 + n).to_string(), "partitionKey": "u", "data": STANDARD.encode(data),
            "approximateArrivalTimestamp": 1_795_456_800.25}})
    };
    let records: Vec<_> = records.iter().enumerate().map(record).collect();
    json!({"requestContext": {"condition": "RetryAttemptsExhausted"}, "payload": json!({"Records": records}).to_string()})
        .to_string()
        .into_bytes()
}

fn undecodable_letter(items: &[(Option<EventPlace>, &[u8])]) -> Vec<u8> {
    let batch = Batch {
        shard_id: "shardId-000000000001",
        first_sequence_number: "100",
        arrived_at: arrived_at(),
    };
    let rejection = Rejection::new(Stage::Unpack, Code::RecordUndecodable, "m");
    let items: Vec<_> = items
        .iter()
        .map(|(place, data)| UndecodableItem::new(&rejection, &batch, "101", *place, data))
        .collect();
    write(&items).unwrap()
}

/// What enrich would make of a record at this place.
fn identities(record: &[u8], sequence_number: &str) -> Vec<DocumentId> {
    let position = Position {
        shard_id: "shardId-000000000001",
        sequence_number,
        arrived_at: arrived_at(),
    };
    let record = Record::open(record).unwrap();
    let events = record.split().unwrap().into_iter().enumerate();
    events
        .map(|(n, json)| record.read(json, n, &position).unwrap().document_id())
        .collect()
}

fn replayed(kind: Kind, body: &[u8]) -> Vec<ReplayableEvent> {
    let items = read(kind, body).unwrap();
    items.into_iter().map(|item| item.event.unwrap()).collect()
}

fn reasons(kind: Kind, body: &[u8]) -> Vec<String> {
    let items = read(kind, body).unwrap();
    items
        .into_iter()
        .map(|item| {
            item.event
                .map_or_else(|reason| reason.0.into_owned(), |_| "ok".to_owned())
        })
        .collect()
}

#[test]
fn a_queue_message_gives_back_its_events_untouched() {
    let events = [wire_event("a"), wire_event("b")];
    let items = read(Kind::Queue, &queue_letter(&events)).unwrap();
    for (item, event) in items.iter().zip(&events) {
        assert_eq!(item.code, "stream_refused");
        let replayable = item.event.as_ref().unwrap();
        assert_eq!(
            (replayable.json.as_slice(), replayable.user_id.as_str()),
            (event.as_bytes(), "u")
        );
    }
    assert_eq!(items.len(), 2);
}

#[test]
fn one_bad_event_does_not_hold_its_message() {
    let letter = queue_letter(&[wire_event("a"), "{}".to_owned(), wire_event("b")]);
    assert_eq!(
        reasons(Kind::Queue, &letter),
        ["ok", "event_malformed", "ok"]
    );
    let no_user = wire_event("a").replace(r#""user_id":"u""#, r#""user_id":"""#);
    assert_eq!(
        reasons(Kind::Queue, &queue_letter(&[no_user])),
        ["partition_key_invalid"]
    );
    let later_version = String::from_utf8(queue_letter(&[]))
        .unwrap()
        .replace(":1,", ":2,");
    assert!(read(Kind::Queue, later_version.as_bytes()).is_err());
}

#[test]
fn a_notice_among_events_is_told_and_holds_none_of_them() {
    let notice = |json: &str| [&[3], json.as_bytes()].concat();
    let fine = notice(r#"{"at":1,"source":"shop","rejected":{"field_empty":2}}"#);
    let records = [
        packed(&[wire_event("a")]),
        fine.clone(),
        notice("{"),
        packed(&[wire_event("b")]),
    ];
    assert_eq!(
        reasons(Kind::OnFailure, &on_failure_letter(&records)),
        ["ok", "notice", "record_undecodable", "ok"]
    );
    let items = read(Kind::OnFailure, &on_failure_letter(&records)).unwrap();
    let notices = items
        .iter()
        .map(|item| item.event.as_ref().is_err_and(Unreplayable::is_notice));
    assert_eq!(notices.collect::<Vec<_>>(), [false, true, false, false]);
    // One that a later version can read is no loss either.
    let letter = undecodable_letter(&[(None, &fine)]);
    assert_eq!(reasons(Kind::Undecodable, &letter), ["notice"]);
}

#[test]
fn a_rejected_document_is_the_same_event_again_without_its_address() {
    let regexes = b"user_agent_parsers: []\nos_parsers: []\ndevice_parsers: []\n";
    let geo = Geo::open::<&str>(&[]).unwrap();
    let enricher = Enricher::new(UserAgents::from_yaml(regexes).unwrap(), geo);
    let original = wire_event("a");
    let event = Event::from_wire(&original).unwrap();
    let document = enricher.enrich(&event, arrived_at()).unwrap();
    let source: &RawValue = serde_json::from_slice(&document.json).unwrap();
    let broken = RawValue::from_string("{}".to_owned()).unwrap();
    let item = |event| RejectedItem {
        stage: "index".into(),
        code: "mapper_parsing_exception".into(),
        message: "m".into(),
        sequence_number: "1".into(),
        position: 0,
        event,
    };
    let items = read(
        Kind::Rejected,
        &write(&[item(source), item(&broken)]).unwrap(),
    )
    .unwrap();
    assert!(
        items
            .iter()
            .all(|item| item.code == "mapper_parsing_exception")
    );
    let restored = items[0].event.as_ref().unwrap();
    assert_eq!(restored.id, document.id);
    let json = std::str::from_utf8(&restored.json).unwrap();
    let again = Event::from_wire(json).unwrap();
    assert_eq!(
        (again.received_at(), again.timestamp()),
        (event.received_at(), event.timestamp())
    );
    assert!(!json.contains("203.0.113.7"));
    assert_eq!(
        items[1].event,
        Err(Unreplayable("document_unreadable".into()))
    );
}

#[test]
fn failed_records_keep_the_identity_of_their_place() {
    let plain = format!("[{},{}]", plain_event("u"), plain_event("v")).into_bytes();
    let wire = packed(&[wire_event("a"), wire_event("b")]);
    let letter = on_failure_letter(&[plain.clone(), vec![0xff, 0], wire.clone()]);
    let items = read(Kind::OnFailure, &letter).unwrap();
    assert!(
        items
            .iter()
            .all(|item| item.code == "RetryAttemptsExhausted")
    );
    assert_eq!(
        reasons(Kind::OnFailure, &letter),
        ["ok", "ok", "record_undecodable", "ok", "ok"]
    );
    let ids: Vec<_> = items
        .iter()
        .filter_map(|item| Some(item.event.as_ref().ok()?.id))
        .collect();
    assert_eq!(
        ids,
        [identities(&plain, "100"), identities(&wire, "102")].concat()
    );
    // Put again, they are at another place, and still the same.
    let events: Vec<_> = items
        .into_iter()
        .filter_map(|item| item.event.ok())
        .collect();
    for event in &events {
        let record = packed(&[String::from_utf8(event.json.clone()).unwrap()]);
        assert_eq!(identities(&record, "999"), [event.id]);
    }
    assert_eq!(events[2].json, wire_event("a").into_bytes());
}

#[test]
fn what_was_unreadable_is_read_again_as_it_stood() {
    let plain = plain_event("u").into_bytes();
    let array = format!("[{}]", plain_event("u")).into_bytes();
    let at = |position, packed| Some(EventPlace { position, packed });
    let wire = wire_event("a").into_bytes();
    let letter = undecodable_letter(&[
        (None, &array),
        (at(0, false), &plain),
        (at(7, false), &plain),
        (at(3, true), &wire),
    ]);
    let ids: Vec<_> = replayed(Kind::Undecodable, &letter)
        .iter()
        .map(|event| event.id)
        .collect();
    let seventh = DocumentId::new(
        "stream",
        &Event::stream_id("shardId-000000000001", "101", 7),
    );
    let [whole] = identities(&array, "101")[..] else {
        panic!("one event")
    };
    assert_eq!(ids, [whole, whole, seventh, DocumentId::new("shop", "a")]);
}

#[test]
fn what_is_still_unreadable_says_why() {
    let at = |packed| {
        Some(EventPlace {
            position: 0,
            packed,
        })
    };
    let letter = undecodable_letter(&[
        (None, &[0xff, 0]),
        (at(false), br#"{"user_id":7}"#),
        (at(true), b"{}"),
        (at(true), &[0xff]),
        // Another producer cannot pass for the collector.
        (at(false), wire_event("a").as_bytes()),
    ]);
    assert_eq!(
        reasons(Kind::Undecodable, &letter),
        [
            "record_undecodable",
            "field_wrong_type",
            "event_malformed",
            "letter_unreadable",
            "field_unknown"
        ]
    );
}

#[test]
fn a_broken_line_does_not_hold_the_others() {
    let batch = Batch {
        shard_id: "s",
        first_sequence_number: "1",
        arrived_at: arrived_at(),
    };
    let rejection = Rejection::new(Stage::Unpack, Code::RecordUndecodable, "m");
    let good = UndecodableItem::new(&rejection, &batch, "1", None, plain_event("u").as_bytes());
    let lines = [serde_json::to_value(&good).unwrap(), json!({})];
    assert_eq!(
        reasons(Kind::Undecodable, &write(&lines).unwrap()),
        ["ok", "letter_unreadable"]
    );
}

proptest! {
    #[test]
    fn no_letter_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,120}") {
        for kind in Kind::ALL {
            let _ = read(kind, &bytes);
            let _ = read(kind, text.as_bytes());
        }
        let _ = read(Kind::Undecodable, &undecodable_letter(&[(None, &bytes), (Some(EventPlace { position: 0, packed: true }), &bytes)]));
        let _ = read(Kind::OnFailure, &on_failure_letter(&[bytes]));
    }

    #[test]
    fn every_event_of_a_record_is_one_item(users in proptest::collection::vec("[a-z]{0,3}", 1..20)) {
        // An empty user id is no event: it comes back as a failure, and is counted.
        let events: Vec<String> = users.iter().map(|user| plain_event(user)).collect();
        let items = read(Kind::OnFailure, &on_failure_letter(&[events.join("\n").into_bytes()])).unwrap();
        prop_assert_eq!(items.len(), users.len());
        for (item, user) in items.iter().zip(&users) {
            prop_assert_eq!(item.event.is_ok(), !user.is_empty());
        }
    }
}
