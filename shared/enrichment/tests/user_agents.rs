//! Every case that uap-core publishes, for every field used.

// What is not there fails the test.
#![allow(clippy::expect_used, clippy::panic)]

mod installed;

use freshet_enrichment::user_agent::{MAX_USER_AGENT_BYTES, ParsedUserAgent, UserAgents};
use serde::Deserialize;
use std::sync::LazyLock;

static USER_AGENTS: LazyLock<UserAgents> = LazyLock::new(|| {
    let yaml = std::fs::read(installed::file("regexes.yaml")).expect("regexes.yaml is readable");
    UserAgents::from_yaml(&yaml).expect("regexes.yaml compiles")
});

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

impl Case {
    fn version(&self) -> Option<String> {
        let parts: Vec<&str> = [&self.major, &self.minor, &self.patch]
            .into_iter()
            .map_while(|part| part.as_deref().filter(|part| !part.is_empty()))
            .collect();
        (!parts.is_empty()).then(|| parts.join("."))
    }
}

/// Compares `field` of every case and shows each that differs.
fn check<T: PartialEq + std::fmt::Debug>(
    file: &str,
    at_least: usize,
    ours: impl Fn(&ParsedUserAgent) -> T,
    theirs: impl Fn(&Case) -> T,
) {
    let yaml = std::fs::read(installed::file("uap-core").join(file)).expect(file);
    let cases: Cases = serde_saphyr::from_slice(&yaml).expect(file);
    assert!(
        cases.test_cases.len() >= at_least,
        "{file}: only {} cases",
        cases.test_cases.len()
    );
    let different: Vec<String> = cases
        .test_cases
        .iter()
        .filter_map(|case| {
            assert!(
                case.user_agent_string.len() <= MAX_USER_AGENT_BYTES,
                "{}",
                case.user_agent_string
            );
            let (ours, theirs) = (
                ours(&USER_AGENTS.parse(&case.user_agent_string)),
                theirs(case),
            );
            (ours != theirs).then(|| {
                format!(
                    "{}\n  ours {ours:?}, published {theirs:?}",
                    case.user_agent_string
                )
            })
        })
        .collect();
    assert!(
        different.is_empty(),
        "{file}: {} differ\n{}",
        different.len(),
        different.join("\n")
    );
}

fn check_browsers(file: &str, at_least: usize) {
    check(
        file,
        at_least,
        |parsed| {
            (
                parsed.name.to_string(),
                parsed.version.as_deref().map(str::to_owned),
            )
        },
        |case| (case.family.clone(), case.version()),
    );
}

#[test]
fn browsers_and_versions() {
    check_browsers("tests/test_ua.yaml", 1_400);
}

#[test]
fn browsers_and_versions_of_firefox() {
    check_browsers("test_resources/firefox_user_agent_strings.yaml", 200);
}

#[test]
fn browsers_and_versions_of_opera_mini() {
    check_browsers("test_resources/opera_mini_user_agent_strings.yaml", 200);
}

#[test]
fn browsers_and_versions_of_podcast_players() {
    check_browsers("test_resources/podcasting_user_agent_strings.yaml", 100);
}

#[test]
fn browsers_and_versions_of_the_pgts_list() {
    check_browsers("test_resources/pgts_browser_list.yaml", 12_000);
}

#[test]
fn systems() {
    check(
        "tests/test_os.yaml",
        400,
        |parsed| parsed.os.to_string(),
        |case| case.family.clone(),
    );
}

#[test]
fn more_systems() {
    let file = "test_resources/additional_os_tests.yaml";
    check(
        file,
        20,
        |parsed| parsed.os.to_string(),
        |case| case.family.clone(),
    );
}

#[test]
fn devices() {
    check(
        "tests/test_device.yaml",
        16_000,
        |parsed| parsed.device.to_string(),
        |case| case.family.clone(),
    );
}
