//! An event of our own on the whole way: posted like any other, and timed from
//! then until it is answered, found and counted.

use super::{CheckError, Found};
use aws_sdk_secretsmanager::Client;
use freshet_events::Timestamp;
use freshet_search::{Method, Search};
use freshet_tables::{ResultTable, TableError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The source whose key is taken, if there is one.
const OWN_SOURCE: &str = "probe";
/// The user and session of probes.
const USER: &str = "freshet-probe";
/// How often it is looked for.
const EVERY: Duration = Duration::from_millis(500);
/// The longest that one look may take.
const LOOK: Duration = Duration::from_secs(5);
/// collect may try for a while before it takes the queue instead.
const POST: Duration = Duration::from_secs(20);
/// An event is searched for among those of this time, so that old indices are
/// not looked through.
const AROUND_MS: i64 = 10 * 60_000;

/// What became of the probe; milliseconds since it was posted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Probe {
    /// Answered `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_ms: Option<u64>,
    /// Found by a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searchable_ms: Option<u64>,
    /// In a result of aggregation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_ms: Option<u64>,
}

impl Probe {
    /// Whether it did not come through, or not on both ways.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.accepted_ms.is_none() || self.searchable_ms.is_none() || self.counted_ms.is_none()
    }
}

/// What a probe needs.
#[derive(Debug)]
pub struct Way<'a> {
    /// Posts it.
    pub http: &'a reqwest::Client,
    /// Where to.
    pub collect_url: &'a str,
    /// The secret with the write keys, if there are any.
    pub keys: Option<(&'a Client, &'a str)>,
    /// Where it is searched for.
    pub search: &'a Search,
    /// The alias of the events.
    pub alias: &'a str,
    /// Where it is counted.
    pub results: &'a ResultTable,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    status: String,
    code: Option<String>,
}

#[derive(Deserialize)]
struct Hits {
    hits: Total,
}

#[derive(Deserialize)]
struct Total {
    total: Value,
}

#[derive(Deserialize)]
struct Value {
    value: u64,
}

/// The body of a slot of the aggregator `probe`.
#[derive(Deserialize)]
struct Slot {
    result: Counted,
}

#[derive(Deserialize)]
struct Counted {
    event_ids: Vec<String>,
}

/// Posts a probe and looks for it until `by`. Of what has not happened by then
/// nothing is said.
pub async fn check(way: &Way<'_>, now: Timestamp, by: Instant) -> Found<Probe> {
    let id = format!("probe-{}", now.as_millis());
    let mut probe = Probe::default();
    let posted = Instant::now();
    if let Err(failure) = post(way, &id, now, by).await {
        return Found {
            value: Some(probe),
            failure: Some(failure),
        };
    }
    probe.accepted_ms = Some(since(posted));
    let (searchable, counted) = futures::join!(
        wait(posted, by, || is_searchable(way, &id, now)),
        wait(posted, by, || is_counted(way, &id, now)),
    );
    probe.searchable_ms = searchable.as_ref().ok().copied();
    probe.counted_ms = counted.as_ref().ok().copied();
    Found {
        value: Some(probe),
        failure: searchable.err().or(counted.err()).flatten(),
    }
}

async fn post(way: &Way<'_>, id: &str, now: Timestamp, by: Instant) -> Result<(), CheckError> {
    const SERVICE: &str = "collect";
    let by = by.min(Instant::now() + POST);
    let sent = async {
        let event = json!({
            "event_id": id, "user_id": USER, "session_id": USER, "event_type": "probe", "synthetic": true,
            "page_url": "https://probe.invalid/", "timestamp": now.to_string(), "metadata": {},
        });
        let mut request = way.http.post(way.collect_url).json(&event);
        if let Some((client, secret)) = way.keys {
            request = request.header("X-Write-Key", write_key(client, secret).await?);
        }
        // Without its address: the error is logged, and may be shown.
        let unreachable = |_| CheckError::Unreachable(SERVICE);
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        let refused = |code| CheckError::Refused {
            service: SERVICE,
            code,
        };
        let verdict = serde_json::from_slice::<Answer>(&body).ok();
        match verdict.and_then(|answer| answer.results.into_iter().next()) {
            Some(verdict) if verdict.status == "ok" => Ok(()),
            Some(verdict) => Err(refused(verdict.code.unwrap_or(verdict.status))),
            None => Err(refused(status.as_u16().to_string())),
        }
    };
    timeout_at(by, sent)
        .await
        .unwrap_or(Err(CheckError::Timeout))
}

