//! What the environment says. Every key that is wrong is reported at once.

use freshet_edge::{ConfigError, Variables};
use freshet_events::Limits;

/// The largest event that still fits a stream record and a queue message with
/// what the collector adds to it.
const MAX_EVENT_BYTES: usize = 1_000_000;

/// The collector's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `STREAM_NAME`: where events are put.
    pub stream_name: String,
    /// `DEAD_LETTER_QUEUE_URL`: where they go when the stream refuses them.
    pub dead_letter_queue_url: String,
    /// `WRITE_KEYS_SECRET_ID`: the secret with the write keys; without it
    /// anyone may write.
    pub write_keys_secret_id: Option<String>,
    /// `MAX_EVENT_BYTES`, `MAX_EVENT_AGE_S`, `MAX_FUTURE_S`.
    pub limits: Limits,
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
            stream_name: vars.required("STREAM_NAME"),
            dead_letter_queue_url: vars.required("DEAD_LETTER_QUEUE_URL"),
            write_keys_secret_id: vars.optional("WRITE_KEYS_SECRET_ID"),
            limits: Limits {
                max_event_bytes: vars.number("MAX_EVENT_BYTES", 262_144, 1..=MAX_EVENT_BYTES),
                max_age_ms: Some(1000 * vars.number("MAX_EVENT_AGE_S", 604_800, 1..=315_360_000)),
                max_future_ms: Some(1000 * vars.number("MAX_FUTURE_S", 300, 0..=86_400)),
                ..Limits::DEFAULT
            },
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
        let config = config(&[
            ("STREAM_NAME", "s"),
            ("DEAD_LETTER_QUEUE_URL", "q"),
            ("WRITE_KEYS_SECRET_ID", ""),
        ]);
        let config = config.unwrap();
        assert_eq!(
            (config.limits, config.write_keys_secret_id),
            (Limits::DEFAULT, None)
        );
        assert_eq!(config.log_level, "info");
    }

    #[test]
    fn every_wrong_key_is_reported() {
        let error = config(&[
            ("STREAM_NAME", "s"),
            ("MAX_EVENT_BYTES", "2000000"),
            ("MAX_FUTURE_S", "soon"),
        ])
        .unwrap_err();
        for part in [
            "DEAD_LETTER_QUEUE_URL is missing",
            "MAX_EVENT_BYTES is not",
            "MAX_FUTURE_S is not",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
