//! The SDKs of Segment and RudderStack, unmodified, told one address: each walks
//! from a landing page to a purchase, and every call is found once - though each
//! one's first answer is lost, its second is 429, and the stack is stopped and
//! started again halfway.

use crate::support::Bench;
use anyhow::{Context as _, Result, bail, ensure};
use freshet::servers::free_port;
use freshet::stack::{Ports, StackOptions};
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What the walks call before the pause and in all, whatever the SDK.
const BEFORE: u64 = 4;
const CALLS: u64 = 10;
/// No write key.
const NO_KEY: &str = "no-key";
const PATIENCE: Duration = Duration::from_secs(120);

/// An SDK; the name is that of its source, and of its write key with `-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sdk {
    SegmentBrowser,
    RudderBrowser,
    SegmentNode,
    RudderNode,
    SegmentPython,
}

const SDKS: [Sdk; 5] = [
    Sdk::SegmentBrowser,
    Sdk::RudderBrowser,
    Sdk::SegmentNode,
    Sdk::RudderNode,
    Sdk::SegmentPython,
];

impl Sdk {
    const fn source(self) -> &'static str {
        match self {
            Self::SegmentBrowser => "segment-browser",
            Self::RudderBrowser => "rudder-browser",
            Self::SegmentNode => "segment-node",
            Self::RudderNode => "rudder-node",
            Self::SegmentPython => "segment-python",
        }
    }

    const fn in_a_browser(self) -> bool {
        matches!(self, Self::SegmentBrowser | Self::RudderBrowser)
    }

    /// Whose request this is, if it carries calls or asks whether it may.
    fn of(seen: &Seen<'_>) -> Option<Self> {
        match seen.path {
            "/v1/p" | "/v1/t" | "/v1/i" => Some(Self::SegmentBrowser),
            "/v1/page" | "/v1/track" | "/v1/identify" => Some(Self::RudderBrowser),
            "/v1/batch" => match seen.header("user-agent").split('/').next() {
                Some("analytics-node-next") => Some(Self::SegmentNode),
                Some("analytics-node") => Some(Self::RudderNode),
                Some("analytics-python") => Some(Self::SegmentPython),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A walk under way.
struct Walk {
    sdk: Sdk,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Walk {
    fn start(sdk: Sdk, bench: &Bench, endpoint: &str, key: &str) -> Result<Self> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let node = |script: &str| {
            let mut command = Command::new("node");
            command
                .arg("--experimental-websocket")
                .arg(tests.join(script));
            command
        };
        let mut command = match sdk {
            Sdk::SegmentBrowser | Sdk::RudderBrowser => {
                let page = match sdk {
                    Sdk::SegmentBrowser => "segment",
                    _ => "rudderstack",
                };
                let shop = &bench.stack.endpoints.shop_url;
                let mut command = node("browser/sdk.mjs");
                command
                    .arg(format!(
                        "{shop}/{page}?writeKey={key}&endpoint={endpoint}&utm_source=newsletter&utm_campaign=spring"
                    ))
                    .arg(pictures(bench)?)
                    .args((key == NO_KEY).then_some("refused"));
                command
            }
            Sdk::SegmentNode | Sdk::RudderNode => {
                let mut command = node(match sdk {
                    Sdk::SegmentNode => "sdks/segment_node.mjs",
                    _ => "sdks/rudder_node.mjs",
                });
                command.arg(&installed()?.0).args([endpoint, key]);
                command
            }
            Sdk::SegmentPython => {
                let mut command = Command::new(installed()?.1);
                command
                    .arg(tests.join("sdks/segment_python.py"))
                    .args([endpoint, key]);
                command
            }
        };
        let log = bench.stack.paths.log(&format!("sdk-{}", sdk.source()));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().context("stdin")?;
        let lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        Ok(Self {
            sdk,
            child,
            input,
            lines,
        })
    }

    /// The next thing it says, which has `field`.
    async fn says(&mut self, field: &str) -> Result<Value> {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
                .await
                .with_context(|| format!("{:?} does not say {field}", self.sdk))??
                .with_context(|| format!("{:?} ended before {field}", self.sdk))?;
            // An SDK may write on the same pipe.
            if let Ok(Value::Object(said)) = serde_json::from_str(&line)
                && said.contains_key(field)
            {
                return Ok(Value::Object(said));
            }
        }
    }

    /// Lets it go on.
    async fn go_on(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"\n").await?)
    }

    /// What the SDK said of every call, once it has nothing left to do.
    async fn end(mut self) -> Result<Value> {
        let said = self.says("calls").await?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "{:?}: {status}", self.sdk);
        Ok(said)
    }
}

fn pictures(bench: &Bench) -> Result<PathBuf> {
    let pictures = bench.stack.paths.state().join("pictures");
    std::fs::create_dir_all(&pictures)?;
    Ok(pictures)
}

/// The packages' folder and the Python, by the installer's own word.
fn installed() -> Result<(String, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdks/install.sh");
    let output = std::process::Command::new(script).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8(output.stdout)?;
    let (packages, python) = told.trim().split_once('\n').context("two lines")?;
    Ok((packages.to_owned(), python.to_owned()))
}

