//! A batch's events meet their sessions: where each session started, and the
//! session documents that change with it.

use freshet_events::Timestamp;
use freshet_sessions::{Session, SessionDocument, SessionEvent, SessionKey, SessionPolicy};
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
/// How long a state is used without reading it again. Another environment may
/// have written it since: then a write upon it fails, which costs ten times
/// what a read does.
const MAX_AGE: Duration = Duration::from_secs(10);
/// States written at once.
const WRITES_AT_ONCE: usize = 32;
/// What a batch may wait for the table: its events are worth more.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it may wait for one key that others write too.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(5);
/// The longest pause before such a key is written again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A table that failed is left alone for so long, and twice as long each time
/// that it fails again, up to the second.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What is known of an event's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// It is there.
    Within {
        /// Since then.
        start: Timestamp,
        /// The `_id` of its document, if it is derived.
        derived_id: Option<String>,
    },
    /// The event belongs to none: it is too old, its clock is wrong, or no
    /// visitor made it, but a monitor or a bot.
    Outside,
    /// Nothing: the table could not be used.
    Unknown,
}

/// What became of a batch's events.
#[derive(Debug, Default)]
pub struct Meeting {
    /// For each event, in order.
    pub met: Vec<Met>,
    /// The documents of the sessions they belong to.
    pub documents: Vec<Touched>,
    /// States known without reading the table.
    pub from_memory: usize,
}

/// A session document, and the first of the batch's events that it is about.
#[derive(Debug)]
pub struct Touched {
    /// The event's place in the batch.
    pub first_event: usize,
    /// The whole document.
    pub document: SessionDocument,
}

/// A state and when the table had it.
#[derive(Clone, Debug)]
struct Known {
    stored: Versioned,
    at: Instant,
}

#[derive(Clone)]
struct BySize;

impl Weighter<SessionKey, Arc<Known>> for BySize {
    fn weight(&self, _: &SessionKey, known: &Arc<Known>) -> u64 {
        256 + known.stored.state.stored_bytes() as u64
    }
}

/// After a failure of the table.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    last: Duration,
}

/// The sessions, as far as this environment knows them.
pub struct Sessions {
    table: SessionTable,
    policy: SessionPolicy,
    known: Cache<SessionKey, Arc<Known>, BySize>,
    max_age: Duration,
    rest: Mutex<Rest>,
}

/// The code of what stood in the way.
type Code = &'static str;

impl Sessions {
    /// Sessions kept in `table`.
    #[must_use]
    pub fn new(table: SessionTable, policy: SessionPolicy) -> Self {
        Self {
            table,
            policy,
            known: Cache::with_weighter(CACHED_STATES, CACHE_BYTES, BySize),
            max_age: MAX_AGE,
            rest: Mutex::default(),
        }
    }

    /// Takes the batch's events into their sessions and stores these. An event
    /// whose state cannot be read or stored is as it was, and counted.
    pub async fn meet(
        &self,
        events: &[&SessionEvent],
        now: Timestamp,
        deadline: Instant,
    ) -> Meeting {
        let mut groups: HashMap<SessionKey, Vec<usize>> = HashMap::new();
        let mut meeting = Meeting {
            met: vec![Met::Outside; events.len()],
            ..Meeting::default()
        };
        for (place, event) in events.iter().enumerate() {
            if self.policy.covers(event, now) {
                groups.entry(event.key).or_default().push(place);
            }
        }
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let mut loaded = self.load(&groups, deadline, &mut meeting).await;
        let stored = groups.iter().map(|(key, places)| {
            let loaded = loaded.remove(key).unwrap_or(Ok(Versioned::default()));
            let events: Vec<&SessionEvent> = places.iter().map(|at| events[*at]).collect();
            async move {
                let stored = match loaded {
                    Ok(known) => self.store(key, known, &events, now, deadline).await,
                    Err(code) => Err(code),
                };
                (places, stored)
            }
        });
        let stored: Vec<_> = futures::stream::iter(stored)
            .buffer_unordered(WRITES_AT_ONCE)
            .collect()
            .await;
        let mut failed: Option<Code> = None;
        for (places, outcome) in stored {
            match outcome {
                Ok(known) => meeting.take(&known, events, places),
                Err(code) => {
                    places.iter().for_each(|at| meeting.met[*at] = Met::Unknown);
                    failed = Some(code);
                }
            }
        }
        if let Some(code) = failed {
            tracing::warn!(code, "events go without their sessions");
        }
        meeting
    }

