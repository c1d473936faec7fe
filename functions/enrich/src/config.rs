//! What the environment says. Every key that is wrong is reported at once.

use freshet_edge::{ConfigError, Variables};
use freshet_search::BulkLimits;
use freshet_sessions::SessionPolicy;
use std::path::PathBuf;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// How requests to OpenSearch are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// `none`: a local cluster.
    None,
    /// `sigv4`: with the function's role.
    SigV4,
}

/// The parameters of enrich.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `OPENSEARCH_URL`.
    pub opensearch_url: String,
    /// `OPENSEARCH_AUTH`: `sigv4` (default) or `none`.
    pub auth: AuthKind,
    /// `WRITE_ALIAS`, `clickstream` by default.
    pub write_alias: String,
    /// `DEAD_LETTER_BUCKET`.
    pub dead_letter_bucket: String,
    /// `GEOIP_PATHS`: city databases, separated by commas; none = no places.
    pub geoip_paths: Vec<PathBuf>,
    /// `UA_REGEXES_PATH`: uap-core's `regexes.yaml`.
    pub ua_regexes_path: PathBuf,
    /// `CRAWLERS_PATH`: the package crawler-user-agents' JSON.
    pub crawlers_path: PathBuf,
    /// `BULK_MAX_EVENTS`, `BULK_MAX_BYTES`.
    pub bulk_limits: BulkLimits,
    /// `SESSION_TABLE`: where sessions are kept; none = no sessions.
    pub session_table: Option<String>,
    /// `SESSION_INACTIVITY_MINUTES`, `SESSION_STATE_DAYS`.
    pub session_policy: SessionPolicy,
    /// Whether S3 is addressed by path: where `AWS_ENDPOINT_URL` names another
    /// host than AWS's own.
    pub s3_path_style: bool,
    /// `LOG_LEVEL`, `info` by default.
    pub log_level: String,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`ConfigError`] names every key that is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars())
    }

    /// Reads `vars`; empty values count as absent.
    ///
    /// # Errors
    /// [`ConfigError`] names every key that is missing or wrong.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut vars = Variables::new(vars);
        let default = BulkLimits::default();
        let sessions = SessionPolicy::default();
        let config = Self {
            opensearch_url: vars.required("OPENSEARCH_URL"),
            auth: vars.one_of(
                "OPENSEARCH_AUTH",
                [("sigv4", AuthKind::SigV4), ("none", AuthKind::None)],
            ),
            write_alias: vars
                .optional("WRITE_ALIAS")
                .unwrap_or_else(|| "clickstream".to_owned()),
            dead_letter_bucket: vars.required("DEAD_LETTER_BUCKET"),
            geoip_paths: vars
                .list("GEOIP_PATHS")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            ua_regexes_path: vars.required("UA_REGEXES_PATH").into(),
            crawlers_path: vars.required("CRAWLERS_PATH").into(),
            bulk_limits: BulkLimits {
                max_documents: vars.number("BULK_MAX_EVENTS", default.max_documents, 1..=10_000),
                max_bytes: vars.number("BULK_MAX_BYTES", default.max_bytes, 1..=100 * 1024 * 1024),
            },
            session_table: vars.optional("SESSION_TABLE"),
            session_policy: SessionPolicy {
                inactivity_ms: MINUTE_MS
                    * vars.number(
                        "SESSION_INACTIVITY_MINUTES",
                        sessions.inactivity_ms / MINUTE_MS,
                        1..=1_440,
                    ),
                retention_ms: DAY_MS
                    * vars.number("SESSION_STATE_DAYS", sessions.retention_ms / DAY_MS, 1..=90),
            },
            s3_path_style: vars.optional("AWS_ENDPOINT_URL").is_some(),
            log_level: vars
                .optional("LOG_LEVEL")
                .unwrap_or_else(|| "info".to_owned()),
        };
        vars.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_vars(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let required = [
            ("OPENSEARCH_URL", "https://x"),
            ("DEAD_LETTER_BUCKET", "b"),
            ("UA_REGEXES_PATH", "/r"),
            ("CRAWLERS_PATH", "/c"),
        ];
        let config = config(&required).unwrap();
        assert_eq!(
            (config.auth, config.write_alias.as_str()),
            (AuthKind::SigV4, "clickstream")
        );
        assert_eq!(
            (config.bulk_limits, config.geoip_paths.len()),
            (BulkLimits::default(), 0)
        );
        assert_eq!(
            (config.session_policy, config.session_table),
            (SessionPolicy::DEFAULT, None)
        );
    }

    #[test]
    fn every_wrong_key_is_reported() {
        let error = config(&[("OPENSEARCH_AUTH", "maybe"), ("BULK_MAX_EVENTS", "0")]).unwrap_err();
        for part in [
            "OPENSEARCH_URL",
            "DEAD_LETTER_BUCKET",
            "UA_REGEXES_PATH",
            "CRAWLERS_PATH",
            "OPENSEARCH_AUTH",
            "BULK_MAX_EVENTS",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
