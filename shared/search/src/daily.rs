//! Writes to indices that are named after a day and come into being with
//! their first document, from their template.

use crate::bulk::{self, ItemOutcome};
use crate::client::{Method, Search, SearchError};
use crate::requests::{self, BulkLimits, timeout};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

/// About what an action line takes.
const ACTION_BYTES: usize = 160;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// Put this document, unless a higher version is there. Writing the same
    /// version again changes nothing.
    Put {
        /// Its external version.
        version: u64,
        /// Its `_source`, on one line.
        json: &'a [u8],
    },
    /// Put this document, unless one of its id is there.
    Create {
        /// Its `_source`, on one line.
        json: &'a [u8],
    },
    /// Delete the document, unless a higher version is there.
    Delete {
        /// The deletion's external version.
        version: u64,
    },
}

/// A write and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyWrite<'a> {
    /// The index, its day included.
    pub index: String,
    /// The document's `_id`.
    pub id: &'a str,
    /// What to do.
    pub write: Write<'a>,
}

/// Writes to daily indices.
#[derive(Clone, Debug)]
pub struct DailyIndices {
    search: Search,
    limits: BulkLimits,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Action<'a> {
    Index(Target<'a>),
    Create(Target<'a>),
    Delete(Target<'a>),
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
    #[serde(flatten)]
    version: Option<Version>,
}

#[derive(Serialize)]
struct Version {
    version: u64,
    version_type: &'static str,
}

impl Version {
    const fn external(version: u64) -> Option<Self> {
        Some(Self {
            version,
            version_type: "external_gte",
        })
    }
}

impl DailyIndices {
    /// The daily indices of a cluster.
    #[must_use]
    pub const fn new(search: Search, limits: BulkLimits) -> Self {
        Self { search, limits }
    }

    /// Does the writes and gives one outcome for each, in order;
    /// [`ItemOutcome::Duplicate`] says that a newer version, or for a deletion
    /// nothing, was there. What the cluster cannot take now is tried again
    /// until `deadline`, three times at the most.
    pub async fn write(&self, writes: &[DailyWrite<'_>], deadline: Instant) -> Vec<ItemOutcome> {
        let size = |write: &DailyWrite<'_>| ACTION_BYTES + json(write.write).map_or(0, <[u8]>::len);
        let sizes: Vec<usize> = writes.iter().map(size).collect();
        requests::run(&sizes, self.limits, deadline, async |chunk| {
            self.send(chunk, writes, deadline).await
        })
        .await
    }

    async fn send(
        &self,
        chunk: &[usize],
        writes: &[DailyWrite<'_>],
        deadline: Instant,
    ) -> Result<Vec<ItemOutcome>, SearchError> {
        let mut body = Vec::new();
        let mut ids = Vec::with_capacity(chunk.len());
        for at in chunk {
            push(&mut body, &writes[*at]);
            ids.push(writes[*at].id);
        }
        let path = "_bulk?filter_path=items.*._id,items.*.status,items.*.error";
        let body = Some(Bytes::from(body));
        let answer = self
            .search
            .send(Method::Post, path, body, timeout(deadline))
            .await?;
        bulk::sort(&answer, &ids)
    }
}

const fn json(write: Write<'_>) -> Option<&[u8]> {
    match write {
        Write::Put { json, .. } | Write::Create { json } => Some(json),
        Write::Delete { .. } => None,
    }
}

fn push(body: &mut Vec<u8>, write: &DailyWrite<'_>) {
    let target = |version| Target {
        index: &write.index,
        id: write.id,
        version,
    };
    let action = match write.write {
        Write::Put { version, .. } => Action::Index(target(Version::external(version))),
        Write::Create { .. } => Action::Create(target(None)),
        Write::Delete { version } => Action::Delete(target(Version::external(version))),
    };
    // Strings and numbers always serialise.
    body.extend(serde_json::to_vec(&action).unwrap_or_default());
    body.push(b'\n');
    if let Some(json) = json(write.write) {
        body.extend_from_slice(json);
        body.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Auth;
    use serde_json::json;
    use std::time::Duration;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    #[tokio::test]
    async fn versions_travel_with_their_writes_and_every_item_is_sorted() {
        let server = MockServer::start().await;
        let items = json!({"items": [
            {"index": {"_id": "a", "status": 200}},
            {"index": {"_id": "b", "status": 409, "error": {"type": "version_conflict_engine_exception"}}},
            {"delete": {"_id": "c", "status": 404}},
            {"create": {"_id": "d", "status": 400, "error": {"type": "strict_dynamic_mapping_exception"}}},
        ]});
        Mock::given(method("POST"))
            .and(path("/_bulk"))
            .respond_with(ResponseTemplate::new(200).set_body_json(items))
            .expect(1)
            .mount(&server)
            .await;
        let search = Search::connect(&server.uri(), Auth::None).unwrap();
        let daily = DailyIndices::new(search, BulkLimits::default());
        let write = |id, write| DailyWrite {
            index: "s-2026.11.25".to_owned(),
            id,
            write,
        };
        let json = br#"{"x":1}"#;
        let writes = [
            write("a", Write::Put { version: 7, json }),
            write("b", Write::Put { version: 1, json }),
            write("c", Write::Delete { version: 3 }),
            write("d", Write::Create { json }),
        ];
        let deadline = Instant::now() + Duration::from_secs(5);
        let outcomes = daily.write(&writes, deadline).await;
        assert_eq!(
            outcomes[..3],
            [
                ItemOutcome::Indexed,
                ItemOutcome::Duplicate,
                ItemOutcome::Duplicate
            ]
        );
        assert!(
            matches!(&outcomes[3], ItemOutcome::Rejected(r) if r.code == "strict_dynamic_mapping_exception")
        );
        let body = server.received_requests().await.unwrap().remove(0).body;
        let expected = r#"{"index":{"_index":"s-2026.11.25","_id":"a","version":7,"version_type":"external_gte"}}
{"x":1}
{"index":{"_index":"s-2026.11.25","_id":"b","version":1,"version_type":"external_gte"}}
{"x":1}
{"delete":{"_index":"s-2026.11.25","_id":"c","version":3,"version_type":"external_gte"}}
{"create":{"_index":"s-2026.11.25","_id":"d"}}
{"x":1}
"#;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
