//! Reads shards of a stream.

use crate::batch::Record;
use crate::metrics::Metrics;
use anyhow::Context as _;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Shard, ShardIteratorType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use tokio::sync::Mutex;

/// The most records of one read. (AWS: 10,000 or 10 MiB.)
const READ_LIMIT: i32 = 2_000;

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// `TRIM_HORIZON`: the oldest record.
    Oldest,
    /// `LATEST`: what comes from now on.
    Latest,
    /// `AT_TIMESTAMP`: what came at this time or later, in milliseconds since the epoch.
    Since(i64),
    /// What follows this record.
    After(String),
}

/// A shard, as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its name.
    pub id: String,
    /// The shards that a reshard made it of: one that was split, or two that
    /// were merged.
    pub parents: Vec<String>,
}

/// What a read of a shard came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// In the order of the shard.
    pub records: Vec<Record>,
    /// These are all that the shard had when it was asked.
    pub is_all: bool,
    /// The shard is closed, and nothing follows.
    pub ended: bool,
}

/// Something that has shards of records: Kinesis, or a test's stand-in.
pub trait RecordSource: Send + Sync + 'static {
    /// Every shard, also those that a reshard closed, until they expire.
    fn shards(&self) -> impl Future<Output = anyhow::Result<Vec<ShardInfo>>> + Send;
    /// The next records of a shard; `from` says where to begin, or where to go
    /// on after a failure.
    fn read(
        &self,
        shard: &str,
        from: &ReadFrom,
    ) -> impl Future<Output = anyhow::Result<Read>> + Send;
    /// The stream's ARN.
    fn arn(&self) -> String;
}

/// A Kinesis stream.
pub struct KinesisSource {
    client: Client,
    stream: String,
    arn: String,
    /// Each shard's iterator, and the record that it stands behind.
    iterators: Mutex<HashMap<String, (ReadFrom, String)>>,
    metrics: Metrics,
}

impl KinesisSource {
    /// The stream of this name.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn new(client: Client, stream: &str) -> anyhow::Result<Self> {
        let summary = client
            .describe_stream_summary()
            .stream_name(stream)
            .send()
            .await;
        let summary = summary.with_context(|| format!("the stream {stream}"))?;
        let arn = summary
            .stream_description_summary()
            .map(|s| s.stream_arn().to_owned())
            .unwrap_or_default();
        Ok(Self {
            client,
            stream: stream.to_owned(),
            arn,
            iterators: Mutex::default(),
            metrics: Metrics::default(),
        })
    }

    /// Lets the records that it reads count as what comes in on the stream.
    #[must_use]
    pub fn measured(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    async fn iterator(&self, shard: &str, from: &ReadFrom) -> anyhow::Result<String> {
        if let Some((at, iterator)) = self.iterators.lock().await.get(shard)
            && at == from
        {
            return Ok(iterator.clone());
        }
        let request = self
            .client
            .get_shard_iterator()
            .stream_name(&self.stream)
            .shard_id(shard);
        let request = match from {
            ReadFrom::Oldest => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            ReadFrom::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            ReadFrom::Since(ms) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            ReadFrom::After(number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number),
        };
        request
            .send()
            .await?
            .shard_iterator
            .context("no shard iterator")
    }
}

impl From<&Shard> for ShardInfo {
    fn from(shard: &Shard) -> Self {
        let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
        Self {
            id: shard.shard_id().to_owned(),
            parents: parents.into_iter().flatten().map(str::to_owned).collect(),
        }
    }
}

impl RecordSource for KinesisSource {
    async fn shards(&self) -> anyhow::Result<Vec<ShardInfo>> {
        let mut shards = Vec::new();
        let mut token = None;
        loop {
            let request = match &token {
                None => self.client.list_shards().stream_name(&self.stream),
                Some(token) => self.client.list_shards().next_token(token),
            };
            let answer = request.send().await?;
            shards.extend(answer.shards().iter().map(ShardInfo::from));
            token = answer.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    async fn read(&self, shard: &str, from: &ReadFrom) -> anyhow::Result<Read> {
        let iterator = self.iterator(shard, from).await?;
        let answer = match self
            .client
            .get_records()
            .shard_iterator(iterator)
            .limit(READ_LIMIT)
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                if error.code() == Some("ExpiredIteratorException") {
                    self.iterators.lock().await.remove(shard);
                }
                return Err(error.into());
            }
        };
        let records: Vec<Record> = answer
            .records()
            .iter()
            .map(|record| Record {
                sequence_number: record.sequence_number().to_owned(),
                partition_key: record.partition_key().unwrap_or_default().to_owned(),
                data: STANDARD.encode(record.data().as_ref()),
                arrived_ms: record
                    .approximate_arrival_timestamp()
                    .and_then(|t| t.to_millis().ok())
                    .unwrap_or(0),
            })
            .collect();
        self.metrics.arrived(&self.stream, shard, &records);
        let at = records.last().map_or_else(
            || from.clone(),
            |last| ReadFrom::After(last.sequence_number.clone()),
        );
        let is_all = answer.millis_behind_latest().unwrap_or(0) == 0;
        let ended = answer.next_shard_iterator.is_none();
        let mut iterators = self.iterators.lock().await;
        match answer.next_shard_iterator {
            Some(next) => iterators.insert(shard.to_owned(), (at, next)),
            None => iterators.remove(shard),
        };
        Ok(Read {
            records,
            is_all,
            ended,
        })
    }

    fn arn(&self) -> String {
        self.arn.clone()
    }
}
