//! Which user agents are no visitor's: those of crawlers and of browsers that
//! a program drives.
//!
//! The patterns are those of the package `crawler-user-agents`, but for what
//! the lists here take from it: to leave a shop's own purchases out of its
//! numbers is worse than to count a script.

use regex::RegexSet;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde::Deserialize;
use std::sync::Arc;
use thiserror::Error;

/// Why somebody is a bot: `crawler:Googlebot`, `headless:HeadlessChrome`. A
/// word of the patterns', never of the user agent's: it takes few values.
pub type Reason = Arc<str>;

/// What browsers without a window say of themselves, whatever the package has.
const HEADLESS: [&str; 11] = [
    "HeadlessChrome",
    "HeadlessEdg",
    "PhantomJS",
    "SlimerJS",
    "HtmlUnit",
    "jsdom/",
    "Lightpanda",
    "Puppeteer",
    "Playwright",
    "Selenium",
    "Cypress/",
];

/// The package's tag of browsers that a program drives.
const AUTOMATION: &str = "browser-automation";

/// The package's tag of HTTP libraries and tools. Backends post with them, so
/// nobody is a bot for them alone.
const LIBRARY: &str = "http-library";

/// Under that tag, what was made to crawl.
const CRAWLERS_AMONG_LIBRARIES: [&str; 14] = [
    "phpcrawl",
    "HTTrack",
    "SimpleCrawler",
    "crawler4j",
    "Scrapy",
    r"newspaper\/",
    "python-opengraph",
    "ALittle Client",
    "colly",
    "trafilatura",
    "Download Ninja",
    "GoParserBot",
    "larbin",
    "rawweb-bot",
];

/// What the package has under other tags and backends post with too: shops,
/// payments, webhooks, platforms that run other people's code, a library.
const SENDERS: [&str; 31] = [
    "AppEngine-Google",
    "Bitbucket-Webhooks",
    "Bling ERP",
    "ChargeBeeBot",
    "Cloudflare-Stream-Webhook",
    "Cronless",
    r"EasyCron\/",
    "GoPay",
    "Google-Apps-Script",
    r"IFTTT\/",
    "Indy Library",
    r"Integromat\/",
    "Metorik",
    "Mollie HTTP client",
    r"Omnisend\/",
    r"PayPal\/",
    r"Recurly Webhooks\/",
    r"Retool\/",
    r"SFDC-Callout\/",
    "SendGrid Event API",
    "Shopify-Captain-Hook",
    r"Snipcart\/",
    r"Sora POS\/",
    r"Stape\/",
    r"Stripe\/",
    r"Svix-Webhooks\/",
    r"Trustly\/",
    r"WJHRO\/",
    r"WordPress\/",
    "Zapier",
    "Zendesk Webhook",
];

/// A person's browser: Fluid makes one of a single site.
const PEOPLE: [&str; 1] = ["Fluid"];

/// Patterns that people's devices, toolbars and apps match too (HTC Butterfly,
/// `ViewSonic`, `TeomaBar`, `L008/`, `WIRED/`, Sogou's and Notion's browsers), and
/// what stands in their place. The crawlers themselves match both.
const NARROWED: [(&str, &str); 9] = [
    ("Butterfly", "Butterfly/"),
    ("Sonic", r"RankSonic|\bSonic/"),
    ("Teoma", r"/Teoma\b"),
    (r"008\/", r"(?:^|[ ;(])008/"),
    (r"RED\/", "^RED/"),
    ("speedy", "speedy_?spider"),
    ("Sogou", "Sogou.*[Ss]pider"),
    (r"Notion\/", "^Notion/"),
    (r"Tumblr\/", "^Tumblr/"),
];

