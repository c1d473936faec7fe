//! Which shards are read when. A reshard closes shards and opens children of
//! theirs; a key's records go on in a child, so that it must wait. Source:
//! Kinesis Data Streams Developer Guide, "Reshard a stream" and "After
//! resharding".

use crate::kinesis::ShardInfo;
use std::collections::HashSet;

/// Those of the listed shards that are to be read now: not finished, not being
/// read, and every parent finished. A parent that is not listed has expired.
pub(super) fn ready<'a>(
    listed: &'a [ShardInfo],
    being_read: &HashSet<String>,
    is_finished: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let is_listed = |id: &str| listed.iter().any(|shard| shard.id == id);
    listed
        .iter()
        .filter(|shard| !is_finished(&shard.id) && !being_read.contains(&shard.id))
        .filter(|shard| {
            let mut parents = shard.parents.iter();
            parents.all(|parent| is_finished(parent) || !is_listed(parent))
        })
        .map(|shard| shard.id.as_str())
        .collect()
}

/// Whether a shard was closed by a reshard: it has children.
pub(super) fn is_closed(listed: &[ShardInfo], id: &str) -> bool {
    listed
        .iter()
        .any(|shard| shard.parents.iter().any(|parent| parent == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row {
        semantic: &'static str,
        /// A shard and its parents.
        listed: &'static [(&'static str, &'static [&'static str])],
        being_read: &'static [&'static str],
        finished: &'static [&'static str],
        expected: &'static [&'static str],
    }

    const ROWS: &[Row] = &[
        Row {
            semantic: "shards without parents are read at once",
            listed: &[("a", &[]), ("b", &[])],
            being_read: &[],
            finished: &[],
            expected: &["a", "b"],
        },
        Row {
            semantic: "split: children wait for their parent",
            listed: &[("a", &[]), ("b", &["a"]), ("c", &["a"])],
            being_read: &[],
            finished: &[],
            expected: &["a"],
        },
        Row {
            semantic: "split: children are read when their parent is finished",
            listed: &[("a", &[]), ("b", &["a"]), ("c", &["a"])],
            being_read: &[],
            finished: &["a"],
            expected: &["b", "c"],
        },
        Row {
            semantic: "merge: the child waits for both parents",
            listed: &[("a", &[]), ("b", &[]), ("c", &["a", "b"])],
            being_read: &["b"],
            finished: &["a"],
            expected: &[],
        },
        Row {
            semantic: "merge: the child is read when both parents are finished",
            listed: &[("a", &[]), ("b", &[]), ("c", &["a", "b"])],
            being_read: &[],
            finished: &["a", "b"],
            expected: &["c"],
        },
        Row {
            semantic: "a grandchild waits for its parent, not for the shard before",
            listed: &[("a", &[]), ("b", &["a"]), ("c", &["b"])],
            being_read: &["b"],
            finished: &["a"],
            expected: &[],
        },
        Row {
            semantic: "a parent that has expired counts as finished",
            listed: &[("b", &["a"]), ("c", &["a", "d"]), ("d", &[])],
            being_read: &["d"],
            finished: &[],
            expected: &["b"],
        },
        Row {
            semantic: "what is being read or finished is not read again",
            listed: &[("a", &[]), ("b", &[]), ("c", &[])],
            being_read: &["a"],
            finished: &["b"],
            expected: &["c"],
        },
    ];

    fn listed(row: &Row) -> Vec<ShardInfo> {
        let shard = |(id, parents): &(&str, &[&str])| ShardInfo {
            id: (*id).to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
        };
        row.listed.iter().map(shard).collect()
    }

    #[test]
    fn every_semantic_holds() {
        for row in ROWS {
            let being_read = row.being_read.iter().map(|&id| id.to_owned()).collect();
            let finished = |id: &str| row.finished.contains(&id);
            let listed = listed(row);
            let ready = ready(&listed, &being_read, finished);
            assert_eq!(ready, row.expected, "{}", row.semantic);
        }
    }

    #[test]
    fn a_shard_with_children_is_closed() {
        let listed = listed(&ROWS[3]);
        let closed = ["a", "b", "c"].map(|id| is_closed(&listed, id));
        assert_eq!(closed, [true, true, false]);
    }
}
