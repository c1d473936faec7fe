//! A queue, a bucket and a stream in one fake, whose state says what a replay did.

use super::*;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_deadletters::object::{Batch, UndecodableItem, write};
use freshet_deadletters::queue_message::QueueMessage;
use freshet_events::wire::Record;
use freshet_events::{Code, Event, Rejection, Stage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

#[derive(Default)]
struct State {
    /// Body and sent time; a taken one is out of sight.
    messages: BTreeMap<String, (String, i64)>,
    hidden: BTreeSet<String>,
    objects: BTreeMap<String, (Vec<u8>, &'static str)>,
    /// Event ids, in the order the stream took them.
    stream: Vec<String>,
    /// Records the stream still takes before it throttles.
    budget: Option<usize>,
    /// Whether the queue refuses to delete.
    keeps: bool,
    /// Whether CloudWatch refuses metrics; what it took otherwise.
    mute: bool,
    metrics: Vec<Vec<u8>>,
    gets: usize,
}

#[derive(Clone, Default)]
struct FakeCloud(Arc<Mutex<State>>);

impl Respond for FakeCloud {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        if request.url.path().ends_with("/operation/PutMetricData") {
            return state.put_metric_data(request);
        }
        let Some(target) = request.headers.get("x-amz-target") else {
            return state.s3(request);
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        match target.to_str().unwrap().rsplit_once('.').unwrap().1 {
            "PutRecords" => state.put_records(&body),
            "ReceiveMessage" => state.receive(),
            "DeleteMessage" if state.keeps => ResponseTemplate::new(403),
            "DeleteMessage" => {
                let receipt = body["ReceiptHandle"].as_str().unwrap();
                state.messages.remove(receipt).expect("a message once");
                state.hidden.remove(receipt);
                ResponseTemplate::new(200).set_body_json(json!({}))
            }
            "ChangeMessageVisibilityBatch" => {
                for entry in body["Entries"].as_array().unwrap() {
                    assert_eq!(entry["VisibilityTimeout"], 0);
                    state
                        .hidden
                        .remove(entry["ReceiptHandle"].as_str().unwrap());
                }
                ResponseTemplate::new(200).set_body_json(json!({"Successful": [], "Failed": []}))
            }
            other => panic!("{other} is not expected"),
        }
    }
}

impl State {
    fn put_records(&mut self, body: &Value) -> ResponseTemplate {
        let mut answers = Vec::new();
        for record in body["Records"].as_array().unwrap() {
            if self.budget == Some(0) {
                answers.push(json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}));
                continue;
            }
            self.budget = self.budget.map(|records| records - 1);
            let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            let record = Record::open(&data).unwrap();
            for event in record.split().unwrap() {
                self.stream
                    .push(Event::from_wire(event).unwrap().event_id().to_owned());
            }
            answers.push(json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"}));
        }
        ResponseTemplate::new(200)
            .set_body_json(json!({"FailedRecordCount": 0, "Records": answers}))
    }

    fn put_metric_data(&mut self, request: &Request) -> ResponseTemplate {
        let answer = ResponseTemplate::new(if self.mute { 403 } else { 200 });
        self.metrics.push(request.body.clone());
        answer
            .insert_header("smithy-protocol", "rpc-v2-cbor")
            .set_body_raw(vec![0xa0], "application/cbor")
    }

    fn receive(&mut self) -> ResponseTemplate {
        let seen: Vec<_> = self
            .messages
            .iter()
            .filter(|(id, _)| !self.hidden.contains(*id))
            .take(10)
            .collect();
        let messages: Vec<_> = seen
            .iter()
            .map(|(id, (body, sent_ms))| {
                json!({"MessageId": id, "ReceiptHandle": id, "Body": body, "Attributes": {"SentTimestamp": sent_ms.to_string()}})
            })
            .collect();
        let ids: Vec<String> = seen.iter().map(|(id, _)| (*id).clone()).collect();
        self.hidden.extend(ids);
        ResponseTemplate::new(200).set_body_json(json!({"Messages": messages}))
    }

    fn s3(&mut self, request: &Request) -> ResponseTemplate {
        let prefix = request.url.query_pairs().find(|(name, _)| name == "prefix");
        if let Some((_, prefix)) = prefix {
            let mut contents = String::new();
            for (key, (_, modified)) in self
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with(prefix.as_ref()))
            {
                write!(
                    contents,
                    "<Contents><Key>{key}</Key><LastModified>{modified}</LastModified></Contents>"
                )
                .unwrap();
            }
            return ResponseTemplate::new(200)
                .set_body_string(format!("<ListBucketResult>{contents}</ListBucketResult>"));
        }
        self.gets += 1;
        let key = request.url.path().strip_prefix("/bucket/").unwrap();
        match self.objects.get(key) {
            Some((body, _)) => ResponseTemplate::new(200).set_body_bytes(body.clone()),
            None => ResponseTemplate::new(404),
        }
    }
}

