//! What the environment says. Every key that is wrong is reported at once.

use freshet_edge::{ConfigError, Variables};

/// How requests are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// By IAM, which the API asks.
    Iam,
    /// By a key of a secret.
    ReadKey,
    /// All of them.
    None,
}

/// The windows that results are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How long a window is.
    pub window_s: i64,
    /// How far it moves.
    pub slide_s: i64,
}

impl Windows {
    /// How long after its end a slot lives: two windows (decision 11).
    #[must_use]
    pub const fn lifetime_s(&self) -> i64 {
        2 * self.window_s
    }
}

/// The parameters of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `AGGREGATION_TABLE`: where results are.
    pub table: String,
    /// `QUERY_AUTHORIZATION`: `AWS_IAM` (default), `READ_KEY` or `NONE`.
    pub authorization: Authorization,
    /// `READ_KEYS_SECRET_ID`: the secret with the read keys, for `READ_KEY`.
    pub read_keys_secret_id: String,
    /// `WINDOW_MINUTES`, `SLIDE_MINUTES`.
    pub windows: Windows,
    /// `HEALTH_STALE_S`: how old health's report may be, three of its periods
    /// by default.
    pub health_stale_s: i64,
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
        let table = vars.required("AGGREGATION_TABLE");
        let authorization = vars.one_of(
            "QUERY_AUTHORIZATION",
            [
                ("AWS_IAM", Authorization::Iam),
                ("READ_KEY", Authorization::ReadKey),
                ("NONE", Authorization::None),
            ],
        );
        // Keys that are asked for and not there must not mean: anyone.
        let read_keys_secret_id = match authorization {
            Authorization::ReadKey => vars.required("READ_KEYS_SECRET_ID"),
            Authorization::Iam | Authorization::None => String::new(),
        };
        let config = Self {
            table,
            authorization,
            read_keys_secret_id,
            windows: Windows {
                window_s: 60 * vars.number("WINDOW_MINUTES", 5, 1..=60),
                slide_s: 60 * vars.number("SLIDE_MINUTES", 1, 1..=60),
            },
            health_stale_s: vars.number("HEALTH_STALE_S", 180, 1..=86_400),
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
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_safe_and_documented_ones() {
        let config = config(&[("AGGREGATION_TABLE", "t"), ("READ_KEYS_SECRET_ID", "")]).unwrap();
        assert_eq!(config.authorization, Authorization::Iam);
        assert_eq!(
            (
                config.windows.window_s,
                config.windows.slide_s,
                config.windows.lifetime_s()
            ),
            (300, 60, 600)
        );
        assert_eq!(config.health_stale_s, 180);
        assert_eq!(config.log_level, "info");
    }

    #[test]
    fn read_keys_without_a_secret_let_nobody_in() {
        let error = config(&[("QUERY_AUTHORIZATION", "READ_KEY")]).unwrap_err();
        assert_eq!(
            error,
            "AGGREGATION_TABLE is missing; READ_KEYS_SECRET_ID is missing"
        );
        let error =
            config(&[("AGGREGATION_TABLE", "t"), ("QUERY_AUTHORIZATION", "none")]).unwrap_err();
        assert!(
            error.starts_with("QUERY_AUTHORIZATION is none of"),
            "{error}"
        );
    }
}
