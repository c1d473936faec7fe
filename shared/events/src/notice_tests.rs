use super::*;
use crate::wire::{Contents, Record, RecordError};
use proptest::prelude::*;

fn counts(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
    of.iter()
        .map(|(code, count)| ((*code).to_owned(), *count))
        .collect()
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_795_456_800_000).unwrap()
}

#[test]
fn its_bytes_are_the_documented_ones() {
    let notice = Notice::new(
        at(),
        "shop",
        counts(&[("field_empty", 2), ("event_malformed", 1)]),
    )
    .unwrap();
    let record = notice.encode();
    let json =
        br#"{"at":1795456800000,"source":"shop","rejected":{"event_malformed":1,"field_empty":2}}"#;
    assert_eq!(record[0], 0x03);
    assert_eq!(&record[1..], json);
    assert_eq!((notice.total(), notice.at()), (3, at()));
    assert_eq!(Notice::decode(&record).unwrap(), notice);
}

#[test]
fn what_is_out_of_bounds_is_no_notice() {
    let of = |source: &str, rejected| Notice::new(at(), source, rejected);
    let one = counts(&[("a", 1)]);
    assert!(matches!(of("", one.clone()), Err(NoticeError::Source)));
    assert!(matches!(of(&"s".repeat(65), one), Err(NoticeError::Source)));
    assert!(matches!(of("s", counts(&[])), Err(NoticeError::Codes)));
    let many = |n: usize| (0..n).map(|n| (format!("c{n}"), 1)).collect();
    assert!(of("s", many(64)).is_ok());
    assert!(matches!(of("s", many(65)), Err(NoticeError::Codes)));
    assert!(of("s", counts(&[(&"c".repeat(64), 1)])).is_ok());
    for code in ["", "Field", "a b", "é", "a\u{0}", &"c".repeat(65)] {
        let refused = of("s", counts(&[(code, 1)]));
        assert!(matches!(refused, Err(NoticeError::Code)), "{code:?}");
    }
    assert!(of("s", counts(&[("a", MAX_COUNT)])).is_ok());
    for count in [0, MAX_COUNT + 1] {
        let refused = of("s", counts(&[("a", count)]));
        assert!(matches!(refused, Err(NoticeError::Count)), "{count}");
    }
}

#[test]
fn malformed_notices_are_records_that_cannot_be_read() {
    for json in [
        "",
        "{",
        "[]",
        r#"{"at":1,"source":"s"}"#,
        r#"{"at":-1,"source":"s","rejected":{"a":1}}"#,
        r#"{"at":"1","source":"s","rejected":{"a":1}}"#,
        r#"{"at":1,"source":"s","rejected":{"a":0}}"#,
        r#"{"at":1,"source":"s","rejected":{"a":-1}}"#,
        r#"{"at":1,"source":"s","rejected":{}}"#,
        r#"{"at":1,"source":"s","rejected":{"a":1}} x"#,
    ] {
        let record = [&[HEADER_NOTICE], json.as_bytes()].concat();
        let rejection = Contents::open(&record).unwrap_err().to_rejection();
        assert_eq!(rejection.code, "record_undecodable", "{json}");
    }
    let quoting = [&[HEADER_NOTICE], &br#"{"at":"secret"}"#[..]].concat();
    let rejection = Contents::open(&quoting).unwrap_err().to_rejection();
    assert!(!rejection.message.contains("secret"), "{rejection}");
}

#[test]
fn a_later_version_may_say_more() {
    let record = b"\x03{\"at\":1,\"source\":\"s\",\"region\":\"eu\",\"rejected\":{\"new_code\":1}}";
    assert_eq!(
        Notice::decode(record).unwrap().rejected(),
        &counts(&[("new_code", 1)])
    );
}

#[test]
fn a_notice_is_never_taken_for_events_nor_events_for_a_notice() {
    let notice = Notice::new(at(), "shop", counts(&[("field_empty", 2)])).unwrap();
    let record = notice.encode();
    assert!(matches!(Record::open(&record), Err(RecordError::NoEvents)));
    assert!(matches!(Contents::open(&record), Ok(Contents::Notice(read)) if read == notice));
    for events in [&b"\x01"[..], b"{}", b"", b"\xff"] {
        assert!(matches!(Contents::open(events), Ok(Contents::Events(_))));
        assert!(matches!(Notice::decode(events), Err(NoticeError::Header)));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut data in prop::collection::vec(any::<u8>(), 0..200), notice in any::<bool>()) {
        if let (true, Some(first)) = (notice, data.first_mut()) { *first = HEADER_NOTICE; }
        let _ = Notice::decode(&data);
        let _ = Contents::open(&data);
    }

    #[test]
    fn damage_never_panics_and_what_is_read_is_within_bounds(at in 0_usize..200, byte in any::<u8>(), cut in 0_usize..20) {
        let mut record = Notice::new(super::tests::at(), "shop", counts(&[("field_empty", 2), ("x", 9)])).unwrap().encode();
        record.truncate(record.len() - cut);
        let at = at % record.len();
        record[at] = byte;
        if let Ok(read) = Notice::decode(&record) {
            let again = Notice::new(read.at(), read.source(), read.rejected().clone()).unwrap();
            prop_assert_eq!(again, read);
        }
    }

    #[test]
    fn what_is_written_reads_back(
        ms in 0_i64..253_402_300_799_999,
        source in "\\PC{1,16}",
        rejected in prop::collection::btree_map("[a-z0-9_]{1,64}", 1..=MAX_COUNT, 1..=MAX_CODES),
    ) {
        let notice = Notice::new(Timestamp::from_millis(ms).unwrap(), source, rejected).unwrap();
        prop_assert_eq!(Notice::decode(&notice.encode()).unwrap(), notice);
    }
}
