//! `freshet cost`: dollars a month and a million events, before a deployment
//! from its template, and after it from what CloudWatch has counted.

mod account;
mod deployed;
mod plan;
mod report;
mod text;
mod usage;

use crate::paths::Paths;
use anyhow::{Context as _, Result, bail};
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use clap::Args;
use deployed::Deployed;
use freshet_cost::{PriceList, Traffic};
use plan::{Plan, pair};
use report::Report;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// A server that accepts a request and never answers must not hold the command.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Say what a stack costs: a month, and a million events.
///
/// Before a deployment, from template.yaml and what is to come; after it, with
/// --stack, from what CloudWatch has counted. docs/cost.md has the formula.
#[derive(Args, Clone, Debug)]
#[command(allow_negative_numbers = true)]
pub struct Cost {
    /// Events, on average over a month
    #[arg(long, value_name = "EVENTS", default_value_t = 100.0)]
    events_per_second: f64,
    /// Events in the busiest minutes [default: twice the average]
    #[arg(long, value_name = "EVENTS")]
    peak_events_per_second: Option<f64>,
    /// One event, as JSON
    #[arg(long, value_name = "BYTES", default_value_t = 600.0)]
    event_bytes: f64,
    /// How many a client sends at once
    #[arg(long, value_name = "EVENTS", default_value_t = 1.0)]
    events_per_request: f64,
    /// How many users they belong to: one user's are packed into one record
    #[arg(long, value_name = "USERS", default_value_t = 1.0)]
    users_per_request: f64,
    /// Events of a session until it ends
    #[arg(long, value_name = "EVENTS", default_value_t = 12.0)]
    events_per_session: f64,
    /// Reads of aggregations
    #[arg(long, value_name = "READS", default_value_t = 0.2)]
    queries_per_second: f64,
    /// How long events stay in the index, as its lifecycle policy has it
    #[arg(long, value_name = "DAYS", default_value_t = 30.0)]
    retention_days: f64,
    /// Take the parameters of this stage of samconfig.toml: dev, staging, prod
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Set a parameter of the template, as for sam deploy
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// Another template; samconfig.toml is looked for beside it [default: template.yaml of the checkout]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Another price list, of the form of shared/cost/prices/
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// A deployed stack, by its CloudFormation name: what it has used
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = [
            "events_per_second", "peak_events_per_second", "event_bytes", "events_per_request", "users_per_request",
            "events_per_session", "queries_per_second", "retention_days", "stage", "parameters", "template",
        ]
    )]
    stack: Option<String>,
    /// Over how many days, up to now; then scaled to a month
    #[arg(long, value_name = "DAYS", default_value_t = 1, requires = "stack", value_parser = clap::value_parser!(u16).range(1..=60))]
    days: u16,
    /// The stack's region [default: the environment's]
    #[arg(long, value_name = "REGION", requires = "stack")]
    region: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Cost {
    /// Runs the command.
    ///
    /// # Errors
    /// Says which figure, parameter, file or stack is wrong.
    pub async fn run(self) -> Result<()> {
        let prices = self.price_list()?;
        let report = match &self.stack {
            Some(stack) => self.of_stack(stack, &prices).await?,
            None => self.of_plan(&prices)?,
        };
        let mut stdout = std::io::stdout();
        let text = if self.json {
            serde_json::to_string_pretty(&report)? + "\n"
        } else {
            text::of(&report, stdout.is_terminal())
        };
        match stdout.write_all(text.as_bytes()) {
            // Who reads only the first lines has read them.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    fn price_list(&self) -> Result<PriceList> {
        let Some(path) = &self.prices else {
            return Ok(PriceList::built_in()?);
        };
        let json = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        PriceList::from_json(&json).with_context(|| path.display().to_string())
    }

    fn of_plan(&self, prices: &PriceList) -> Result<Report> {
        let traffic = Traffic {
            events_per_second: self.events_per_second,
            peak_events_per_second: self
                .peak_events_per_second
                .unwrap_or(self.events_per_second * 2.0),
            event_bytes: self.event_bytes,
            events_per_request: self.events_per_request,
            users_per_request: self.users_per_request,
            events_per_session: self.events_per_session,
            queries_per_second: self.queries_per_second,
            ..Traffic::default()
        }
        .checked()?;
        if !(self.retention_days >= 1.0 && self.retention_days <= 3_650.0) {
            bail!(
                "retention days is {}: it must be 1 to 3,650",
                self.retention_days
            );
        }
        let template = match &self.template {
            Some(template) => template.clone(),
            None => Paths::new(None)?.checkout().join("template.yaml"),
        };
        let plan = Plan::read(&template, self.stage.as_deref(), &self.parameters)?;
        let mut deployment = plan.deployment;
        deployment.index_days = self.retention_days;
        Report::of_plan(&plan.name, &traffic, &deployment, prices)
    }

    async fn of_stack(&self, stack: &str, prices: &PriceList) -> Result<Report> {
        let mut loader = aws_config::from_env().timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let aws = loader.load().await;
        let end_s = jiff::Timestamp::now().as_second();
        of_deployed(stack, self.days, end_s, &aws, prices).await
    }
}

/// What the stack called `name` has used in the `days` before `end_s`.
async fn of_deployed(
    name: &str,
    days: u16,
    end_s: i64,
    aws: &SdkConfig,
    prices: &PriceList,
) -> Result<Report> {
    let deployed = Deployed::describe(name, aws).await?;
    let used = usage::of(&deployed, days, end_s, aws).await?;
    Report::of_usage(&deployed, &used, prices)
}

#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;