/// The key of the source `probe`, or the first one.
async fn write_key(client: &Client, secret: &str) -> Result<String, CheckError> {
    const SERVICE: &str = "Secrets Manager";
    let answer = client.get_secret_value().secret_id(secret).send().await;
    let answer = answer.map_err(|error| CheckError::of(SERVICE, &error))?;
    let unreadable = CheckError::Answer(SERVICE);
    let keys: Option<BTreeMap<String, String>> = answer
        .secret_string()
        .and_then(|text| serde_json::from_str(text).ok());
    let keys = keys.ok_or(unreadable.clone())?;
    let own = keys.iter().find(|(_, source)| *source == OWN_SOURCE);
    let key = own
        .or_else(|| keys.iter().next())
        .map(|(key, _)| key.clone());
    key.ok_or(unreadable)
}

/// Looks again and again until `by`. Failing that, it says what the last look
/// failed of, if it did.
async fn wait<F>(
    posted: Instant,
    by: Instant,
    look: impl Fn() -> F,
) -> Result<u64, Option<CheckError>>
where
    F: Future<Output = Result<bool, CheckError>>,
{
    let mut last = None;
    while Instant::now() < by {
        let end = by.min(Instant::now() + LOOK);
        match timeout_at(end, look()).await {
            Ok(Ok(true)) => return Ok(since(posted)),
            Ok(Ok(false)) => last = None,
            Ok(Err(failure)) => last = Some(failure),
            Err(_) => last = Some(CheckError::Timeout),
        }
        sleep(EVERY.min(by.saturating_duration_since(Instant::now()))).await;
    }
    Err(last)
}

async fn is_searchable(way: &Way<'_>, id: &str, now: Timestamp) -> Result<bool, CheckError> {
    let (from, to) = (now.as_millis() - AROUND_MS, now.as_millis() + AROUND_MS);
    let times = json!({"gte": from, "lt": to, "format": "epoch_millis"});
    let filter = json!([{"term": {"event_id": id}}, {"range": {"@timestamp": times}}]);
    let query = json!({"size": 0, "track_total_hits": 1, "query": {"bool": {"filter": filter}}});
    let path = format!("{}/_search?filter_path=hits.total", way.alias);
    let sent = way
        .search
        .send(Method::Post, &path, Some(query.to_string().into()), LOOK);
    let answer = sent.await.map_err(|error| super::search::refused(&error))?;
    let hits: Hits =
        serde_json::from_slice(&answer).map_err(|_| CheckError::Answer("OpenSearch"))?;
    Ok(hits.hits.total.value > 0)
}

async fn is_counted(way: &Way<'_>, id: &str, now: Timestamp) -> Result<bool, CheckError> {
    const SERVICE: &str = "DynamoDB";
    let refused = |error: TableError| CheckError::Refused {
        service: SERVICE,
        code: error.code().to_owned(),
    };
    let slot = way.results.latest("probe", now).await.map_err(refused)?;
    let Some(slot) = slot else { return Ok(false) };
    let slot: Slot = serde_json::from_slice(&slot.body).map_err(|_| CheckError::Answer(SERVICE))?;
    Ok(slot.result.event_ids.iter().any(|counted| counted == id))
}

fn since(posted: Instant) -> u64 {
    u64::try_from(posted.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
