//! The cluster, as it sees itself.

use super::{CheckError, Found};
use freshet_search::{Method, Search, SearchError};
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;

const SERVICE: &str = "OpenSearch";
const TIMEOUT: Duration = Duration::from_secs(8);

const HEALTH: &str = "_cluster/health?timeout=5s";
const STATS: &str =
    "_cluster/stats?filter_path=indices.count,indices.docs.count,indices.store.size_in_bytes";
const NODES: &str =
    "_nodes/stats/fs,jvm?filter_path=nodes.*.fs.total,nodes.*.jvm.mem.heap_used_percent";

/// A cluster's colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Every shard is there.
    Green,
    /// Every primary is there.
    Yellow,
    /// A primary is missing.
    Red,
    /// It does not say.
    #[serde(other)]
    Unknown,
}

impl Colour {
    /// As a metric: 0 to 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Green => 0,
            Self::Yellow => 1,
            Self::Red => 2,
            Self::Unknown => 3,
        }
    }
}

/// What the cluster says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Its colour.
    pub colour: Colour,
    /// Nodes.
    pub nodes: u64,
    /// Primaries that serve.
    pub active_primary_shards: u64,
    /// Shards that serve.
    pub active_shards: u64,
    /// Shards on the move.
    pub relocating_shards: u64,
    /// Shards being set up.
    pub initializing_shards: u64,
    /// Shards that no node has.
    pub unassigned_shards: u64,
    /// Of the fullest node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_percent: Option<f64>,
    /// Of the fullest node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_used_percent: Option<f64>,
    /// Documents in all indices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<u64>,
    /// Bytes of all indices, replicas included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Health {
    status: Colour,
    number_of_nodes: u64,
    active_primary_shards: u64,
    active_shards: u64,
    relocating_shards: u64,
    initializing_shards: u64,
    unassigned_shards: u64,
}

#[derive(Deserialize)]
struct Stats {
    indices: Indices,
}

#[derive(Deserialize)]
struct Indices {
    docs: Docs,
    store: Store,
}

#[derive(Deserialize)]
struct Docs {
    count: u64,
}

#[derive(Deserialize)]
struct Store {
    size_in_bytes: u64,
}

#[derive(Deserialize)]
struct Nodes {
    #[serde(default)]
    nodes: HashMap<String, Node>,
}

#[derive(Deserialize)]
struct Node {
    fs: Option<Fs>,
    jvm: Option<Jvm>,
}

#[derive(Deserialize)]
struct Fs {
    total: Option<Disk>,
}

#[derive(Deserialize)]
struct Disk {
    total_in_bytes: u64,
    available_in_bytes: u64,
}

#[derive(Deserialize)]
struct Jvm {
    mem: Mem,
}

#[derive(Deserialize)]
struct Mem {
    heap_used_percent: f64,
}

/// Asks for the cluster's health, its statistics and its nodes', at once. What
/// the first says stands though the others fail.
pub async fn check(search: &Search) -> Found<Cluster> {
    let (health, stats, nodes) = futures::join!(
        ask::<Health>(search, HEALTH),
        ask::<Stats>(search, STATS),
        ask::<Nodes>(search, NODES),
    );
    let health = match health {
        Ok(health) => health,
        Err(error) => return Err(error).into(),
    };
    let fullest = nodes.as_ref().map(Nodes::fullest).unwrap_or_default();
    let cluster = Cluster {
        colour: health.status,
        nodes: health.number_of_nodes,
        active_primary_shards: health.active_primary_shards,
        active_shards: health.active_shards,
        relocating_shards: health.relocating_shards,
        initializing_shards: health.initializing_shards,
        unassigned_shards: health.unassigned_shards,
        disk_used_percent: fullest.0,
        heap_used_percent: fullest.1,
        documents: stats.as_ref().ok().map(|stats| stats.indices.docs.count),
        store_bytes: stats
            .as_ref()
            .ok()
            .map(|stats| stats.indices.store.size_in_bytes),
    };
    Found {
        value: Some(cluster),
        failure: nodes.err().or(stats.err()),
    }
}

