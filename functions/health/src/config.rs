//! What the environment says. Every key that is wrong is reported at once.

use freshet_edge::{ConfigError, Variables};
use std::time::Duration;

/// How requests to OpenSearch are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// `none`: a local cluster.
    None,
    /// `sigv4`: with the function's role.
    SigV4,
}

/// A function that reads the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its stage, as metrics name it.
    pub stage: Stage,
    /// The function's name.
    pub function: String,
}

/// The stage of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Events into the index.
    Enrich,
    /// Events into counts.
    Aggregate,
}

impl Stage {
    /// Its name, which is the metrics' dimension.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrich => "enrich",
            Self::Aggregate => "aggregate",
        }
    }
}

/// The parameters of health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `STACK_NAME`: the dimension of all metrics of ours.
    pub stack: String,
    /// `COLLECT_URL`: where events are posted.
    pub collect_url: String,
    /// `WRITE_KEYS_SECRET_ID`: none = anyone may write.
    pub write_keys_secret_id: Option<String>,
    /// `STREAM_NAME`.
    pub stream_name: String,
    /// `CONSUMERS`: `enrich=<function>,aggregate=<function>`.
    pub consumers: Vec<Consumer>,
    /// `DEAD_LETTER_QUEUE_URL`.
    pub dead_letter_queue_url: String,
    /// `DEAD_LETTER_BUCKET`.
    pub dead_letter_bucket: String,
    /// `ENRICH_MAPPING_ID`: the event source mapping whose on-failure objects
    /// the ledger counts.
    pub enrich_mapping_id: String,
    /// `OPENSEARCH_URL`.
    pub opensearch_url: String,
    /// `OPENSEARCH_AUTH`: `sigv4` (default) or `none`.
    pub auth: AuthKind,
    /// `OPENSEARCH_DOMAIN`: none = the control plane is not asked.
    pub opensearch_domain: Option<String>,
    /// `WRITE_ALIAS`, `clickstream` by default.
    pub write_alias: String,
    /// `AGGREGATION_TABLE`.
    pub aggregation_table: String,
    /// `PERIOD_S`, 60 by default: of CloudWatch's sums, and how often this runs.
    pub period: Duration,
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
        let config = Self {
            stack: vars.required("STACK_NAME"),
            collect_url: vars.required("COLLECT_URL"),
            write_keys_secret_id: vars.optional("WRITE_KEYS_SECRET_ID"),
            stream_name: vars.required("STREAM_NAME"),
            consumers: consumers(&mut vars),
            dead_letter_queue_url: vars.required("DEAD_LETTER_QUEUE_URL"),
            dead_letter_bucket: vars.required("DEAD_LETTER_BUCKET"),
            enrich_mapping_id: vars.required("ENRICH_MAPPING_ID"),
            opensearch_url: vars.required("OPENSEARCH_URL"),
            auth: vars.one_of(
                "OPENSEARCH_AUTH",
                [("sigv4", AuthKind::SigV4), ("none", AuthKind::None)],
            ),
            opensearch_domain: vars.optional("OPENSEARCH_DOMAIN"),
            write_alias: vars
                .optional("WRITE_ALIAS")
                .unwrap_or_else(|| "clickstream".to_owned()),
            aggregation_table: vars.required("AGGREGATION_TABLE"),
            period: Duration::from_secs(vars.number("PERIOD_S", 60, 1..=3_600)),
            s3_path_style: vars.optional("AWS_ENDPOINT_URL").is_some(),
            log_level: vars
                .optional("LOG_LEVEL")
                .unwrap_or_else(|| "info".to_owned()),
        };
        vars.finish(config)
    }
}

/// Each stage once. Its name is a metric's dimension, so it is one of ours.
fn consumers(vars: &mut Variables) -> Vec<Consumer> {
    let mut consumers: Vec<Consumer> = Vec::new();
    for item in vars.list("CONSUMERS") {
        let consumer = item.split_once('=').and_then(|(stage, function)| {
            let known = [Stage::Enrich, Stage::Aggregate];
            let stage = known.into_iter().find(|known| known.as_str() == stage)?;
            let new = consumers.iter().all(|other| other.stage != stage);
            let function = function.to_owned();
            (new && !function.is_empty()).then_some(Consumer { stage, function })
        });
        match consumer {
            Some(consumer) => consumers.push(consumer),
            None => vars.wrong(
                "CONSUMERS is not enrich=<function>,aggregate=<function>, each at most once",
            ),
        }
    }
    if consumers.is_empty() {
        vars.wrong("CONSUMERS names no function");
    }
    consumers
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [(&str, &str); 9] = [
        ("STACK_NAME", "freshet"),
        ("COLLECT_URL", "https://x/v1/events"),
        ("STREAM_NAME", "s"),
        ("CONSUMERS", "enrich=e,aggregate=a"),
        ("DEAD_LETTER_QUEUE_URL", "https://q"),
        ("DEAD_LETTER_BUCKET", "b"),
        ("ENRICH_MAPPING_ID", "m"),
        ("OPENSEARCH_URL", "https://o"),
        ("AGGREGATION_TABLE", "t"),
    ];

    fn config(vars: &[(&str, &str)]) -> Result<Config, String> {
        let owned = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_vars(owned).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = config(&REQUIRED).unwrap();
        assert_eq!(
            (config.period, config.auth, config.write_alias.as_str()),
            (Duration::from_secs(60), AuthKind::SigV4, "clickstream")
        );
        assert_eq!(
            (config.opensearch_domain, config.write_keys_secret_id),
            (None, None)
        );
        let consumers: Vec<_> = config
            .consumers
            .iter()
            .map(|c| (c.stage.as_str(), c.function.as_str()))
            .collect();
        assert_eq!(consumers, [("enrich", "e"), ("aggregate", "a")]);
    }

    #[test]
    fn every_wrong_key_is_reported() {
        let error = config(&[("OPENSEARCH_AUTH", "maybe"), ("PERIOD_S", "0")]).unwrap_err();
        let required = REQUIRED.map(|(key, _)| key);
        for key in required.iter().chain(&["OPENSEARCH_AUTH", "PERIOD_S"]) {
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn consumers_are_stages_of_ours_each_once() {
        for odd in ["enrich", "enrich=", "query=q", "enrich=a,enrich=b", ","] {
            let mut vars = REQUIRED;
            vars[3].1 = odd;
            assert!(config(&vars).unwrap_err().contains("CONSUMERS"), "{odd}");
        }
    }
}
