//! Windows, and streams whose shards come and go, between a stand-in stream and
//! a stand-in function.

use super::on_failure::FailedBatch;
use super::*;
use crate::batch::Record;
use crate::kinesis::Read;
use crate::window::Window;
use serde_json::{Value, json};

struct FakeShard {
    info: ShardInfo,
    records: Vec<Record>,
    closed: bool,
}

/// A stream that tests put records on and reshard.
#[derive(Clone, Default)]
struct FakeStream(Arc<Mutex<Vec<FakeShard>>>);

impl FakeStream {
    fn open(&self, id: &str, parents: &[&str]) {
        let parents: Vec<String> = parents.iter().map(|&parent| parent.to_owned()).collect();
        let mut shards = self.0.lock().unwrap();
        for shard in shards.iter_mut() {
            shard.closed |= parents.contains(&shard.info.id);
        }
        let info = ShardInfo {
            id: id.to_owned(),
            parents,
        };
        shards.push(FakeShard {
            info,
            records: Vec::new(),
            closed: false,
        });
    }

    fn put(&self, id: &str, numbers: std::ops::Range<u32>, arrived_ms: i64) {
        let mut shards = self.0.lock().unwrap();
        let shard = shards.iter_mut().find(|s| s.info.id == id).unwrap();
        assert!(!shard.closed);
        let record = |number: u32| Record {
            sequence_number: format!("{number:04}"),
            partition_key: format!("k{}", number % 5),
            data: String::new(),
            arrived_ms,
        };
        shard.records.extend(numbers.map(record));
    }

    /// What `id` keeps has expired.
    fn expire(&self, id: &str) {
        self.0.lock().unwrap().retain(|shard| shard.info.id != id);
    }
}

impl RecordSource for FakeStream {
    async fn shards(&self) -> anyhow::Result<Vec<ShardInfo>> {
        let shards = self.0.lock().unwrap();
        Ok(shards.iter().map(|shard| shard.info.clone()).collect())
    }

    async fn read(&self, id: &str, from: &ReadFrom) -> anyhow::Result<Read> {
        let shards = self.0.lock().unwrap();
        let shard = shards.iter().find(|s| s.info.id == id).unwrap();
        let is_next = |record: &&Record| match from {
            ReadFrom::Oldest => true,
            ReadFrom::Latest => false,
            ReadFrom::Since(ms) => record.arrived_ms >= *ms,
            ReadFrom::After(number) => record.sequence_number > *number,
        };
        let next = shard.records.iter().filter(is_next);
        let count = next.clone().count();
        let records: Vec<Record> = next.take(7).cloned().collect();
        let is_all = records.len() == count;
        Ok(Read {
            records,
            is_all,
            ended: is_all && shard.closed,
        })
    }

    fn arn(&self) -> String {
        "arn:s".to_owned()
    }
}

struct NoDestination;

impl OnFailure for NoDestination {
    async fn give_up(&self, _: &FailedBatch, _: &Value) {}
}

/// What an invocation was given.
#[derive(Clone, Debug, PartialEq)]
struct Given {
    shard: String,
    numbers: Vec<u32>,
    /// How many records the state has seen.
    seen: u64,
    is_final: bool,
}

fn given(shard: &str, numbers: std::ops::Range<u32>, seen: u64, is_final: bool) -> Given {
    Given {
        shard: shard.to_owned(),
        numbers: numbers.collect(),
        seen,
        is_final,
    }
}

type Fails = Box<dyn Fn(&Given) -> bool + Send + Sync>;

/// Counts what it sees in its state.
struct Counting {
    fails: Fails,
    events: Mutex<Vec<Value>>,
}

fn given_of(event: &Value) -> Given {
    let records = event["Records"].as_array().unwrap();
    let number = |record: &Value| {
        let number = record["kinesis"]["sequenceNumber"].as_str().unwrap();
        number.parse().unwrap()
    };
    let id = records
        .first()
        .and_then(|record| record["eventID"].as_str());
    let shard = event["shardId"].as_str();
    let shard = shard.or_else(|| id?.split(':').next()).unwrap();
    Given {
        shard: shard.to_owned(),
        numbers: records.iter().map(number).collect(),
        seen: event["state"]["seen"].as_u64().unwrap_or(0),
        is_final: event["isFinalInvokeForWindow"] == true,
    }
}

impl Invoke for Counting {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let event: Value = serde_json::from_slice(&payload).unwrap();
        let given = given_of(&event);
        self.events.lock().unwrap().push(event);
        if (self.fails)(&given) {
            return Err(InvokeError::Exited);
        }
        let seen = given.seen + given.numbers.len() as u64;
        Ok(Bytes::from(json!({"state": {"seen": seen}}).to_string()))
    }

    fn arn(&self) -> String {
        "arn:f".to_owned()
    }
}

