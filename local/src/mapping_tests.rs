//! The mapping as a whole, between a stand-in stream and a stand-in function.

use super::*;
use crate::batch::Record;
use crate::kinesis::Read;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// One shard with fixed records.
struct FakeSource(Vec<Record>);

impl RecordSource for FakeSource {
    async fn shards(&self) -> anyhow::Result<Vec<ShardInfo>> {
        let id = "shardId-000000000000".to_owned();
        let parents = Vec::new();
        Ok(vec![ShardInfo { id, parents }])
    }
    async fn read(&self, _: &str, from: &ReadFrom) -> anyhow::Result<Read> {
        let start = match from {
            ReadFrom::After(number) => number.parse::<usize>()?,
            _ => 0,
        };
        let records: Vec<Record> = self.0.iter().skip(start).take(7).cloned().collect();
        Ok(Read {
            is_all: start + records.len() == self.0.len(),
            records,
            ended: false,
        })
    }
    fn arn(&self) -> String {
        "arn:aws:kinesis:us-east-1:000000000000:stream/s".to_owned()
    }
}

type Handle = Box<dyn Fn(&[String]) -> Result<Bytes, InvokeError> + Send + Sync>;

struct FakeFunction {
    handle: Handle,
    batches: Mutex<Vec<Vec<String>>>,
}

impl Invoke for FakeFunction {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let event: Value = serde_json::from_slice(&payload).unwrap();
        let records = event["Records"].as_array().unwrap();
        let numbers: Vec<String> = records
            .iter()
            .map(|r| r["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned())
            .collect();
        self.batches.lock().unwrap().push(numbers.clone());
        (self.handle)(&numbers)
    }
    fn arn(&self) -> String {
        "arn:f".to_owned()
    }
}

/// Keeps what is given up, after refusing a few times on its own account.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(String, String)>>>);

impl OnFailure for Kept {
    async fn give_up(&self, batch: &FailedBatch, payload: &Value) {
        self.0
            .lock()
            .unwrap()
            .push((batch.condition.clone(), payload.to_string()));
    }
}

use super::on_failure::FailedBatch;

fn records(count: usize, keys: usize, bytes: usize) -> Vec<Record> {
    (1..=count)
        .map(|n| Record {
            sequence_number: n.to_string(),
            partition_key: format!("k{}", n % keys),
            data: "x".repeat(bytes),
            arrived_ms: now_ms(),
        })
        .collect()
}

struct Setup {
    config: MappingConfig,
    function: Arc<FakeFunction>,
    kept: Kept,
    /// So many of the records came long ago.
    old: usize,
}

fn setup(
    name: &str,
    handle: impl Fn(&[String]) -> Result<Value, InvokeError> + Send + Sync + 'static,
) -> Setup {
    answering(name, move |numbers| {
        handle(numbers).map(|answer| Bytes::from(answer.to_string()))
    })
}

fn answering(
    name: &str,
    handle: impl Fn(&[String]) -> Result<Bytes, InvokeError> + Send + Sync + 'static,
) -> Setup {
    let file = std::env::temp_dir().join(format!(
        "freshet-mapping-{name}-{}.json",
        std::process::id()
    ));
    drop(std::fs::remove_file(&file));
    Setup {
        config: MappingConfig {
            id: "m".into(),
            batch_size: 10,
            window: Duration::from_millis(30),
            parallelization_factor: 1,
            tumbling_window: None,
            start: ReadFrom::Oldest,
            policy: FailurePolicy::default(),
            checkpoint_file: file,
        },
        function: Arc::new(FakeFunction {
            handle: Box::new(handle),
            batches: Mutex::default(),
        }),
        kept: Kept::default(),
        old: 0,
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.config.checkpoint_file));
    }
}

impl Setup {
    async fn start(&self, mut records: Vec<Record>) -> Mapping {
        for record in records.iter_mut().take(self.old) {
            record.arrived_ms -= 3_600_000;
        }
        let source = FakeSource(records);
        let kept = Some(self.kept.clone());
        Mapping::start(
            self.config.clone(),
            source,
            Arc::clone(&self.function),
            kept,
        )
        .await
        .unwrap()
    }

