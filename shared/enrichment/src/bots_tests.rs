use super::*;
use proptest::prelude::*;
use serde_json::json;

/// A list of these patterns with their tags.
fn bots(listed: &[(&str, &str)]) -> Result<Bots, BotsError> {
    let listed: Vec<_> = listed
        .iter()
        .map(|(pattern, tag)| json!({"pattern": pattern, "tags": [tag], "instances": []}))
        .collect();
    Bots::from_json(serde_json::to_string(&listed).unwrap().as_bytes())
}

fn judged(bots: &Bots, user_agent: &str) -> String {
    let reason = bots.judge(user_agent);
    reason.map_or_else(|| "nobody".to_owned(), |reason| reason.to_string())
}

#[test]
fn a_reason_is_what_the_pattern_names() {
    let cases = [
        (
            r"Googlebot\/",
            "Googlebot/2.1 (+http://x)",
            "crawler:Googlebot",
        ),
        ("[cC]laude[bB]ot", "claudebot", "crawler:ClaudeBot"),
        (r"(^| )sentry\/", "sentry/8", "crawler:sentry"),
        (
            "Ahrefs(Bot|SiteAudit)",
            "AhrefsSiteAudit/6",
            "crawler:AhrefsBot",
        ),
        (
            "AdsBot-Google([^-]|$)",
            "AdsBot-Google",
            "crawler:AdsBot-Google",
        ),
        (
            r"ContextualBot[\s\S]*outcomes\.net",
            "ContextualBot x outcomes.net",
            "crawler:ContextualBot",
        ),
        (
            r"SSL Labs \(https:\/\/www",
            "SSL Labs (https://www",
            "crawler:SSL Labs",
        ),
        ("Automaton|Newsify", "Newsify", "crawler:Automaton"),
        ("http_crawl", "http_crawl", "crawler:http_crawl"),
        (r"\/\+\/", "/+/", "crawler:/+/"),
    ];
    for (pattern, user_agent, reason) in cases {
        let bots = bots(&[(pattern, "seo")]).unwrap();
        assert_eq!(judged(&bots, user_agent), reason);
        assert_eq!(judged(&bots, "Mozilla/5.0 Firefox/145.0"), "nobody");
    }
}

#[test]
fn headless_browsers_are_known_without_a_list_and_come_first() {
    let bots = bots(&[("Chrome-Lighthouse", "seo"), ("Devin", AUTOMATION)]).unwrap();
    for (user_agent, reason) in [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
            "headless:HeadlessChrome",
        ),
        ("Chrome-Lighthouse jsdom/22", "headless:jsdom"),
        ("Chrome-Lighthouse", "crawler:Chrome-Lighthouse"),
        ("Devin/1.0", "headless:Devin"),
        ("", "nobody"),
    ] {
        assert_eq!(judged(&bots, user_agent), reason, "{user_agent}");
    }
}

#[test]
fn what_backends_post_with_is_no_bot() {
    let bots = bots(&[
        ("python-requests", LIBRARY),
        ("^curl", LIBRARY),
        ("Scrapy", LIBRARY),
        (r"WordPress\/", "seo"),
        ("Fluid", AUTOMATION),
        ("linkchecker", "seo"),
    ])
    .unwrap();
    for (user_agent, reason) in [
        ("python-requests/2.32", "nobody"),
        ("curl/8.5", "nobody"),
        ("WordPress/6.4; https://shop.example", "nobody"),
        ("Fluid/0.9.6 Safari/528.16", "nobody"),
        ("Scrapy/2.11", "crawler:Scrapy"),
        // One more reason is enough.
        ("python-requests/2.32 linkchecker", "crawler:linkchecker"),
    ] {
        assert_eq!(judged(&bots, user_agent), reason, "{user_agent}");
    }
}

#[test]
fn broken_lists_are_told() {
    for (json, code) in [
        ("{}", "cannot be read"),
        ("[{\"tags\":[]}]", "cannot be read"),
        (
            r#"[{"pattern":"Good"},{"pattern":"(Bad"}]"#,
            "\"(Bad\" does not compile",
        ),
        (
            r#"[{"pattern":"(?=ahead)"}]"#,
            "\"(?=ahead)\" does not compile",
        ),
        (r#"[{"pattern":""}]"#, "matches everybody"),
        (r#"[{"pattern":"(bot)?"}]"#, "matches everybody"),
    ] {
        let error = Bots::from_json(json.as_bytes()).err().unwrap();
        assert!(error.to_string().contains(code), "{json}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_around_a_crawler_s_name_leaves_it_a_crawler(before in ".{0,80}", after in ".{0,80}") {
        let bots = bots(&[(r"Googlebot\/", "search-engine")]).unwrap();
        let reason = bots.judge(&format!("{before}Googlebot/2.1{after}"));
        prop_assert!(reason.is_some());
    }
}
