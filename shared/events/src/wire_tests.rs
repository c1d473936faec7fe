use super::*;
use proptest::prelude::*;

const PLAIN: &str = r#"{"user_id":"u","session_id":"s","event_type":"page_view","page_url":"https://a.example/","timestamp":"2020-01-01T00:00:00Z"}"#;

fn position() -> Position<'static> {
    Position {
        shard_id: "shardId-000000000000",
        sequence_number: "4957",
        arrived_at: Timestamp::from_millis(1_795_456_800_000).unwrap(),
    }
}

fn read_all(data: &[u8]) -> Result<Vec<Result<String, Rejection>>, RecordError> {
    let record = Record::open(data)?;
    let parts = record.split()?;
    Ok(parts
        .iter()
        .enumerate()
        .map(|(i, json)| {
            record
                .read(json, i, &position())
                .map(|e| String::from_utf8(e.to_wire()).unwrap())
        })
        .collect())
}

fn wire_json(user: &str, metadata: &str) -> String {
    wire_json_of(user, metadata, false)
}

fn wire_json_of(user: &str, metadata: &str, synthetic: bool) -> String {
    let synthetic = if synthetic {
        r#""synthetic":true,"#
    } else {
        ""
    };
    format!(
        r#"{{"event_id":"e","source":"shop","user_id":{},"session_id":"s","event_type":"t","page_url":"https://a.example/","timestamp":1,"sent_at":2,"received_at":3,"schema_version":4,{synthetic}"metadata":{metadata}}}"#,
        serde_json::to_string(user).unwrap()
    )
}

