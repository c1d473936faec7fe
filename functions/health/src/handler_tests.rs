//! Runs against one server in place of everything, and what of it is broken.

use super::*;
use crate::stand_in::{at, metric_data, throttled};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_search::Auth;
use freshet_telemetry::Written;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const NOW_MS: i64 = 1_795_730_423_000;

/// Everything that health looks at, in one.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Services that answer with an error.
    broken: BTreeSet<&'static str>,
    /// Services that do not answer.
    hanging: BTreeSet<&'static str>,
    /// The probe that collect has taken.
    posted: Option<String>,
    keys: BTreeSet<String>,
    /// The report that was put.
    report: Option<Value>,
    /// What is asked of CloudWatch, and its points: by metric, of all periods.
    queries: Vec<Query>,
    points: BTreeMap<Asked, f64>,
    shards: (&'static str, u32),
}

use crate::series::Asked;

impl Respond for World {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let target = request.headers.get("x-amz-target");
        let target = target.map_or("", |target| target.to_str().unwrap());
        let path = request.url.path();
        let service = match (target.split(['_', '.']).next().unwrap(), path) {
            ("DynamoDB", _) => "dynamodb",
            ("Kinesis", _) => "kinesis",
            ("AmazonSQS", _) => "sqs",
            ("secretsmanager", _) => "secrets",
            (_, "/v1/events") => "collect",
            (_, path) if path.contains("GetMetricData") => "cloudwatch",
            (_, path) if path.starts_with("/2021-01-01/opensearch") => "domain",
            (_, path) if path.starts_with("/bucket") => "s3",
            _ => "search",
        };
        if state.hanging.contains(service) {
            return ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
        }
        if state.broken.contains(service) {
            return match service {
                "cloudwatch" => throttled(),
                _ => ResponseTemplate::new(500),
            };
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match service {
            "cloudwatch" => state.metrics(),
            "s3" => {
                ResponseTemplate::new(200).set_body_string("<ListBucketResult></ListBucketResult>")
            }
            _ => {
                let key = request.headers.get("x-write-key");
                state
                    .keys
                    .extend(key.map(|key| key.to_str().unwrap().to_owned()));
                let answer = state.answer(service, path, target, &body);
                ResponseTemplate::new(200).set_body_json(answer)
            }
        }
    }
}

impl State {
    fn metrics(&self) -> ResponseTemplate {
        let span = Series::until(NOW_MS, 60_000, ledger::PERIODS).span_ms();
        let results: Vec<_> = self
            .queries
            .iter()
            .enumerate()
            .map(|(place, query)| {
                let value = self.points.get(&query.asked);
                let points = value.iter().flat_map(|value| {
                    let times = (span.start / 1_000..span.end / 1_000).step_by(60);
                    times.map(|at| (at, **value))
                });
                (cloudwatch::id(place), points.collect())
            })
            .collect();
        metric_data(&results)
    }

