//! What waits to be replayed: messages in the queue, and events in the objects
//! of batches that Lambda gave up.
//!
//! Objects are counted once each, in the order in which they were stored. How
//! far this came is a [`Cursor`], kept in memory and in the report: what one
//! run has no time for, the next one counts.

use super::{CheckError, Found};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use freshet_deadletters::on_failure::{self, ON_FAILURE};
use freshet_deadletters::{DeadLetterStore, StoreError, StoredObject};
use freshet_events::Timestamp;
use freshet_events::wire::Contents;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

/// The most objects that one run opens.
const MAX_OBJECTS: usize = 200;
/// Opened at once: one may hold 6 MB.
const AT_ONCE: usize = 4;
/// A key's own time is when the invocation failed; the object is there
/// moments later.
const SLACK_MS: i64 = 5 * 60_000;
/// How long objects of one second may still appear.
const SETTLING_MS: i64 = 3_000;
/// Older objects than this are not counted any more by a health that has been
/// away: they would say of now what was then.
const MOST_PERIODS: i64 = 15;

/// Up to where objects are counted: those stored before `until_ms`, and of
/// those stored at that millisecond the ones with keys up to `key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Milliseconds since 1970.
    pub until_ms: i64,
    /// Empty: none of that millisecond.
    pub key: String,
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeadLetters {
    /// Messages in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u64>,
    /// Events in on-failure objects since the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Those of enrich's mapping: they have no other outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<u64>,
    /// Records (each counted as one event) and objects that cannot be read.
    pub unreadable: u64,
    /// Objects that the next run will count.
    pub left: u64,
    /// Whether there are more objects than could be listed, so that some will
    /// not be counted at all.
    pub incomplete: bool,
    /// Up to where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_until: Option<Cursor>,
}

/// Where to look, and since when.
#[derive(Debug)]
pub struct Look<'a> {
    /// The queue's client and URL.
    pub queue: (&'a Client, &'a str),
    /// The bucket.
    pub store: &'a DeadLetterStore,
    /// Enrich's event source mapping.
    pub enrich_mapping: &'a str,
    /// A period's length.
    pub period_ms: i64,
    /// The clock.
    pub now_ms: i64,
    /// When it must have ended; what is not counted by then is left.
    pub by: Instant,
}

/// Looks into both. `counted` says up to where the run before came.
pub async fn check(
    look: &Look<'_>,
    counted: impl Future<Output = Option<Cursor>>,
) -> Found<DeadLetters> {
    let objects = async {
        let from = beginning(counted.await, look.now_ms, look.period_ms);
        count(look, from).await
    };
    let (depth, objects) = futures::join!(depth(look.queue.0, look.queue.1), objects);
    let mut found = DeadLetters::default();
    let mut failure = None;
    match objects {
        Ok(counted) => found = counted,
        Err(error) => failure = Some(error),
    }
    match depth {
        Ok(depth) => found.queue_depth = Some(depth),
        Err(error) => failure = failure.or(Some(error)),
    }
    Found {
        value: Some(found),
        failure,
    }
}

/// From where to count. Not from the future, where a clock may have been.
fn beginning(counted: Option<Cursor>, now_ms: i64, period_ms: i64) -> Cursor {
    let at = |until_ms| Cursor {
        until_ms,
        key: String::new(),
    };
    let oldest = at(now_ms.saturating_sub(MOST_PERIODS.saturating_mul(period_ms)));
    match counted {
        Some(cursor) if cursor.until_ms <= now_ms.saturating_add(period_ms) => cursor.max(oldest),
        _ => at(now_ms.saturating_sub(period_ms)),
    }
}

/// S3 tells times by the second: of the last ones, more objects may come.
const fn settled_ms(now_ms: i64) -> i64 {
    now_ms.saturating_sub(SETTLING_MS)
}

async fn depth(client: &Client, url: &str) -> Result<u64, CheckError> {
    const SERVICE: &str = "SQS";
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    let request = client.get_queue_attributes().queue_url(url);
    let answer = request.attribute_names(name.clone()).send().await;
    let answer = answer.map_err(|error| CheckError::of(SERVICE, &error))?;
    let depth = answer
        .attributes()
        .and_then(|attributes| attributes.get(&name)?.parse().ok());
    depth.ok_or(CheckError::Answer(SERVICE))
}

