//! Which browser, system and device a user agent names.

use quick_cache::sync::Cache;
use serde::Serialize;
use std::sync::Arc;
use thiserror::Error;
use ua_parser::{Extractor, Regexes};

/// No more than this of a user agent is looked at: real ones are under 512
/// bytes, and the time of a regular expression grows with its input.
pub const MAX_USER_AGENT_BYTES: usize = 1024;

/// How many different user agents are remembered. A site sees some thousands.
const CACHED: usize = 20_000;

/// What uap-core calls a family it does not know.
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

/// What a user agent says, in the terms of Logstash's `useragent` filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParsedUserAgent {
    /// Browser family: `Firefox`, `Mobile Safari`; `Other` if unknown.
    pub name: String,
    /// Browser version, as many of major, minor and patch as it says: `145.0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// System family without its version: `Windows`, `iOS`; `Other` if unknown.
    pub os: String,
    /// Device family: `iPhone`, `Mac`; `Other` if unknown.
    pub device: String,
}

/// uap-core's regexes, compiled, with a cache in front. One user agent is
/// parsed once however many threads ask for it later.
pub struct UserAgents {
    extractor: Extractor<'static>,
    cache: Cache<Box<str>, Arc<ParsedUserAgent>>,
}

impl UserAgents {
    /// Compiles the text of uap-core's `regexes.yaml`.
    ///
    /// # Errors
    /// [`UserAgentError`] if it is not that file.
    pub fn from_yaml(yaml: &[u8]) -> Result<Self, UserAgentError> {
        let regexes: Regexes<'static> = serde_saphyr::from_slice(yaml)
            .map_err(|error| UserAgentError::Yaml(Box::new(error)))?;
        let extractor = Extractor::try_from(regexes).map_err(UserAgentError::Regex)?;
        Ok(Self {
            extractor,
            cache: Cache::new(CACHED),
        })
    }

    /// What this user agent names; parts that nothing matches are `Other`.
    #[must_use]
    pub fn parse(&self, user_agent: &str) -> Arc<ParsedUserAgent> {
        let text = cut(user_agent);
        if let Some(known) = self.cache.get(text) {
            return known;
        }
        let parsed = Arc::new(self.extract(text));
        self.cache.insert(text.into(), Arc::clone(&parsed));
        parsed
    }

    fn extract(&self, text: &str) -> ParsedUserAgent {
        let (browser, os, device) = self.extractor.extract(text);
        let version = browser.as_ref().map_or_else(String::new, |b| {
            [b.major, b.minor, b.patch]
                .into_iter()
                .map_while(|part| part.filter(|text| !text.is_empty()))
                .collect::<Vec<_>>()
                .join(".")
        });
        ParsedUserAgent {
            name: browser.map_or_else(|| OTHER.to_owned(), |b| b.family.into_owned()),
            version,
            os: os.map_or_else(|| OTHER.to_owned(), |o| o.os.into_owned()),
            device: device.map_or_else(|| OTHER.to_owned(), |d| d.device.into_owned()),
        }
    }
}

/// The first [`MAX_USER_AGENT_BYTES`], at a character's boundary.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_USER_AGENT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ones_are_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(600)).len(), MAX_USER_AGENT_BYTES);
        assert_eq!(
            cut(&format!("a{}", "é".repeat(600))).len(),
            MAX_USER_AGENT_BYTES - 1
        );
    }

    #[test]
    fn broken_regexes_are_told() {
        assert!(matches!(
            UserAgents::from_yaml(b"- 1"),
            Err(UserAgentError::Yaml(_))
        ));
        let yaml = b"user_agent_parsers:\n  - regex: '('\nos_parsers: []\ndevice_parsers: []\n";
        assert!(matches!(
            UserAgents::from_yaml(yaml),
            Err(UserAgentError::Regex(_))
        ));
    }
}
