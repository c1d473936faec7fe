//! What the environment says.

use crate::provision::Target;
use crate::settings::{OnMissing, RoleArns, Settings, Tiers};
use crate::sign_in::{self, DashboardsUrl};
use freshet_edge::{ConfigError, Variables};
use freshet_search::Auth;

/// The parameters of provision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `OPENSEARCH_URL`.
    pub opensearch_url: String,
    /// `DASHBOARDS_URL`: empty is beside the cluster, `none` is nowhere.
    pub dashboards_url: DashboardsUrl,
    /// `OPENSEARCH_AUTH`: `sigv4` (default) or `none`.
    pub signed: bool,
    /// `MASTER_SECRET_ID`: a secret `{"username","password"}` to sign in with
    /// as long as the domain does not know the function's role.
    pub master_secret_id: Option<String>,
    /// `WRITE_ALIAS`, `INDEX_SHARDS`, `INDEX_REPLICAS`, `INDEX_REFRESH_INTERVAL`,
    /// `STORAGE_TIERS`, `ON_MISSING`, `ENRICH_ROLE_ARN`, `HEALTH_ROLE_ARN`,
    /// `ANALYST_ROLE_ARNS` (by commas), `PROVISION_ROLE_ARN`.
    pub settings: Settings,
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
        let usual = Settings::default();
        let analysts = vars.optional("ANALYST_ROLE_ARNS").unwrap_or_default();
        let analysts = analysts.split(',').map(str::trim);
        let config = Self {
            opensearch_url: vars.required("OPENSEARCH_URL"),
            dashboards_url: DashboardsUrl::parse(vars.optional("DASHBOARDS_URL").as_deref()),
            signed: vars.one_of("OPENSEARCH_AUTH", [("sigv4", true), ("none", false)]),
            master_secret_id: vars.optional("MASTER_SECRET_ID"),
            settings: Settings {
                alias: vars.optional("WRITE_ALIAS").unwrap_or(usual.alias),
                shards: vars.number("INDEX_SHARDS", usual.shards, 1..=1024),
                replicas: vars.number("INDEX_REPLICAS", usual.replicas, 0..=10),
                refresh_interval: vars
                    .optional("INDEX_REFRESH_INTERVAL")
                    .unwrap_or(usual.refresh_interval),
                tiers: vars.one_of("STORAGE_TIERS", Tiers::WORDS),
                on_missing: vars.one_of("ON_MISSING", OnMissing::WORDS),
                role_arns: RoleArns {
                    enrich: vars.optional("ENRICH_ROLE_ARN"),
                    health: vars.optional("HEALTH_ROLE_ARN"),
                    analysts: analysts
                        .filter(|arn| !arn.is_empty())
                        .map(str::to_owned)
                        .collect(),
                    provision: vars.optional("PROVISION_ROLE_ARN"),
                },
                dry_run: false,
            },
            log_level: vars
                .optional("LOG_LEVEL")
                .unwrap_or_else(|| "info".to_owned()),
        };
        vars.finish(config)
    }

    /// The cluster and its Dashboards, signed in as these parameters say.
    ///
    /// # Errors
    /// If the master user's secret cannot be read, or an address cannot be used.
    pub async fn connect(&self) -> anyhow::Result<Target> {
        let auth = if self.signed {
            let aws = aws_config::from_env().load().await;
            match &self.master_secret_id {
                Some(id) => sign_in::choose(&self.opensearch_url, aws, id).await?,
                None => Auth::SigV4(Box::new(aws)),
            }
        } else {
            Auth::None
        };
        Ok(sign_in::connect(
            &self.opensearch_url,
            &self.dashboards_url,
            auth,
        )?)
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
    fn defaults_are_the_articles() {
        let settings = config(&[("OPENSEARCH_URL", "https://x")]).unwrap().settings;
        assert_eq!(
            (
                settings.shards,
                settings.replicas,
                settings.refresh_interval.as_str()
            ),
            (6, 1, "5s")
        );
    }

    #[test]
    fn who_is_let_in_and_where_old_indices_go() {
        let vars = [
            ("OPENSEARCH_URL", "https://x"),
            ("ANALYST_ROLE_ARNS", "arn:a, arn:b,"),
            ("ENRICH_ROLE_ARN", "arn:e"),
            ("STORAGE_TIERS", "ultrawarm_cold"),
            ("ON_MISSING", "skip"),
            ("DASHBOARDS_URL", "none"),
        ];
        let config = config(&vars).unwrap();
        let settings = config.settings;
        assert_eq!(settings.role_arns.analysts, ["arn:a", "arn:b"]);
        assert_eq!(settings.role_arns.enrich.as_deref(), Some("arn:e"));
        assert_eq!(
            (settings.tiers, settings.on_missing, config.dashboards_url),
            (Tiers::UltraWarmCold, OnMissing::Skip, DashboardsUrl::None)
        );
    }

    #[test]
    fn every_wrong_key_is_reported() {
        let error = config(&[
            ("OPENSEARCH_AUTH", "maybe"),
            ("INDEX_SHARDS", "0"),
            ("STORAGE_TIERS", "lukewarm"),
        ])
        .unwrap_err();
        let parts = [
            "OPENSEARCH_URL",
            "OPENSEARCH_AUTH",
            "INDEX_SHARDS",
            "STORAGE_TIERS is none of none, box_type",
        ];
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }
}
