//! Reads shards of a stream.

use crate::batch::Record;
use anyhow::Context as _;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::types::ShardIteratorType;
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
    /// What follows this record.
    After(String),
}

/// Something that has shards of records: Kinesis, or a test's stand-in.
pub trait RecordSource: Send + Sync + 'static {
    /// The shards' names.
    fn shards(&self) -> impl Future<Output = anyhow::Result<Vec<String>>> + Send;
    /// The next records of a shard; `from` says where to begin, or where to go
    /// on after a failure.
    fn read(
        &self,
        shard: &str,
        from: &ReadFrom,
    ) -> impl Future<Output = anyhow::Result<Vec<Record>>> + Send;
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
        })
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

impl RecordSource for KinesisSource {
    async fn shards(&self) -> anyhow::Result<Vec<String>> {
        let mut shards = Vec::new();
        let mut token = None;
        loop {
            let request = match &token {
                None => self.client.list_shards().stream_name(&self.stream),
                Some(token) => self.client.list_shards().next_token(token),
            };
            let answer = request.send().await?;
            shards.extend(
                answer
                    .shards()
                    .iter()
                    .map(|shard| shard.shard_id().to_owned()),
            );
            token = answer.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    async fn read(&self, shard: &str, from: &ReadFrom) -> anyhow::Result<Vec<Record>> {
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
        let at = records.last().map_or_else(
            || from.clone(),
            |last| ReadFrom::After(last.sequence_number.clone()),
        );
        if let Some(next) = answer.next_shard_iterator {
            self.iterators
                .lock()
                .await
                .insert(shard.to_owned(), (at, next));
        }
        Ok(records)
    }

    fn arn(&self) -> String {
        self.arn.clone()
    }
}