struct Fixture {
    cloud: FakeCloud,
    clients: Clients,
    _server: MockServer,
}

impl Fixture {
    async fn new() -> Self {
        let server = MockServer::start().await;
        let cloud = FakeCloud::default();
        Mock::given(any())
            .respond_with(cloud.clone())
            .mount(&server)
            .await;
        let credentials = Credentials::new("test", "test", None, None, "test");
        let uri = server.uri();
        macro_rules! config {
            ($sdk:ident) => {
                $sdk::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new("us-east-1"))
                    .credentials_provider(credentials.clone())
                    .endpoint_url(uri.clone())
                    .retry_config(RetryConfig::disabled())
            };
        }
        let kinesis = aws_sdk_kinesis::Client::from_conf(config!(aws_sdk_kinesis).build());
        let sqs = aws_sdk_sqs::Client::from_conf(config!(aws_sdk_sqs).build());
        let cloudwatch = aws_sdk_cloudwatch::Client::from_conf(
            config!(aws_sdk_cloudwatch)
                .disable_request_compression(true)
                .build(),
        );
        let s3 = aws_sdk_s3::Client::from_conf(config!(aws_sdk_s3).force_path_style(true).build());
        let clients = Clients {
            stream: Stream::new(kinesis, "events"),
            queue: ReplayQueue::new(sqs, format!("{uri}/queue")),
            store: DeadLetterStore::new(s3, "bucket"),
            metric: Replayed::new(cloudwatch, "freshet"),
        };
        Self {
            cloud,
            clients,
            _server: server,
        }
    }

    /// One letter of each kind, with two events each and one that is in two.
    async fn with_each_kind() -> Self {
        let fixture = Self::new().await;
        fixture.message("m-1", &["q-1", "q-2"], 2_000);
        fixture.object("rejected/a", rejected(&["r-1", "r-2"]));
        fixture.object("undecodable/a", undecodable(&["u-1", "u-2"]));
        fixture.object("aws/lambda/a", on_failure(&["f-1", "q-2"]));
        fixture
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.cloud.0.lock().unwrap())
    }

    fn message(&self, id: &str, events: &[&str], sent_ms: i64) {
        let events: Vec<_> = events
            .iter()
            .map(|id| serde_json::value::to_raw_value(&wire_event(id)).unwrap())
            .collect();
        let body = QueueMessage::new("m", events.iter().map(AsRef::as_ref).collect()).to_body();
        self.state(|state| state.messages.insert(id.to_owned(), (body, sent_ms)));
    }

    fn object(&self, key: &str, body: Vec<u8>) {
        self.state(|state| {
            state
                .objects
                .insert(key.to_owned(), (body, "1970-01-01T00:00:02Z"))
        });
    }

    async fn run(&self, options: &Options) -> Summary {
        let mut letters = 0;
        let mut watch = |_: &Summary| letters += 1;
        run(options, &self.clients, &mut watch).await.unwrap()
    }

    fn stream(&self) -> Vec<String> {
        self.state(|state| {
            let mut ids = std::mem::take(&mut state.stream);
            ids.sort();
            ids
        })
    }
}

