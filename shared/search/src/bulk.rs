//! The `_bulk` and `_mget` requests and what their answers say of each item.

use crate::client::SearchError;
use bytes::Bytes;
use freshet_events::{DocumentId, Rejection};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It is in the index now.
    Indexed,
    /// It was there already: an earlier delivery of the same event, or a newer
    /// version of a document that changes.
    Duplicate,
    /// It is not in, and may be later; the code of what stood in the way.
    Retry {
        /// The index's error type, or one of [`SearchError`]'s codes.
        code: String,
    },
    /// The index will never take it.
    Rejected(Rejection),
}

/// Errors of an index that takes nothing until somebody does something about it.
const BLOCKED: [&str; 3] = [
    "index_not_found_exception",
    "cluster_block_exception",
    "index_closed_exception",
];

impl ItemOutcome {
    /// Whether the index has it, or a newer version of it.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        matches!(self, Self::Indexed | Self::Duplicate)
    }

    /// Whether its index takes nothing until somebody does something about it:
    /// what is not worth waiting for that need not be tried again.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Retry { code } if BLOCKED.contains(&code.as_str()))
    }

    pub(crate) fn retry(code: &str) -> Self {
        Self::Retry {
            code: code.to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct BulkAnswer<'a> {
    #[serde(borrow)]
    items: Vec<BulkItem<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum BulkItem<'a> {
    Create(#[serde(borrow)] BulkResult<'a>),
    Index(#[serde(borrow)] BulkResult<'a>),
    Delete(#[serde(borrow)] BulkResult<'a>),
}

#[derive(Deserialize)]
struct BulkResult<'a> {
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    status: u16,
    #[serde(borrow)]
    error: Option<BulkError<'a>>,
}

#[derive(Deserialize)]
struct BulkError<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

/// Appends one document to a `_bulk` body: the action, and the document's JSON
/// on a line of its own.
pub fn push(body: &mut Vec<u8>, id: &DocumentId, json: &[u8]) {
    body.extend_from_slice(b"{\"create\":{\"_id\":\"");
    body.extend_from_slice(id.as_str().as_bytes());
    body.extend_from_slice(b"\"}}\n");
    body.extend_from_slice(json);
    body.push(b'\n');
}

/// The bytes that [`push`] adds besides the document itself.
pub(crate) const ACTION_BYTES: usize = 45;

/// Each document's outcome, told by its place and its id.
///
/// # Errors
/// [`SearchError::Answer`] if the answer does not match the request item by
/// item: then nothing is known of any.
pub(crate) fn sort(
    answer: &[u8],
    sent: &[impl AsRef<str>],
) -> Result<Vec<ItemOutcome>, SearchError> {
    let answer: BulkAnswer<'_> = serde_json::from_slice(answer)
        .map_err(|_| SearchError::Answer("not the answer to a bulk request"))?;
    if answer.items.len() != sent.len() {
        return Err(SearchError::Answer(
            "another number of items than were sent",
        ));
    }
    answer
        .items
        .iter()
        .zip(sent)
        .map(|(item, id)| {
            let (BulkItem::Create(result) | BulkItem::Index(result) | BulkItem::Delete(result)) =
                item;
            if result.id != id.as_ref() {
                return Err(SearchError::Answer(
                    "the items are not in the order they were sent",
                ));
            }
            Ok(outcome(result))
        })
        .collect()
}

fn outcome(result: &BulkResult<'_>) -> ItemOutcome {
    let kind = result.error.as_ref().map_or("unknown", |error| &error.kind);
    match (result.status, kind) {
        (200 | 201, _) => ItemOutcome::Indexed,
        (409, _) => ItemOutcome::Duplicate,
        // Nothing there to delete.
        (404, _) if result.error.is_none() => ItemOutcome::Duplicate,
        // The cluster's state stands in the way, not the document.
        (429 | 500.., _) => ItemOutcome::retry(kind),
        (_, kind) if BLOCKED.contains(&kind) => ItemOutcome::retry(kind),
        _ => {
            let reason = result
                .error
                .as_ref()
                .and_then(|error| error.reason.as_deref())
                .unwrap_or_default();
            ItemOutcome::Rejected(Rejection::by_index(kind, without_values(reason)))
        }
    }
}

/// The part of a reason that names fields. The rest may quote the document,
/// and what is in a document does not belong into messages.
fn without_values(reason: &str) -> String {
    let end = [" in document with id", ". Preview of field's value", ": ["]
        .iter()
        .filter_map(|mark| reason.find(mark))
        .min()
        .unwrap_or(reason.len());
    let about_fields = [
        "failed to parse field [",
        "mapping set to strict",
        "object mapping for [",
    ];
    if about_fields.iter().any(|start| reason.starts_with(start)) {
        reason[..end].chars().take(300).collect()
    } else {
        "the index refused the document".to_owned()
    }
}

#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
}

#[derive(Serialize)]
struct MultiGet<'a> {
    docs: Vec<Wanted<'a>>,
}

#[derive(Deserialize)]
struct MultiGetAnswer<'a> {
    #[serde(borrow)]
    docs: Vec<Found<'a>>,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    found: bool,
    #[serde(borrow)]
    error: Option<BulkError<'a>>,
}

