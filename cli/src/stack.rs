//! A whole stack on this machine: servers, deployment, functions, shop.

use crate::build::build;
use crate::dashboard;
use crate::deploy;
use crate::install::{Installed, install};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::run_record::RunRecord;
use crate::servers::{MiniStack, OpenSearch, free_port};
use crate::shop::Shop;
use anyhow::{Context as _, Result};
use freshet_local::cloud::{CloudOptions, LocalCloud, aws_config};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Loopback ports; 0 is any that is free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// The HTTP API.
    pub http: u16,
    /// The demo shop.
    pub shop: u16,
    /// The AWS emulator.
    pub aws: u16,
    /// OpenSearch.
    pub search: u16,
}

/// How to start a stack.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// Where its state is kept; `.local` in the checkout by default.
    pub state: Option<PathBuf>,
    /// Where it listens.
    pub ports: Ports,
    /// Shards of the stream; 4 if 0.
    pub shards: u32,
    /// Throw away what an earlier run has indexed.
    pub fresh: bool,
    /// Variables that replace a function's own, by logical id.
    pub overrides: BTreeMap<String, Vec<(String, String)>>,
    /// How long a minute of the schedules is, by which health runs. None = it
    /// does not run, and posts no probes between the events of others.
    pub minute: Option<Duration>,
    /// Timeouts that replace a function's own, by logical id.
    pub timeouts: BTreeMap<String, Duration>,
    /// Parameters of the template, beside or instead of those for a laptop.
    pub parameters: Vec<(&'static str, String)>,
}

/// Where a stack can be reached; `endpoints.json` in its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// Post events here.
    pub collect_url: String,
    /// Read aggregations here.
    pub query_url: String,
    /// The demo shop.
    pub shop_url: String,
    /// The dashboards, in a browser.
    pub dashboard_url: String,
    /// OpenSearch.
    pub opensearch_url: String,
    /// The newest events, in a browser.
    pub search_url: String,
    /// The AWS emulator.
    pub aws_endpoint: String,
    /// Its region.
    pub region: String,
    /// The CloudFormation stack.
    pub stack: String,
    /// The stream.
    pub stream: String,
    /// The queue of events that the stream refused.
    pub dead_letter_queue_url: String,
    /// The bucket of dead letters.
    pub dead_letter_bucket: String,
    /// The alias that events are written to.
    pub write_alias: String,
}

impl Endpoints {
    /// The state that health saw last is here.
    #[must_use]
    pub fn health_url(&self) -> String {
        let api = self.query_url.strip_suffix("/aggregations");
        format!("{}/health", api.unwrap_or(&self.query_url))
    }

    fn path(state: &Path) -> PathBuf {
        state.join("endpoints.json")
    }

