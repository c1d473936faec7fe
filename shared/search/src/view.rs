//! Which index is written to, and where else a document may already be.
//!
//! A document's `_id` is unique only within one index, and the write alias
//! moves from index to index. So a document that may have been sent before the
//! current write index was created is first looked for in the older ones.
//!
//! The margin of [`SLACK_MS`] makes that safe although views are cached. A
//! view is used for [`MAX_AGE`] at most, so whoever writes into the index
//! before the newest does so no later than that after the newest was created;
//! and what it writes has arrived before. An event that was written with such
//! a view therefore arrived less than `MAX_AGE` after the newest index's
//! creation, and the margin makes every later attempt look for it. What is
//! left of the margin is for clocks that differ. See docs/decisions/0005.

use crate::client::{Method, Search, SearchError};
use freshet_events::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a view may be used.
pub const MAX_AGE: Duration = Duration::from_secs(5);

/// How much earlier than its earliest time a document is taken to have been
/// sent. It covers `MAX_AGE` and as much again of clock difference.
pub const SLACK_MS: i64 = 10_000;

/// The indices behind the write alias at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteView {
    /// By creation time; the last one is the write index.
    indices: Vec<BackingIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BackingIndex {
    name: String,
    created_at_ms: i64,
}

#[derive(Deserialize)]
struct IndexAnswer {
    aliases: BTreeMap<String, AliasAnswer>,
    settings: SettingsAnswer,
}

#[derive(Deserialize)]
struct AliasAnswer {
    is_write_index: Option<bool>,
}

#[derive(Deserialize)]
struct SettingsAnswer {
    index: IndexSettings,
}

#[derive(Deserialize)]
struct IndexSettings {
    creation_date: String,
}

impl WriteView {
    /// Asks the cluster.
    ///
    /// # Errors
    /// [`SearchError::NoWriteIndex`] if the alias is missing or ambiguous.
    pub async fn fetch(
        search: &Search,
        alias: &str,
        timeout: Duration,
    ) -> Result<Self, SearchError> {
        let path = format!("{alias}?filter_path=*.aliases,*.settings.index.creation_date");
        let body = match search.send(Method::Get, &path, None, timeout).await {
            Err(SearchError::Status { status: 404, .. }) => return Err(SearchError::NoWriteIndex),
            other => other?,
        };
        Self::parse(&body, alias)
    }

    fn parse(body: &[u8], alias: &str) -> Result<Self, SearchError> {
        let answer: BTreeMap<String, IndexAnswer> = serde_json::from_slice(body)
            .map_err(|_| SearchError::Answer("not the indices of an alias"))?;
        let alone = answer.len() == 1;
        let mut write_index = None;
        let mut indices = Vec::with_capacity(answer.len());
        for (name, index) in answer {
            let created = index.settings.index.creation_date.parse();
            let created_at_ms =
                created.map_err(|_| SearchError::Answer("a creation date is no number"))?;
            // A name that is an index and no alias must not be written to.
            let member = index.aliases.get(alias).ok_or(SearchError::NoWriteIndex)?;
            let backing = BackingIndex {
                name,
                created_at_ms,
            };
            if member.is_write_index.unwrap_or(alone) {
                write_index = Some(backing);
            } else {
                indices.push(backing);
            }
        }
        let write_index = write_index.ok_or(SearchError::NoWriteIndex)?;
        // An index created after the write index was never written to by way
        // of the alias: somebody moved it there by hand.
        indices.sort_by_key(|index| index.created_at_ms);
        indices.push(write_index);
        Ok(Self { indices })
    }

    /// The name of the index that is written to.
    #[must_use]
    pub fn write_index(&self) -> &str {
        self.indices.last().map_or("", |index| &index.name)
    }

    /// The older indices that may already hold a document whose earliest time
    /// is `not_before`: from the one that was current then to the last before
    /// the write index.
    pub fn may_hold(&self, not_before: Timestamp) -> impl Iterator<Item = &str> {
        let earliest = not_before.as_millis() - SLACK_MS;
        let (older, created) = match self.indices.split_last() {
            Some((write_index, older)) => (older, write_index.created_at_ms),
            None => (&[][..], i64::MIN),
        };
        let older = if earliest < created { older } else { &[] };
        // Current at `earliest` was the last index created by then.
        let current = older
            .iter()
            .rposition(|index| index.created_at_ms <= earliest)
            .unwrap_or(0);
        older
            .get(current..)
            .unwrap_or_default()
            .iter()
            .map(|index| index.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> WriteView {
        let index = |name: &str, created: &str, write: &str| {
            format!(
                r#""{name}":{{"aliases":{{"c":{{{write}}}}},"settings":{{"index":{{"creation_date":"{created}"}}}}}}"#
            )
        };
        let body = format!(
            "{{{},{},{}}}",
            index("c-3", "300000", r#""is_write_index":true"#),
            index("c-1", "100000", ""),
            index("c-2", "200000", r#""is_write_index":false"#)
        );
        WriteView::parse(body.as_bytes(), "c").unwrap()
    }

    fn may_hold(at_ms: i64) -> Vec<String> {
        view()
            .may_hold(Timestamp::from_millis(at_ms).unwrap())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_write_index_is_the_marked_one() {
        assert_eq!(view().write_index(), "c-3");
    }

    #[test]
    fn looks_from_the_index_that_was_current_to_the_last_before_the_write_index() {
        assert_eq!(may_hold(310_000), Vec::<String>::new());
        assert_eq!(may_hold(309_999), ["c-2"]);
        assert_eq!(may_hold(210_000), ["c-2"]);
        assert_eq!(may_hold(209_999), ["c-1", "c-2"]);
        assert_eq!(may_hold(0), ["c-1", "c-2"]);
    }

    #[test]
    fn an_alias_without_a_write_index_is_told() {
        let parse = |body: &str| WriteView::parse(body.as_bytes(), "c");
        assert!(matches!(parse("{}"), Err(SearchError::NoWriteIndex)));
        let plain_index = r#"{"c":{"aliases":{},"settings":{"index":{"creation_date":"1"}}}}"#;
        assert!(matches!(parse(plain_index), Err(SearchError::NoWriteIndex)));
        let alone = r#"{"c-1":{"aliases":{"c":{}},"settings":{"index":{"creation_date":"1"}}}}"#;
        assert_eq!(parse(alone).unwrap().write_index(), "c-1");
        assert!(matches!(parse("<html>"), Err(SearchError::Answer(_))));
    }
}