impl Nodes {
    /// Percent of disk and of heap in use, each of the node that has most.
    #[allow(clippy::cast_precision_loss)] // of bytes, for percents
    fn fullest(&self) -> (Option<f64>, Option<f64>) {
        let disks = self.nodes.values().filter_map(|node| {
            let disk = node.fs.as_ref()?.total.as_ref()?;
            let free = disk.available_in_bytes as f64 / disk.total_in_bytes as f64;
            (disk.total_in_bytes > 0).then_some((100.0 * (1.0 - free)).clamp(0.0, 100.0))
        });
        let heaps = self.nodes.values();
        let heaps = heaps.filter_map(|node| Some(node.jvm.as_ref()?.mem.heap_used_percent));
        (disks.reduce(f64::max), heaps.reduce(f64::max))
    }
}

pub(crate) async fn ask<T: DeserializeOwned>(search: &Search, path: &str) -> Result<T, CheckError> {
    let answer = search.send(Method::Get, path, None, TIMEOUT).await;
    serde_json::from_slice(&answer.map_err(|error| refused(&error))?)
        .map_err(|_| CheckError::Answer(SERVICE))
}

pub(crate) fn refused(error: &SearchError) -> CheckError {
    match error.status() {
        Some(status) => CheckError::Refused {
            service: SERVICE,
            code: status.to_string(),
        },
        None => CheckError::Unreachable(SERVICE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_search::Auth;
    use serde_json::json;
    use wiremock::matchers::{any, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    pub(crate) async fn answers(server: &MockServer, colour: &str) {
        let health = json!({"status": colour, "number_of_nodes": 2, "active_primary_shards": 6, "active_shards": 11,
            "relocating_shards": 1, "initializing_shards": 2, "unassigned_shards": 3, "timed_out": false});
        let stats = json!({"indices": {"count": 1, "docs": {"count": 40}, "store": {"size_in_bytes": 4_000}}});
        let node = |free: u64, heap: u64| json!({"fs": {"total": {"total_in_bytes": 100, "free_in_bytes": free, "available_in_bytes": free}}, "jvm": {"mem": {"heap_used_percent": heap}}});
        let nodes = json!({"nodes": {"a": node(40, 71), "b": node(15, 50), "c": {}}});
        for (at, body) in [
            ("/_cluster/health", health),
            ("/_cluster/stats", stats),
            ("/_nodes/stats/fs,jvm", nodes),
        ] {
            let answer = ResponseTemplate::new(200).set_body_json(body);
            Mock::given(path(at))
                .respond_with(answer)
                .mount(server)
                .await;
        }
    }

    #[tokio::test]
    async fn the_fullest_node_is_told() {
        let server = MockServer::builder().start().await;
        answers(&server, "yellow").await;
        let found = check(&Search::connect(&server.uri(), Auth::None).unwrap()).await;
        assert_eq!(found.failure, None);
        let cluster = found.value.unwrap();
        assert_eq!((cluster.colour.number(), cluster.nodes), (1, 2));
        assert_eq!(
            (cluster.unassigned_shards, cluster.documents),
            (3, Some(40))
        );
        assert_eq!(cluster.heap_used_percent, Some(71.0));
        assert!(
            cluster
                .disk_used_percent
                .is_some_and(|percent| (percent - 85.0).abs() < 1e-9)
        );
    }

    #[tokio::test]
    async fn nodes_that_do_not_answer_leave_the_colour() {
        let server = MockServer::builder().start().await;
        let broken = ResponseTemplate::new(429);
        let only = Mock::given(path("/_nodes/stats/fs,jvm")).respond_with(broken);
        only.with_priority(1).mount(&server).await;
        answers(&server, "red").await;
        let found = check(&Search::connect(&server.uri(), Auth::None).unwrap()).await;
        let cluster = found.value.unwrap();
        assert_eq!(
            (cluster.colour, cluster.disk_used_percent),
            (Colour::Red, None)
        );
        let refused = CheckError::Refused {
            service: SERVICE,
            code: "429".into(),
        };
        assert_eq!(found.failure, Some(refused));
    }

    #[tokio::test]
    async fn a_cluster_that_is_down_is_no_colour_at_all() {
        let server = MockServer::builder().start().await;
        let uri = server.uri();
        drop(server);
        let found = check(&Search::connect(&uri, Auth::None).unwrap()).await;
        assert_eq!(found.value, None);
        assert_eq!(found.failure, Some(CheckError::Unreachable(SERVICE)));

        let server = MockServer::builder().start().await;
        let page = ResponseTemplate::new(200).set_body_string("<html>");
        Mock::given(any()).respond_with(page).mount(&server).await;
        let found = check(&Search::connect(&server.uri(), Auth::None).unwrap()).await;
        assert_eq!(found.failure, Some(CheckError::Answer(SERVICE)));
    }
}
