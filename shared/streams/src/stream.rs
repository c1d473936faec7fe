//! `PutRecords`, with only the failed records tried again.

use crate::backoff::full_jitter;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The most records one request may hold.
const MAX_RECORDS: usize = 500;
/// The most bytes one request may hold, partition keys included.
const MAX_REQUEST_BYTES: usize = 5 * 1024 * 1024;
/// How often a refused record is tried again.
const RETRIES: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(50);

/// One record to put.
#[derive(Clone)]
pub struct Record {
    /// Decides the shard; at most 256 characters.
    pub partition_key: String,
    /// At most 1 MiB together with the key.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({} bytes)", self.data.len())
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The stream has it.
    Held,
    /// The stream did not say that it has it; the last error code it gave.
    /// (After a timeout it may have it all the same: putting it elsewhere too
    /// is safe, since documents are created once.)
    Refused {
        /// `ProvisionedThroughputExceededException`, `timeout`, ….
        code: String,
    },
}

/// A Kinesis stream. Its client must not retry by itself: retries here are by
/// record, the SDK's would send whole requests again.
#[derive(Clone, Debug)]
pub struct Stream {
    client: Client,
    name: String,
}

impl Stream {
    /// The stream called `name`.
    #[must_use]
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
        }
    }

    /// Puts all records, in order, and says of each what became of it. Records
    /// that are refused are tried again three times, as long as `deadline`
    /// has not passed; the answer comes by then.
    pub async fn put(&self, records: &[Record], deadline: Instant) -> Vec<PutOutcome> {
        self.put_first(records, records.len(), deadline).await
    }

    /// Puts all records and a `rider`, which goes last and along with them.
    /// It is tried again only where one of the records is: no one waits for
    /// it. Without records it is tried once.
    pub async fn put_with(
        &self,
        mut records: Vec<Record>,
        rider: Record,
        deadline: Instant,
    ) -> (Vec<PutOutcome>, PutOutcome) {
        let count = records.len();
        records.push(rider);
        let mut outcomes = self.put_first(&records, count, deadline).await;
        let rider = outcomes.pop().unwrap_or_else(never);
        (outcomes, rider)
    }

    /// Puts all records; only the first `count` are worth another try, in
    /// which the others take part.
    async fn put_first(
        &self,
        records: &[Record],
        count: usize,
        deadline: Instant,
    ) -> Vec<PutOutcome> {
        let mut outcomes = vec![never(); records.len()];
        let mut pending: Vec<usize> = (0..records.len()).collect();
        for attempt in 0..=RETRIES {
            // One request after the other keeps a user's records in order.
            for range in requests(&pending, records) {
                let indexes = &pending[range];
                for (index, outcome) in indexes
                    .iter()
                    .zip(self.put_once(indexes, records, deadline).await)
                {
                    outcomes[*index] = outcome;
                }
            }
            pending.retain(|index| outcomes[*index] != PutOutcome::Held);
            let next = Instant::now() + full_jitter(attempt, BACKOFF);
            let done = pending.iter().all(|index| *index >= count);
            if done || next >= deadline {
                break;
            }
            if attempt < RETRIES {
                sleep_until(next).await;
            }
        }
        outcomes
    }

    async fn put_once(
        &self,
        indexes: &[usize],
        records: &[Record],
        deadline: Instant,
    ) -> Vec<PutOutcome> {
        let entries = indexes.iter().filter_map(|index| {
            let record = &records[*index];
            PutRecordsRequestEntry::builder()
                .partition_key(&record.partition_key)
                .data(Blob::new(record.data.as_slice()))
                .build()
                .ok() // both required fields are set
        });
        let request = self
            .client
            .put_records()
            .stream_name(&self.name)
            .set_records(Some(entries.collect()));
        let refused = |code: &str| {
            vec![
                PutOutcome::Refused {
                    code: code.to_owned()
                };
                indexes.len()
            ]
        };
        match timeout_at(deadline, request.send()).await {
            Err(_) => refused("timeout"),
            Ok(Err(error)) => {
                let code = error.code().unwrap_or("unreachable").to_owned();
                tracing::warn!(
                    code,
                    records = indexes.len(),
                    "the stream refused a request"
                );
                refused(&code)
            }
            Ok(Ok(answer)) => {
                sort(&answer, indexes.len()).unwrap_or_else(|| refused("answer_incomplete"))
            }
        }
    }
}

/// What stands for a record until the stream has answered.
fn never() -> PutOutcome {
    PutOutcome::Refused {
        code: "timeout".to_owned(),
    }
}

/// Each entry's outcome, or nothing if the answer does not match the request:
/// then no entry can be told from another.
fn sort(answer: &PutRecordsOutput, sent: usize) -> Option<Vec<PutOutcome>> {
    let outcomes: Vec<_> = answer
        .records()
        .iter()
        .map(
            |entry| match (entry.error_code(), entry.sequence_number()) {
                (None, Some(_)) => PutOutcome::Held,
                (code, _) => PutOutcome::Refused {
                    code: code.unwrap_or("no_sequence_number").to_owned(),
                },
            },
        )
        .collect();
    (outcomes.len() == sent).then_some(outcomes)
}

/// Cuts the pending records into requests within both limits.
fn requests(pending: &[usize], records: &[Record]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, index) in pending.iter().enumerate() {
        let size = records[*index].data.len() + records[*index].partition_key.len();
        if at > start && (at - start == MAX_RECORDS || bytes + size > MAX_REQUEST_BYTES) {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < pending.len() {
        ranges.push(start..pending.len());
    }
    ranges
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
