//! What the environment says. Every key that is wrong is reported at once.

use freshet_edge::{ConfigError, Variables};
use freshet_windows::Windowing;
use std::path::PathBuf;
use std::time::Duration;

/// A pane's summary is exact while it takes at most this much memory: enough
/// for twelve full shards.
const DEFAULT_PANE_BUDGET_BYTES: usize = 24_000_000;

/// The parameters of aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `AGGREGATION_TABLE`.
    pub table: String,
    /// `WINDOW_MINUTES`, `SLIDE_MINUTES`, `LATENESS_MINUTES` (as far as results
    /// are kept), `FUTURE_MINUTES`.
    pub windowing: Windowing,
    /// `PUBLISH_INTERVAL_S`: while records wait that are older than this, what
    /// was counted is handed on instead of being published.
    pub publish_interval: Duration,
    /// `PANE_BUDGET_BYTES`: how much memory a pane's exact summary may take.
    pub pane_budget_bytes: usize,
    /// `UA_REGEXES_PATH`: uap-core's `regexes.yaml`.
    pub ua_regexes_path: PathBuf,
    /// `CRAWLERS_PATH`: the package crawler-user-agents' JSON.
    pub crawlers_path: PathBuf,
    /// `GEOIP_PATHS`: city databases, separated by commas; none = no countries.
    pub geoip_paths: Vec<PathBuf>,
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
        let default = Windowing::default();
        let slide_minutes = vars.number("SLIDE_MINUTES", default.slide_minutes, 1..=60);
        let mut windowing = Windowing {
            window_minutes: vars.number("WINDOW_MINUTES", default.window_minutes, 1..=1_440),
            slide_minutes,
            lateness_minutes: vars.number("LATENESS_MINUTES", default.lateness_minutes, 0..=60),
            future_minutes: vars.number("FUTURE_MINUTES", default.future_minutes, 0..=60),
        };
        // Later events would be counted where nobody can read them.
        let most = windowing.most_lateness_minutes();
        windowing.lateness_minutes = windowing.lateness_minutes.min(most);
        if windowing.window_minutes % slide_minutes != 0 {
            vars.wrong("WINDOW_MINUTES is not a multiple of SLIDE_MINUTES");
        }
        let config = Self {
            table: vars.required("AGGREGATION_TABLE"),
            windowing,
            publish_interval: Duration::from_secs(vars.number("PUBLISH_INTERVAL_S", 5, 1..=60)),
            pane_budget_bytes: vars.number(
                "PANE_BUDGET_BYTES",
                DEFAULT_PANE_BUDGET_BYTES,
                1_000..=1_000_000_000,
            ),
            ua_regexes_path: vars.required("UA_REGEXES_PATH").into(),
            crawlers_path: vars.required("CRAWLERS_PATH").into(),
            geoip_paths: vars
                .list("GEOIP_PATHS")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
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

    fn config(given: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_vars(
            given
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    const REQUIRED: [(&str, &str); 3] = [
        ("AGGREGATION_TABLE", "t"),
        ("UA_REGEXES_PATH", "regexes.yaml"),
        ("CRAWLERS_PATH", "crawler-user-agents.json"),
    ];

    #[test]
    fn defaults_are_five_minutes_by_one() {
        let config = config(&REQUIRED).unwrap();
        assert_eq!(config.windowing, Windowing::default());
        assert_eq!(config.geoip_paths, Vec::<PathBuf>::new());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let error = config(&[("WINDOW_MINUTES", "5"), ("SLIDE_MINUTES", "2")]).unwrap_err();
        let told = error.to_string();
        for part in [
            "AGGREGATION_TABLE",
            "UA_REGEXES_PATH",
            "CRAWLERS_PATH",
            "a multiple of SLIDE_MINUTES",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