/// How many requests of each SDK have come.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<Sdk, u32>>>);

impl Counts {
    fn add(&self, sdk: Sdk) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(sdk).or_default();
        *count += 1;
        *count
    }

    fn of(&self, sdk: Sdk) -> u32 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&sdk).copied().unwrap_or_default()
    }
}

/// Which attempt this is, by the SDK's own word: 0 is the first.
fn attempt(seen: &Seen<'_>) -> u32 {
    let said = ["x-retry-count", "rsa-retry-attempt"].map(|name| seen.header(name).parse().ok());
    said.into_iter().flatten().next().unwrap_or_default()
}

/// Loses the answer of every first attempt, and answers the second with 429.
fn bad_day(proxy: &FaultProxy, lost: Counts, limited: Counts) {
    let batches = Counts::default();
    proxy.set(move |seen| {
        let Some(sdk) = Sdk::of(seen).filter(|_| seen.method == "POST") else {
            return Verdict::Forward;
        };
        // RudderStack's for Node numbers nothing.
        let attempt = match sdk {
            Sdk::RudderNode => batches.add(sdk) - 1,
            _ => attempt(seen),
        };
        match attempt {
            0 => {
                lost.add(sdk);
                Verdict::Change(seen.body.clone(), Box::new(|_| None))
            }
            1 => {
                limited.add(sdk);
                Verdict::Answer(
                    429,
                    bytes::Bytes::from_static(
                        b"{\"success\":false,\"code\":\"slow_down\",\"message\":\"slow down\"}",
                    ),
                )
            }
            _ => Verdict::Forward,
        }
    });
}

