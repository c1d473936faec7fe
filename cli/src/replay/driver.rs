//! The way of each letter: read, put, and only then deleted or noted as done.

use super::letters::{self, Item, ReplayableEvent};
use super::metric::Untold;
use super::progress::Progress;
use super::put::{self, Fate};
use super::{Clients, Kind, Options, ReplayError, Summary};
use freshet_deadletters::StoredObject;
use freshet_events::wire::Packer;
use freshet_events::{DocumentId, Timestamp};
use futures::StreamExt as _;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Objects fetched ahead of the one that is replayed.
const PREFETCH: usize = 4;
/// Receives without a new message before the queue counts as read: one alone
/// may come back empty while messages are left.
const IDLE_RECEIVES: usize = 2;
/// The most messages kept out of sight until the end, those that a dry run
/// counts included: SQS allows about 120,000.
const MAX_HELD_MESSAGES: usize = 100_000;
/// The most identities remembered; see [`Replay::sent`].
const MAX_REMEMBERED: usize = 2_000_000;
/// The most events put at once, so that the pace is kept within a letter too.
const PUT_EVENTS: usize = 1_000;
/// The code of an object that the bucket did not hand out.
const OBJECT_UNAVAILABLE: &str = "object_unavailable";
/// The code of an event that fits into no record.
const EVENT_TOO_LARGE: &str = "event_too_large";

/// What became of a letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The stream has all of it.
    Done,
    /// It stays where it is: not selected, only counted, or not whole.
    Stays,
}