/// An `_mget` body that asks for these documents in these indices.
pub(crate) fn multi_get<'a>(wanted: &[(&'a str, &'a DocumentId)]) -> Bytes {
    let docs = wanted
        .iter()
        .map(|(index, id)| Wanted {
            index,
            id: id.as_str(),
        })
        .collect();
    // Strings always serialise.
    serde_json::to_vec(&MultiGet { docs })
        .unwrap_or_default()
        .into()
}

/// Whether each wanted document is there.
///
/// # Errors
/// [`SearchError::Answer`] if one cannot be told: it must not be taken for
/// missing. An index that is gone (deleted by policy) holds nothing.
pub(crate) fn found(
    answer: &[u8],
    wanted: &[(&str, &DocumentId)],
) -> Result<Vec<bool>, SearchError> {
    let answer: MultiGetAnswer<'_> = serde_json::from_slice(answer)
        .map_err(|_| SearchError::Answer("not the answer to a multi-get"))?;
    if answer.docs.len() != wanted.len() {
        return Err(SearchError::Answer(
            "another number of documents than were asked for",
        ));
    }
    let told = answer
        .docs
        .iter()
        .zip(wanted)
        .map(|(doc, (_, id))| match &doc.error {
            _ if doc.id != id.as_str() => Err(SearchError::Answer(
                "the documents are not in the order asked for",
            )),
            None => Ok(doc.found),
            Some(error) if error.kind == "index_not_found_exception" => Ok(false),
            Some(_) => Err(SearchError::Answer("a document could not be looked up")),
        });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Vec<DocumentId> {
        (0..3)
            .map(|n| DocumentId::new("s", &n.to_string()))
            .collect()
    }

    fn item(id: &DocumentId, status: u16, kind: &str, reason: &str) -> String {
        format!(
            r#"{{"create":{{"_index":"i","_id":"{id}","status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#
        )
    }

    fn one(status: u16, kind: &str, reason: &str) -> ItemOutcome {
        let id = DocumentId::new("s", "1");
        let body = format!(
            r#"{{"errors":true,"items":[{}]}}"#,
            item(&id, status, kind, reason)
        );
        sort(body.as_bytes(), &[id]).unwrap().remove(0)
    }

    #[test]
    fn every_item_is_sorted() {
        assert_eq!(one(201, "", ""), ItemOutcome::Indexed);
        assert_eq!(
            one(409, "version_conflict_engine_exception", ""),
            ItemOutcome::Duplicate
        );
        for (status, kind) in [
            (429, "rejected_execution_exception"),
            (503, "unavailable_shards_exception"),
            (404, "index_not_found_exception"),
            (403, "cluster_block_exception"),
            (400, "index_closed_exception"),
        ] {
            assert_eq!(one(status, kind, ""), ItemOutcome::retry(kind));
            let waits = matches!(status, 404 | 403 | 400);
            assert_eq!(one(status, kind, "").is_blocked(), waits, "{kind}");
        }
        let rejected = one(
            400,
            "mapper_parsing_exception",
            "failed to parse field [metadata.referrer] of type [keyword] in document with id 'x'. Preview of field's value: '{ip=203.0.113.9}'",
        );
        let expected = Rejection::by_index(
            "mapper_parsing_exception",
            "failed to parse field [metadata.referrer] of type [keyword]",
        );
        assert_eq!(rejected, ItemOutcome::Rejected(expected));
        let ItemOutcome::Rejected(other) =
            one(400, "illegal_argument_exception", "203.0.113.9 is odd")
        else {
            panic!()
        };
        assert_eq!(other.message, "the index refused the document");
    }

    #[test]
    fn answers_that_do_not_match_err_as_a_whole() {
        let ids = ids();
        let body = |ids: &[&DocumentId]| {
            let items: Vec<_> = ids.iter().map(|id| item(id, 201, "", "")).collect();
            format!(r#"{{"errors":false,"items":[{}]}}"#, items.join(","))
        };
        assert!(sort(body(&[&ids[0], &ids[1], &ids[2]]).as_bytes(), &ids).is_ok());
        assert!(sort(body(&[&ids[0], &ids[1]]).as_bytes(), &ids).is_err());
        assert!(sort(body(&[&ids[0], &ids[2], &ids[1]]).as_bytes(), &ids).is_err());
        for broken in ["", "<html>", "{}", r#"{"items":[{"index":{}}]}"#] {
            assert!(sort(broken.as_bytes(), &ids).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_looked_up_is_not_missing() {
        let ids = ids();
        let wanted: Vec<_> = ids.iter().map(|id| ("i", id)).collect();
        let doc = |id: &DocumentId, rest: &str| format!(r#"{{"_index":"i","_id":"{id}",{rest}}}"#);
        let answer = |last: &str| {
            let docs = [
                doc(&ids[0], r#""found":true"#),
                doc(&ids[1], r#""found":false"#),
                doc(&ids[2], last),
            ];
            found(
                format!(r#"{{"docs":[{}]}}"#, docs.join(",")).as_bytes(),
                &wanted,
            )
        };
        let gone = r#""error":{"type":"index_not_found_exception"}"#;
        assert_eq!(answer(gone).unwrap(), [true, false, false]);
        assert!(answer(r#""error":{"type":"no_shard_available_action_exception"}"#).is_err());
        assert!(found(br#"{"docs":[]}"#, &wanted).is_err());
    }

    #[test]
    fn the_action_line_has_its_known_length() {
        let mut body = Vec::new();
        push(&mut body, &ids()[0], b"{}");
        assert_eq!(body.len(), ACTION_BYTES + 2);
    }
}