async fn give_keys(bench: &Bench) -> Result<()> {
    let aws = freshet_local::cloud::aws_config(&bench.stack.endpoints.aws_endpoint).await;
    let keys: serde_json::Map<String, Value> = SDKS
        .iter()
        .map(|sdk| (format!("{}-key", sdk.source()), json!(sdk.source())))
        .collect();
    let secrets = aws_sdk_secretsmanager::Client::new(&aws);
    let secret = secrets.create_secret().name("freshet-write-keys");
    secret
        .secret_string(Value::Object(keys).to_string())
        .send()
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_sdks_walk_through_a_bad_day() -> Result<()> {
    installed()?;
    let options = StackOptions {
        ports: Ports {
            http: free_port(0, "")?,
            shop: free_port(0, "")?,
            ..Ports::default()
        },
        ..StackOptions::default()
    };
    let keys = [("WRITE_KEYS_SECRET_ID", "freshet-write-keys")];
    let bench = Bench::start_from("sdks", &keys, options).await?;
    give_keys(&bench).await?;
    let proxy = FaultProxy::start_as_host(&bench.stack.cloud.api.url).await?;

    a_wrong_key_is_said_once(&bench, &proxy).await?;

    let (lost, limited) = (Counts::default(), Counts::default());
    bad_day(&proxy, lost.clone(), limited.clone());
    let mut walks = Vec::new();
    for sdk in SDKS {
        walks.push(Walk::start(
            sdk,
            &bench,
            &proxy.url,
            &format!("{}-key", sdk.source()),
        )?);
    }
    for walk in &mut walks {
        walk.says("paused").await?;
    }
    let of_each = SDKS.len() as u64;
    bench.settled_at(of_each * BEFORE).await?;
    for sdk in SDKS {
        let limits = async || Ok(limited.of(sdk) > 0);
        until(&format!("a 429 for {sdk:?}"), limits).await?;
        ensure!(lost.of(sdk) > 0, "{sdk:?} lost no answer");
    }

    let down = Counts::default();
    let counts = down.clone();
    proxy.set(move |seen| {
        Sdk::of(seen).map(|sdk| counts.add(sdk));
        Verdict::Forward
    });
    let bench = bench
        .restart(async {
            for walk in &mut walks {
                walk.go_on().await?;
                walk.says("called").await?;
            }
            // Each has tried in vain.
            until("every SDK to try", async || {
                Ok(SDKS.iter().all(|sdk| down.of(*sdk) > 0))
            })
            .await
        })
        .await?;
    give_keys(&bench).await?;
    bench.settled_at(of_each * CALLS).await?;
    for mut walk in walks {
        let sdk = walk.sdk;
        if sdk.in_a_browser() {
            // It was kept open; a program ends when its SDK is done.
            walk.go_on().await?;
        }
        let said = walk.end().await?;
        found(&bench, sdk, &said)
            .await
            .with_context(|| format!("{sdk:?}"))?;
    }
    // Nothing came after: what the SDKs sent again is there already.
    bench.settled_at(of_each * CALLS).await?;
    bench.stop().await
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await? {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Every call of the walk is one document, with what the walk said of it.
async fn found(bench: &Bench, sdk: Sdk, said: &Value) -> Result<()> {
    let calls = said["calls"].as_array().context("calls")?;
    ensure!(calls.len() as u64 == CALLS, "{said}");
    let mut types = BTreeMap::<String, u32>::new();
    for call in calls {
        ensure!(call["failed"].is_null(), "the SDK says so: {call}");
        let id = call["id"].as_str().context("an id")?;
        let query = json!({"query": {"bool": {"filter": [
            {"term": {"event_id": id}}, {"term": {"source": sdk.source()}},
        ]}}});
        let answer = bench
            .opensearch("POST", "clickstream/_search", query)
            .await?;
        let hits = answer["hits"]["hits"].as_array().context("hits")?;
        ensure!(hits.len() == 1, "{id} is there {} times", hits.len());
        let document = &hits[0]["_source"];
        let name = call["call"].as_str().unwrap_or_default();
        let wanted = match name {
            "page" => "page_view",
            "Product Viewed" => "product_viewed",
            "Product Added" => "add_to_cart",
            "Checkout Started" => "checkout_start",
            "Order Completed" => "purchase",
            "identify" => "identify",
            other => bail!("{other} is no call of the walk"),
        };
        ensure!(document["event_type"] == wanted, "{name}: {document}");
        let browser = if sdk.in_a_browser() {
            "Chrom"
        } else {
            "Firefox"
        };
        let parsed = document["user_agent_parsed"]["name"].as_str();
        ensure!(
            parsed.is_some_and(|name| name.contains(browser)),
            "{document}"
        );
        ensure!(
            document["page_url"]
                .as_str()
                .is_some_and(|url| url.starts_with("http")),
            "{document}"
        );
        *types.entry(wanted.to_owned()).or_default() += 1;
        if wanted == "purchase" {
            let amount = if sdk.in_a_browser() {
                said["amount"].as_f64()
            } else {
                Some(36.0)
            };
            ensure!(
                amount.is_some() && document["revenue"].as_f64() == amount,
                "{document}"
            );
            ensure!(document["is_conversion"] == true, "{document}");
        }
    }
    let wanted = [
        ("add_to_cart", 1),
        ("checkout_start", 1),
        ("identify", 1),
        ("page_view", 5),
        ("product_viewed", 1),
        ("purchase", 1),
    ];
    let wanted = wanted.map(|(name, count)| (name.to_owned(), count));
    ensure!(types == BTreeMap::from(wanted), "{types:?}");
    // Each step has its own address.
    let query = json!({"size": 20, "query": {"bool": {"filter": [
        {"term": {"source": sdk.source()}}, {"term": {"event_type": "page_view"}},
    ]}}});
    let answer = bench
        .opensearch("POST", "clickstream/_search", query)
        .await?;
    let hits = answer["hits"]["hits"].as_array().context("hits")?;
    for step in ["/product/", "/cart", "/checkout", "/thanks"] {
        let at = |hit: &Value| {
            hit["_source"]["url_path"]
                .as_str()
                .is_some_and(|path| path.contains(step))
        };
        ensure!(hits.iter().any(at), "no page view of {step}: {answer}");
    }
    Ok(())
}

/// With a wrong key every SDK is told so, says so, and does not ask again.
async fn a_wrong_key_is_said_once(bench: &Bench, proxy: &FaultProxy) -> Result<()> {
    let (requests, repeated) = (Counts::default(), Counts::default());
    let (counts, again) = (requests.clone(), repeated.clone());
    let mut bodies = BTreeSet::new();
    proxy.set(move |seen| {
        if let Some(sdk) = Sdk::of(seen).filter(|_| seen.method == "POST") {
            counts.add(sdk);
            // What one without numbers sends again is the same to the byte.
            if attempt(seen) > 0 || !bodies.insert(seen.body.clone()) {
                again.add(sdk);
            }
        }
        Verdict::Forward
    });
    let mut walks = Vec::new();
    for sdk in SDKS {
        walks.push(Walk::start(sdk, bench, &proxy.url, NO_KEY)?);
    }
    for mut walk in walks {
        let sdk = walk.sdk;
        if !sdk.in_a_browser() {
            walk.says("paused").await?;
            walk.go_on().await?;
        }
        let said = walk.end().await?;
        let calls = said["calls"].as_array().context("calls")?;
        if sdk.in_a_browser() {
            // They are told before they send a call, and then send none.
            let told = said.to_string();
            ensure!(told.contains("write_key_invalid"), "{sdk:?}: {said}");
            ensure!(calls.len() == 1 && requests.of(sdk) == 0, "{sdk:?}: {said}");
            continue;
        }
        ensure!(calls.len() as u64 == CALLS, "{said}");
        let unsaid = calls.iter().find(|call| !call["failed"].is_string());
        ensure!(unsaid.is_none(), "{sdk:?} does not say so: {unsaid:?}");
        let (sent, again) = (requests.of(sdk), repeated.of(sdk));
        ensure!(sent > 0 && again == 0, "{sdk:?} asked {again} times again");
        if sdk == Sdk::SegmentPython {
            ensure!(said.to_string().contains("write_key_invalid"), "{said}");
        }
    }
    bench.settled_at(0).await
}
