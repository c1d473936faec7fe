//! Everything between a request's events and the stream, without I/O.

use crate::answer::{EventResult, Status};
use crate::opt_out::Wish;
use freshet_events::{
    BodyError, Code, Event, IP_ADDRESS, Limits, Notice, RawEvent, Rejection, Stage, Stamp,
    Timestamp, USER_AGENT, split, wire,
};
use freshet_streams::Record;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most events one request may hold.
pub const MAX_EVENTS: usize = 2_500;

/// Who sends, as the request itself tells.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The name beside the write key.
    pub source: &'a str,
    /// Fills `metadata.ip_address` where the client did not.
    pub ip_address: &'a str,
    /// Fills `metadata.user_agent` where the client did not.
    pub user_agent: &'a str,
    /// What the visitor asks for.
    pub wish: Wish<'a>,
}

/// A request's events: what to put, and what to tell of each.
#[derive(Default)]
pub struct Prepared {
    /// One for each event, in order. Accepted ones say [`Status::Ok`] until
    /// the stream has said otherwise.
    pub results: Vec<EventResult>,
    /// What to put.
    pub records: Vec<Record>,
    /// For each record, the events in it: their places in `results`.
    pub events_of_record: Vec<Vec<usize>>,
    /// Each event's wire JSON, for the queue; empty where it was refused.
    pub wire: Vec<Vec<u8>>,
    /// What was refused, in numbers, for those who read the stream; none if
    /// nothing was.
    pub notice: Option<Notice>,
}

/// An event that was accepted, as it travels.
pub struct Accepted {
    event_id: String,
    user_id: String,
    wire: Vec<u8>,
}

impl Accepted {
    /// This event, with what the request knows of its visitor and did not come
    /// with it.
    #[must_use]
    pub fn from_visitor(mut event: Event<'_>, sender: &Sender<'_>) -> Self {
        let mut known = vec![(USER_AGENT, sender.user_agent)];
        if sender.wish.allows_address() {
            known.push((IP_ADDRESS, sender.ip_address));
        }
        known.retain(|(_, value)| !value.is_empty());
        event.metadata_mut().fill(&known);
        Self::from_elsewhere(&event)
    }

    /// This event, with what came with it and nothing else: the request is not
    /// its visitor's.
    #[must_use]
    pub fn from_elsewhere(event: &Event<'_>) -> Self {
        Self {
            event_id: event.event_id().to_owned(),
            user_id: event.user_id().to_owned(),
            wire: event.to_wire(),
        }
    }
}

/// Splits a body into events of Freshet's own form, judges each by itself and
/// packs the good ones.
///
/// # Errors
/// [`BodyError`] if there is no telling which events the body holds.
pub fn prepare(
    body: &str,
    sender: Sender<'_>,
    limits: &Limits,
    now: Timestamp,
    mut new_id: impl FnMut() -> String,
) -> Result<Prepared, BodyError> {
    let stamp = stamp(sender.source, now);
    let texts = split(body, MAX_EVENTS)?;
    Ok(Prepared::judge(
        &texts,
        sender.source,
        now,
        |json, claimed| accept(json, &stamp, &sender, limits, now, &mut new_id, claimed),
    ))
}

impl Prepared {
    /// Judges each of these texts by itself and packs the good ones, those of
    /// one user together and in order. What `judge` finds to be an event's
    /// identifier it writes into its second argument, for the answer.
    pub fn judge(
        texts: &[&str],
        source: &str,
        now: Timestamp,
        mut judge: impl FnMut(&str, &mut Option<String>) -> Result<Accepted, Rejection>,
    ) -> Self {
        let mut prepared = Self::default();
        let mut users: HashMap<String, Vec<usize>> = HashMap::new();
        let mut order = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let mut claimed = None;
            match isolated(|| judge(text, &mut claimed)) {
                Ok(event) => {
                    if let Some(of_user) = users.get_mut(&event.user_id) {
                        of_user.push(index);
                    } else {
                        order.push(event.user_id.clone());
                        users.insert(event.user_id, vec![index]);
                    }
                    prepared.wire.push(event.wire);
                    prepared.results.push(EventResult {
                        index,
                        event_id: Some(event.event_id),
                        status: Status::Ok,
                        code: None,
                        message: None,
                    });
                }
                Err(rejection) => {
                    prepared.wire.push(Vec::new());
                    prepared.results.push(refused(index, claimed, rejection));
                }
            }
        }
        pack(&mut prepared, &users, order);
        prepared.notice = notice(&prepared.results, source, now);
        prepared
    }
}

/// What collect adds to every event of a source.
pub(crate) fn stamp(source: &str, now: Timestamp) -> Stamp<'_> {
    Stamp {
        source: Cow::Borrowed(source),
        received_at: now,
        stage: Stage::Collect,
    }
}

/// An event may have so many bytes.
pub(crate) fn check_size(bytes: usize, max_bytes: usize) -> Result<(), Rejection> {
    if bytes > max_bytes {
        let message = format!("the event is larger than {max_bytes} bytes");
        return Err(Rejection::new(Stage::Collect, Code::EventTooLarge, message));
    }
    Ok(())
}

/// Counts what is dropped. Codes and sources are our own and within a notice's
/// bounds, so that the only one there is not is that of nothing.
fn notice(results: &[EventResult], source: &str, now: Timestamp) -> Option<Notice> {
    let dropped = results
        .iter()
        .filter(|result| result.status == Status::Drop)
        .filter_map(|result| result.code.as_deref());
    let mut rejected = BTreeMap::new();
    for code in dropped {
        *rejected.entry(code.to_owned()).or_insert(0) += 1;
    }
    Notice::new(now, source, rejected).ok()
}

fn accept(
    json: &str,
    stamp: &Stamp<'_>,
    sender: &Sender<'_>,
    limits: &Limits,
    now: Timestamp,
    new_id: &mut impl FnMut() -> String,
    claimed: &mut Option<String>,
) -> Result<Accepted, Rejection> {
    check_size(json.len(), limits.max_event_bytes)?;
    let raw = RawEvent::read(json, Stage::Collect)?;
    *claimed = raw.claimed_event_id().map(str::to_owned);
    sender.wish.check()?;
    let mut event = Event::parse(raw, stamp, limits, now, new_id)?;
    sender.wish.anonymise(&mut event);
    Ok(Accepted::from_visitor(event, sender))
}

/// A bug that panics on one event refuses that event, and no other.
fn isolated<T>(judge: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_| {
        Err(Rejection::new(
            Stage::Collect,
            Code::Panicked,
            "the event could not be handled",
        ))
    })
}

fn refused(index: usize, event_id: Option<String>, rejection: Rejection) -> EventResult {
    EventResult {
        index,
        event_id,
        status: Status::Drop,
        code: Some(rejection.code),
        message: Some(rejection.message),
    }
}

fn pack(prepared: &mut Prepared, users: &HashMap<String, Vec<usize>>, order: Vec<String>) {
    let mut packer = wire::Packer::new();
    for user_id in order {
        let mut events = Vec::new();
        for index in &users[&user_id] {
            let json = &prepared.wire[*index];
            if !packer.has_room_for(json.len()) {
                prepared.records.push(Record {
                    partition_key: user_id.clone(),
                    data: packer.finish(),
                });
                prepared.events_of_record.push(std::mem::take(&mut events));
            }
            packer.push(json);
            events.push(*index);
        }
        prepared.records.push(Record {
            partition_key: user_id,
            data: packer.finish(),
        });
        prepared.events_of_record.push(events);
    }
}