fn wire_event(id: &str) -> Value {
    json!({"event_id": id, "source": "shop", "user_id": format!("user-of-{id}"), "session_id": "s", "event_type": "page_view",
        "page_url": "https://a.example/p", "timestamp": 1000, "received_at": 2000, "metadata": {}})
}

fn packed(id: &str) -> Vec<u8> {
    let mut packer = freshet_events::wire::Packer::new();
    packer.push(wire_event(id).to_string().as_bytes());
    packer.finish()
}

fn rejected(ids: &[&str]) -> Vec<u8> {
    let item = |id: &&str| {
        json!({"stage": "index", "code": format!("code_of_{id}"), "message": "m", "sequence_number": "1", "position": 0, "event": {
            "@timestamp": "2026-11-23T00:00:00.000Z", "event_id": id, "source": "shop", "user_id": "u", "session_id": "s",
            "event_type": "page_view", "page_url": "https://a.example/p", "received_at": "2026-11-23T00:00:01.000Z", "metadata": {}}})
    };
    write(&ids.iter().map(item).collect::<Vec<_>>()).unwrap()
}

fn undecodable(ids: &[&str]) -> Vec<u8> {
    let rejection = Rejection::new(Stage::Unpack, Code::RecordUndecodable, "m");
    let batch = Batch {
        shard_id: "s",
        first_sequence_number: "1",
        arrived_at: Timestamp::EPOCH,
    };
    let items: Vec<_> = ids
        .iter()
        .map(|id| UndecodableItem::new(&rejection, &batch, "1", None, &packed(id)))
        .collect();
    write(&items).unwrap()
}

fn on_failure(ids: &[&str]) -> Vec<u8> {
    on_failure_of(ids.iter().map(|id| packed(id)).collect())
}

fn on_failure_of(records: Vec<Vec<u8>>) -> Vec<u8> {
    let record = |data: Vec<u8>| {
        json!({"eventID": "shardId-000000000000:1", "kinesis": {"sequenceNumber": "1", "partitionKey": "u",
            "data": STANDARD.encode(data), "approximateArrivalTimestamp": 1.0}})
    };
    let records: Vec<_> = records.into_iter().map(record).collect();
    json!({"requestContext": {"condition": "RetryAttemptsExhausted"}, "payload": json!({"Records": records}).to_string()})
        .to_string()
        .into_bytes()
}

fn quick() -> Options {
    Options {
        patience: Duration::from_millis(100),
        ..Options::default()
    }
}

/// A file of this test alone, gone at its end.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("freshet-replay-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn every_kind_goes_back_on_the_stream_each_event_once() {
    let fixture = Fixture::with_each_kind().await;
    let summary = fixture.run(&quick()).await;
    assert!(summary.is_complete(), "{summary}");
    assert_eq!(
        fixture.stream(),
        ["f-1", "q-1", "q-2", "r-1", "r-2", "u-1", "u-2"]
    );
    assert_eq!((summary.total().events(), summary.total().repeated), (8, 1));
    assert_eq!(
        summary.total().letters,
        5,
        "a letter counts under each of its codes"
    );
    assert!(
        fixture.state(|state| state.messages.is_empty()),
        "what the stream has is deleted"
    );
    assert_eq!(
        fixture.state(|state| state.objects.len()),
        3,
        "the bucket keeps its objects"
    );
    // The second time, only the bucket is left, and every event is the same one.
    let again = fixture.run(&quick()).await;
    assert!(again.is_complete());
    assert_eq!(fixture.stream(), ["f-1", "q-2", "r-1", "r-2", "u-1", "u-2"]);
}