    /// The states of all keys that have one: from memory, else from the table.
    async fn load(
        &self,
        groups: &HashMap<SessionKey, Vec<usize>>,
        deadline: Instant,
        meeting: &mut Meeting,
    ) -> HashMap<SessionKey, Result<Versioned, Code>> {
        let mut loaded = HashMap::with_capacity(groups.len());
        let mut unknown = Vec::new();
        for key in groups.keys() {
            match self.known.get(key) {
                Some(known) if known.at.elapsed() < self.max_age => {
                    loaded.insert(*key, Ok(known.stored.clone()));
                }
                _ => unknown.push(*key),
            }
        }
        meeting.from_memory = loaded.len();
        if unknown.is_empty() {
            return loaded;
        }
        match self.in_time(deadline, self.table.load(&unknown)).await {
            Ok(read) => loaded.extend(read.into_iter().map(|(key, found)| {
                let found = found.map_err(|error| {
                    tracing::error!(%error, "a session's state is not used");
                    error.code()
                });
                (key, found)
            })),
            Err(code) => loaded.extend(unknown.into_iter().map(|key| (key, Err(code)))),
        }
        loaded
    }

    /// Merges events into a state and stores it, again upon what a faster
    /// writer has stored.
    async fn store(
        &self,
        key: &SessionKey,
        mut current: Versioned,
        events: &[&SessionEvent],
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Versioned, Code> {
        let others_until = deadline.min(Instant::now() + PATIENCE_WITH_OTHERS);
        let mut pause = Duration::from_millis(10);
        loop {
            let events = events.iter().copied();
            // Nothing new: what it was read as is what the table has.
            if !current.state.merge(key, events, &self.policy, now) {
                return Ok(current);
            }
            let expires_at_s = current.state.expires_at(&self.policy).as_millis() / 1000;
            let at = Instant::now();
            let save = self
                .table
                .save(key, current.revision, &current.state, expires_at_s);
            match self.in_time(deadline, save).await? {
                Saved::Written(revision) => {
                    let stored = Versioned {
                        revision,
                        ..current
                    };
                    let known = Known { stored, at };
                    self.known.insert(*key, Arc::new(known.clone()));
                    return Ok(known.stored);
                }
                Saved::Overtaken(newer) => current = newer,
            }
            // Several write this key: not all at once again.
            pause = (pause * 2).min(LONGEST_PAUSE);
            let pause = pause.mul_f64(rand::random::<f64>());
            if Instant::now() + pause >= others_until {
                return Err("sessions_contended");
            }
            sleep(pause).await;
        }
    }

    /// A request's answer, or the code of what stood in the way. A table that
    /// is out of order is left alone for a while; one that is busy, or refuses
    /// one item, is not.
    async fn in_time<T>(
        &self,
        deadline: Instant,
        request: impl Future<Output = Result<T, TableError>>,
    ) -> Result<T, Code> {
        if self.is_resting() {
            return Err("sessions_resting");
        }
        let code = match timeout_at(deadline, request).await {
            Ok(Ok(answer)) => {
                *self.rest() = Rest::default();
                return Ok(answer);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the session table failed");
                if !error.is_outage() {
                    return Err(error.code());
                }
                error.code()
            }
            Err(_) => "sessions_too_slow",
        };
        let mut rest = self.rest();
        // Requests that fail together count once.
        if rest.until.is_none_or(|until| until <= Instant::now()) {
            rest.last = (rest.last * 2).clamp(REST.0, REST.1);
            rest.until = Some(Instant::now() + rest.last);
        }
        Err(code)
    }

    fn is_resting(&self) -> bool {
        self.rest()
            .until
            .is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meeting {
    /// Notes what a state says about its events.
    fn take(&mut self, known: &Versioned, events: &[&SessionEvent], places: &[usize]) {
        for place in places {
            let event = events[*place];
            let is_derived = event.session_id.is_none();
            let within = |session: &Session| Met::Within {
                start: session.start(),
                derived_id: is_derived.then(|| session.id().to_owned()),
            };
            let session = known.state.session_at(event.at);
            self.met[*place] = session.map_or(Met::Outside, within);
        }
        let documents = known.state.documents(places.iter().map(|at| events[*at]));
        let touched = documents.into_iter().map(|(first, document)| Touched {
            first_event: places[first],
            document,
        });
        self.documents.extend(touched);
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
pub(crate) mod tests;