    fn answer(&mut self, service: &str, path: &str, target: &str, body: &Value) -> Value {
        match (service, path) {
            ("domain", _) => json!({"DomainState": "Active", "ClusterHealth": "Green"}),
            ("kinesis", _) => json!({"StreamDescriptionSummary": {
                "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s", "StreamStatus": self.shards.0,
                "RetentionPeriodHours": 168, "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [], "OpenShardCount": self.shards.1}}),
            ("sqs", _) => json!({"Attributes": {"ApproximateNumberOfMessages": "0"}}),
            ("secrets", _) => json!({"Name": "k", "SecretString": r#"{"a":"shop","k":"probe"}"#}),
            ("collect", _) => {
                assert_eq!(body["synthetic"], true);
                self.posted = body["event_id"].as_str().map(str::to_owned);
                json!({"results": [{"index": 0, "event_id": body["event_id"], "status": "ok"}]})
            }
            ("dynamodb", _) if target.ends_with("PutItem") => {
                let text = body["Item"]["body"]["S"].as_str().unwrap();
                let mut report: Value = serde_json::from_str(text).unwrap();
                report["status"] = body["Item"]["status"]["S"].clone();
                self.report = Some(report);
                json!({})
            }
            ("dynamodb", _) if body["Key"]["pk"]["S"] == "health" => json!({}),
            ("dynamodb", _) if body["Key"]["sk"]["S"] == "latest" => {
                json!({"Item": {"window_end": {"N": "60"}, "expires_at": {"N": "9999999999"}}})
            }
            ("dynamodb", _) => {
                let ids: Vec<_> = self.posted.iter().collect();
                let slot = json!({"result": {"events": 1, "event_ids": ids}}).to_string();
                let slot = STANDARD.encode(zstd::bulk::compress(slot.as_bytes(), 1).unwrap());
                json!({"Item": {"window_start": {"N": "0"}, "window_end": {"N": "60"}, "updated_at": {"N": "1"},
                    "approximate": {"BOOL": false}, "body": {"B": slot}, "expires_at": {"N": "9999999999"}}})
            }
            (_, "/_cluster/health") => {
                json!({"status": "green", "number_of_nodes": 1, "active_primary_shards": 6,
                "active_shards": 6, "relocating_shards": 0, "initializing_shards": 0, "unassigned_shards": 0})
            }
            (_, "/_cluster/stats") => {
                json!({"indices": {"docs": {"count": 1}, "store": {"size_in_bytes": 1}}})
            }
            (_, "/_nodes/stats/fs,jvm") => {
                json!({"nodes": {"a": {"fs": {"total": {"total_in_bytes": 100, "available_in_bytes": 50}},
                "jvm": {"mem": {"heap_used_percent": 40}}}}})
            }
            (_, "/clickstream/_search") => {
                let asked = body.pointer("/query/bool/filter/0/term/event_id").unwrap();
                assert_eq!(asked.as_str(), self.posted.as_deref());
                json!({"hits": {"total": {"value": 1, "relation": "eq"}}})
            }
            other => panic!("{other:?} is not expected"),
        }
    }
}

struct Fixture {
    world: World,
    handler: Handler,
    written: Written,
    server: Option<MockServer>,
}

impl Fixture {
    async fn new() -> Self {
        let server = MockServer::builder().start().await;
        let world = World::default();
        Mock::given(any())
            .respond_with(world.clone())
            .mount(&server)
            .await;
        let uri = server.uri();
        let (collect, queue) = (format!("{uri}/v1/events"), format!("{uri}/queue"));
        let vars = [
            ("STACK_NAME", "stack"),
            ("COLLECT_URL", &collect),
            ("WRITE_KEYS_SECRET_ID", "keys"),
            ("STREAM_NAME", "s"),
            ("CONSUMERS", "enrich=e,aggregate=a"),
            ("DEAD_LETTER_QUEUE_URL", &queue),
            ("DEAD_LETTER_BUCKET", "bucket"),
            ("ENRICH_MAPPING_ID", "m"),
            ("OPENSEARCH_URL", &uri),
            ("OPENSEARCH_DOMAIN", "d"),
            ("AGGREGATION_TABLE", "t"),
            ("AWS_ENDPOINT_URL", &uri),
        ];
        let config = Config::from_vars(vars.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        let (metrics, written) = Metrics::kept("stack");
        let search = Search::connect(&uri, Auth::None).unwrap();
        let handler = Handler::new(config, &at(&uri), search, metrics).unwrap();
        let steady = [
            (Asked::Ours("collect", "Accepted"), 100.0),
            (Asked::Ours("enrich", "Indexed"), 100.0),
            (Asked::Incoming, 10.0),
            (Asked::IteratorAge(crate::config::Stage::Enrich), 50.0),
            (Asked::IteratorAge(crate::config::Stage::Aggregate), 60.0),
        ];
        world.with(|state| {
            state.queries.clone_from(&handler.queries);
            state.points = steady.into();
            state.shards = ("ACTIVE", 2);
        });
        Self {
            world,
            handler,
            written,
            server: Some(server),
        }
    }

    /// One run with little time for the checks, which only those need that hang.
    async fn run_at(&self, now_ms: i64) -> (Report, Value) {
        let before = self.written.lines().len();
        let by = Instant::now() + END_TIME + Duration::from_secs(5);
        let now = Timestamp::from_millis(now_ms).unwrap();
        let report = self.handler.run("r", now, by).await;
        let lines: Vec<Value> = self.written.lines()[before..]
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let own: Vec<_> = lines
            .iter()
            .filter(|line| line["Stage"] == "health")
            .collect();
        assert_eq!(own.len(), 1, "one line, whatever happened");
        (report, own[0].clone())
    }

    async fn run(&self) -> (Report, Value) {
        self.run_at(NOW_MS).await
    }
}

impl World {
    fn with<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }
}

/// The checks that failed, as the line has it.
fn failed(line: &Value) -> BTreeSet<&'static str> {
    let failed = Check::ALL.into_iter().map(Check::as_str).filter(|check| {
        let value = line[format!("CheckFailed.{check}")].as_f64();
        value.expect("each check is in the line") > 0.0
    });
    let failed: BTreeSet<_> = failed.collect();
    assert_eq!(line["ChecksFailed"].as_f64(), Some(failed.len() as f64));
    failed
}

#[tokio::test]
async fn when_all_is_well_it_says_so() {
    let fixture = Fixture::new().await;
    let (report, line) = fixture.run().await;
    assert_eq!(
        report.status.as_str(),
        "healthy",
        "{}",
        serde_json::to_string(&report).unwrap()
    );
    assert_eq!(failed(&line), [].into());
    for (metric, value) in [
        ("ClusterStatus", 0.0),
        ("DomainHealth", 0.0),
        ("DiskUsedPercent", 50.0),
        ("HeapUsedPercent", 40.0),
        ("Shards", 2.0),
        ("WriteThrottles", 0.0),
        ("DeadLetterQueueDepth", 0.0),
        ("DeadLetters", 0.0),
        ("GivenUp", 0.0),
        ("LedgerResidue", 0.0),
        ("LedgerUnbalanced", 0.0),
        ("ProbeFailed", 0.0),
        ("ColdStarts", 1.0),
    ] {
        assert_eq!(line[metric].as_f64(), Some(value), "{metric} in {line}");
    }
    for metric in [
        "ProbeAccepted",
        "ProbeSearchable",
        "ProbeCounted",
        "Duration",
    ] {
        assert!(line[metric].is_number(), "{metric}");
    }
    let lines: Vec<Value> = fixture
        .written
        .lines()
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let ages: Vec<_> = lines
        .iter()
        .filter_map(|l| Some((l["Stage"].as_str()?, l.get("IteratorAge")?.as_f64()?)))
        .collect();
    assert_eq!(ages, [("aggregate", 60.0), ("enrich", 50.0)]);
    // The report is what query shows, and holds nothing but numbers and names.
    let stored = fixture.world.with(|state| state.report.take()).unwrap();
    assert_eq!(stored["status"], "healthy");
    assert_eq!(
        stored["checks"]["pipeline"]["values"]["enrich"]["events_out"],
        100.0
    );
    assert_eq!(stored["checks"]["stream"]["status"], "ok");
    assert!(stored.to_string().len() < 3_000, "{stored}");
    assert_eq!(
        fixture.world.with(|state| state.keys.clone()),
        ["k".to_owned()].into()
    );
}

#[tokio::test]
async fn each_broken_service_fails_its_checks_alone() {
    let cases: [(&str, &[&str], &str); 8] = [
        ("search", &["search", "probe"], "unhealthy"),
        ("domain", &["domain"], "degraded"),
        ("kinesis", &["stream"], "unhealthy"),
        (
            "cloudwatch",
            &["stream", "lag", "pipeline", "ledger"],
            "unhealthy",
        ),
        ("sqs", &["dead_letters"], "degraded"),
        ("s3", &["dead_letters"], "degraded"),
        ("collect", &["probe"], "unhealthy"),
        ("secrets", &["probe"], "unhealthy"),
    ];
    let runs = cases.map(|(service, checks, status)| async move {
        let fixture = Fixture::new().await;
        fixture.world.with(|state| state.broken.insert(service));
        let (report, line) = fixture.run().await;
        assert_eq!(failed(&line), checks.iter().copied().collect(), "{service}");
        assert_eq!(report.status.as_str(), status, "{service}");
        let stored = fixture.world.with(|state| state.report.take()).unwrap();
        assert_eq!(stored["status"], status);
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_check_that_hangs_fails_alone() {
    let cases: [(_, &[&str]); 4] = [
        ("kinesis", &["stream"]),
        ("cloudwatch", &["stream", "lag", "pipeline", "ledger"]),
        ("search", &["search", "probe"]),
        ("s3", &["dead_letters"]),
    ];
    let runs = cases.map(|(service, checks)| async move {
        let fixture = Fixture::new().await;
        fixture.world.with(|state| state.hanging.insert(service));
        let (_, line) = fixture.run().await;
        assert_eq!(failed(&line), checks.iter().copied().collect(), "{service}");
        assert!(fixture.world.with(|state| state.report.take()).is_some());
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn opensearch_down_is_as_bad_as_can_be() {
    let fixture = Fixture::new().await;
    fixture.world.with(|state| state.broken.insert("search"));
    let (_, line) = fixture.run().await;
    assert_eq!(line["ClusterStatus"], 3.0);
    assert_eq!(
        (line["ProbeFailed"].as_f64(), line.get("Nodes")),
        (Some(1.0), None)
    );
    assert!(
        line["ProbeAccepted"].is_number(),
        "collect still takes events"
    );
    assert!(line.get("ProbeSearchable").is_none() && line["ProbeCounted"].is_number());
    assert_eq!(
        line["DomainHealth"], 0.0,
        "the control plane may know better"
    );
}

#[tokio::test]
async fn dynamodb_down_leaves_metrics_and_everything_else() {
    for hangs in [false, true] {
        let fixture = Fixture::new().await;
        fixture.world.with(|state| {
            if hangs {
                &mut state.hanging
            } else {
                &mut state.broken
            }
            .insert("dynamodb")
        });
        let (report, line) = fixture.run().await;
        assert!(failed(&line).contains("probe"));
        assert_eq!(line["ProbeFailed"], 1.0);
        assert!(line["ProbeSearchable"].is_number());
        assert_eq!(line["ClusterStatus"], 0.0);
        assert_eq!(report.status.as_str(), "unhealthy");
        assert!(fixture.world.with(|state| state.report.take()).is_none());
    }
}

#[tokio::test]
async fn cloudwatch_throttling_leaves_what_is_not_cloudwatchs() {
    let fixture = Fixture::new().await;
    fixture
        .world
        .with(|state| state.broken.insert("cloudwatch"));
    let (report, line) = fixture.run().await;
    assert_eq!(
        (line["Shards"].as_f64(), line["ProbeFailed"].as_f64()),
        (Some(2.0), Some(0.0))
    );
    for unknown in ["LedgerUnbalanced", "LedgerResidue", "WriteThrottles"] {
        assert!(line.get(unknown).is_none(), "{unknown} is not known");
    }
    let message = report.checks[&Check::Ledger].message.as_deref();
    assert_eq!(message, Some("CloudWatch answered ThrottlingException"));
}

#[tokio::test]
async fn with_everything_broken_at_once_there_is_still_a_line() {
    let all = [
        "search",
        "domain",
        "kinesis",
        "cloudwatch",
        "sqs",
        "s3",
        "collect",
        "secrets",
        "dynamodb",
    ];
    let mut fixture = Fixture::new().await;
    for hangs in [false, true] {
        fixture.world.with(|state| {
            let which = if hangs {
                &mut state.hanging
            } else {
                &mut state.broken
            };
            which.extend(all);
        });
        let (report, line) = fixture.run().await;
        assert_eq!(
            failed(&line),
            Check::ALL.map(Check::as_str).into(),
            "hangs: {hangs}"
        );
        assert_eq!(report.status.as_str(), "unhealthy");
        assert_eq!(
            (&line["ClusterStatus"], &line["DomainHealth"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(line["ProbeFailed"], 1.0);
    }
    drop(fixture.server.take());
    let (report, line) = fixture.run().await;
    assert_eq!(failed(&line).len(), 8, "nobody is there");
    // What it says of that names no address and no key.
    let said = serde_json::to_string(&report).unwrap();
    assert!(
        !said.contains("127.0.0.1") && !said.contains("http"),
        "{said}"
    );
}

#[tokio::test]
async fn without_any_event_all_is_well() {
    let fixture = Fixture::new().await;
    fixture.world.with(|state| state.points.clear());
    let (report, line) = fixture.run().await;
    assert_eq!(report.status.as_str(), "healthy");
    assert_eq!(
        (line["LedgerUnbalanced"].as_f64(), failed(&line)),
        (Some(0.0), [].into())
    );
    let lines = fixture.written.lines();
    assert!(
        lines.iter().any(|line| line.contains("\"LagRecords\":0")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn while_a_shard_splits_open_ones_count() {
    let fixture = Fixture::new().await;
    fixture.world.with(|state| state.shards = ("UPDATING", 3));
    let (report, line) = fixture.run().await;
    assert_eq!(
        (report.status.as_str(), &line["Shards"]),
        ("healthy", &json!(3))
    );
}

#[tokio::test]
async fn a_clock_that_goes_back_changes_nothing() {
    let fixture = Fixture::new().await;
    for now_ms in [NOW_MS, NOW_MS - 3_600_000, 0, NOW_MS] {
        let (report, line) = fixture.run_at(now_ms).await;
        assert_eq!(report.checked_at.as_millis(), now_ms);
        assert_eq!(failed(&line), [].into(), "{now_ms}");
        assert!(fixture.world.with(|state| state.report.take()).is_some());
    }
}