#[tokio::test]
async fn notices_are_passed_over_and_told() {
    let notice = || b"\x03{\"at\":1,\"source\":\"shop\",\"rejected\":{\"field_empty\":2}}".to_vec();
    let fixture = Fixture::new().await;
    fixture.object("aws/lambda/a", on_failure_of(vec![notice(), packed("f-1")]));
    fixture.object("aws/lambda/b", on_failure_of(vec![notice(), notice()]));
    for dry_run in [true, false] {
        let options = Options { dry_run, ..quick() };
        let summary = fixture.run(&options).await;
        assert!(summary.is_complete(), "{summary}");
        let total = summary.total();
        assert_eq!((total.letters, total.events(), summary.notices), (2, 1, 3));
        let text = summary.to_string();
        assert!(text.contains("passed over 3 notices"), "{text}");
        let put: &[&str] = if dry_run { &[] } else { &["f-1"] };
        assert_eq!(fixture.stream(), put);
    }
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let fixture = Fixture::with_each_kind().await;
    let file = TempFile::new("dry");
    let options = Options {
        dry_run: true,
        progress: Some(file.path().to_owned()),
        ..quick()
    };
    let summary = fixture.run(&options).await;
    assert_eq!(
        (summary.total().replayable, summary.total().repeated),
        (7, 1)
    );
    assert_eq!(summary.total().replayed, 0);
    assert_eq!(
        summary.rows[&(Kind::Rejected, "code_of_r-1".to_owned())].replayable,
        1
    );
    assert!(fixture.stream().is_empty() && !file.path().exists());
    let state = fixture.state(|state| (state.messages.len(), state.hidden.len()));
    assert_eq!(state, (1, 0), "every message is there and visible");
}

#[tokio::test]
async fn code_since_and_kinds_select() {
    let fixture = Fixture::with_each_kind().await;
    fixture.message("m-2", &["old"], 999);
    let code = |code: &str| Options {
        code: Some(code.to_owned()),
        ..quick()
    };
    assert!(fixture.run(&code("code_of_r-2")).await.is_complete());
    assert_eq!(fixture.stream(), ["r-2"]);
    fixture.run(&code("RetryAttemptsExhausted")).await;
    assert_eq!(fixture.stream(), ["f-1", "q-2"]);
    let since = |ms, kind| Options {
        since: Some(Since {
            text: "then".to_owned(),
            at: Timestamp::from_millis(ms).unwrap(),
        }),
        kinds: [kind].into(),
        ..quick()
    };
    fixture.run(&since(1_000, Kind::Queue)).await;
    assert_eq!(fixture.stream(), ["q-1", "q-2"]);
    fixture.run(&since(2_001, Kind::Rejected)).await;
    assert!(fixture.stream().is_empty());
    let state = fixture.state(|state| (state.messages.len(), state.hidden.len()));
    assert_eq!(state, (1, 0), "what is not selected stays, and visible");
}

#[tokio::test]
async fn what_the_stream_refuses_stays_and_the_next_replay_goes_on() {
    let fixture = Fixture::with_each_kind().await;
    fixture.object("rejected/b", rejected(&["r-3"]));
    let file = TempFile::new("resume");
    let options = Options {
        progress: Some(file.path().to_owned()),
        ..quick()
    };
    // Two records for the queue's two users, one for the first rejected object.
    fixture.state(|state| state.budget = Some(3));
    let summary = fixture.run(&options).await;
    assert_eq!(
        summary.stopped.as_deref(),
        Some("ProvisionedThroughputExceededException")
    );
    assert!(!summary.is_complete());
    assert_eq!(summary.of(Kind::Rejected).refused, 1);
    assert_eq!(fixture.stream(), ["q-1", "q-2", "r-1", "r-2"]);

    fixture.state(|state| (state.budget, state.gets) = (None, 0));
    let summary = fixture.run(&options).await;
    assert!(summary.is_complete());
    assert_eq!((summary.objects, summary.objects_done_before), (3, 1));
    assert_eq!(fixture.stream(), ["f-1", "q-2", "r-3", "u-1", "u-2"]);
    assert_eq!(
        fixture.state(|state| state.gets),
        3,
        "what is done is not read again"
    );
    assert!(!file.path().exists(), "a finished replay starts over");
}

