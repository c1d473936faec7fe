//! A batch's events meet their sessions: where each session started, and the
//! session documents that change with it.

use freshet_events::Timestamp;
use freshet_sessions::{SessionDocument, SessionEvent, SessionKey, SessionPolicy};
use freshet_tables::{Saved, SessionTable, TableError, Versioned};
use futures::StreamExt as _;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Memory for states that are known without reading the table.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// About as many as fit.
const CACHED_STATES: usize = 30_000;
/// States written at once.
const WRITES_AT_ONCE: usize = 32;
/// What a batch may wait for the table: its events are worth more.
const PATIENCE: Duration = Duration::from_secs(10);
/// A table that failed is left alone for so long.
const REST: Duration = Duration::from_secs(5);

/// What became of a batch's events.
#[derive(Debug, Default)]
pub struct Met {
    /// For each event, in order, when its session started; `None` if that is
    /// not known, or the event is too old to belong to one.
    pub starts: Vec<Option<Timestamp>>,
    /// The documents of the sessions they belong to.
    pub documents: Vec<Touched>,
    /// Events without a session because the table could not be used.
    pub unavailable: usize,
}

/// A session document, and the first of the batch's events that it is about.
#[derive(Debug)]
pub struct Touched {
    /// The event's place in the batch.
    pub first_event: usize,
    /// The whole document.
    pub document: SessionDocument,
}

#[derive(Clone)]
struct BySize;

impl Weighter<SessionKey, Arc<Versioned>> for BySize {
    fn weight(&self, _: &SessionKey, known: &Arc<Versioned>) -> u64 {
        known.state.size_bytes().max(1) as u64
    }
}

/// The sessions, as far as this environment knows them. What it knows may be
/// old: then its next write is overtaken, and it learns.
pub struct Sessions {
    table: SessionTable,
    policy: SessionPolicy,
    known: Cache<SessionKey, Arc<Versioned>, BySize>,
    resting_until: Mutex<Option<Instant>>,
}

impl Sessions {
    /// Sessions kept in `table`.
    #[must_use]
    pub fn new(table: SessionTable, policy: SessionPolicy) -> Self {
        Self {
            table,
            policy,
            known: Cache::with_weighter(CACHED_STATES, CACHE_BYTES, BySize),
            resting_until: Mutex::default(),
        }
    }

    /// Takes the batch's events into their sessions and stores these. Without
    /// the table the events are as they were, and counted.
    pub async fn meet(&self, events: &[&SessionEvent], now: Timestamp, deadline: Instant) -> Met {
        let mut groups: HashMap<SessionKey, Vec<usize>> = HashMap::new();
        for (place, event) in events.iter().enumerate() {
            groups.entry(event.key).or_default().push(place);
        }
        let mut met = Met {
            starts: vec![None; events.len()],
            ..Met::default()
        };
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let loaded = match self.load(&groups, deadline).await {
            Ok(loaded) => loaded,
            Err(code) => {
                tracing::warn!(code, "events go without their sessions");
                met.unavailable = events.len();
                return met;
            }
        };
        let stored = groups.iter().map(|(key, places)| {
            let known = loaded.get(key).cloned();
            let events: Vec<&SessionEvent> = places.iter().map(|at| events[*at]).collect();
            async move { (places, self.store(key, known, &events, now, deadline).await) }
        });
        let mut stored = futures::stream::iter(stored).buffer_unordered(WRITES_AT_ONCE);
        let mut failed = None;
        while let Some((places, outcome)) = stored.next().await {
            match outcome {
                Ok(known) => met.take(&known, events, places),
                Err(code) => {
                    met.unavailable += places.len();
                    failed = Some(code);
                }
            }
        }
        if let Some(code) = failed {
            let events = met.unavailable;
            tracing::warn!(code, events, "events go without their sessions");
        }
        met
    }

    /// The states of all keys: from memory, else from the table.
    async fn load(
        &self,
        groups: &HashMap<SessionKey, Vec<usize>>,
        deadline: Instant,
    ) -> Result<HashMap<SessionKey, Arc<Versioned>>, &'static str> {
        if self.is_resting() {
            return Err("sessions_resting");
        }
        let mut loaded = HashMap::with_capacity(groups.len());
        let mut unknown = Vec::new();
        for key in groups.keys() {
            match self.known.get(key) {
                Some(known) => drop(loaded.insert(*key, known)),
                None => unknown.push(*key),
            }
        }
        if unknown.is_empty() {
            return Ok(loaded);
        }
        let read = self.in_time(deadline, self.table.load(&unknown)).await?;
        loaded.extend(read.into_iter().map(|(key, found)| (key, Arc::new(found))));
        Ok(loaded)
    }

    /// Merges events into a state and stores it, again upon what a faster
    /// writer has stored.
    async fn store(
        &self,
        key: &SessionKey,
        known: Option<Arc<Versioned>>,
        events: &[&SessionEvent],
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Arc<Versioned>, &'static str> {
        let mut current = known.map(Arc::unwrap_or_clone).unwrap_or_default();
        loop {
            let events = events.iter().copied();
            if !current.state.merge(key, events, &self.policy, now) {
                let current = Arc::new(current);
                self.known.insert(*key, Arc::clone(&current));
                return Ok(current);
            }
            let expires_at_s = current.state.expires_at(&self.policy).as_millis() / 1000;
            let save = self
                .table
                .save(key, current.revision, &current.state, expires_at_s);
            match self.in_time(deadline, save).await? {
                Saved::Written(revision) => {
                    let written = Arc::new(Versioned {
                        revision,
                        ..current
                    });
                    self.known.insert(*key, Arc::clone(&written));
                    return Ok(written);
                }
                Saved::Overtaken(newer) => current = newer,
            }
            // Several writers of one key: not all at once again.
            sleep(Duration::from_millis(20).mul_f64(rand::random::<f64>())).await;
        }
    }

    /// A request's answer, or the code of what stood in the way. After a
    /// failure of the table it is left alone for a while.
    async fn in_time<T>(
        &self,
        deadline: Instant,
        request: impl Future<Output = Result<T, TableError>>,
    ) -> Result<T, &'static str> {
        let failed = match timeout_at(deadline, request).await {
            Ok(Ok(answer)) => return Ok(answer),
            // One item is odd, the table is not.
            Ok(Err(error @ (TableError::Item(_) | TableError::Attribute(_)))) => {
                tracing::error!(%error, "a session's state is not used");
                return Err(error.code());
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the session table failed");
                error.code()
            }
            Err(_) => "sessions_too_slow",
        };
        *self.resting() = Some(Instant::now() + REST);
        Err(failed)
    }

    fn is_resting(&self) -> bool {
        self.resting().is_some_and(|until| Instant::now() < until)
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.resting_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    /// Notes what a state says about its events.
    fn take(&mut self, known: &Versioned, events: &[&SessionEvent], places: &[usize]) {
        for place in places {
            let session = known.state.session_at(events[*place].at);
            self.starts[*place] = session.map(freshet_sessions::Session::start);
        }
        let documents = known.state.documents(places.iter().map(|at| events[*at]));
        self.documents
            .extend(documents.into_iter().map(|(first, document)| Touched {
                first_event: places[first],
                document,
            }));
    }
}
