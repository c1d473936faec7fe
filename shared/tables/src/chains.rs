//! What the shards have counted: a manifest for each chain, and the parts of
//! its pieces. docs/decisions/0011-aggregation.md says what they are for.
//!
//! | item | `pk` | `sk` | attributes |
//! |---|---|---|---|
//! | manifest | `chains#<hour>` | [`ChainName`] | `pieces` (B): [`Manifest`]; `last` (S): last sequence number, 60 digits |
//! | part | `piece#<shard>#<name>` | part, 3 digits or more | `data` (B) |
//!
//! Both have `expires_at` (N), seconds since 1970.

use crate::TableError;
use crate::item::{Item, client, n};
use crate::manifest::{ChainName, Listed, Manifest, ManifestError, PieceEntry, PieceName};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt as _, TryStreamExt as _};
use std::time::Duration;
use thiserror::Error;

/// An item may have 400 KB, its keys and names included.
const PART_BYTES: usize = 350_000;
/// Parts that are put or read at once.
const PARTS_AT_ONCE: usize = 6;
/// Hours that are asked for at once.
const HOURS_AT_ONCE: usize = 2;
/// Sequence numbers have 56 digits today.
const SEQUENCE_DIGITS: usize = 60;
/// Slow answers are asked for again (the SDK's standard retries), a table that
/// answers nothing is given up while its caller can still report it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a chain or a piece was not stored or read.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The table gave or took nothing.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A manifest names a piece that is not all there (yet): try again.
    #[error("piece {piece} is incomplete: {reason}")]
    Incomplete {
        /// Its shard and name.
        piece: String,
        /// What is missing.
        reason: String,
    },
    /// A manifest is not one that this or an older release wrote.
    #[error("the manifest {chain} cannot be read: {source}")]
    Unreadable {
        /// Its sort key.
        chain: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// An item lacks an attribute, or has something else there.
    #[error("the item {item} has no good {attribute}")]
    Attribute {
        /// Its sort key.
        item: String,
        /// The attribute.
        attribute: &'static str,
    },
    /// The caller's chain or piece cannot be stored as what it is.
    #[error("{0} cannot be stored")]
    Invalid(&'static str),
}

impl ChainError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Table(error) => error.code(),
            Self::Incomplete { .. } => "piece_incomplete",
            Self::Unreadable { .. } | Self::Attribute { .. } => "chain_unreadable",
            Self::Invalid(_) => "chain_invalid",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Table(TableError::Unavailable { .. } | TableError::Throttled)
            | Self::Incomplete { .. } => true,
            Self::Table(_)
            | Self::Unreadable { .. }
            | Self::Attribute { .. }
            | Self::Invalid(_) => false,
        }
    }
}

/// What became of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestPut {
    /// It is stored.
    Written,
    /// The chain has gone on meanwhile: what is stored counts more than this one.
    Overtaken,
}

/// The chains and pieces in the table of aggregations.
#[derive(Clone, Debug)]
pub struct ChainTable {
    client: Client,
    name: String,
}