#[tokio::test]
async fn a_message_half_taken_stays_in_the_queue() {
    let fixture = Fixture::new().await;
    fixture.message("m-1", &["q-1", "q-2"], 2_000);
    fixture.state(|state| state.budget = Some(1));
    let summary = fixture.run(&quick()).await;
    assert_eq!((summary.total().replayed, summary.total().refused), (1, 1));
    let state = fixture.state(|state| (state.messages.len(), state.hidden.len()));
    assert_eq!(state, (1, 0));
    fixture.state(|state| state.budget = None);
    assert!(fixture.run(&quick()).await.is_complete());
    assert_eq!(
        fixture.stream(),
        ["q-1", "q-1", "q-2"],
        "the document of q-1 is one"
    );
    assert!(fixture.state(|state| state.messages.is_empty()));
}

#[tokio::test]
async fn what_cannot_be_replayed_is_named_and_holds_nothing_else() {
    let fixture = Fixture::with_each_kind().await;
    fixture.object("rejected/0", b"no gzip".to_vec());
    fixture.object("undecodable/b", write(&[json!({"nothing": 1})]).unwrap());
    fixture.state(|state| {
        let body = "not ours: 203.0.113.7".to_owned();
        state.messages.insert("m-0".to_owned(), (body, 2_000));
        state.keeps = true;
    });
    let summary = fixture.run(&quick()).await;
    assert!(!summary.is_complete());
    assert_eq!((summary.total().failed, summary.total().replayed), (3, 7));
    assert_eq!(summary.undeleted, 1);
    let named: Vec<_> = summary
        .failures
        .iter()
        .map(|f| (f.letter.as_str(), f.code.as_str()))
        .collect();
    let code = "letter_unreadable";
    assert_eq!(
        named,
        [("m-0", code), ("rejected/0", code), ("undecodable/b", code)]
    );
    assert!(!summary.to_string().contains("203.0.113.7"));
    assert_eq!(fixture.state(|state| state.messages.len()), 2);
}

/// Whether CloudWatch was sent this number, as CBOR has it.
fn holds(metric: &[u8], value: f64) -> bool {
    let mut number = vec![0xfb];
    number.extend(value.to_be_bytes());
    let has = |part: &[u8]| metric.windows(part.len()).any(|window| window == part);
    [
        "Freshet", "Replayed", "Stack", "freshet", "Stage", "replay", "Count",
    ]
    .iter()
    .all(|text| has(text.as_bytes()))
        && has(&number)
}

#[tokio::test]
async fn the_ledger_is_told_of_what_was_put() {
    let fixture = Fixture::with_each_kind().await;
    let dry_run = Options {
        dry_run: true,
        ..quick()
    };
    fixture.run(&dry_run).await;
    assert!(fixture.state(|state| state.metrics.is_empty()));
    let summary = fixture.run(&quick()).await;
    assert_eq!((summary.total().replayed, summary.untold), (7, 0));
    let metrics = fixture.state(|state| std::mem::take(&mut state.metrics));
    assert!(metrics.len() == 1 && holds(&metrics[0], 7.0));
    // Somebody else's event counts by its outcome, and not here.
    let mut foreign = wire_event("x-1");
    foreign["source"] = json!("stream");
    let mut packer = freshet_events::wire::Packer::new();
    packer.push(foreign.to_string().as_bytes());
    fixture.state(|state| state.objects.clear());
    fixture.object("aws/lambda/b", on_failure_of(vec![packer.finish()]));
    assert_eq!(fixture.run(&quick()).await.total().replayed, 1);
    assert!(fixture.state(|state| state.metrics.is_empty()));
}

#[tokio::test]
async fn a_metric_that_cannot_be_published_is_told_and_holds_nothing() {
    let fixture = Fixture::with_each_kind().await;
    fixture.state(|state| state.mute = true);
    let summary = fixture.run(&quick()).await;
    assert!(summary.is_complete(), "the events are replayed");
    assert_eq!((summary.total().replayed, summary.untold), (7, 7));
    let text = summary.to_string();
    assert!(
        text.contains("7 replayed events are not in the metric Replayed"),
        "{text}"
    );
    assert!(text.contains("LedgerResidue"), "{text}");
}
