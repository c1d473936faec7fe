//! What the environment says.

use crate::provision::Settings;
use anyhow::Context as _;
use freshet_edge::{ConfigError, Variables};
use freshet_search::{Auth, Search};
use serde::Deserialize;

/// The parameters of provision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `OPENSEARCH_URL`.
    pub opensearch_url: String,
    /// `OPENSEARCH_AUTH`: `sigv4` (default) or `none`.
    pub signed: bool,
    /// `MASTER_SECRET_ID`: a secret `{"username","password"}` to sign in with
    /// instead, as long as the domain knows no role of ours.
    pub master_secret_id: Option<String>,
    /// `WRITE_ALIAS`, `INDEX_SHARDS`, `INDEX_REPLICAS`, `INDEX_REFRESH_INTERVAL`,
    /// `ENRICH_ROLE_ARN`.
    pub settings: Settings,
    /// `LOG_LEVEL`, `info` by default.
    pub log_level: String,
}

#[derive(Deserialize)]
struct MasterUser {
    username: String,
    password: String,
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
            opensearch_url: vars.required("OPENSEARCH_URL"),
            signed: vars.one_of("OPENSEARCH_AUTH", [("sigv4", true), ("none", false)]),
            master_secret_id: vars.optional("MASTER_SECRET_ID"),
            settings: Settings {
                alias: vars
                    .optional("WRITE_ALIAS")
                    .unwrap_or_else(|| "clickstream".to_owned()),
                shards: vars.number("INDEX_SHARDS", 6, 1..=1024),
                replicas: vars.number("INDEX_REPLICAS", 1, 0..=10),
                refresh_interval: vars
                    .optional("INDEX_REFRESH_INTERVAL")
                    .unwrap_or_else(|| "5s".to_owned()),
                enrich_role_arn: vars.optional("ENRICH_ROLE_ARN"),
            },
            log_level: vars
                .optional("LOG_LEVEL")
                .unwrap_or_else(|| "info".to_owned()),
        };
        vars.finish(config)
    }

    /// The cluster, signed in as these parameters say.
    ///
    /// # Errors
    /// If the master user's secret cannot be read, or the URL cannot be used.
    pub async fn connect(&self) -> anyhow::Result<Search> {
        let aws = aws_config::from_env().load().await;
        let auth = match &self.master_secret_id {
            Some(id) => {
                let secrets = aws_sdk_secretsmanager::Client::new(&aws);
                let secret = secrets
                    .get_secret_value()
                    .secret_id(id)
                    .send()
                    .await
                    .context("the master user's secret")?;
                let user: MasterUser =
                    serde_json::from_str(secret.secret_string().unwrap_or_default())
                        .context("the master user's secret is not {\"username\",\"password\"}")?;
                Auth::Basic {
                    user: user.username,
                    password: user.password,
                }
            }
            None if self.signed => Auth::SigV4(Box::new(aws)),
            None => Auth::None,
        };
        Ok(Search::connect(&self.opensearch_url, auth)?)
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
    fn every_wrong_key_is_reported() {
        let error = config(&[("OPENSEARCH_AUTH", "maybe"), ("INDEX_SHARDS", "0")]).unwrap_err();
        for part in ["OPENSEARCH_URL", "OPENSEARCH_AUTH", "INDEX_SHARDS"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
