//! A search server without the rest of a stack.

use anyhow::{Context as _, Result};
use freshet::install::install;
use freshet::paths::Paths;
use freshet::progress::Progress;
use freshet::servers::{OpenSearch, free_port};
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use freshet_search::Auth;
use provision::outcome::Report;
use provision::provision::{ProvisionError, Target, provision};
use provision::settings::{OnMissing, Settings};
use provision::sign_in::{DashboardsUrl, connect};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// A fresh server with a proxy in front that keeps what changes something.
pub(super) struct Node {
    opensearch: OpenSearch,
    paths: Paths,
    pub(super) http: reqwest::Client,
    /// Kept running.
    _proxy: FaultProxy,
    target: Target,
    changes: Arc<Mutex<Vec<String>>>,
}

/// As the local stack is provisioned: without what its server does not have.
pub(super) fn settings() -> Settings {
    Settings {
        shards: 2,
        replicas: 0,
        refresh_interval: "1s".to_owned(),
        on_missing: OnMissing::Skip,
        ..Settings::default()
    }
}

impl Node {
    pub(super) async fn start(name: &str) -> Result<Self> {
        let state = std::env::temp_dir().join(format!("freshet-e2e-{name}-{}", std::process::id()));
        let paths = Paths::new(Some(&state))?;
        let installed = install(&paths, &Progress::silent()).await?;
        let mut opensearch = OpenSearch::new(&paths, &installed, free_port(0, "")?, true)?;
        opensearch.start().await?;
        let proxy = FaultProxy::start(opensearch.url()).await?;
        let changes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&changes);
        proxy.set(move |seen: &Seen<'_>| {
            if !matches!(seen.method, "GET" | "HEAD") && !seen.path.contains("_bulk_get") {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(format!("{} {}", seen.method, seen.path));
            }
            Verdict::Forward
        });
        Ok(Self {
            opensearch,
            paths,
            http: reqwest::Client::builder().no_proxy().build()?,
            target: connect(&proxy.url, &DashboardsUrl::Beside, Auth::None)?,
            _proxy: proxy,
            changes,
        })
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.opensearch.stop().await?;
        let (state, run) = (self.paths.state().to_owned(), self.paths.opensearch_run());
        std::fs::remove_dir_all(state)?;
        if run.exists() {
            std::fs::remove_dir_all(run)?;
        }
        Ok(())
    }

    /// Provisions through the proxy; Dashboards is asked for beside the server.
    pub(super) async fn provision(&self, settings: &Settings) -> Result<Report, ProvisionError> {
        provision(&self.target, settings).await
    }

    /// The server behind the proxy, for provisions of a test's own.
    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    /// What was sent since the last time that changes something.
    pub(super) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request to the server itself.
    pub(super) async fn send(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        let (status, answer) = self.answer(method, path, body).await?;
        anyhow::ensure!(status < 300, "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    /// A request's status and answer, whatever they are.
    pub(super) async fn answer(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value)> {
        let url = format!("{}/{path}", self.opensearch.url());
        let mut request = self.http.request(method.parse()?, url);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.context("not JSON")?))
    }

    /// Sends lines to `_bulk`; every item must be taken.
    pub(super) async fn bulk(&self, lines: String) -> Result<usize> {
        let url = format!("{}/_bulk", self.opensearch.url());
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-ndjson");
        let answer: Value = request.body(lines).send().await?.json().await?;
        let items = answer["items"].as_array().context("no items")?;
        for item in items {
            let status = item["create"]["status"].as_u64();
            anyhow::ensure!(status == Some(201), "{item}");
        }
        Ok(items.len())
    }
}
