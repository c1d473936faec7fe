//! What docs/segment.md shows is what runs.

use freshet_segment::{EventTypes, MAX_CALL_BYTES, MAX_NAME_BYTES, MAX_REQUEST_BYTES};

const PAGE: &str = include_str!("../../../docs/segment.md");

/// The rows of the table under a heading: what stands between backquotes.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split_once(heading).map_or("", |(_, section)| section);
    let own = section.lines().take_while(|line| !line.starts_with('#'));
    let rows = own.filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('`').skip(1).step_by(2).collect())
        .collect()
}

#[test]
fn the_pages_event_names_are_the_codes() {
    let built_in = EventTypes::built_in();
    let expected: Vec<Vec<&str>> = built_in.map(|(name, kind)| vec![name, kind]).collect();
    assert!(!expected.is_empty());
    assert_eq!(rows("\n## Event names\n"), expected);
}

/// The example of the parameter, and what the page says of other names.
#[test]
fn the_pages_examples_hold() {
    let (_, example) = PAGE.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("\n```").unwrap();
    let types = EventTypes::with(example).unwrap();
    assert_eq!(types.of("signed up"), "sign_up");
    assert_eq!(types.of("Trial Started"), "checkout_start");
    let others = rows("\n### Other names\n");
    assert!(!others.is_empty());
    for row in others {
        assert_eq!(types.of(row[0]), row[1]);
    }
}

#[test]
fn the_page_names_the_limits() {
    let (call, request) = (MAX_CALL_BYTES / 1024, MAX_REQUEST_BYTES / 1024);
    for named in [
        format!("{call} KB a call"),
        format!("{request} KB a request"),
        format!("{MAX_NAME_BYTES} bytes"),
    ] {
        assert!(PAGE.contains(&named), "{named}");
    }
}