struct Setup {
    config: MappingConfig,
    stream: FakeStream,
    function: Arc<Counting>,
}

impl Drop for Setup {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.config.checkpoint_file));
    }
}

fn setup(name: &str, window_s: u64) -> Setup {
    let file = format!("freshet-stream-{name}-{}.json", std::process::id());
    let checkpoint_file = std::env::temp_dir().join(file);
    drop(std::fs::remove_file(&checkpoint_file));
    Setup {
        config: MappingConfig {
            id: "m".into(),
            batch_size: 10,
            window: Duration::from_millis(30),
            parallelization_factor: 1,
            tumbling_window: (window_s > 0).then(|| Duration::from_secs(window_s)),
            start: ReadFrom::Oldest,
            policy: FailurePolicy::default(),
            checkpoint_file,
        },
        stream: FakeStream::default(),
        function: counting(|_| false),
    }
}

fn counting(fails: impl Fn(&Given) -> bool + Send + Sync + 'static) -> Arc<Counting> {
    Arc::new(Counting {
        fails: Box::new(fails),
        events: Mutex::default(),
    })
}

impl Setup {
    async fn start(&self) -> Mapping {
        let function = Arc::clone(&self.function);
        let mapping = Mapping::start(
            self.config.clone(),
            self.stream.clone(),
            function,
            None::<NoDestination>,
        );
        mapping.await.unwrap()
    }

    /// Ends a mapping, and waits for its tasks to write the last checkpoint.
    async fn stop(&self, mapping: Mapping) {
        drop(mapping);
        sleep(Duration::from_millis(100)).await;
    }

    fn given(&self) -> Vec<Given> {
        let events = self.function.events.lock().unwrap();
        events.iter().map(given_of).collect()
    }

    /// Waits until what was given fits.
    async fn until(&self, fits: impl Fn(&[Given]) -> bool) -> Vec<Given> {
        for _ in 0..1_000 {
            let given = self.given();
            if fits(&given) {
                return given;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never fits: {:#?}", self.given());
    }
}

/// A time in a window that the clock does not end.
fn in_an_open_window() -> i64 {
    now_ms() + 900_000
}

#[tokio::test]
async fn a_batch_has_records_of_one_window_only() {
    let setup = setup("cut", 60);
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..4, 59_999);
    setup.stream.put("a", 4..6, 60_000);
    setup.stream.put("a", 6..7, 180_000);
    let mapping = setup.start().await;
    let seen = setup.until(|given| given.len() == 4).await;
    assert_eq!(
        seen,
        [
            given("a", 1..4, 0, true),
            given("a", 4..6, 0, true),
            given("a", 6..7, 0, false),
            given("a", 7..7, 1, true),
        ]
    );
    let events = setup.function.events.lock().unwrap().clone();
    let windows = events.iter().map(|event| event["window"].clone());
    let window = |start, end| json!({"start": start, "end": end});
    assert_eq!(
        windows.collect::<Vec<_>>(),
        [
            window("1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z"),
            window("1970-01-01T00:01:00Z", "1970-01-01T00:02:00Z"),
            window("1970-01-01T00:03:00Z", "1970-01-01T00:04:00Z"),
            window("1970-01-01T00:03:00Z", "1970-01-01T00:04:00Z"),
        ]
    );
    assert_eq!(events[3]["state"], json!({"seen": 1}));
    assert_eq!(events[0]["state"], json!({}));
    assert_eq!(events[3]["eventSourceARN"], "arn:s");
    for _ in 0..100 {
        if mapping.open_windows() == 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(mapping.open_windows(), 0);
}

#[tokio::test]
async fn a_window_is_over_when_the_clock_says_so() {
    let setup = setup("clock", 1);
    setup.stream.open("a", &[]);
    let now = now_ms();
    setup.stream.put("a", 1..3, now);
    let mapping = setup.start().await;
    setup.until(|given| given.len() == 1).await;
    while !mapping.is_idle() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(mapping.open_windows(), 1);
    let seen = setup.until(|given| given.len() == 2).await;
    assert_eq!(seen[1], given("a", 3..3, 2, true));
    assert!(now_ms() >= Window::of(now, Duration::from_secs(1)).end_ms);
    // A window without records is never invoked.
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(setup.given().len(), 2);
}

#[tokio::test]
async fn a_window_that_is_read_late_is_still_one_window() {
    // More records than one read brings, all of a window long over.
    let setup = setup("late", 60);
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..61, 0);
    let mapping = setup.start().await;
    let seen = setup.until(|given| given.iter().any(|g| g.is_final)).await;
    let last = seen.last().unwrap();
    assert_eq!(last.seen + last.numbers.len() as u64, 60);
    drop(mapping);
}

#[tokio::test]
async fn a_restart_in_mid_window_loses_no_state() {
    let mut setup = setup("mid-window", 60);
    let arrived = in_an_open_window();
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..4, arrived);
    let mapping = setup.start().await;
    setup.until(|given| given.len() == 1).await;
    while !mapping.is_idle() {
        sleep(Duration::from_millis(5)).await;
    }
    setup.stop(mapping).await;
    setup.function = counting(|_| false);
    setup.stream.put("a", 4..6, arrived);
    let mapping = setup.start().await;
    let seen = setup.until(|given| !given.is_empty()).await;
    assert_eq!(seen, [given("a", 4..6, 3, false)]);
    drop(mapping);
}

#[tokio::test]
async fn a_batch_that_failed_before_a_restart_is_given_the_same_state_after_it() {
    let mut setup = setup("same-state", 60);
    let arrived = in_an_open_window();
    setup.function = counting(|given| given.seen > 0);
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..4, arrived);
    let mapping = setup.start().await;
    setup.until(|given| given.len() == 1).await;
    setup.stream.put("a", 4..6, arrived);
    setup.until(|given| given.len() > 2).await;
    setup.stop(mapping).await;
    setup.function = counting(|_| false);
    let mapping = setup.start().await;
    let seen = setup.until(|given| !given.is_empty()).await;
    assert_eq!(seen, [given("a", 4..6, 3, false)]);
    drop(mapping);
}