/// One replay under way.
pub(super) struct Replay<'a> {
    options: &'a Options,
    clients: &'a Clients,
    watch: &'a mut (dyn FnMut(&Summary) + Send),
    since: Option<Timestamp>,
    progress: Option<Progress>,
    summary: Summary,
    packer: Packer,
    /// What this replay has put already. An event that is refused again
    /// becomes another dead letter beside its first: without this, every
    /// replay would put it twice as often as the one before. It is an economy
    /// and not what prevents duplicates, so it may forget.
    sent: HashSet<DocumentId>,
    next_put: Instant,
    untold: Untold,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        options: &'a Options,
        clients: &'a Clients,
        watch: &'a mut (dyn FnMut(&Summary) + Send),
        progress: Option<Progress>,
    ) -> Self {
        let asked = options.since.as_ref().map(|since| since.at);
        Self {
            options,
            clients,
            watch,
            since: progress.as_ref().map_or(asked, Progress::since),
            progress,
            summary: Summary::new(options.dry_run),
            packer: Packer::new(),
            sent: HashSet::new(),
            next_put: Instant::now(),
            untold: Untold::new(),
        }
    }

    /// What was done, and the notes of it.
    pub(super) fn into_parts(self) -> (Summary, Option<Progress>) {
        (self.summary, self.progress)
    }

    /// Replays the queue first and then the bucket, until the end or until the
    /// stream takes nothing more.
    pub(super) async fn all(&mut self) -> Result<(), ReplayError> {
        // Listed before anything is put: what is refused again while this
        // runs is the next replay's.
        let mut objects = Vec::new();
        for kind in &self.options.kinds {
            if let Some(prefix) = kind.prefix() {
                let listed = self.clients.store.list(prefix).await?;
                objects.extend(listed.into_iter().map(|object| (*kind, object)));
            }
        }
        let since_ms = self.since.map_or(i64::MIN, Timestamp::as_millis);
        objects.retain(|(_, object)| object.modified_ms >= since_ms);
        let listed = objects.len();
        if let Some(progress) = &self.progress {
            objects.retain(|(_, object)| !progress.is_done(object));
        }
        self.summary.objects = objects.len();
        self.summary.objects_done_before = listed - objects.len();
        if self.options.kinds.contains(&Kind::Queue) {
            self.queue().await?;
        }
        self.objects(&objects).await
    }

    /// Tells the ledger the rest of what was put.
    pub(super) async fn tell(&mut self) {
        self.summary.untold = self.untold.tell(&self.clients.metric).await;
    }

    async fn queue(&mut self) -> Result<(), ReplayError> {
        let mut held = Vec::new();
        let read = self.drain(&mut held).await;
        self.clients.queue.release(&held).await;
        read
    }

    /// Replays the queue's messages. Those that stay are collected in `held`,
    /// out of sight, so that they are not received over and over.
    async fn drain(&mut self, held: &mut Vec<String>) -> Result<(), ReplayError> {
        let since_ms = self.since.map_or(i64::MIN, Timestamp::as_millis);
        let mut seen = HashSet::new();
        let mut idle = 0;
        while idle < IDLE_RECEIVES && self.summary.stopped.is_none() {
            if held.len() >= MAX_HELD_MESSAGES {
                self.summary.queue_cut = true;
                break;
            }
            idle += 1;
            for message in self.clients.queue.receive().await? {
                let new = seen.insert(message.id.clone());
                if new {
                    idle = 0;
                }
                let selected = new && message.sent_ms >= since_ms && self.summary.stopped.is_none();
                let outcome = if selected {
                    self.letter(Kind::Queue, &message.id, message.body.as_bytes())
                        .await
                } else {
                    Outcome::Stays
                };
                match outcome {
                    Outcome::Stays => held.push(message.receipt),
                    Outcome::Done if self.clients.queue.delete(&message.receipt).await => {}
                    Outcome::Done => self.summary.undeleted += 1,
                }
            }
        }
        Ok(())
    }

    async fn objects(&mut self, objects: &[(Kind, StoredObject)]) -> Result<(), ReplayError> {
        let clients = self.clients;
        let store = &clients.store;
        let fetch = |(kind, object): &(Kind, StoredObject)| {
            let (kind, object) = (*kind, object.clone());
            async move {
                let body = store.get(&object.key).await;
                (kind, object, body)
            }
        };
        let mut bodies = futures::stream::iter(objects.iter().map(fetch)).buffered(PREFETCH);
        while self.summary.stopped.is_none()
            && let Some((kind, object, body)) = bodies.next().await
        {
            let outcome = match body {
                Ok(body) => self.letter(kind, &object.key, &body).await,
                Err(error) => {
                    tracing::warn!(%error, "an object is passed over");
                    let code = OBJECT_UNAVAILABLE;
                    self.summary.begin_letter(kind, [code]);
                    self.summary.fail(kind, code, &object.key, 0, code);
                    Outcome::Stays
                }
            };
            if let (Outcome::Done, Some(progress)) = (outcome, &mut self.progress) {
                progress.note(&object)?;
            }
        }
        Ok(())
    }

    /// Puts what a letter holds, and counts each of its items once.
    async fn letter(&mut self, kind: Kind, name: &str, body: &[u8]) -> Outcome {
        let wanted = |code: &str| self.options.code.as_deref().is_none_or(|only| only == code);
        let items =
            letters::read(kind, body).unwrap_or_else(|reason| vec![Item::unreadable(reason)]);
        let items: Vec<(usize, Item)> = items
            .into_iter()
            .enumerate()
            .filter(|(_, item)| wanted(&item.code))
            .collect();
        if items.is_empty() {
            return if kind == Kind::Queue {
                Outcome::Stays
            } else {
                Outcome::Done
            };
        }
        self.summary
            .begin_letter(kind, items.iter().map(|(_, item)| item.code.as_str()));
        let mut whole = true;
        let mut fresh = Vec::new();
        let mut ids = HashSet::new();
        for (position, item) in items {
            match item.event {
                Err(reason) if reason.is_notice() => self.summary.notices += 1,
                Err(reason) => {
                    whole = false;
                    self.summary
                        .fail(kind, &item.code, name, position, &reason.0);
                }
                Ok(event) if self.sent.contains(&event.id) || !ids.insert(event.id) => {
                    self.summary.counts(kind, &item.code).repeated += 1;
                }
                Ok(event) => fresh.push((
                    Origin {
                        position,
                        code: item.code,
                    },
                    event,
                )),
            }
        }
        let outcome = if self.options.dry_run {
            for (origin, event) in fresh {
                self.summary.counts(kind, &origin.code).replayable += 1;
                self.remember(event.id);
            }
            Outcome::Stays
        } else if self.put(kind, name, fresh).await && whole {
            Outcome::Done
        } else {
            Outcome::Stays
        };
        (self.watch)(&self.summary);
        outcome
    }

    /// Whether the stream has all of these events now.
    async fn put(
        &mut self,
        kind: Kind,
        name: &str,
        events: Vec<(Origin, ReplayableEvent)>,
    ) -> bool {
        let (origins, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        let mut whole = true;
        for (origins, events) in origins.chunks(PUT_EVENTS).zip(events.chunks(PUT_EVENTS)) {
            // After a refusal the rest is not tried: it would only wait as long.
            let fates = if let Some(code) = &self.summary.stopped {
                vec![Fate::Refused(code.clone()); events.len()]
            } else {
                self.pace(events.len()).await;
                let stream = &self.clients.stream;
                put::put(stream, &mut self.packer, events, self.options.patience).await
            };
            let mut told = 0;
            for ((origin, event), fate) in origins.iter().zip(events).zip(fates) {
                whole &= fate == Fate::Held;
                match fate {
                    Fate::Held => {
                        self.summary.counts(kind, &origin.code).replayed += 1;
                        self.remember(event.id);
                        // Those of other producers count in the ledger by their outcome alone.
                        told += usize::from(event.by_collect);
                    }
                    Fate::TooLarge => {
                        self.summary.fail(
                            kind,
                            &origin.code,
                            name,
                            origin.position,
                            EVENT_TOO_LARGE,
                        );
                    }
                    Fate::Refused(code) => {
                        self.summary.counts(kind, &origin.code).refused += 1;
                        self.summary.stopped.get_or_insert(code);
                    }
                }
            }
            self.untold.note(told, &self.clients.metric).await;
        }
        whole
    }

    fn remember(&mut self, id: DocumentId) {
        if self.sent.len() >= MAX_REMEMBERED {
            self.sent.clear();
        }
        self.sent.insert(id);
    }

    /// Waits until so many events may be put.
    async fn pace(&mut self, events: usize) {
        if self.options.events_per_s == 0 {
            return;
        }
        sleep_until(self.next_put).await;
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let takes = Duration::from_secs(1) * events / self.options.events_per_s;
        self.next_put = self.next_put.max(Instant::now()) + takes;
    }
}

/// Where in its letter an event was, and why.
struct Origin {
    position: usize,
    code: String,
}
