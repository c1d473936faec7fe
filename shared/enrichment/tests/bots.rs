//! Every user agent that the package publishes is a bot's, and none of the
//! browsers that uap-core publishes is.

// What is not there fails the test.
#![allow(clippy::expect_used, clippy::panic)]

mod installed;

use freshet_enrichment::bots::Bots;
use freshet_enrichment::user_agent::{MAX_USER_AGENT_BYTES, UserAgents};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static USER_AGENTS: LazyLock<UserAgents> = LazyLock::new(|| {
    let read = |name| std::fs::read(installed::file(name)).expect(name);
    let bots = Bots::from_json(&read("crawler-user-agents.json")).expect("all patterns compile");
    let user_agents = UserAgents::from_yaml(&read("regexes.yaml")).expect("all regexes compile");
    user_agents.with_bots(bots)
});

fn reason(user_agent: &str) -> Option<String> {
    USER_AGENTS
        .parse(user_agent)
        .bot
        .as_deref()
        .map(str::to_owned)
}

#[derive(Deserialize)]
struct Listed {
    pattern: String,
    tags: Vec<String>,
    instances: Vec<String>,
}

fn listed() -> Vec<Listed> {
    let json = std::fs::read(installed::file("crawler-user-agents.json")).expect("the package");
    serde_json::from_slice(&json).expect("the package's JSON")
}

#[test]
fn the_package_s_own_instances_are_bots_but_for_those_that_docs_bots_md_names() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bots.md");
    let docs = std::fs::read_to_string(docs).expect("docs/bots.md");
    // `a`, `b`, … of the section, as patterns without their escapes.
    let named: BTreeSet<&str> = docs
        .split("## Who is no bot")
        .nth(1)
        .and_then(|text| text.split("\n## ").next())
        .expect("docs/bots.md says who is no bot")
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    let listed = listed();
    assert!(listed.len() >= 1_500, "only {} patterns", listed.len());
    let mut visitors = BTreeMap::new();
    let mut instances = 0;
    for one in &listed {
        for user_agent in &one.instances {
            instances += 1;
            assert!(user_agent.len() <= MAX_USER_AGENT_BYTES, "{user_agent}");
            if reason(user_agent).is_none() {
                visitors.insert(one.pattern.replace('\\', ""), user_agent);
            }
        }
    }
    assert!(instances >= 2_100, "only {instances} instances");
    let not_named: Vec<_> = visitors
        .iter()
        .filter(|(pattern, _)| !named.contains(pattern.as_str()))
        .collect();
    assert!(not_named.is_empty(), "{not_named:#?}");
    // What is named is in the package, and is no bot for it.
    let of_package: BTreeSet<String> = listed
        .iter()
        .filter(|one| !one.instances.is_empty())
        .map(|one| one.pattern.replace('\\', ""))
        .collect();
    let bots_after_all: Vec<_> = named
        .iter()
        .filter(|name| of_package.contains(**name) && !visitors.contains_key(**name))
        .collect();
    assert!(bots_after_all.is_empty(), "{bots_after_all:?}");
    let libraries = listed
        .iter()
        .filter(|one| one.tags.iter().any(|tag| tag == "http-library"));
    assert!(libraries.count() >= 40, "the package's tags are others now");
}

#[test]
fn reasons_are_short_and_readable() {
    for one in listed() {
        for user_agent in &one.instances {
            let Some(reason) = reason(user_agent) else {
                continue;
            };
            let name = reason
                .strip_prefix("crawler:")
                .or_else(|| reason.strip_prefix("headless:"));
            let name = name.unwrap_or_else(|| panic!("{reason} is of no kind"));
            assert!(
                (2..=48).contains(&name.len()) && !name.contains('\\'),
                "{reason} of {user_agent}"
            );
        }
    }
    for (user_agent, said) in [
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "crawler:Googlebot",
        ),
        (
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "crawler:bingbot",
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.1; +https://openai.com/gptbot",
            "crawler:GPTBot",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
            "headless:HeadlessChrome",
        ),
    ] {
        assert_eq!(reason(user_agent).as_deref(), Some(said));
    }
}

#[derive(Deserialize)]
struct Cases {
    test_cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    user_agent_string: String,
}

/// uap-core's cases, of every kind of browser and device there has been.
const CASES: [&str; 8] = [
    "tests/test_ua.yaml",
    "tests/test_os.yaml",
    "tests/test_device.yaml",
    "test_resources/additional_os_tests.yaml",
    "test_resources/firefox_user_agent_strings.yaml",
    "test_resources/opera_mini_user_agent_strings.yaml",
    "test_resources/podcasting_user_agent_strings.yaml",
    "test_resources/pgts_browser_list.yaml",
];

#[test]
fn no_browser_that_uap_core_knows_is_a_bot() {
    let mut all = 0;
    // uap-core's own word for crawlers is the device `Spider`; who is a bot
    // without it, by reason.
    let mut doubtful: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in CASES {
        let yaml = std::fs::read(installed::file("uap-core").join(file)).expect(file);
        let cases: Cases = serde_saphyr::from_slice(&yaml).expect(file);
        for Case { user_agent_string } in cases.test_cases {
            all += 1;
            let parsed = USER_AGENTS.parse(&user_agent_string);
            if let Some(reason) = &parsed.bot
                && &*parsed.device != "Spider"
            {
                let of_reason = doubtful.entry(reason.to_string()).or_default();
                of_reason.insert(user_agent_string);
            }
        }
    }
    assert!(all > 31_000, "only {all} cases");
    let reasons: Vec<&str> = doubtful.keys().map(String::as_str).collect();
    assert_eq!(reasons, CRAWLERS_UNKNOWN_TO_UAP_CORE, "{doubtful:#?}");
}

/// Each was looked at: no person's browser sent it. (`WhatsApp` itself fetches
/// previews of links; what it opens is opened by another browser.)
const CRAWLERS_UNKNOWN_TO_UAP_CORE: [&str; 18] = [
    "crawler:Catchpoint",
    "crawler:Download Ninja",
    "crawler:Feedbin",
    "crawler:GoogleImageProxy",
    "crawler:HTTrack",
    "crawler:Mediapartners-Google",
    "crawler:OpenVAS",
    "crawler:Overcast",
    "crawler:Rackspace Monitoring",
    "crawler:Site24x7",
    "crawler:Synapse",
    "crawler:Tiny Tiny RSS",
    "crawler:W3C-checklink",
    "crawler:WebCapture",
    "crawler:WhatsApp",
    "crawler:monitis",
    "headless:HeadlessChrome",
    "headless:PhantomJS",
];
