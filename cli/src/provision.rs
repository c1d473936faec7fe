//! `freshet provision`: what the Lambda does, from a shell.

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use freshet_search::Auth;
use provision::provision::provision;
use provision::settings::{OnMissing, RoleArns, Settings, Tiers};
use provision::sign_in::{self, DashboardsUrl};

/// Bring a cluster to what this version needs: templates, lifecycle, roles, first write index, dashboards.
///
/// Doing it again changes nothing.
#[derive(Args, Clone, Debug)]
pub struct Provision {
    /// The cluster.
    #[arg(long)]
    url: String,
    /// Sign in as this user.
    #[arg(long, requires = "password_env", conflicts_with = "sigv4")]
    user: Option<String>,
    /// Name of the environment variable that holds the user's password.
    #[arg(long, requires = "user")]
    password_env: Option<String>,
    /// Sign requests with the AWS credentials of this shell.
    #[arg(long)]
    sigv4: bool,
    /// Where Dashboards answers; none skips it. By default _dashboards on the cluster.
    #[arg(long)]
    dashboards_url: Option<String>,
    /// What to do where the policy API or Dashboards is absent or refuses: fail, skip.
    #[arg(long, default_value = "fail", value_parser = on_missing)]
    on_missing: OnMissing,
    /// The write alias.
    #[arg(long, default_value = "clickstream")]
    alias: String,
    /// Primary shards of each backing index.
    #[arg(long, default_value_t = 6)]
    shards: u32,
    /// Replicas of each shard.
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// How soon a document is searchable.
    #[arg(long, default_value = "5s")]
    refresh_interval: String,
    /// Where old indices go: `none`, `box_type`, `ultrawarm`, `ultrawarm_cold`.
    #[arg(long, default_value = "none", value_parser = tiers)]
    tiers: Tiers,
    /// IAM role that may index, where fine-grained access control is on.
    #[arg(long)]
    enrich_role_arn: Option<String>,
    /// IAM role that may read the cluster's health.
    #[arg(long)]
    health_role_arn: Option<String>,
    /// IAM roles that may read events and use Dashboards, separated by commas.
    #[arg(long, value_delimiter = ',')]
    analyst_role_arns: Vec<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What failed, and its first cause; what lies between says the same again.
fn in_one_sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let cause = cause.to_string();
    if text.contains(&cause) {
        text
    } else {
        format!("{text}: {cause}")
    }
}

fn tiers(text: &str) -> Result<Tiers, String> {
    one_of(text, &Tiers::WORDS)
}

fn on_missing(text: &str) -> Result<OnMissing, String> {
    one_of(text, &OnMissing::WORDS)
}

fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("it is one of {}", words.join(", "))
    })
}

impl Provision {
    /// Runs the command.
    ///
    /// # Errors
    /// Says at which step, and what the cluster said.
    pub async fn run(self) -> Result<()> {
        let auth = match (&self.user, &self.password_env) {
            (Some(user), Some(variable)) => Auth::Basic {
                user: user.clone(),
                password: std::env::var(variable).with_context(|| variable.clone())?,
            },
            _ if self.sigv4 => Auth::SigV4(Box::new(aws_config::from_env().load().await)),
            _ => Auth::None,
        };
        let dashboards = DashboardsUrl::parse(self.dashboards_url.as_deref());
        let target = sign_in::connect(&self.url, &dashboards, auth)?;
        let dry_run = self.dry_run;
        eprintln!("asking {} (it may take two minutes to come up) …", self.url);
        let report = provision(&target, &self.settings())
            .await
            .map_err(|error| anyhow!(in_one_sentence(&error)))?;
        print!("{report}");
        if dry_run {
            println!("\nnothing was changed: this is what would be");
        }
        Ok(())
    }

    fn settings(self) -> Settings {
        Settings {
            alias: self.alias,
            shards: self.shards,
            replicas: self.replicas,
            refresh_interval: self.refresh_interval,
            tiers: self.tiers,
            on_missing: self.on_missing,
            role_arns: RoleArns {
                enrich: self.enrich_role_arn,
                health: self.health_role_arn,
                analysts: self.analyst_role_arns,
                provision: None,
            },
            dry_run: self.dry_run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        provision: Provision,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let all = ["provision", "--url", "http://x"];
        Cli::try_parse_from(all.iter().chain(arguments))
            .map(|cli| cli.provision.settings())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_it_is_the_articles() {
        assert_eq!(parse(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn an_error_is_one_sentence() {
        let cause = std::io::Error::other("connection refused");
        let error = anyhow::Error::new(cause)
            .context("no answer")
            .context("wait: no answer");
        assert_eq!(
            in_one_sentence(error.as_ref()),
            "wait: no answer: connection refused"
        );
        let alone = std::io::Error::other("alone");
        assert_eq!(in_one_sentence(&alone), "alone");
    }

    #[test]
    fn words_and_what_belongs_together_are_checked() {
        let settings = parse(&["--tiers", "ultrawarm", "--on-missing", "skip", "--dry-run"]);
        let settings = settings.unwrap();
        assert_eq!(
            (settings.tiers, settings.on_missing, settings.dry_run),
            (Tiers::UltraWarm, OnMissing::Skip, true)
        );
        let wrong = parse(&["--tiers", "lukewarm"]).unwrap_err();
        assert!(
            wrong.contains("none, box_type, ultrawarm, ultrawarm_cold"),
            "{wrong}"
        );
        assert!(parse(&["--user", "admin"]).is_err(), "no password");
        let both = ["--sigv4", "--user", "a", "--password-env", "P"];
        assert!(parse(&both).is_err(), "two ways to sign in");
    }
}
