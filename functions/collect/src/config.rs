//! What the environment says. Every key that is wrong is reported at once.

use crate::calls::CallRules;
use freshet_edge::{ConfigError, Variables};
use freshet_events::Limits;
use freshet_segment::EventTypes;

/// The largest event that still fits a stream record and a queue message with
/// what the collector adds to it.
const MAX_EVENT_BYTES: usize = 1_000_000;

/// The collector's parameters.
#[derive(Clone, Debug)]
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
    /// `CALL_EVENT_TYPES` (a JSON object from name to type, beside those built
    /// in), `MAX_IMPORT_AGE_S`.
    pub call_rules: CallRules,
    /// `OPT_OUT`: what becomes of events whose visitor asks not to be followed.
    pub opt_out: OptOutMode,
    /// `LOG_LEVEL`, `info` by default.
    pub log_level: String,
}

/// `OPT_OUT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptOutMode {
    /// `ignore`, the default.
    Ignore,
    /// `drop`.
    Drop,
    /// `anonymise`, with the secret `OPT_OUT_KEY_SECRET_ID`.
    Anonymise {
        /// Whose text is the key.
        secret_id: String,
    },
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
        let event_types = event_types(&mut vars);
        let opt_out = opt_out(&mut vars);
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
            call_rules: CallRules {
                event_types,
                max_import_age_ms: 1000
                    * vars.number("MAX_IMPORT_AGE_S", 315_360_000, 1..=3_153_600_000),
            },
            opt_out,
            log_level: vars
                .optional("LOG_LEVEL")
                .unwrap_or_else(|| "info".to_owned()),
        };
        vars.finish(config)
    }
}

fn event_types(vars: &mut Variables) -> EventTypes {
    let Some(json) = vars.optional("CALL_EVENT_TYPES") else {
        return EventTypes::default();
    };
    EventTypes::with(&json).unwrap_or_else(|error| {
        vars.wrong(format!("CALL_EVENT_TYPES: {error}"));
        EventTypes::default()
    })
}

fn opt_out(vars: &mut Variables) -> OptOutMode {
    let words = [("ignore", 0), ("drop", 1), ("anonymise", 2)];
    match vars.one_of("OPT_OUT", words) {
        0 => OptOutMode::Ignore,
        1 => OptOutMode::Drop,
        _ => OptOutMode::Anonymise {
            secret_id: vars.required("OPT_OUT_KEY_SECRET_ID"),
        },
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
        assert_eq!(config.opt_out, OptOutMode::Ignore);
        assert_eq!(config.call_rules.max_import_age_ms, 315_360_000_000);
    }

    #[test]
    fn every_wrong_key_is_reported() {
        let error = config(&[
            ("STREAM_NAME", "s"),
            ("MAX_EVENT_BYTES", "2000000"),
            ("MAX_FUTURE_S", "soon"),
            ("CALL_EVENT_TYPES", "Signed Up=sign_up"),
            ("OPT_OUT", "anonymise"),
        ])
        .unwrap_err();
        for part in [
            "DEAD_LETTER_QUEUE_URL is missing",
            "MAX_EVENT_BYTES is not",
            "MAX_FUTURE_S is not",
            "CALL_EVENT_TYPES: ",
            "OPT_OUT_KEY_SECRET_ID is missing",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