/// Why the patterns cannot be used.
#[derive(Debug, Error)]
pub enum BotsError {
    /// The file is not the package's JSON.
    #[error("the crawlers' user agents cannot be read")]
    Json(#[source] serde_json::Error),
    /// A pattern is no regular expression that can be compiled here.
    #[error("the crawlers' pattern {0:?} does not compile")]
    Pattern(String, #[source] Box<regex_syntax::Error>),
    /// A pattern matches the empty text, hence everybody.
    #[error("the crawlers' pattern {0:?} matches everybody")]
    Everybody(String),
    /// The patterns are too large together.
    #[error("the crawlers' patterns cannot be compiled together")]
    Together(#[source] regex::Error),
}

/// One of the package's list.
#[derive(Deserialize)]
struct Listed {
    pattern: String,
    #[serde(default)]
    tags: Vec<String>,
}

impl Listed {
    fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| known == tag)
    }

    fn is_left_out(&self) -> bool {
        let pattern = self.pattern.as_str();
        let library = self.has(LIBRARY) && !CRAWLERS_AMONG_LIBRARIES.contains(&pattern);
        library || SENDERS.contains(&pattern) || PEOPLE.contains(&pattern)
    }

    /// What is searched for.
    fn considered(&self) -> &str {
        let mut narrowed = NARROWED.iter();
        let narrowed = narrowed.find(|(theirs, _)| *theirs == self.pattern);
        narrowed.map_or(&self.pattern, |(_, ours)| ours)
    }
}

/// The patterns, compiled as one: of uap-core's memory and time to start it
/// takes a tenth (`examples/lookups.rs`).
pub struct Bots {
    patterns: RegexSet,
    /// Of each pattern.
    reasons: Vec<Reason>,
}

impl Bots {
    /// Compiles the package's `crawler-user-agents.json`, all of it at once, so
    /// that a broken file is told at start and not by an event.
    ///
    /// # Errors
    /// [`BotsError`] names the pattern at fault.
    pub fn from_json(json: &[u8]) -> Result<Self, BotsError> {
        let listed: Vec<Listed> = serde_json::from_slice(json).map_err(BotsError::Json)?;
        let mut patterns: Vec<&str> = HEADLESS.to_vec();
        let mut reasons: Vec<Reason> = HEADLESS.iter().map(|text| reason(true, text)).collect();
        for one in listed.iter().filter(|one| !one.is_left_out()) {
            let name = name(&parse(&one.pattern)?);
            reasons.push(reason(one.has(AUTOMATION), &name));
            patterns.push(one.considered());
        }
        let patterns = RegexSet::new(&patterns).map_err(BotsError::Together)?;
        Ok(Self { patterns, reasons })
    }

    /// Why this user agent is no visitor's; `None` if it may be one's. Of
    /// several reasons it is a headless browser's, else the one that is first
    /// in the package.
    #[must_use]
    pub fn judge(&self, user_agent: &str) -> Option<Reason> {
        let first = self.patterns.matches(user_agent).iter().next()?;
        self.reasons.get(first).map(Arc::clone)
    }
}

fn reason(is_headless: bool, name: &str) -> Reason {
    let kind = if is_headless { "headless" } else { "crawler" };
    format!("{kind}:{}", trimmed(name)).into()
}

fn parse(pattern: &str) -> Result<Hir, BotsError> {
    let hir = regex_syntax::parse(pattern)
        .map_err(|error| BotsError::Pattern(pattern.to_owned(), Box::new(error)))?;
    match hir.properties().minimum_len() {
        Some(0) => Err(BotsError::Everybody(pattern.to_owned())),
        _ => Ok(hir),
    }
}

/// A pattern's name: the text that it starts with, up to where anything may
/// stand; of alternatives the first.
fn name(pattern: &Hir) -> String {
    let mut said = String::new();
    say(pattern, &mut said);
    said
}

/// Whether what follows it is known too.
fn say(hir: &Hir, to: &mut String) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(text) => {
            to.push_str(&String::from_utf8_lossy(&text.0));
            true
        }
        // A letter in both cases, the capital first.
        HirKind::Class(Class::Unicode(class)) => match class.ranges() {
            [first, ..] if class.ranges().len() <= 2 && first.start() == first.end() => {
                to.push(first.start());
                true
            }
            _ => false,
        },
        HirKind::Class(Class::Bytes(_)) | HirKind::Repetition(_) => false,
        HirKind::Capture(group) => say(&group.sub, to),
        HirKind::Concat(all) => all.iter().all(|part| say(part, to)),
        HirKind::Alternation(all) => all.first().is_none_or(|first| say(first, to)),
    }
}

/// Without the address and the signs that follow a name; of an address alone
/// without its scheme.
fn trimmed(name: &str) -> &str {
    let name = name.trim_start_matches("https://");
    let end = |text: &str| name.find(text).filter(|at| *at > 0);
    let end = end(" (").or_else(|| end("http")).unwrap_or(name.len());
    let sign = |c: char| !c.is_alphanumeric();
    let trimmed = name[..end].trim_start().trim_end_matches(sign);
    if trimmed.is_empty() { name } else { trimmed }
}

#[cfg(test)]
#[path = "bots_tests.rs"]
mod tests;