    /// Where the stack with this state can be reached.
    ///
    /// # Errors
    /// If it is not up.
    pub fn read(state: &Path) -> Result<Self> {
        let path = Self::path(state);
        let bytes = std::fs::read(&path)
            .with_context(|| format!("{} (is the stack up? `./freshet up`)", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }
}

/// A running stack. End it with [`Stack::stop`]; dropped, its servers are killed.
pub struct Stack {
    /// Where it can be reached.
    pub endpoints: Endpoints,
    /// Its functions and mappings.
    pub cloud: LocalCloud,
    /// Its search server, to stop and start again.
    pub opensearch: OpenSearch,
    /// Where its state is.
    pub paths: Paths,
    ministack: MiniStack,
    shop: Shop,
    record: RunRecord,
}

impl Stack {
    /// Installs what is missing, starts the servers, deploys the template and
    /// starts its functions.
    ///
    /// # Errors
    /// Says which step failed; what was started is ended.
    pub async fn start(options: StackOptions, progress: &Progress) -> Result<Self> {
        let paths = Paths::new(options.state.as_deref())?;
        let mut record = RunRecord::begin(paths.state()).await?;
        let installed = install(&paths, progress).await?;
        // Asked for before minutes of building, not after. One that is to be
        // chosen is chosen when it is bound: until then, another would take it.
        for (port, flag) in [
            (options.ports.http, "--http-port"),
            (options.ports.shop, "--shop-port"),
        ] {
            if port != 0 {
                free_port(port, flag)?;
            }
        }
        let servers = async {
            let (opensearch, ministack) = servers(&paths, &installed, &options, progress).await?;
            record.set("OpenSearch", opensearch.process_id())?;
            record.set("MiniStack", Some(ministack.process_id()))?;
            Ok((opensearch, ministack))
        };
        let ((opensearch, ministack), bootstraps) =
            tokio::try_join!(servers, build(&paths, progress))?;

        let step = progress.step("template");
        step.note("creating the stack");
        let aws = aws_config(ministack.url()).await;
        let shards = if options.shards == 0 {
            4
        } else {
            options.shards
        };
        let mut parameters = BTreeMap::from([
            ("OpenSearchUrl", opensearch.url().to_owned()),
            ("OpenSearchAuth", "none".to_owned()),
            ("ShardCount", shards.to_string()),
            // One node: no replicas, and few shards to search.
            ("IndexShards", "2".to_owned()),
            ("IndexReplicas", "0".to_owned()),
            ("IndexRefreshInterval", "1s".to_owned()),
            // Neither is part of what is published for a laptop.
            ("OnMissing", "skip".to_owned()),
            ("DashboardsUrl", "none".to_owned()),
            // It listens on this machine only, and there is no IAM to ask.
            ("QueryAuthorization", "NONE".to_owned()),
        ]);
        parameters.extend(options.parameters);
        let parameters: Vec<_> = parameters.into_iter().collect();
        deploy::deploy(
            &aws,
            ministack.url(),
            paths.checkout(),
            &bootstraps,
            &parameters,
        )
        .await?;
        step.done("deployed: stream, queue, bucket, API, functions");

        let step = progress.step("local cloud");
        // The emulator's stream is a new one: old checkpoints mean nothing.
        let checkpoints = paths.state().join("checkpoints");
        if checkpoints.exists() {
            std::fs::remove_dir_all(&checkpoints)?;
        }
        let cloud = LocalCloud::start(&CloudOptions {
            aws_endpoint: ministack.url().to_owned(),
            stack_name: deploy::STACK_NAME.to_owned(),
            bootstraps,
            layers: vec![("/opt/lookups".to_owned(), installed.lookups.clone())],
            state: paths.state().to_path_buf(),
            http_port: options.ports.http,
            overrides: options.overrides,
            minute: options.minute,
            timeouts: options.timeouts,
        })
        .await?;
        let collect_url = format!("{}/v1/events", cloud.api.url);
        let output = |key: &str| {
            cloud
                .outputs
                .get(key)
                .cloned()
                .with_context(|| format!("the stack has no output {key}"))
        };
        let write_alias = output("WriteAlias")?;
        let search_url = format!(
            "{}/{write_alias}/_search?pretty&sort=received_at:desc&size=20",
            opensearch.url()
        );
        let query_url = format!("{}/v1/aggregations", cloud.api.url);
        let charts = &installed.charts;
        let page = dashboard::routes(paths.checkout(), charts, opensearch.url(), &query_url)?;
        let shop = Shop::start(
            paths.checkout(),
            paths.cache(),
            options.ports.shop,
            &cloud.api.url,
            &search_url,
            page,
        )
        .await?;
        let endpoints = Endpoints {
            collect_url,
            query_url,
            shop_url: shop.url.clone(),
            dashboard_url: format!("{}/dashboard", shop.url),
            opensearch_url: opensearch.url().to_owned(),
            search_url,
            aws_endpoint: ministack.url().to_owned(),
            region: freshet_local::REGION.to_owned(),
            stack: deploy::STACK_NAME.to_owned(),
            stream: output("StreamName")?,
            dead_letter_queue_url: output("DeadLetterQueueUrl")?,
            dead_letter_bucket: output("DeadLetterBucketName")?,
            write_alias,
        };
        std::fs::write(
            Endpoints::path(paths.state()),
            serde_json::to_vec_pretty(&endpoints)?,
        )?;
        step.done("functions, mapping, HTTP API, shop");
        progress.finish();
        Ok(Self {
            endpoints,
            cloud,
            opensearch,
            paths,
            ministack,
            shop,
            record,
        })
    }

    /// Ends everything that was started, in order.
    ///
    /// # Errors
    /// Names what does not end.
    pub async fn stop(self) -> Result<()> {
        let _ = std::fs::remove_file(Endpoints::path(self.paths.state()));
        drop(self.shop);
        self.cloud.shutdown().await;
        let mut opensearch = self.opensearch;
        let (first, second) = tokio::join!(self.ministack.stop(), opensearch.stop());
        first.and(second)?;
        self.record.end()
    }
}

/// Both servers, started side by side.
async fn servers(
    paths: &Paths,
    installed: &Installed,
    options: &StackOptions,
    progress: &Progress,
) -> Result<(OpenSearch, MiniStack)> {
    let search_port = free_port(options.ports.search, "--search-port")?;
    let aws_port = free_port(options.ports.aws, "--aws-port")?;
    let mut opensearch = OpenSearch::new(paths, installed, search_port, options.fresh)?;
    let (search_step, aws_step) = (progress.step("OpenSearch"), progress.step("MiniStack"));
    search_step.note("starting");
    aws_step.note("starting");
    let (started, ministack) = tokio::join!(
        opensearch.start(),
        MiniStack::start(paths, installed, aws_port)
    );
    started?;
    let ministack = ministack?;
    search_step.done(opensearch.url());
    aws_step.done(ministack.url());
    Ok((opensearch, ministack))
}