impl ChainTable {
    /// The table `name`.
    #[must_use]
    pub fn new(aws: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: client(aws, ATTEMPT_TIMEOUT, OPERATION_TIMEOUT),
            name: name.into(),
        }
    }

    /// Stores a piece; all of it is there when this returns. Gives its name and
    /// the number of its parts. The same content again changes nothing but how
    /// long it lives.
    ///
    /// # Errors
    /// [`ChainError`] if not all of it is known to be stored. No manifest may
    /// name it then.
    pub async fn put_piece(
        &self,
        shard: &str,
        content: &[u8],
        expires_at_s: i64,
    ) -> Result<(PieceName, u16), ChainError> {
        let name = PieceName::of(shard, content);
        let chunks = content.chunks(PART_BYTES);
        let parts = u16::try_from(chunks.len()).ok();
        let parts = parts
            .filter(|_| u32::try_from(content.len()).is_ok())
            .ok_or(ChainError::Invalid("a piece of this size"))?;
        let pk = piece_key(shard, name);
        let puts = (0..parts).zip(chunks).map(|(part, data)| {
            self.client
                .put_item()
                .table_name(&self.name)
                .item("pk", AttributeValue::S(pk.clone()))
                .item("sk", AttributeValue::S(part_key(part)))
                .item("data", AttributeValue::B(Blob::new(data)))
                .item("expires_at", n(expires_at_s))
                .send()
        });
        futures::stream::iter(puts)
            .buffer_unordered(PARTS_AT_ONCE)
            .map_err(TableError::of)
            .try_for_each(async |_| Ok(()))
            .await?;
        Ok((name, parts))
    }

    /// Reads a piece, strongly consistent.
    ///
    /// # Errors
    /// [`ChainError::Incomplete`] if a part is missing or the content is not
    /// what its name says: a caller tries again. [`ChainError::Table`] if the
    /// table does not answer.
    pub async fn piece(&self, shard: &str, entry: &PieceEntry) -> Result<Vec<u8>, ChainError> {
        let incomplete = |reason: String| ChainError::Incomplete {
            piece: format!("{shard}#{}", entry.name),
            reason,
        };
        let pk = piece_key(shard, entry.name);
        let reads = (0..entry.parts).map(|part| {
            let request = self
                .client
                .get_item()
                .table_name(&self.name)
                .key("pk", AttributeValue::S(pk.clone()))
                .key("sk", AttributeValue::S(part_key(part)))
                .projection_expression("#data")
                .expression_attribute_names("#data", "data")
                .consistent_read(true)
                .send();
            async move {
                let answer = request.await.map_err(TableError::of)?;
                match answer.item.and_then(|mut item| item.remove("data")) {
                    Some(AttributeValue::B(data)) => Ok(data.into_inner()),
                    _ => Err(incomplete(format!("part {part} is missing"))),
                }
            }
        });
        let parts: Vec<Vec<u8>> = futures::stream::iter(reads)
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        let content = parts.concat();
        if PieceName::of(shard, &content) != entry.name {
            let reason = format!(
                "{} bytes that are not the {} of its name",
                content.len(),
                entry.bytes
            );
            return Err(incomplete(reason));
        }
        Ok(content)
    }

    /// Stores a manifest, unless one that has counted more is there.
    ///
    /// # Errors
    /// [`ChainError`] if it is not known whether the table has it.
    pub async fn put_manifest(
        &self,
        manifest: &Manifest,
        expires_at_s: i64,
    ) -> Result<ManifestPut, ChainError> {
        let chain = &manifest.chain;
        if !(0..=9_999_999_999).contains(&chain.window_start) {
            return Err(ChainError::Invalid("this arrival window"));
        }
        if chain.shard.contains('#') || sequence(&chain.first).is_none() {
            return Err(ChainError::Invalid("a chain of this name"));
        }
        let last = sequence(&manifest.last).ok_or(ChainError::Invalid("this sequence number"))?;
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", hour_key(chain.window_start.div_euclid(3_600)))
            .item("sk", AttributeValue::S(chain.to_string()))
            .item("last", AttributeValue::S(last.clone()))
            .item("pieces", AttributeValue::B(Blob::new(manifest.to_bytes())))
            .item("expires_at", n(expires_at_s))
            .condition_expression("attribute_not_exists(pk) OR #last <= :last")
            .expression_attribute_names("#last", "last")
            .expression_attribute_values(":last", AttributeValue::S(last));
        let Err(error) = request.send().await else {
            return Ok(ManifestPut::Written);
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(ManifestPut::Overtaken),
            _ => Err(TableError::of(error).into()),
        }
    }

    /// The manifests of every chain whose arrival window begins between these
    /// two moments (seconds since 1970, both included), in the order of their
    /// names, as of now: strongly consistent. What has expired is left out.
    ///
    /// # Errors
    /// [`ChainError`] if not all of them can be read: nothing is left out
    /// silently.
    pub async fn chains(
        &self,
        from_window_start: i64,
        to_window_start: i64,
        now_s: i64,
    ) -> Result<Vec<Manifest>, ChainError> {
        let from = from_window_start.max(0);
        if to_window_start < from {
            return Ok(Vec::new());
        }
        let hours = from.div_euclid(3_600)..=to_window_start.div_euclid(3_600);
        let queries = hours.map(|hour| self.hour(hour, from, to_window_start));
        let items: Vec<Vec<Item>> = futures::stream::iter(queries)
            .buffered(HOURS_AT_ONCE)
            .try_collect()
            .await?;
        let read = items.iter().flatten().map(read_manifest);
        let mut manifests = Vec::new();
        for manifest in read {
            let (manifest, expires_at_s) = manifest?;
            if expires_at_s > now_s {
                manifests.push(manifest);
            }
        }
        Ok(manifests)
    }

    async fn hour(&self, hour: i64, from: i64, to: i64) -> Result<Vec<Item>, ChainError> {
        let pages = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :hour AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":hour", hour_key(hour))
            .expression_attribute_values(":from", AttributeValue::S(format!("{from:010}")))
            // `$` comes after `#`: every chain of the last window is before it.
            .expression_attribute_values(":to", AttributeValue::S(format!("{to:010}$")))
            .into_paginator()
            .items()
            .send();
        pages
            .collect::<Result<Vec<Item>, _>>()
            .await
            .map_err(|error| TableError::of(error).into())
    }
}

