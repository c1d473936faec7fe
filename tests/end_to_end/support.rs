//! A stack for one test, and what tests ask of it.

use anyhow::{Context as _, Result, ensure};
use freshet::progress::Progress;
use freshet::servers::free_port;
use freshet::stack::{Ports, Stack, StackOptions};
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running stack with proxies in front of what collect and enrich talk to.
pub(crate) struct Bench {
    pub(crate) stack: Stack,
    /// Between collect and the AWS services.
    pub(crate) aws: FaultProxy,
    /// Between enrich and OpenSearch.
    pub(crate) search: FaultProxy,
    /// Between enrich and DynamoDB.
    pub(crate) tables: FaultProxy,
    pub(crate) http: reqwest::Client,
    options: StackOptions,
}

/// An answer of collect.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The results' statuses, in order.
    pub(crate) fn statuses(&self) -> Vec<&str> {
        let results = self.body["results"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        results
            .iter()
            .filter_map(|result| result["status"].as_str())
            .collect()
    }
}

impl Bench {
    /// A fresh stack; `name` keeps its state apart.
    pub(crate) async fn start(name: &str) -> Result<Self> {
        Self::start_with(name, &[]).await
    }

    /// A fresh stack whose collect has these variables.
    pub(crate) async fn start_with(name: &str, collect: &[(&str, &str)]) -> Result<Self> {
        Self::start_from(name, collect, StackOptions::default()).await
    }

