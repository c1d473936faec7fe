//! The results of aggregation: one item a slot, and one that names the newest.
//! The keys and attributes are those of decision 11.

use crate::TableError;
use crate::item::{Item, attribute, client, n, number, s};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use freshet_events::Timestamp;
use std::io::Read as _;
use std::time::Duration;

/// A reader waits for the answer, and may ask again itself.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(6);

/// The largest body, compressed: an item holds 409,600 bytes, names included.
pub const MAX_STORED_BODY_BYTES: usize = 400_000;
/// The largest body as it is read: a page of one must fit Lambda's answer.
pub const MAX_BODY_BYTES: usize = 4_000_000;
/// A page ends where its bodies would become more than this in all.
pub const MAX_PAGE_BYTES: usize = 3_000_000;
const COMPRESSION_LEVEL: i32 = 3;

/// The latest end that a key can hold: ten digits, in the year 2286.
const LAST_END_S: i64 = 9_999_999_999;

/// What an aggregator found in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotResult {
    /// When the window begins, in seconds since 1970.
    pub window_start: i64,
    /// When it ends; names the slot.
    pub window_end: i64,
    /// When it was merged.
    pub updated_at: Timestamp,
    /// Whether a budget was exceeded, so that the numbers are estimates.
    pub approximate: bool,
    /// A JSON object with `result` and what else there is to say.
    pub body: Vec<u8>,
    /// When it is gone, in seconds since 1970.
    pub expires_at: i64,
}

/// What a writer must know of the slot that it is about to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// 1 when first written, one more with each write.
    pub version: u64,
    /// The hash of what was merged.
    pub inputs: String,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored, as this version.
    Written(u64),
    /// Another writer was faster: read again, merge again.
    Overtaken,
}

/// Some slots, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The slots.
    pub slots: Vec<SlotResult>,
    /// The cursor of the next page, if there is one.
    pub next: Option<i64>,
}

/// The results in the table of aggregation.
#[derive(Clone, Debug)]
pub struct ResultTable {
    client: Client,
    name: String,
}

impl ResultTable {
    /// The table `name`. Throttled requests are tried again as `aws` says.
    #[must_use]
    pub fn new(aws: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: client(aws, ATTEMPT_TIMEOUT, OPERATION_TIMEOUT),
            name: name.into(),
        }
    }

    /// What a write of this slot must be based on, strongly consistent; `None`
    /// if it has never been written or is gone. An item that has expired and is
    /// still there counts.
    ///
    /// # Errors
    /// [`TableError`] if it cannot be read.
    pub async fn stored(
        &self,
        aggregator: &str,
        window_end: i64,
    ) -> Result<Option<Stored>, TableError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", partition(aggregator))
            .key("sk", s(slot_key(window_end)))
            .consistent_read(true)
            .projection_expression("version, inputs");
        let answer = request.send().await.map_err(TableError::of)?;
        let stored = answer.item.map(|item| {
            Ok(Stored {
                version: number(&item, "version")?,
                inputs: attribute(&item, "inputs", AttributeValue::as_s)?.clone(),
            })
        });
        stored.transpose()
    }

    /// Stores a slot upon the version that `based_on` names, or as its first;
    /// not if another writer has stored one meanwhile.
    ///
    /// # Errors
    /// [`TableError`] if it is not known whether the table has it;
    /// [`TableError::TooLarge`] if an item cannot hold it.
    pub async fn put_slot(
        &self,
        aggregator: &str,
        slot: &SlotResult,
        inputs: &str,
        based_on: Option<u64>,
    ) -> Result<Put, TableError> {
        let next = based_on.unwrap_or(0) + 1;
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", partition(aggregator))
            .item("sk", s(slot_key(slot.window_end)))
            .item("version", n(next))
            .item("inputs", s(inputs))
            .item("window_start", n(slot.window_start))
            .item("window_end", n(slot.window_end))
            .item("updated_at", n(slot.updated_at.as_millis()))
            .item("approximate", AttributeValue::Bool(slot.approximate))
            .item("body", AttributeValue::B(Blob::new(packed(&slot.body)?)))
            .item("expires_at", n(slot.expires_at));
        let request = match based_on {
            None => request.condition_expression("attribute_not_exists(pk)"),
            Some(version) => request
                .condition_expression("version = :version")
                .expression_attribute_values(":version", n(version)),
        };
        match request.send().await {
            Ok(_) => Ok(Put::Written(next)),
            Err(error) if lost(error.as_service_error()) => Ok(Put::Overtaken),
            Err(error) => Err(TableError::of(error)),
        }
    }

    /// Says that this slot is the newest, unless a newer one is named that has
    /// not expired. Put the slot before.
    ///
    /// # Errors
    /// [`TableError`] if it is not known which one is named.
    pub async fn put_latest(
        &self,
        aggregator: &str,
        window_end: i64,
        expires_at: i64,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", partition(aggregator))
            .item("sk", s("latest"))
            .item("window_end", n(window_end))
            .item("expires_at", n(expires_at))
            .condition_expression(
                "attribute_not_exists(pk) OR window_end < :end OR expires_at <= :now",
            )
            .expression_attribute_values(":end", n(window_end))
            .expression_attribute_values(":now", n(seconds(now)));
        match request.send().await {
            Err(error) if !lost(error.as_service_error()) => Err(TableError::of(error)),
            _ => Ok(()),
        }
    }

    /// The newest slot; `None` if nothing is counted or all of it has expired.
    /// Strongly consistent: who has seen a result never sees an older one.
    ///
    /// # Errors
    /// [`TableError`] if it cannot be read.
    pub async fn latest(
        &self,
        aggregator: &str,
        now: Timestamp,
    ) -> Result<Option<SlotResult>, TableError> {
        let Some(latest) = self.alive(aggregator, "latest".to_owned(), now).await? else {
            return Ok(None);
        };
        let key = slot_key(number(&latest, "window_end")?);
        let slot = self.alive(aggregator, key, now).await?;
        slot.map(|item| unpacked(&item)).transpose()
    }

    /// The item with this key, if it has not expired.
    async fn alive(
        &self,
        aggregator: &str,
        key: String,
        now: Timestamp,
    ) -> Result<Option<Item>, TableError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", partition(aggregator))
            .key("sk", s(key))
            .consistent_read(true);
        let Some(item) = request.send().await.map_err(TableError::of)?.item else {
            return Ok(None);
        };
        let expires_at: i64 = number(&item, "expires_at")?;
        Ok((expires_at > seconds(now)).then_some(item))
    }

    /// The slots whose windows end at or after `from_end` and before `to_end`,
    /// newest first, without those that have expired. A page has `limit` slots
    /// if so many are left, or fewer if they are large ([`MAX_PAGE_BYTES`]).
    /// `after` is the cursor of the page before.
    ///
    /// # Errors
    /// [`TableError`] if they cannot be read.
    pub async fn slots(
        &self,
        aggregator: &str,
        from_end: i64,
        to_end: i64,
        limit: usize,
        now: Timestamp,
        after: Option<i64>,
    ) -> Result<Page, TableError> {
        let (from, to) = bounds(from_end, to_end.min(after.unwrap_or(i64::MAX)));
        let mut page = Page::default();
        if from > to {
            return Ok(page);
        }
        let (mut bytes, mut start_key) = (0, None);
        loop {
            let missing = limit.saturating_sub(page.slots.len()) + 1;
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .filter_expression("expires_at > :now")
                .expression_attribute_values(":pk", partition(aggregator))
                .expression_attribute_values(":from", s(slot_key(from)))
                .expression_attribute_values(":to", s(slot_key(to)))
                .expression_attribute_values(":now", n(seconds(now)))
                .scan_index_forward(false)
                .limit(i32::try_from(missing).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start_key);
            let answer = request.send().await.map_err(TableError::of)?;
            for item in answer.items.unwrap_or_default() {
                let slot = unpacked(&item)?;
                bytes += slot.body.len();
                let first = page.slots.is_empty();
                if page.slots.len() >= limit || (bytes > MAX_PAGE_BYTES && !first) {
                    page.next = page.slots.last().map(|last| last.window_end);
                    return Ok(page);
                }
                page.slots.push(slot);
            }
            start_key = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if start_key.is_none() {
                return Ok(page);
            }
        }
    }
}