fn read_manifest(item: &Item) -> Result<(Manifest, i64), ChainError> {
    let sk = item.get("sk").and_then(|value| value.as_s().ok());
    let sk = sk.map(String::as_str).unwrap_or_default();
    let no = |attribute| {
        move || ChainError::Attribute {
            item: sk.to_owned(),
            attribute,
        }
    };
    let chain = chain_name(sk).ok_or_else(no("sk"))?;
    let last = item.get("last").and_then(|value| value.as_s().ok());
    let last = last.and_then(|digits| sequence(digits));
    let last = last.ok_or_else(no("last"))?;
    let expires = item.get("expires_at").and_then(|value| value.as_n().ok());
    let expires = expires.and_then(|number| number.parse().ok());
    let expires_at_s = expires.ok_or_else(no("expires_at"))?;
    let pieces = item.get("pieces").and_then(|value| value.as_b().ok());
    let pieces = pieces.ok_or_else(no("pieces"))?;
    let listed = Listed::from_bytes(pieces.as_ref()).map_err(|source| ChainError::Unreadable {
        chain: sk.to_owned(),
        source,
    })?;
    let digits = last.trim_start_matches('0');
    let manifest = Manifest {
        chain,
        last: if digits.is_empty() { "0" } else { digits }.to_owned(),
        pieces: listed.pieces,
        late_dropped: listed.late_dropped,
        early_dropped: listed.early_dropped,
    };
    Ok((manifest, expires_at_s))
}

fn chain_name(sk: &str) -> Option<ChainName> {
    let mut parts = sk.splitn(3, '#');
    let (window_start, shard, first) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ChainName {
        window_start: window_start.parse().ok()?,
        shard: shard.to_owned(),
        first: first.to_owned(),
    })
}

/// A sequence number so padded that texts compare as numbers do.
fn sequence(digits: &str) -> Option<String> {
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (number && digits.len() <= SEQUENCE_DIGITS).then(|| format!("{digits:0>SEQUENCE_DIGITS$}"))
}

fn hour_key(hour: i64) -> AttributeValue {
    AttributeValue::S(format!("chains#{hour}"))
}

fn piece_key(shard: &str, name: PieceName) -> String {
    format!("piece#{shard}#{name}")
}

fn part_key(part: u16) -> String {
    format!("{part:03}")
}

#[cfg(test)]
#[path = "chains_tests.rs"]
mod tests;
