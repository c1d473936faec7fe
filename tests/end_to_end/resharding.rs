//! The emulator's stream is split and merged while two mappings read it, one
//! with tumbling windows and one with parallel lanes. Invocations fail and the
//! mappings are started again meanwhile; and yet each record is in one window
//! once, and each key's records come in order.

use crate::support::state_folder;
use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{HashKeyRange, Shard};
use bytes::Bytes;
use freshet::install::install;
use freshet::paths::Paths;
use freshet::progress::Progress;
use freshet::servers::{MiniStack, free_port};
use freshet_local::batch::FailurePolicy;
use freshet_local::function::InvokeError;
use freshet_local::kinesis::{KinesisSource, ReadFrom};
use freshet_local::mapping::{Invoke, Mapping, MappingConfig, S3OnFailure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

const STREAM: &str = "resharded";
const KEYS: u32 = 24;
const ROUNDS: u32 = 40;

/// What one record is: its key and its place among the key's records.
type Name = (String, u32);

/// Keeps records in its state until a window's end. Every fifth invocation
/// fails: before its work, or after it.
#[derive(Default)]
struct Windows {
    invocations: AtomicU64,
    seen: Mutex<Vec<Name>>,
    /// What final invocations had, by shard, window and first record.
    finished: Mutex<BTreeMap<(String, String, String), Vec<Value>>>,
}

fn name(record: &Value) -> Option<Name> {
    let kinesis = &record["kinesis"];
    let key = kinesis["partitionKey"].as_str()?.to_owned();
    let data = kinesis["data"].as_str()?;
    let place = data.bytes().filter(|byte| *byte == b'A').count();
    Some((key, u32::try_from(place).ok()?))
}

/// A place as data, whose base64 is as many letters `A`, in fours, as it says.
fn place(number: u32) -> Vec<u8> {
    vec![0; 3 * number as usize]
}

impl Invoke for Windows {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let event: Value = serde_json::from_slice(&payload).map_err(|_| InvokeError::Exited)?;
        let turn = self.invocations.fetch_add(1, Ordering::AcqRel);
        if turn % 10 == 4 {
            return Err(InvokeError::Exited);
        }
        let records = event["Records"].as_array().cloned().unwrap_or_default();
        let names: Vec<Name> = records.iter().filter_map(name).collect();
        lock(&self.seen).extend(names.iter().cloned());
        let mut held = event["state"]["held"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        held.extend(names.iter().map(|(key, place)| json!([key, place])));
        if event["isFinalInvokeForWindow"] == true {
            let text = |value: &Value| value.to_string();
            let first = held.first().map(text).unwrap_or_default();
            let chain = (
                text(&event["shardId"]),
                text(&event["window"]["start"]),
                first,
            );
            lock(&self.finished).insert(chain, held.clone());
        }
        if turn % 10 == 9 {
            return Err(InvokeError::Exited);
        }
        Ok(Bytes::from(json!({"state": {"held": held}}).to_string()))
    }

    fn arn(&self) -> String {
        "arn:aws:lambda:us-east-1:000000000000:function:windows".to_owned()
    }
}

/// Notes what it is given.
#[derive(Default)]
struct Lanes {
    invocations: AtomicU64,
    seen: Mutex<Vec<Name>>,
}

impl Invoke for Lanes {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let event: Value = serde_json::from_slice(&payload).map_err(|_| InvokeError::Exited)?;
        if self.invocations.fetch_add(1, Ordering::AcqRel) % 5 == 4 {
            return Err(InvokeError::Exited);
        }
        let records = event["Records"].as_array().into_iter().flatten();
        lock(&self.seen).extend(records.filter_map(name));
        Ok(Bytes::from_static(b"{}"))
    }

    fn arn(&self) -> String {
        "arn:aws:lambda:us-east-1:000000000000:function:lanes".to_owned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn start<F: Invoke>(
    client: &Client,
    state: &Path,
    function: &Arc<F>,
    window_s: u64,
) -> Result<Mapping> {
    let id = if window_s > 0 { "windows" } else { "lanes" };
    let config = MappingConfig {
        id: id.to_owned(),
        batch_size: 20,
        window: Duration::from_millis(50),
        parallelization_factor: if window_s > 0 { 1 } else { 4 },
        tumbling_window: (window_s > 0).then(|| Duration::from_secs(window_s)),
        start: ReadFrom::Oldest,
        policy: FailurePolicy {
            bisect: true,
            ..FailurePolicy::default()
        },
        checkpoint_file: state.join(format!("{id}.json")),
    };
    let source = KinesisSource::new(client.clone(), STREAM).await?;
    Mapping::start(config, source, Arc::clone(function), None::<S3OnFailure>).await
}

async fn reshard(client: &Client, round: u32) -> Result<()> {
    let shards = client.list_shards().stream_name(STREAM).send().await?;
    let open = |shard: &&Shard| {
        let range = shard.sequence_number_range();
        range.is_none_or(|range| range.ending_sequence_number().is_none())
    };
    let mut open: Vec<_> = shards.shards().iter().filter(open).collect();
    open.sort_by_key(|shard| {
        let start = shard.hash_key_range().map(HashKeyRange::starting_hash_key);
        start.and_then(|start| start.parse::<u128>().ok())
    });
    let [first, second, ..] = open.as_slice() else {
        anyhow::bail!("two shards are open at least: {open:?}");
    };
    if round % 16 == 4 {
        let range = first.hash_key_range().context("a range")?;
        let ends = [range.starting_hash_key(), range.ending_hash_key()].map(str::parse::<u128>);
        let [Ok(start), Ok(end)] = ends else {
            anyhow::bail!("{range:?}");
        };
        let split = client.split_shard().stream_name(STREAM);
        let split = split.shard_to_split(first.shard_id());
        let middle = start + (end - start) / 2;
        split
            .new_starting_hash_key(middle.to_string())
            .send()
            .await?;
    } else {
        let merge = client.merge_shards().stream_name(STREAM);
        let merge = merge.shard_to_merge(first.shard_id());
        merge
            .adjacent_shard_to_merge(second.shard_id())
            .send()
            .await?;
    }
    Ok(())
}

/// Each key's records as they came first.
fn first_places(seen: &[Name]) -> BTreeMap<&str, Vec<u32>> {
    let mut places: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for (key, place) in seen {
        if known.insert((key, place)) {
            places.entry(key).or_default().push(*place);
        }
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_resharded_under_two_mappings() -> Result<()> {
    let state = state_folder("resharding");
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    let paths = Paths::new(Some(&state))?;
    let installed = install(&paths, &Progress::silent()).await?;
    let ministack = MiniStack::start(&paths, &installed, free_port(0, "")?).await?;
    let aws = freshet_local::cloud::aws_config(ministack.url()).await;
    let client = Client::new(&aws);
    let create = client.create_stream().stream_name(STREAM).shard_count(2);
    create.send().await?;

    let (windows, lanes) = (Arc::new(Windows::default()), Arc::new(Lanes::default()));
    let mut mappings = None;
    for round in 1..=ROUNDS {
        if round % 10 == 1 {
            // Wherever they are. What is under way is lost, and comes again.
            drop(mappings.take());
            sleep(Duration::from_millis(200)).await;
            mappings = Some((
                start(&client, &state, &windows, 1).await?,
                start(&client, &state, &lanes, 0).await?,
            ));
        }
        for key in 0..KEYS {
            let put = client.put_record().stream_name(STREAM);
            let put = put.partition_key(format!("k{key}"));
            put.data(Blob::new(place(round))).send().await?;
        }
        if round % 8 == 4 {
            reshard(&client, round).await?;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let (of_windows, of_lanes) = mappings.context("they were started")?;
    let count = (KEYS * ROUNDS) as usize;
    let finished = || {
        lock(&windows.finished)
            .values()
            .map(Vec::len)
            .sum::<usize>()
    };
    for _ in 0..600 {
        let first = first_places(&lock(&lanes.seen))
            .values()
            .map(Vec::len)
            .sum::<usize>();
        if finished() >= count && first >= count && of_windows.open_windows() == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    ensure!(of_windows.is_idle() && of_lanes.is_idle() && of_windows.open_windows() == 0);

    let mut held: Vec<String> = Vec::new();
    for records in lock(&windows.finished).values() {
        held.extend(records.iter().map(Value::to_string));
    }
    held.sort();
    let times = held.len();
    held.dedup();
    ensure!(
        (times, held.len()) == (count, count),
        "{times} records, {} different",
        held.len()
    );
    for seen in [&windows.seen, &lanes.seen] {
        let seen = lock(seen);
        let places = first_places(&seen);
        ensure!(places.len() == KEYS as usize, "every key is seen");
        for (key, places) in places {
            let expected: Vec<u32> = (1..=ROUNDS).map(|round| 4 * round).collect();
            ensure!(places == expected, "the order of {key}: {places:?}");
        }
    }
    let shards = client.list_shards().stream_name(STREAM).send().await?;
    ensure!(shards.shards().len() > 4, "it was resharded");
    drop((of_windows, of_lanes));
    ministack.stop().await?;
    std::fs::remove_dir_all(state)?;
    Ok(())
}
