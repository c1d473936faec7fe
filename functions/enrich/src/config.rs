//! What the environment says. Every key that is wrong is reported at once.

use freshet_search::BulkLimits;
use std::fmt;
use std::path::PathBuf;

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
    /// `BULK_MAX_EVENTS`, `BULK_MAX_BYTES`.
    pub bulk_limits: BulkLimits,
    /// Whether S3 is addressed by path: where `AWS_ENDPOINT_URL` names another
    /// host than AWS's own.
    pub s3_path_style: bool,
    /// `LOG_LEVEL`, `info` by default.
    pub log_level: String,
}

/// Every key that is missing or wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for ConfigError {}

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
        let vars: Vec<_> = vars
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let get = |key: &str| {
            vars.iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.clone())
        };
        let mut wrong = Vec::new();
        let mut required = |key: &str| {
            get(key).unwrap_or_else(|| {
                wrong.push(format!("{key} is missing"));
                String::new()
            })
        };
        let opensearch_url = required("OPENSEARCH_URL");
        let dead_letter_bucket = required("DEAD_LETTER_BUCKET");
        let ua_regexes_path = required("UA_REGEXES_PATH").into();
        let auth = match get("OPENSEARCH_AUTH").as_deref() {
            None | Some("sigv4") => AuthKind::SigV4,
            Some("none") => AuthKind::None,
            Some(_) => {
                wrong.push("OPENSEARCH_AUTH is neither sigv4 nor none".to_owned());
                AuthKind::SigV4
            }
        };
        let mut number =
            |key: &str, default: usize, most: usize| match get(key).map(|text| text.parse()) {
                None => default,
                Some(Ok(value)) if (1..=most).contains(&value) => value,
                Some(_) => {
                    wrong.push(format!("{key} is not a whole number from 1 to {most}"));
                    default
                }
            };
        let defaults = BulkLimits::default();
        let bulk_limits = BulkLimits {
            max_documents: number("BULK_MAX_EVENTS", defaults.max_documents, 10_000),
            max_bytes: number("BULK_MAX_BYTES", defaults.max_bytes, 100 * 1024 * 1024),
        };
        if !wrong.is_empty() {
            return Err(ConfigError(wrong));
        }
        let geoip_paths = get("GEOIP_PATHS").unwrap_or_default();
        Ok(Self {
            opensearch_url,
            auth,
            write_alias: get("WRITE_ALIAS").unwrap_or_else(|| "clickstream".to_owned()),
            dead_letter_bucket,
            geoip_paths: geoip_paths
                .split(',')
                .map(str::trim)
                .filter(|p| !p.is_empty())
                .map(PathBuf::from)
                .collect(),
            ua_regexes_path,
            bulk_limits,
            s3_path_style: get("AWS_ENDPOINT_URL").is_some(),
            log_level: get("LOG_LEVEL").unwrap_or_else(|| "info".to_owned()),
        })
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
    }

    #[test]
    fn every_wrong_key_is_reported() {
        let error = config(&[("OPENSEARCH_AUTH", "maybe"), ("BULK_MAX_EVENTS", "0")]).unwrap_err();
        for part in [
            "OPENSEARCH_URL",
            "DEAD_LETTER_BUCKET",
            "UA_REGEXES_PATH",
            "OPENSEARCH_AUTH",
            "BULK_MAX_EVENTS",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