fn partition(aggregator: &str) -> AttributeValue {
    s(format!("result#{aggregator}"))
}

fn slot_key(window_end: i64) -> String {
    format!("slot#{window_end:010}")
}

/// From `from` to before `to`, as the first and the last end that keys hold.
fn bounds(from: i64, to: i64) -> (i64, i64) {
    (
        from.clamp(0, LAST_END_S + 1),
        to.saturating_sub(1).clamp(-1, LAST_END_S),
    )
}

fn seconds(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(1000)
}

/// Whether a put lost its condition.
fn lost(error: Option<&PutItemError>) -> bool {
    matches!(
        error,
        Some(PutItemError::ConditionalCheckFailedException(_))
    )
}

fn packed(body: &[u8]) -> Result<Vec<u8>, TableError> {
    let too_large = |what, bytes, limit| Err(TableError::TooLarge { what, bytes, limit });
    if body.len() > MAX_BODY_BYTES {
        return too_large("a result", body.len(), MAX_BODY_BYTES);
    }
    let packed = zstd::bulk::compress(body, COMPRESSION_LEVEL).map_err(TableError::item)?;
    if packed.len() > MAX_STORED_BODY_BYTES {
        return too_large("a compressed result", packed.len(), MAX_STORED_BODY_BYTES);
    }
    Ok(packed)
}

fn unpacked(item: &Item) -> Result<SlotResult, TableError> {
    let packed = attribute(item, "body", AttributeValue::as_b)?;
    let decoder =
        zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(TableError::item)?;
    let mut body = Vec::new();
    decoder
        .take(MAX_BODY_BYTES as u64 + 1)
        .read_to_end(&mut body)
        .map_err(TableError::item)?;
    if body.len() > MAX_BODY_BYTES {
        return Err(TableError::item(
            "its body is larger than any that is written",
        ));
    }
    Ok(SlotResult {
        window_start: number(item, "window_start")?,
        window_end: number(item, "window_end")?,
        updated_at: Timestamp::from_millis(number(item, "updated_at")?)
            .ok_or(TableError::Attribute("updated_at"))?,
        approximate: *attribute(item, "approximate", AttributeValue::as_bool)?,
        body,
        expires_at: number(item, "expires_at")?,
    })
}

#[cfg(test)]
#[path = "results_tests.rs"]
mod tests;