#[tokio::test]
async fn a_final_invocation_is_made_up_for_after_a_restart() {
    let mut setup = setup("final", 60);
    setup.function = counting(|given| given.is_final);
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..4, 0);
    let mapping = setup.start().await;
    let seen = setup.until(|given| given.len() > 2).await;
    assert_eq!(
        seen[1..3],
        [given("a", 4..4, 3, true), given("a", 4..4, 3, true)]
    );
    setup.stop(mapping).await;
    setup.function = counting(|_| false);
    let mapping = setup.start().await;
    let seen = setup.until(|given| !given.is_empty()).await;
    assert_eq!(seen, [given("a", 4..4, 3, true)]);
    drop(mapping);
}

#[tokio::test]
async fn windows_are_refused_where_aws_refuses_them() {
    for (window_s, factor, taken) in [(60, 2, false), (901, 1, false), (900, 1, true)] {
        let mut setup = setup("refused", window_s);
        setup.config.parallelization_factor = factor;
        setup.stream.open("a", &[]);
        let (config, stream) = (setup.config.clone(), setup.stream.clone());
        let function = Arc::clone(&setup.function);
        let mapping = Mapping::start(config, stream, function, None::<NoDestination>).await;
        let error = mapping.err().map(|error| error.to_string());
        assert_eq!(error.is_none(), taken, "{error:?}");
        assert!(error.is_none_or(|text| text.contains("TumblingWindowInSeconds")));
    }
}

/// Where a shard's records were given, by their place among all.
fn places(seen: &[Given], shard: &str) -> Vec<usize> {
    let of_shard = |(_, given): &(usize, &Given)| given.shard == shard;
    let places = seen.iter().enumerate().filter(of_shard);
    places.map(|(place, _)| place).collect()
}

#[tokio::test]
async fn a_split_ends_the_parents_window_before_its_children_begin() {
    let mut setup = setup("split", 60);
    let failures = AtomicU64::new(0);
    setup.function =
        counting(move |given| given.shard == "a" && failures.fetch_add(1, Ordering::AcqRel) < 2);
    let arrived = in_an_open_window();
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..14, arrived);
    setup.stream.open("b", &["a"]);
    setup.stream.open("c", &["a"]);
    setup.stream.put("b", 21..23, arrived);
    setup.stream.put("c", 31..33, arrived);
    let mapping = setup.start().await;
    let count = |given: &[Given], shard: &str| places(given, shard).len();
    let seen = setup
        .until(|given| count(given, "b") > 0 && count(given, "c") > 0)
        .await;
    let of_parent = places(&seen, "a");
    let last = &seen[*of_parent.last().unwrap()];
    assert!(last.is_final && last.seen + last.numbers.len() as u64 == 13);
    for (child, numbers) in [("b", 21..23), ("c", 31..33)] {
        let first = places(&seen, child)[0];
        assert!(of_parent.iter().all(|place| *place < first), "{seen:#?}");
        assert_eq!(seen[first], given(child, numbers, 0, false));
    }
    drop(mapping);
}

