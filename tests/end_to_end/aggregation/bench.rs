//! A stream, and deployments of the counting function on it, each with a table
//! of its own behind a proxy. No search server: nothing here is indexed.

use super::definition::Traffic;
use super::traffic::{json, user};
use crate::support::state_folder;
use anyhow::{Context as _, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use freshet::build::build;
use freshet::install::install;
use freshet::paths::Paths;
use freshet::progress::Progress;
use freshet::servers::{MiniStack, free_port};
use freshet_local::batch::FailurePolicy;
use freshet_local::cloud::aws_config;
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use freshet_local::function::{Function, FunctionConfig};
use freshet_local::kinesis::{KinesisSource, ReadFrom};
use freshet_local::mapping::{Mapping, MappingConfig, S3OnFailure};
use freshet_tables::{ChainTable, ResultTable};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const STREAM: &str = "events";

/// The stream and what runs on it.
pub(super) struct Counting {
    ministack: MiniStack,
    aws: SdkConfig,
    kinesis: aws_sdk_kinesis::Client,
    bootstrap: PathBuf,
    lookups: PathBuf,
    state: PathBuf,
}

/// The function with its mapping and its table.
pub(super) struct Deployment {
    pub(super) results: ResultTable,
    chains: ChainTable,
    table: String,
    function: Arc<Function>,
    mapping: Mapping,
    /// Kept running.
    _proxy: FaultProxy,
}

impl Deployment {
    /// Invocations that failed.
    pub(super) fn errors(&self) -> u64 {
        self.mapping.stats.errors.load(Ordering::Acquire)
    }
}

impl Counting {
    pub(super) async fn start(name: &str, shards: i32) -> Result<Self> {
        let state = state_folder(name);
        if state.exists() {
            std::fs::remove_dir_all(&state)?;
        }
        std::fs::create_dir_all(&state)?;
        let paths = Paths::new(Some(&state))?;
        let installed = install(&paths, &Progress::silent()).await?;
        let bootstraps = build(&paths, &Progress::silent()).await?;
        let ministack = MiniStack::start(&paths, &installed, free_port(0, "")?).await?;
        let aws = aws_config(ministack.url()).await;
        let kinesis = aws_sdk_kinesis::Client::new(&aws);
        let create = kinesis.create_stream().stream_name(STREAM);
        create.shard_count(shards).send().await?;
        let counting = Self {
            ministack,
            aws,
            kinesis,
            bootstrap: bootstraps
                .get("AggregateFunction")
                .context("no aggregate")?
                .clone(),
            lookups: installed.lookups,
            state,
        };
        counting.active().await?;
        Ok(counting)
    }

    /// Where the emulator listens.
    pub(super) fn url(&self) -> &str {
        self.ministack.url()
    }

    /// Deploys the function as the template does; `disturb` may set rules for
    /// what it asks of its table.
    pub(super) async fn deploy(
        &self,
        name: &str,
        disturb: impl FnOnce(&FaultProxy, Arc<Function>),
    ) -> Result<Deployment> {
        self.create_table(name).await?;
        let proxy = FaultProxy::start(self.ministack.url()).await?;
        let lookup = |file: &str| self.lookups.join(file).display().to_string();
        let environment = [
            ("AGGREGATION_TABLE", name.to_owned()),
            ("UA_REGEXES_PATH", lookup("regexes.yaml")),
            ("CRAWLERS_PATH", lookup("crawler-user-agents.json")),
            ("AWS_ENDPOINT_URL", proxy.url.clone()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ];
        let (logs, _) = tokio::sync::broadcast::channel(16);
        let config = FunctionConfig {
            name: name.to_owned(),
            bootstrap: self.bootstrap.clone(),
            environment: BTreeMap::from(environment.map(|(key, value)| (key.to_owned(), value))),
            timeout: Duration::from_secs(60),
            memory_mb: 1024,
            max_concurrency: 16,
            log_file: self.state.join(format!("{name}.log")),
        };
        let function = Arc::new(Function::new(config, logs));
        disturb(&proxy, Arc::clone(&function));
        let config = MappingConfig {
            id: name.to_owned(),
            batch_size: 10_000,
            window: Duration::from_secs(1),
            parallelization_factor: 1,
            tumbling_window: Some(Duration::from_secs(60)),
            start: ReadFrom::Oldest,
            policy: FailurePolicy {
                bisect: true,
                ..FailurePolicy::default()
            },
            checkpoint_file: self.state.join(format!("{name}.json")),
        };
        let source = KinesisSource::new(self.kinesis.clone(), STREAM).await?;
        let mapping =
            Mapping::start(config, source, Arc::clone(&function), None::<S3OnFailure>).await?;
        Ok(Deployment {
            results: ResultTable::new(&self.aws, name),
            chains: ChainTable::new(&self.aws, name),
            table: name.to_owned(),
            function,
            mapping,
            _proxy: proxy,
        })
    }

    /// A table as the template makes it.
    pub(super) async fn create_table(&self, name: &str) -> Result<()> {
        let client = aws_sdk_dynamodb::Client::new(&self.aws);
        let mut create = client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest);
        for (key, key_type) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let attribute = AttributeDefinition::builder().attribute_name(key);
            let element = KeySchemaElement::builder()
                .attribute_name(key)
                .key_type(key_type);
            create = create
                .attribute_definitions(attribute.attribute_type(ScalarAttributeType::S).build()?)
                .key_schema(element.build()?);
        }
        create.send().await?;
        let ttl = TimeToLiveSpecification::builder()
            .attribute_name("expires_at")
            .enabled(true);
        let update = client.update_time_to_live().table_name(name);
        update
            .time_to_live_specification(ttl.build()?)
            .send()
            .await?;
        Ok(())
    }

    /// Puts copies of events on the stream: a record for each user among a few
    /// thousand copies.
    pub(super) async fn put(&self, traffic: &Traffic, copies: Range<usize>) -> Result<()> {
        for chunk in traffic.deliveries[copies].chunks(4_000) {
            let mut by_user: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for copy in chunk {
                let of_user = by_user
                    .entry(user(&traffic.events[copy.event]))
                    .or_default();
                of_user.push(json(traffic, copy.event));
            }
            let entries = by_user.into_iter().map(|(user, events)| {
                let data = Blob::new(serde_json::to_vec(&events)?);
                Ok(PutRecordsRequestEntry::builder()
                    .partition_key(user)
                    .data(data)
                    .build()?)
            });
            let entries: Vec<PutRecordsRequestEntry> = entries.collect::<Result<_>>()?;
            for request in entries.chunks(500) {
                let put = self.kinesis.put_records().stream_name(STREAM);
                let answer = put.set_records(Some(request.to_vec())).send().await?;
                ensure!(
                    answer.failed_record_count().unwrap_or(0) == 0,
                    "records were refused"
                );
            }
        }
        Ok(())
    }

    /// Splits a shard, and merges two others.
    pub(super) async fn reshard(&self) -> Result<()> {
        let shards = self
            .kinesis
            .list_shards()
            .stream_name(STREAM)
            .send()
            .await?;
        let shards = shards.shards();
        let range = |shard: &Shard| -> Result<(u128, u128)> {
            let range = shard.hash_key_range().context("a range")?;
            Ok((
                range.starting_hash_key().parse()?,
                range.ending_hash_key().parse()?,
            ))
        };
        let (from, to) = range(&shards[2])?;
        let split = self.kinesis.split_shard().stream_name(STREAM);
        let split = split.shard_to_split(shards[2].shard_id());
        split
            .new_starting_hash_key((from + (to - from) / 2).to_string())
            .send()
            .await?;
        self.active().await?;
        let merge = self.kinesis.merge_shards().stream_name(STREAM);
        let merge = merge.shard_to_merge(shards[6].shard_id());
        merge
            .adjacent_shard_to_merge(shards[7].shard_id())
            .send()
            .await?;
        self.active().await
    }

    async fn active(&self) -> Result<()> {
        for _ in 0..100 {
            let summary = self
                .kinesis
                .describe_stream_summary()
                .stream_name(STREAM)
                .send()
                .await?;
            let summary = summary.stream_description_summary().context("a summary")?;
            if *summary.stream_status() == StreamStatus::Active {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the stream does not become active")
    }

    /// Waits until all is counted and every window has ended.
    pub(super) async fn settled(&self, deployments: &[&Deployment]) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(900);
        // Longer than the mappings take to notice a record or a new shard.
        let mut calm = 0;
        while calm < 10 {
            let is_settled = |deployment: &&Deployment| {
                deployment.mapping.is_idle() && deployment.mapping.open_windows() == 0
            };
            calm = if deployments.iter().all(is_settled) {
                calm + 1
            } else {
                0
            };
            ensure!(
                Instant::now() < deadline,
                "the mappings do not come to rest"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Copies that were left out as late, as the manifests have it.
    pub(super) async fn dropped(&self, deployment: &Deployment, start_ms: i64) -> Result<u64> {
        let start_s = start_ms / 1000;
        let chains = deployment
            .chains
            .chains(start_s - 120, start_s + 600, start_s)
            .await?;
        Ok(chains
            .iter()
            .map(|chain| chain.late_dropped + chain.early_dropped)
            .sum())
    }

    /// How many items the table really has of a slot of `page_view`.
    pub(super) async fn items(&self, deployment: &Deployment, end_s: i64) -> Result<usize> {
        let client = aws_sdk_dynamodb::Client::new(&self.aws);
        let request = client.get_item().table_name(&deployment.table);
        let request = request
            .key("pk", AttributeValue::S("result#page_view".to_owned()))
            .key("sk", AttributeValue::S(format!("slot#{end_s:010}")));
        Ok(usize::from(request.send().await?.item.is_some()))
    }

    pub(super) async fn stop(self, deployments: Vec<Deployment>) -> Result<()> {
        for deployment in deployments {
            drop(deployment.mapping);
            deployment.function.shutdown().await;
        }
        self.ministack.stop().await?;
        std::fs::remove_dir_all(self.state)?;
        Ok(())
    }
}

/// What a function writes to its table, in what DynamoDB charges.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pieces: AtomicU64,
    piece_bytes: AtomicU64,
    manifest_units: AtomicU64,
    piece_units: AtomicU64,
    result_units: AtomicU64,
}

impl Writes {
    /// Counts what goes through a proxy.
    pub(super) fn watch(self: &Arc<Self>, proxy: &FaultProxy) {
        let writes = Arc::clone(self);
        proxy.set(move |seen: &Seen<'_>| {
            if seen.operation == "PutItem" {
                writes.count(seen.body);
            }
            Verdict::Forward
        });
    }

    fn count(&self, body: &[u8]) {
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        let Some(item) = request["Item"].as_object() else {
            return;
        };
        let bytes: usize = item
            .iter()
            .map(|(name, value)| name.len() + size(value))
            .sum();
        let units = bytes.div_ceil(1024) as u64;
        let of = match item["pk"]["S"].as_str().unwrap_or_default() {
            pk if pk.starts_with("piece#") => {
                self.pieces.fetch_add(1, Ordering::AcqRel);
                self.piece_bytes.fetch_add(bytes as u64, Ordering::AcqRel);
                &self.piece_units
            }
            pk if pk.starts_with("chains#") => &self.manifest_units,
            _ => &self.result_units,
        };
        of.fetch_add(units, Ordering::AcqRel);
    }

    /// What a million events like these cost.
    pub(super) fn units_per_million(&self, events: usize) -> u64 {
        let all = [&self.piece_units, &self.manifest_units, &self.result_units];
        let units: u64 = all.iter().map(|units| units.load(Ordering::Acquire)).sum();
        units * 1_000_000 / events as u64
    }
}

/// An attribute's size as DynamoDB counts it, to a few bytes.
fn size(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|object| object.iter().next()) else {
        return 0;
    };
    let text = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "B" => text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count(),
        "N" => text.len() / 2 + 1,
        "S" => text.len(),
        _ => 1,
    }
}
