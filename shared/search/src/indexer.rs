//! Creates documents, each exactly once, and says of each what became of it.

use crate::bulk::{self, ItemOutcome};
use crate::client::{Method, Search, SearchError};
use crate::requests::{self, BulkLimits, timeout};
use crate::view::{MAX_AGE, WriteView};
use bytes::Bytes;
use freshet_events::{DocumentId, Timestamp};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// One document to create.
#[derive(Clone, Copy, Debug)]
pub struct IndexRequest<'a> {
    /// Its `_id`.
    pub id: &'a DocumentId,
    /// Its `_source`, on one line.
    pub json: &'a [u8],
    /// No earlier delivery of it can have been indexed before this moment.
    pub not_before: Timestamp,
}

/// Writes to the index that an alias points at.
#[derive(Debug)]
pub struct Indexer {
    search: Search,
    alias: String,
    limits: BulkLimits,
    view: Mutex<Option<(Arc<WriteView>, Instant)>>,
}

impl Indexer {
    /// An indexer for the write alias `alias`.
    #[must_use]
    pub fn new(search: Search, alias: impl Into<String>, limits: BulkLimits) -> Self {
        Self {
            search,
            alias: alias.into(),
            limits,
            view: Mutex::new(None),
        }
    }

    /// Creates the documents and gives one outcome for each, in order. What
    /// the cluster cannot take now is tried again until `deadline`, three
    /// times at the most, and is [`ItemOutcome::Retry`] after that.
    pub async fn index(
        &self,
        documents: &[IndexRequest<'_>],
        deadline: Instant,
    ) -> Vec<ItemOutcome> {
        let sizes: Vec<usize> = documents
            .iter()
            .map(|document| document.json.len() + bulk::ACTION_BYTES)
            .collect();
        requests::run(&sizes, self.limits, deadline, async |chunk| {
            self.try_chunk(chunk, documents, deadline).await
        })
        .await
    }

    async fn try_chunk(
        &self,
        chunk: &[usize],
        documents: &[IndexRequest<'_>],
        deadline: Instant,
    ) -> Result<Vec<ItemOutcome>, SearchError> {
        let view = self.view(deadline).await?;
        let already = self.look_up(&view, chunk, documents, deadline).await?;
        let fresh: Vec<usize> = chunk
            .iter()
            .zip(&already)
            .filter(|(_, already)| !**already)
            .map(|(at, _)| *at)
            .collect();
        let created = match fresh.is_empty() {
            true => Vec::new(),
            false => self.create(&view, &fresh, documents, deadline).await?,
        };
        if created
            .iter()
            .any(|outcome| matches!(outcome, ItemOutcome::Retry { .. }))
        {
            self.forget_view(); // perhaps it is the view that is wrong
        }
        let mut created = created.into_iter();
        let outcome = |already: bool| {
            if already {
                Some(ItemOutcome::Duplicate)
            } else {
                created.next()
            }
        };
        Ok(already.into_iter().filter_map(outcome).collect())
    }

    /// Which documents an older index holds already.
    async fn look_up(
        &self,
        view: &WriteView,
        chunk: &[usize],
        documents: &[IndexRequest<'_>],
        deadline: Instant,
    ) -> Result<Vec<bool>, SearchError> {
        let mut wanted = Vec::new();
        let mut whose = Vec::new();
        for (place, at) in chunk.iter().enumerate() {
            for index in view.may_hold(documents[*at].not_before) {
                wanted.push((index, documents[*at].id));
                whose.push(place);
            }
        }
        let mut already = vec![false; chunk.len()];
        if wanted.is_empty() {
            return Ok(already);
        }
        let body = bulk::multi_get(&wanted);
        let answer = self
            .search
            .send(
                Method::Post,
                "_mget?_source=false",
                Some(body),
                timeout(deadline),
            )
            .await?;
        for (place, found) in whose.into_iter().zip(bulk::found(&answer, &wanted)?) {
            already[place] |= found;
        }
        Ok(already)
    }

    async fn create(
        &self,
        view: &WriteView,
        chunk: &[usize],
        documents: &[IndexRequest<'_>],
        deadline: Instant,
    ) -> Result<Vec<ItemOutcome>, SearchError> {
        let bytes: usize = chunk
            .iter()
            .map(|at| documents[*at].json.len() + bulk::ACTION_BYTES)
            .sum();
        let mut body = Vec::with_capacity(bytes);
        let mut ids = Vec::with_capacity(chunk.len());
        for at in chunk {
            bulk::push(&mut body, documents[*at].id, documents[*at].json);
            ids.push(*documents[*at].id);
        }
        let path = format!(
            "{}/_bulk?filter_path=items.*._id,items.*.status,items.*.error",
            view.write_index()
        );
        let answer = self
            .search
            .send(
                Method::Post,
                &path,
                Some(Bytes::from(body)),
                timeout(deadline),
            )
            .await;
        if answer.is_err() {
            self.forget_view();
        }
        bulk::sort(&answer?, &ids)
    }

    /// The current view, asked for again when it is too old to be safe.
    async fn view(&self, deadline: Instant) -> Result<Arc<WriteView>, SearchError> {
        let known = self
            .view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((view, asked_at)) = known
            && asked_at.elapsed() < MAX_AGE
        {
            return Ok(view);
        }
        // Its age counts from before the question: the answer is no younger.
        let asked_at = Instant::now();
        let view = Arc::new(WriteView::fetch(&self.search, &self.alias, timeout(deadline)).await?);
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Arc::clone(&view), asked_at));
        Ok(view)
    }

    fn forget_view(&self) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
#[path = "indexer_tests.rs"]
mod tests;