#[test]
fn packed_events_come_back_as_they_were() {
    let events: Vec<String> = (0..40)
        .map(|n| wire_json_of(&format!("u\"{n}"), r#"{"a":[1,{"b":"c"}]}"#, n % 3 == 0))
        .collect();
    let mut packer = Packer::new();
    for event in &events {
        assert!(packer.has_room_for(event.len()));
        packer.push(event.as_bytes());
    }
    let record = packer.finish();
    assert_eq!(record[0], HEADER_ZSTD);
    assert!(packer.is_empty());
    let back: Vec<String> = read_all(&record)
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(back, events);
}

#[test]
fn small_records_stay_plain_and_full_ones_are_full() {
    let mut packer = Packer::new();
    packer.push(b"{}");
    assert_eq!(packer.finish(), [HEADER_PLAIN, 2, 0, 0, 0, b'{', b'}']);
    packer.push(&vec![b' '; RECORD_TARGET_BYTES - 5]);
    assert!(!packer.has_room_for(1));
    let _ = packer.finish();
    assert!(packer.has_room_for(1_000_000));
}

#[test]
fn another_producers_json_is_read_with_an_identity_of_its_place() {
    let first = read_all(PLAIN.as_bytes()).unwrap().remove(0).unwrap();
    assert!(
        first.contains(r#""event_id":"stream:shardId-000000000000:4957:0","source":"stream""#),
        "{first}"
    );
    assert!(first.contains(r#""received_at":1795456800000"#), "{first}");
    let lines = format!("{PLAIN}\n{PLAIN}\n{{\"user_id\":1}}\n");
    let all = read_all(lines.as_bytes()).unwrap();
    assert!(all[1].as_ref().unwrap().contains(":4957:1"));
    assert_eq!(all[2].as_ref().unwrap_err().code, "field_wrong_type");
    let marked = PLAIN.replacen('{', r#"{"synthetic":true,"#, 1);
    let marked = read_all(marked.as_bytes()).unwrap().remove(0).unwrap();
    assert!(marked.contains(r#""synthetic":true"#), "{marked}");
    assert!(!first.contains("synthetic"), "{first}");
    let odd = PLAIN.replacen('{', r#"{"synthetic":"yes","#, 1);
    assert_eq!(
        read_all(odd.as_bytes()).unwrap()[0]
            .as_ref()
            .unwrap_err()
            .code,
        "field_wrong_type"
    );
    // It cannot pass for another source.
    let forged = PLAIN.replacen('{', r#"{"source":"shop","#, 1);
    assert_eq!(
        read_all(forged.as_bytes()).unwrap()[0]
            .as_ref()
            .unwrap_err()
            .code,
        "field_unknown"
    );
}

#[test]
fn broken_records_say_so() {
    let code = |data: &[u8]| read_all(data).unwrap_err().to_rejection().code.into_owned();
    assert_eq!(code(&[HEADER_ZSTD, 1, 2, 3]), "record_undecodable");
    assert_eq!(
        code(&[HEADER_PLAIN, 9, 0, 0, 0, b'{']),
        "record_undecodable"
    );
    assert_eq!(code(&[HEADER_PLAIN, 9, 0]), "record_undecodable");
    assert_eq!(code(&[0xff, 0xfe]), "record_undecodable");
    assert_eq!(code(b"hello"), "record_undecodable");
    assert_eq!(code(b""), "record_undecodable");
    let mut packer = Packer::new();
    packer.push(wire_json("u", "{}").repeat(9).as_bytes());
    let whole = packer.finish();
    assert_eq!(code(&whole[..whole.len() - 3]), "record_undecodable");
}

#[test]
fn a_bomb_is_stopped_at_the_cap() {
    let mut bomb = vec![HEADER_ZSTD];
    bomb.extend(zstd::bulk::compress(&vec![b'a'; MAX_INFLATED_BYTES * 4], 3).unwrap());
    assert!(bomb.len() < 10_000);
    assert!(matches!(Record::open(&bomb), Err(RecordError::TooLarge)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut data in prop::collection::vec(any::<u8>(), 0..200), header in 0_u8..4) {
        if let Some(first) = data.first_mut() { *first = header; }
        let _ = read_all(&data);
    }

    #[test]
    fn damage_never_panics(cut in 0_usize..400, at in 0_usize..400, bit in 0_u8..8) {
        let mut packer = Packer::new();
        for n in 0..5 { packer.push(wire_json(&format!("user {n}"), "{}").as_bytes()); }
        let mut record = packer.finish();
        record.truncate(record.len().saturating_sub(cut % record.len()));
        let at = at % record.len();
        record[at] ^= 1 << bit;
        let _ = read_all(&record);
    }

    #[test]
    fn any_text_survives(user in ".{1,40}", value in ".{0,200}", synthetic in any::<bool>()) {
        let metadata = format!("{{\"k\":{}}}", serde_json::to_string(&value).unwrap());
        let json = wire_json_of(&user, &metadata, synthetic);
        let mut packer = Packer::new();
        packer.push(json.as_bytes());
        let back = read_all(&packer.finish()).unwrap();
        prop_assert_eq!(back, vec![Ok(json)]);
    }
}

#[test]
fn another_producers_event_needs_page_and_session() {
    for field in ["session_id", "page_url"] {
        let mut event: serde_json::Value = serde_json::from_str(PLAIN).unwrap();
        event.as_object_mut().unwrap().remove(field);
        let read = read_all(event.to_string().as_bytes()).unwrap().remove(0);
        assert_eq!(read.unwrap_err().code, "field_missing", "{field}");
    }
}

proptest! {
    #[test]
    fn what_is_absent_stays_absent(page in any::<bool>(), session in any::<bool>()) {
        let mut json = wire_json("u", "{}");
        if !page { json = json.replace(r#""page_url":"https://a.example/","#, ""); }
        if !session { json = json.replace(r#""session_id":"s","#, ""); }
        let event = Event::from_wire(&json).unwrap();
        prop_assert_eq!((event.page_url().is_some(), event.session_id().is_some()), (page, session));
        prop_assert_eq!(String::from_utf8(event.to_wire()).unwrap(), json);
    }
}

proptest! {
    /// Frames that say their length or do not, cut off, followed by another or
    /// by anything else, or damaged.
    #[test]
    fn the_short_way_of_inflating_says_what_the_long_one_says(
        content in prop::collection::vec(b'a'..=b'd', 0..600),
        says_length in any::<bool>(),
        keep in 0_usize..700,
        after in prop::collection::vec(any::<u8>(), 0..12),
        twice in any::<bool>(),
        damage in prop::option::of((0_usize..700, any::<u8>())),
    ) {
        let mut frame = if says_length {
            zstd::bulk::compress(&content, 3).unwrap()
        } else {
            zstd::stream::encode_all(content.as_slice(), 3).unwrap()
        };
        if twice {
            frame.extend(frame.clone());
        }
        frame.truncate(keep);
        frame.extend(after);
        if let Some((place, byte)) = damage
            && let Some(at) = frame.get_mut(place)
        {
            *at = byte;
        }
        let (short, long) = (inflate(&frame).ok(), inflate_bit_by_bit(&frame).ok());
        prop_assert_eq!(short, long);
    }
}