    /// Runs until so many records are finished.
    async fn run(&self, records: Vec<Record>) -> Mapping {
        let count = records.len() as u64;
        let mapping = self.start(records).await;
        for _ in 0..1_000 {
            if mapping.stats.finished.load(Ordering::Acquire) >= count {
                return mapping;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("not finished: {:?}", mapping.stats);
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.function.batches.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn batch_size_closes_a_batch_and_so_does_the_window() {
    let setup = setup("size", |_| Ok(Value::Null));
    drop(setup.run(records(25, 3, 1)).await);
    let sizes: Vec<usize> = setup.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 5]);
}

#[tokio::test]
async fn six_megabytes_close_a_batch() {
    let setup = setup("bytes", |_| Ok(Value::Null));
    drop(setup.run(records(5, 1, 2_900_000)).await);
    assert!(setup.batches().iter().all(|batch| batch.len() <= 2));
}

#[tokio::test]
async fn parallel_lanes_keep_each_keys_order() {
    let mut setup = setup("lanes", |_| Ok(Value::Null));
    setup.config.parallelization_factor = 4;
    drop(setup.run(records(60, 9, 1)).await);
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for number in setup.batches().concat() {
        let number: usize = number.parse().unwrap();
        let before = last.insert(number % 9, number).unwrap_or(0);
        assert!(before < number);
    }
    // A key is in one lane only, and several lanes are used.
    assert!(setup.batches().len() > 6);
}

#[tokio::test]
async fn poison_is_given_up_with_its_payload_and_does_not_block() {
    let mut setup = setup("poison", |numbers| {
        if numbers.iter().any(|n| n == "4") {
            Err(InvokeError::Exited)
        } else {
            Ok(Value::Null)
        }
    });
    setup.config.policy = FailurePolicy {
        bisect: true,
        max_retries: Some(1),
        ..FailurePolicy::default()
    };
    let mapping = setup.run(records(12, 3, 1)).await;
    assert_eq!(mapping.stats.given_up.load(Ordering::Acquire), 1);
    let kept = setup.kept.0.lock().unwrap().clone();
    assert_eq!(
        (kept.len(), kept[0].0.as_str()),
        (1, "RetryAttemptsExhausted")
    );
    assert!(kept[0].1.contains("\"sequenceNumber\":\"4\"") && kept[0].1.contains("\"data\":\"x\""));
}

#[tokio::test]
async fn a_restart_goes_on_after_the_checkpoint() {
    let setup = setup("restart", |_| Ok(Value::Null));
    drop(setup.run(records(20, 3, 1)).await);
    sleep(Duration::from_millis(100)).await; // its tasks end, and write the last checkpoint
    let before = setup.batches().concat().len();
    let mapping = setup.start(records(23, 3, 1)).await;
    for _ in 0..200 {
        if mapping.stats.finished.load(Ordering::Acquire) == 3 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(setup.batches().concat()[before..], ["21", "22", "23"]);
}

#[tokio::test]
async fn the_last_checkpoint_is_written_also_when_nothing_follows() {
    let setup = setup("written", |_| Ok(Value::Null));
    let mapping = setup.run(records(20, 3, 1)).await;
    let written = || -> Value {
        let bytes = std::fs::read(&setup.config.checkpoint_file).unwrap_or_default();
        let file: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        file["shards"]["shardId-000000000000"]["sequence_number"].clone()
    };
    for _ in 0..1_000 {
        if written() == "20" {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(written(), "20");
    drop(mapping);
}

#[tokio::test]
async fn a_batch_that_is_not_done_is_delivered_again_after_a_restart() {
    let fail = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fail);
    let setup = setup("again", move |_| {
        if failing.load(Ordering::Acquire) {
            Err(InvokeError::TimedOut(1))
        } else {
            Ok(Value::Null)
        }
    });
    let mapping = setup.start(records(3, 1, 1)).await;
    while setup.batches().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    drop(mapping);
    fail.store(false, Ordering::Release);
    let before = setup.batches().concat().len();
    drop(setup.run(records(3, 1, 1)).await);
    assert_eq!(setup.batches().concat()[before..], ["1", "2", "3"]);
}

/// Runs a mapping until its function was given these, and then another one
/// with a function that works: what is that given?
async fn given_after_a_restart(setup: &mut Setup, keys: usize, until: &[&str]) -> Vec<String> {
    let mapping = setup.start(records(4, keys, 1)).await;
    for _ in 0..1_000 {
        if setup.batches().iter().filter(|b| *b == until).count() > 1 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let before = setup.batches();
    assert!(before.iter().any(|b| b == until), "{before:?}");
    assert!(!mapping.is_idle());
    drop(mapping);
    sleep(Duration::from_millis(100)).await; // its tasks end, and write the last checkpoint
    setup.function = Arc::new(FakeFunction {
        handle: Box::new(|_| Ok(Bytes::from_static(b"{}"))),
        batches: Mutex::default(),
    });
    let mapping = setup.start(records(4, keys, 1)).await;
    for _ in 0..1_000 {
        if setup.batches().concat().contains(&"4".to_owned()) && mapping.is_idle() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(mapping.is_idle());
    let mut given = setup.batches().concat();
    given.sort();
    given
}

#[tokio::test]
async fn halves_that_are_done_are_not_delivered_again_after_a_restart() {
    let mut setup = setup("halves", |numbers| {
        if numbers.iter().any(|n| n == "4") {
            Err(InvokeError::Exited)
        } else {
            Ok(Value::Null)
        }
    });
    setup.config.policy.bisect = true;
    assert_eq!(given_after_a_restart(&mut setup, 1, &["4"]).await, ["4"]);
}

#[tokio::test]
async fn what_a_partial_answer_finished_is_not_delivered_again_after_a_restart() {
    let mut setup = setup("prefix", |_| {
        Ok(json!({"batchItemFailures": [{"itemIdentifier": "3"}]}))
    });
    setup.config.policy.report_batch_item_failures = true;
    assert_eq!(
        given_after_a_restart(&mut setup, 1, &["3", "4"]).await,
        ["3", "4"]
    );
}

#[tokio::test]
async fn what_is_given_up_is_not_given_up_again_after_a_restart() {
    let mut setup = setup("given-up", |_| Err(InvokeError::Exited));
    setup.config.policy = FailurePolicy {
        max_age_ms: Some(60_000),
        ..FailurePolicy::default()
    };
    // The first two are too old.
    setup.old = 2;
    assert_eq!(
        given_after_a_restart(&mut setup, 1, &["3", "4"]).await,
        ["3", "4"]
    );
    let kept = setup.kept.0.lock().unwrap().clone();
    assert_eq!((kept.len(), kept[0].0.as_str()), (1, "RecordAgeExceeded"));
}

#[tokio::test]
async fn a_checkpoint_stays_before_a_record_that_another_lane_has_not_finished() {
    let lanes = ["k0", "k1"].map(|key| lane_of(key, 2));
    assert_ne!(lanes[0], lanes[1], "two lanes are used");
    // The records 1 and 3 have one key, 2 and 4 the other.
    let mut setup = setup("lane", |numbers| {
        if numbers.iter().any(|n| n == "1") {
            Err(InvokeError::Exited)
        } else {
            Ok(Value::Null)
        }
    });
    setup.config.parallelization_factor = 2;
    setup.config.policy.bisect = true;
    assert_eq!(
        given_after_a_restart(&mut setup, 2, &["1"]).await,
        ["1", "2", "3", "4"]
    );
}

#[tokio::test]
async fn a_partial_answer_is_taken_up_where_it_says() {
    let first = AtomicBool::new(true);
    let mut setup = setup("partial", move |_| {
        let again = first.swap(false, Ordering::AcqRel);
        Ok(if again {
            json!({"batchItemFailures": [{"itemIdentifier": "3"}]})
        } else {
            Value::Null
        })
    });
    setup.config.policy.report_batch_item_failures = true;
    drop(setup.run(records(4, 1, 1)).await);
    assert_eq!(setup.batches(), [vec!["1", "2", "3", "4"], vec!["3", "4"]]);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_no_success() {
    let first = AtomicBool::new(true);
    let mut setup = answering("no-json", move |_| {
        let again = first.swap(false, Ordering::AcqRel);
        Ok(Bytes::from_static(if again { b"done" } else { b"{}" }))
    });
    setup.config.policy.report_batch_item_failures = true;
    drop(setup.run(records(3, 1, 1)).await);
    assert_eq!(setup.batches(), [["1", "2", "3"], ["1", "2", "3"]]);
}
