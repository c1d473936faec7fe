//! Tests of the exact summary: sizes and foreign bytes.

use super::*;
use crate::observation::{EventHash, SessionHash, UserHash};
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
}