    /// A fresh stack whose collect has these variables, and with these options
    /// as far as tests do not need others.
    pub(crate) async fn start_from(
        name: &str,
        collect: &[(&str, &str)],
        options: StackOptions,
    ) -> Result<Self> {
        let ports = Ports {
            aws: free_port(0, "")?,
            search: free_port(0, "")?,
            ..options.ports
        };
        let aws = FaultProxy::start(&format!("http://127.0.0.1:{}", ports.aws)).await?;
        let search = FaultProxy::start(&format!("http://127.0.0.1:{}", ports.search)).await?;
        let tables = FaultProxy::start(&format!("http://127.0.0.1:{}", ports.aws)).await?;
        let mut of_collect = vec![("AWS_ENDPOINT_URL".to_owned(), aws.url.clone())];
        of_collect.extend(
            collect
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let mut overrides = options.overrides;
        overrides.extend([
            ("CollectFunction".to_owned(), of_collect),
            (
                "EnrichFunction".to_owned(),
                vec![
                    ("OPENSEARCH_URL".to_owned(), search.url.clone()),
                    ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), tables.url.clone()),
                ],
            ),
        ]);
        let state = state_folder(name);
        if state.exists() {
            std::fs::remove_dir_all(&state)?;
        }
        let options = StackOptions {
            state: Some(state),
            ports,
            shards: 4,
            fresh: true,
            overrides,
            ..options
        };
        let stack = Stack::start(options.clone(), &Progress::silent()).await?;
        Ok(Self {
            stack,
            options,
            aws,
            search,
            tables,
            http: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    /// Ends the stack; what it leaves behind is thrown away.
    pub(crate) async fn stop(self) -> Result<()> {
        let (state, run) = (
            self.stack.paths.state().to_owned(),
            self.stack.paths.opensearch_run(),
        );
        self.stack.stop().await?;
        std::fs::remove_dir_all(state)?;
        if run.exists() {
            std::fs::remove_dir_all(run)?;
        }
        Ok(())
    }

    /// Stops the stack, does `meanwhile`, and starts it again at the same
    /// addresses, as far as its ports were chosen: with what it had indexed, and
    /// an emulator that knows nothing any more.
    pub(crate) async fn restart(self, meanwhile: impl Future<Output = Result<()>>) -> Result<Self> {
        self.stack.stop().await?;
        meanwhile.await?;
        let options = StackOptions {
            fresh: false,
            ..self.options.clone()
        };
        let stack = Stack::start(options, &Progress::silent()).await?;
        Ok(Self { stack, ..self })
    }

    /// Posts a body as JSON.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Result<Answer> {
        self.post_with(&[("content-type", "application/json")], body)
            .await
    }

    /// Posts a body with these headers.
    pub(crate) async fn post_with(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer> {
        let mut request = self.http.post(&self.stack.endpoints.collect_url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok(Answer {
            status,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }

    /// An answer as JSON, whatever its status.
    pub(crate) async fn get(&self, url: &str) -> Result<Value> {
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// From now on, whenever `pick` picks a request to the index, the index
    /// does it, and enrich does not live to hear of it.
    pub(crate) fn kill_enrich_after(
        &self,
        mut pick: impl FnMut(&Seen<'_>) -> bool + Send + 'static,
    ) {
        let enrich = Arc::clone(&self.stack.cloud.functions["EnrichFunction"]);
        self.search.set(move |seen: &Seen<'_>| {
            if !pick(seen) {
                return Verdict::Forward;
            }
            let enrich = Arc::clone(&enrich);
            let kill = move |_| {
                enrich.kill_environments();
                None
            };
            Verdict::Change(seen.body.clone(), Box::new(kill))
        });
    }

    /// Sends a request to OpenSearch itself.
    pub(crate) async fn opensearch(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        let url = format!("{}/{path}", self.stack.endpoints.opensearch_url);
        let request = self.http.request(method.parse()?, url).json(&body);
        Ok(request.send().await?.json().await?)
    }

    /// How many documents all indices of the alias hold.
    pub(crate) async fn count(&self) -> Result<u64> {
        self.opensearch("POST", "clickstream/_refresh", json!({}))
            .await?;
        let answer = self
            .opensearch("POST", "clickstream/_count", json!({}))
            .await?;
        answer["count"].as_u64().with_context(|| answer.to_string())
    }

    /// Waits until the alias holds so many documents and nothing is under way,
    /// and makes sure that it stays so.
    pub(crate) async fn settled_at(&self, count: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let idle = self.stack.cloud.is_idle();
            let seen = self.count().await;
            if idle && matches!(seen, Ok(seen) if seen == count) {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                let after = self.count().await?;
                if after == count && self.stack.cloud.is_idle() {
                    return Ok(());
                }
                ensure!(
                    after == count,
                    "{after} documents in the end instead of {count}"
                );
            }
            ensure!(
                Instant::now() < deadline,
                "{seen:?} documents instead of {count}, idle: {idle}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The document of an event, searched for by its id.
    pub(crate) async fn document(&self, event_id: &str) -> Result<Value> {
        let query = json!({"query": {"term": {"event_id": event_id}}});
        let answer = self
            .opensearch("POST", "clickstream/_search", query)
            .await?;
        let hits = answer["hits"]["hits"]
            .as_array()
            .with_context(|| answer.to_string())?;
        ensure!(hits.len() == 1, "{event_id} is there {} times", hits.len());
        Ok(hits[0]["_source"].clone())
    }

    /// Every object of the dead-letter bucket under a prefix, as text.
    pub(crate) async fn dead_letters(&self, prefix: &str) -> Result<Vec<String>> {
        let aws = freshet_local::cloud::aws_config(&self.stack.endpoints.aws_endpoint).await;
        let bucket = &self.stack.endpoints.dead_letter_bucket;
        let store =
            freshet_deadletters::DeadLetterStore::new(freshet_local::cloud::s3(&aws), bucket);
        let mut texts = Vec::new();
        for object in store.list(prefix).await? {
            let bytes = store.get(&object.key).await?;
            texts.push(
                freshet_deadletters::object::text(&bytes)
                    .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()),
            );
        }
        Ok(texts)
    }

    /// The bodies of the messages in the queue; they stay there.
    pub(crate) async fn queued(&self) -> Result<Vec<String>> {
        let aws = freshet_local::cloud::aws_config(&self.stack.endpoints.aws_endpoint).await;
        let sqs = aws_sdk_sqs::Client::new(&aws);
        let request = sqs
            .receive_message()
            .queue_url(&self.stack.endpoints.dead_letter_queue_url);
        let answer = request
            .max_number_of_messages(10)
            .visibility_timeout(0)
            .send()
            .await?;
        Ok(answer
            .messages()
            .iter()
            .filter_map(|message| message.body().map(str::to_owned))
            .collect())
    }

    /// Everything that the functions have logged.
    pub(crate) fn logs(&self) -> Result<String> {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.stack.paths.state().join("logs"))? {
            let path = entry?.path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with("Function.log"))
            {
                all.push_str(&std::fs::read_to_string(path)?);
            }
        }
        Ok(all)
    }
}

/// Runs one of `tests/browser/`'s scripts; what it prints last is JSON.
pub(crate) fn browser(script: &str, arguments: &[&str]) -> Result<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let output = Command::new("node")
        .arg("--experimental-websocket")
        .arg(folder.join(script))
        .args(arguments)
        .output()
        .context("node")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout)?;
    let last = printed.trim().lines().last().context("nothing printed")?;
    Ok(serde_json::from_str(last)?)
}

pub(crate) fn state_folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("freshet-e2e-{name}-{}", std::process::id()))
}

/// Now, as clients write it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// An event with this id; `extra` replaces or adds fields.
pub(crate) fn event(event_id: &str, extra: Value) -> Value {
    let user = event_id.len() + event_id.bytes().map(usize::from).sum::<usize>() % 97;
    let mut event = json!({
        "event_id": event_id,
        "user_id": format!("user-{user}"),
        "session_id": format!("session-{user}"),
        "event_type": "page_view",
        "page_url": "https://shop.example/products?sort=new",
        "timestamp": now(),
        "metadata": {"referrer": "https://search.example/"},
    });
    if let (Some(fields), Value::Object(extra)) = (event.as_object_mut(), extra) {
        fields.extend(extra);
    }
    event
}

/// Bodies of `per_body` events each, `count` in all, ids `prefix-0` and so on.
pub(crate) fn bodies(prefix: &str, count: usize, per_body: usize) -> Vec<String> {
    let ids: Vec<usize> = (0..count).collect();
    ids.chunks(per_body)
        .map(|chunk| {
            let events: Vec<Value> = chunk
                .iter()
                .map(|n| event(&format!("{prefix}-{n}"), json!({})))
                .collect();
            json!({"events": events}).to_string()
        })
        .collect()
}
