//! What docs/aggregators.md shows is what runs.

#[path = "../examples/revenue_per_country.rs"]
mod example;

const PAGE: &str = include_str!("../../../docs/aggregators.md");
const EXAMPLE: &str = include_str!("../examples/revenue_per_country.rs");
const BOUNDARY: &str = "// docs/aggregators.md shows what stands between these two lines.\n";

#[test]
fn the_page_shows_the_example() {
    let parts: Vec<&str> = EXAMPLE.split(BOUNDARY).collect();
    assert_eq!(parts.len(), 3, "two boundaries");
    let block = format!("```rust\n{}```\n", parts[1]);
    assert!(
        PAGE.contains(&block),
        "the page's code is not the example's"
    );
}

#[test]
fn the_page_shows_what_the_example_prints() {
    let printed = example::demonstrate().unwrap();
    let block = format!("```json\n{printed}\n```\n");
    assert!(PAGE.contains(&block), "{block}");
}

/// Limits that the page names are the code's.
#[test]
fn the_page_names_the_limit_of_values() {
    let named = format!("{} bytes", freshet_windows::MAX_VALUE_BYTES);
    assert!(PAGE.contains(&named), "{named}");
}