async fn count(look: &Look<'_>, from: Cursor) -> Result<DeadLetters, CheckError> {
    let (objects, complete) = stored_after(look, &from).await?;
    let mut found = DeadLetters {
        events: Some(0),
        given_up: Some(0),
        left: u64::try_from(objects.len()).unwrap_or(u64::MAX),
        ..DeadLetters::default()
    };
    let mut cursor = from;
    let fetch = |object: &StoredObject| {
        let object = object.clone();
        async move { (look.store.get(&object.key).await, object) }
    };
    let fetched = objects.iter().take(MAX_OBJECTS).map(fetch);
    let mut fetched = futures::stream::iter(fetched).buffered(AT_ONCE);
    let enrich = format!("{ON_FAILURE}{}/", look.enrich_mapping);
    while let Ok(Some((body, object))) = timeout_at(look.by, fetched.next()).await {
        match body {
            Ok(body) => {
                let counted = in_object(&body);
                *found.events.get_or_insert(0) += counted.0;
                if object.key.starts_with(&enrich) {
                    *found.given_up.get_or_insert(0) += counted.0;
                }
                found.unreadable += counted.1;
            }
            // Gone since it was listed, or for ever: not to be asked for again.
            Err(error) if is_missing(&error) => found.unreadable += 1,
            Err(error) => {
                tracing::warn!(%error, "an on-failure object is left for the next run");
                break;
            }
        }
        found.left -= 1;
        cursor = Cursor {
            until_ms: object.modified_ms,
            key: object.key,
        };
    }
    found.incomplete = !complete;
    if found.left == 0 {
        let key = String::new();
        cursor = cursor.max(Cursor {
            until_ms: settled_ms(look.now_ms),
            key,
        });
    }
    found.counted_until = Some(cursor);
    Ok(found)
}

fn is_missing(error: &StoreError) -> bool {
    match error {
        StoreError::Get(error) => error
            .as_service_error()
            .is_some_and(GetObjectError::is_no_such_key),
        _ => false,
    }
}

/// Objects stored after `from`, in that order; and whether these are all.
/// Usually the bucket holds few, and one listing has them. Otherwise each
/// shard's folders of the days in question are listed.
async fn stored_after(
    look: &Look<'_>,
    from: &Cursor,
) -> Result<(Vec<StoredObject>, bool), CheckError> {
    let store = look.store;
    let first = store.list_after(ON_FAILURE, "").await.map_err(unlisted)?;
    let (mut objects, mut complete) = (first.objects, true);
    if first.more {
        objects.clear();
        let since_ms = from.until_ms.saturating_sub(SLACK_MS);
        for mapping in store.folders(ON_FAILURE).await.map_err(unlisted)? {
            for shard in store.folders(&mapping).await.map_err(unlisted)? {
                let after = key_at(&shard, since_ms);
                let listed = store.list_after(&shard, &after).await.map_err(unlisted)?;
                complete &= !listed.more;
                objects.extend(listed.objects);
            }
        }
    }
    let place = |object: &StoredObject| Cursor {
        until_ms: object.modified_ms,
        key: object.key.clone(),
    };
    let settled_ms = settled_ms(look.now_ms);
    objects.retain(|object| place(object) > *from && object.modified_ms < settled_ms);
    objects.sort_by_cached_key(place);
    Ok((objects, complete))
}

/// What the keys of a shard's objects of that moment begin with:
/// `<shard>/2026/11/25/2026-11-25T22.10.31`.
fn key_at(shard: &str, ms: i64) -> String {
    let time = Timestamp::from_millis(ms)
        .unwrap_or(Timestamp::EPOCH)
        .to_string();
    let day = time.get(..10).unwrap_or_default();
    let second = time.get(..19).unwrap_or_default();
    format!(
        "{shard}{}/{}",
        day.replace('-', "/"),
        second.replace(':', ".")
    )
}

fn unlisted(error: StoreError) -> CheckError {
    match error {
        StoreError::List(error) => CheckError::of("S3", &error),
        _ => CheckError::Answer("S3"),
    }
}

/// Events in an object, and what of it could not be read. A record that cannot
/// be opened counts as one event, as it does in enrich.
fn in_object(body: &[u8]) -> (u64, u64) {
    let Ok(batch) = on_failure::read(body) else {
        return (0, 1);
    };
    let (mut events, mut unreadable) = (0, 0);
    for record in &batch.records {
        let count = match Contents::open(&record.data) {
            Ok(Contents::Notice(_)) => Some(0),
            Ok(Contents::Events(record)) => record.split().map(|events| events.len()).ok(),
            Err(_) => None,
        };
        if let Some(count) = count.and_then(|count| u64::try_from(count).ok()) {
            events += count;
        } else {
            events += 1;
            unreadable += 1;
        }
    }
    (events, unreadable)
}

#[cfg(test)]
#[path = "dead_letters_tests.rs"]
mod tests;
