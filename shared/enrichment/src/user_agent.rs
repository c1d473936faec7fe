//! Which browser, system and device a user agent names, and whether it is a
//! bot's.

use crate::bots::{Bots, Reason};
use quick_cache::sync::Cache;
use serde::Serialize;
use std::sync::Arc;
use thiserror::Error;
use ua_parser::{Extractor, Regexes};

/// No more than this of a user agent is looked at: the longest of uap-core's
/// published cases has 517 bytes, and a regex's time grows with its input.
pub const MAX_USER_AGENT_BYTES: usize = 1024;

/// How many user agents are remembered: far more than a site sees in an hour,
/// and under 20 MB even when somebody sends the longest ones on purpose.
const CACHED: usize = 10_000;

/// What uap-core calls a family that no regex matches.
const OTHER: &str = "Other";

/// Why the regexes cannot be used.
#[derive(Debug, Error)]
pub enum UserAgentError {
    /// The file is not uap-core's YAML.
    #[error("the user-agent regexes cannot be read")]
    Yaml(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A regex does not compile.
    #[error("a user-agent regex does not compile")]
    Regex(#[source] ua_parser::Error),
}

/// What a user agent says, in the terms of Logstash's `useragent` filter: all
/// but the version are uap-core's families, so they count well in aggregations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParsedUserAgent {
    /// Browser family: `Firefox`, `Mobile Safari`; `Other` if unknown.
    pub name: Box<str>,
    /// Browser version, `major[.minor[.patch]]` as far as it is said: `145.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    /// System family, without its version: `Windows`, `iOS`; `Other` if unknown.
    pub os: Box<str>,
    /// Device family: `iPhone`, `Mac`; `Other` if unknown.
    pub device: Box<str>,
    /// Why it is no visitor's, if it is not.
    #[serde(skip)]
    pub bot: Option<Reason>,
}

/// uap-core's regexes, compiled, with a bounded cache in front. Shared by all
/// threads.
pub struct UserAgents {
    extractor: Extractor<'static>,
    bots: Option<Bots>,
    cache: Cache<Box<str>, Arc<ParsedUserAgent>>,
}

impl UserAgents {
    /// Compiles the text of uap-core's `regexes.yaml`: all of it at once, so
    /// that a broken file is told at start and not by an event.
    ///
    /// # Errors
    /// [`UserAgentError`] if it is not that file.
    pub fn from_yaml(yaml: &[u8]) -> Result<Self, UserAgentError> {
        let regexes: Regexes<'static> = serde_saphyr::from_slice(yaml)
            .map_err(|error| UserAgentError::Yaml(Box::new(error)))?;
        Ok(Self {
            extractor: Extractor::try_from(regexes).map_err(UserAgentError::Regex)?,
            bots: None,
            cache: Cache::new(CACHED),
        })
    }

    /// The same, and it knows bots; without, nobody is one.
    #[must_use]
    pub fn with_bots(mut self, bots: Bots) -> Self {
        self.bots = Some(bots);
        self
    }

    /// What this user agent names. Only its first [`MAX_USER_AGENT_BYTES`] are
    /// considered; the same text is parsed once while it is remembered.
    #[must_use]
    pub fn parse(&self, user_agent: &str) -> Arc<ParsedUserAgent> {
        let text = considered(user_agent);
        if let Some(known) = self.cache.get(text) {
            return known;
        }
        let parsed = Arc::new(self.extract(text));
        self.cache.insert(text.into(), Arc::clone(&parsed));
        parsed
    }

    fn extract(&self, text: &str) -> ParsedUserAgent {
        let (browser, os, device) = self.extractor.extract(text);
        let version = browser.as_ref().and_then(|browser| {
            let said: Vec<&str> = [browser.major, browser.minor, browser.patch]
                .into_iter()
                .map_while(|part| part.filter(|digits| !digits.is_empty()))
                .collect();
            (!said.is_empty()).then(|| said.join(".").into())
        });
        ParsedUserAgent {
            name: browser.map_or(OTHER.into(), |browser| browser.family.into()),
            version,
            os: os.map_or(OTHER.into(), |os| os.os.into()),
            device: device.map_or(OTHER.into(), |device| device.device.into()),
            bot: self.bots.as_ref().and_then(|bots| bots.judge(text)),
        }
    }
}

/// The part that is looked at, cut at a character's boundary.
fn considered(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_USER_AGENT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_BROWSER: &[u8] = br"
user_agent_parsers:
  - regex: '(Firefox)/(\d+)(?:\.(\d+))?'
os_parsers: []
device_parsers: []
";

    #[test]
    fn what_no_regex_matches_is_other() {
        let parsed = UserAgents::from_yaml(ONE_BROWSER).unwrap().parse("");
        assert_eq!(
            (&*parsed.name, &parsed.version, &*parsed.os, &*parsed.device),
            ("Other", &None, "Other", "Other")
        );
        assert_eq!(
            serde_json::to_string(&*parsed).unwrap(),
            r#"{"name":"Other","os":"Other","device":"Other"}"#
        );
    }

    #[test]
    fn the_version_is_as_long_as_it_is_said() {
        let user_agents = UserAgents::from_yaml(ONE_BROWSER).unwrap();
        assert_eq!(
            user_agents.parse("Firefox/145.0").version.as_deref(),
            Some("145.0")
        );
        assert_eq!(
            user_agents.parse("Firefox/145").version.as_deref(),
            Some("145")
        );
    }

    #[test]
    fn a_repeated_one_is_the_same_value() {
        let user_agents = UserAgents::from_yaml(ONE_BROWSER).unwrap();
        let first = user_agents.parse("Firefox/145.0");
        assert!(Arc::ptr_eq(&first, &user_agents.parse("Firefox/145.0")));
        // Beyond what is considered, a difference is none.
        let long = format!("Firefox/145.0 {}", "x".repeat(2 * MAX_USER_AGENT_BYTES));
        assert!(Arc::ptr_eq(
            &user_agents.parse(&long),
            &user_agents.parse(&format!("{long}y"))
        ));
    }

    #[test]
    fn the_cache_is_bounded() {
        let user_agents = UserAgents::from_yaml(ONE_BROWSER).unwrap();
        for n in 0..2 * CACHED {
            let _ = user_agents.parse(&format!("Firefox/{n}"));
        }
        assert!(
            user_agents.cache.len() <= CACHED + CACHED / 10,
            "{}",
            user_agents.cache.len()
        );
    }

    #[test]
    fn long_ones_are_cut_at_a_character() {
        assert_eq!(considered(&"é".repeat(600)).len(), MAX_USER_AGENT_BYTES);
        let odd = format!("a{}", "é".repeat(600));
        assert_eq!(considered(&odd).len(), MAX_USER_AGENT_BYTES - 1);
    }

    #[test]
    fn broken_files_are_told() {
        for (yaml, yaml_at_fault) in [
            (&b"- 1"[..], true),
            (b"user_agent_parsers: []", true),
            (b"\xff\xfe", true),
            (
                b"user_agent_parsers:\n  - regex: '('\nos_parsers: []\ndevice_parsers: []\n",
                false,
            ),
        ] {
            let error = UserAgents::from_yaml(yaml).err();
            assert_eq!(
                matches!(error, Some(UserAgentError::Yaml(_))),
                yaml_at_fault,
                "{error:?}"
            );
            assert_eq!(
                matches!(error, Some(UserAgentError::Regex(_))),
                !yaml_at_fault,
                "{error:?}"
            );
        }
    }
}