#[tokio::test]
async fn a_merge_waits_for_both_parents() {
    let mut setup = setup("merge", 0);
    let held = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let holding = Arc::clone(&held);
    setup.function = counting(move |given| given.shard == "b" && holding.load(Ordering::Acquire));
    setup.config.parallelization_factor = 2;
    setup.stream.open("a", &[]);
    setup.stream.open("b", &[]);
    setup.stream.put("a", 1..3, 0);
    setup.stream.put("b", 3..5, 0);
    setup.stream.open("c", &["a", "b"]);
    setup.stream.put("c", 5..7, 0);
    let mapping = setup.start().await;
    let seen = setup.until(|given| places(given, "b").len() > 4).await;
    assert_eq!(places(&seen, "c"), Vec::<usize>::new());
    held.store(false, Ordering::Release);
    setup.until(|given| !places(given, "c").is_empty()).await;
    drop(mapping);
}

#[tokio::test]
async fn each_keys_order_holds_over_a_reshard_that_happens_meanwhile() {
    let mut setup = setup("order", 0);
    setup.config.parallelization_factor = 4;
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..40, 0);
    let mapping = setup.start().await;
    setup.until(|given| !given.is_empty()).await;
    setup.stream.put("a", 40..60, 0);
    setup.stream.open("b", &["a"]);
    setup.stream.put("b", 60..90, 0);
    setup.stream.open("c", &["b"]);
    setup.stream.put("c", 90..120, 0);
    let all = |given: &[Given]| given.iter().map(|g| g.numbers.len()).sum::<usize>();
    let seen = setup.until(|given| all(given) == 119).await;
    let numbers: Vec<u32> = seen.into_iter().flat_map(|given| given.numbers).collect();
    for key in 0..5 {
        let of_key = numbers.iter().filter(|number| *number % 5 == key);
        assert!(of_key.is_sorted(), "{numbers:?}");
    }
    drop(mapping);
}

#[tokio::test]
async fn a_finished_shard_is_not_read_again_after_a_restart_and_its_children_go_on() {
    let mut setup = setup("finished", 0);
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..3, 0);
    setup.stream.open("b", &["a"]);
    setup.stream.put("b", 3..5, 0);
    let mapping = setup.start().await;
    setup.until(|given| given.len() == 2).await;
    while !mapping.is_idle() {
        sleep(Duration::from_millis(5)).await;
    }
    setup.stop(mapping).await;
    setup.function = counting(|_| false);
    setup.stream.put("b", 5..7, 0);
    setup.stream.open("c", &["b"]);
    setup.stream.put("c", 7..9, 0);
    let mapping = setup.start().await;
    let seen = setup.until(|given| given.len() == 2).await;
    assert_eq!(
        seen,
        [given("b", 5..7, 0, false), given("c", 7..9, 0, false)]
    );
    drop(mapping);
}

#[tokio::test]
async fn latest_skips_what_there_is_but_nothing_of_later_children() {
    let mut setup = setup("latest", 0);
    setup.config.start = ReadFrom::Latest;
    // Closed before the mapping starts: never read, nor the beginning of its child.
    setup.stream.open("a", &[]);
    setup.stream.put("a", 1..3, 1_000);
    setup.stream.open("b", &["a"]);
    setup.stream.put("b", 3..5, 2_000);
    let mapping = setup.start().await;
    setup.stream.put("b", 5..7, now_ms());
    let seen = setup.until(|given| !given.is_empty()).await;
    assert_eq!(seen, [given("b", 5..7, 0, false)]);
    setup.stop(mapping).await;
    // What comes while it stands still is not lost, in no shard.
    setup.stream.put("b", 7..9, now_ms());
    setup.stream.open("c", &["b"]);
    setup.stream.put("c", 9..11, 3_000);
    setup.stream.expire("a");
    setup.function = counting(|_| false);
    let mapping = setup.start().await;
    let seen = setup.until(|given| given.len() == 2).await;
    assert_eq!(
        seen,
        [given("b", 7..9, 0, false), given("c", 9..11, 0, false)]
    );
    drop(mapping);
}

#[tokio::test]
async fn latest_begins_where_it_first_started_also_after_a_restart_without_records() {
    let mut setup = setup("latest-empty", 0);
    setup.config.start = ReadFrom::Latest;
    setup.stream.open("a", &[]);
    let mapping = setup.start().await;
    sleep(Duration::from_millis(50)).await;
    setup.stop(mapping).await;
    setup.stream.put("a", 1..3, now_ms());
    let mapping = setup.start().await;
    let seen = setup.until(|given| !given.is_empty()).await;
    assert_eq!(seen, [given("a", 1..3, 0, false)]);
    drop(mapping);
}
