//! Tests of the exact summary: sizes and foreign bytes.

use super::encoding::VERSION;
use super::*;
use crate::observation::{EventHash, SessionHash, UserHash};
use crate::stored::{StoredError, put_block, put_varint};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

fn hash(n: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&n.to_le_bytes(), seed)
}

/// Pages by rank, as in a shop: few are looked at often.
fn page(n: u64) -> String {
    let uniform = (hash(n, 5) >> 11) as f64 / (1_u64 << 53) as f64;
    let rank = (200_f64.powf(uniform)) as u64;
    format!("/product/{rank}")
}

/// 60,000 page views of one shard-minute by 45,000 users.
fn page_views() -> Table {
    let mut table = Table::default();
    let mut contribution = Contribution::default();
    for n in 0..60_000 {
        contribution.clear();
        contribution.event("page", &page(n));
        contribution.event(
            "browser",
            ["Chrome", "Firefox", "Mobile Safari", "Edge"][(hash(n % 45_000, 6) % 4) as usize],
        );
        let user = n % 45_000;
        let ids = (
            EventHash(hash(n, 1)),
            UserHash(hash(user, 2)),
            SessionHash(hash(user, 3)),
        );
        table.add(&contribution, ids.0, ids.1, ids.2).unwrap();
    }
    table
}

#[test]
fn sixty_thousand_events_of_a_shard_minute_fit_in_one_item() {
    let mut table = page_views();
    let bytes = table.encode();
    assert!(bytes.len() < 400_000, "{} bytes", bytes.len());
    assert_eq!(table.rows().len(), 60_000);
    let mut read = Table::decode(&bytes).unwrap();
    assert!(read.encode() == bytes, "the same table, the same bytes");
    assert!(bytes.len() <= table.encoded_bytes_at_most());
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        bytes.insert(0, VERSION);
        let _ = Table::decode(&bytes);
    }

    /// Closer to the truth: one byte of a table is another, or the end is missing.
    #[test]
    fn damaged_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), length in any::<prop::sample::Index>()) {
        let mut bytes = small_table().encode();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let length = length.index(bytes.len() * 4);
        bytes.truncate(length.max(1));
        if let Ok(mut read) = Table::decode(&bytes) {
            // What can be read can be used.
            let again = read.encode();
            prop_assert!(Table::decode(&again).unwrap().encode() == again);
            let mut united = small_table();
            united.unite(&read).unwrap();
            united.seal();
            let summary = crate::summary::Summary::Exact(united);
            let window = crate::windowing::Window { start_s: 0, end_s: 300 };
            let _ = crate::totals::Totals::of(&[&summary], window);
        }
    }
}

/// Of every kind, with more than 256 cells.
fn small_table() -> Table {
    let mut table = Table::default();
    let mut contribution = Contribution::default();
    for n in 0..600_u64 {
        contribution.clear();
        match n % 4 {
            0 => contribution.event("page", &format!("/{n}")),
            1 => contribution.amount("country", "a", n as f64),
            2 => contribution.user("step", &format!("{n}")),
            _ => {
                contribution.session("step", "b");
                contribution.event("step", "b");
            }
        }
        let (event, user) = (EventHash(hash(n, 1)), UserHash(hash(n % 40, 2)));
        table
            .add(&contribution, event, user, SessionHash(hash(n % 50, 3)))
            .unwrap();
    }
    table.seal();
    table
}

/// A few bytes that claim much: they take no more memory than they warrant.
#[test]
fn what_claims_to_be_huge_is_damage() {
    // A cell of 60 MB, in the few KB that zeros take.
    let mut bytes = vec![VERSION];
    let mut cells = Vec::new();
    put_varint(&mut cells, 60_000_000);
    cells.resize(60_000_004, 0);
    put_varint(&mut bytes, 1);
    put_block(&mut bytes, &cells);
    assert!(bytes.len() < 10_000);
    bytes.resize(bytes.len() + 10_000, 0);
    assert_eq!(Table::decode(&bytes).unwrap_err(), StoredError::Damaged);

    // Users without end, in a row of zeros: each takes a bit that is set.
    for claimed in [100, 80_000, 1 << 40] {
        let mut bytes = vec![VERSION, 0, 0, 0];
        put_varint(&mut bytes, claimed);
        bytes.resize(10_000, 0);
        assert_eq!(
            Table::decode(&bytes).unwrap_err(),
            StoredError::Damaged,
            "{claimed}"
        );
    }
}

/// An event that is too much for a table is not counted by halves.
#[test]
fn an_event_is_added_whole_or_not_at_all() {
    let mut table = Table::default();
    let mut contribution = Contribution::default();
    contribution.event("page", "/");
    for n in 0..100 {
        contribution.session(
            Box::leak(format!("dimension {n}").into_boxed_str()),
            &"x".repeat(1000),
        );
    }
    let ids = (EventHash(1), UserHash(2), SessionHash(3));
    assert_eq!(
        table.add(&contribution, ids.0, ids.1, ids.2),
        Err(TableFull)
    );
    assert!(table.is_empty());
}

/// Long paths that compress well: what is written can be read again.
#[test]
fn a_full_table_can_be_read() {
    let mut table = Table::default();
    let mut contribution = Contribution::default();
    let long = "x".repeat(1000);
    let added = (0..100_000_u64).find(|n| {
        contribution.clear();
        contribution.event("page", &format!("/{n}/{long}"));
        let (event, user) = (EventHash(hash(*n, 1)), UserHash(hash(*n, 2)));
        let added = table.add(&contribution, event, user, SessionHash(0));
        added.is_err()
    });
    let added = usize::try_from(added.expect("it is full in the end")).unwrap();
    assert!(added > 50_000);
    let read = Table::decode(&table.encode()).unwrap();
    assert_eq!(read.rows().len(), added);
}
