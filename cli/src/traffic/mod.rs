//! Events of visitors who walk through a shop.
//!
//! [`Generator`] is an iterator without a clock or a network: the same
//! [`Plan`] gives the same events, identifiers included. Sent twice, the second
//! time changes nothing, as every retry and replay must.

mod catalogue;
mod session;
mod visitors;

use catalogue::Catalogue;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use session::Session;
use std::borrow::Cow;
use visitors::Visitor;

/// What decides about every event.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Another seed, other events with other identifiers.
    pub seed: u64,
    /// How many different visitors there are; at least one.
    pub users: u32,
    /// When the first event happens, in milliseconds since 1970.
    pub start_ms: i64,
    /// How fast time passes from one event to the next; 0: it stands still.
    pub events_per_second: f64,
}

/// Sessions under way at the same time.
const MOST_AT_ONCE: u32 = 200;

/// An endless sequence of events in order of time.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    rng: StdRng,
    catalogue: Catalogue,
    under_way: Vec<Session>,
    made: u64,
}

impl Generator {
    /// The events of `plan`.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed);
        let at_once = plan.users.clamp(1, MOST_AT_ONCE);
        let under_way = (0..at_once)
            .map(|lane| begin(&plan, lane, at_once, &mut rng))
            .collect();
        Self {
            plan,
            rng,
            catalogue: Catalogue::new(),
            under_way,
            made: 0,
        }
    }

    fn timestamp(&self) -> String {
        let rate = self.plan.events_per_second;
        let passed_ms = if rate > 0.0 {
            // Exact for centuries of events: 53 bits.
            (self.made as f64 * 1000.0 / rate) as i64
        } else {
            0
        };
        jiff::Timestamp::from_millisecond(self.plan.start_ms.saturating_add(passed_ms))
            .unwrap_or(jiff::Timestamp::MAX)
            .to_string()
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let timestamp = self.timestamp();
        self.made += 1;
        let lane = self.rng.random_range(0..self.under_way.len());
        let session = &mut self.under_way[lane];
        let event = session.event(&self.catalogue, &mut self.rng, timestamp);
        if session.is_over() {
            let lanes = self.under_way.len() as u32;
            self.under_way[lane] = begin(&self.plan, lane as u32, lanes, &mut self.rng);
        }
        Some(event)
    }
}

/// A new session of one of the visitors whose number is `lane` modulo `lanes`,
/// so that nobody has two at once.
fn begin(plan: &Plan, lane: u32, lanes: u32, rng: &mut StdRng) -> Session {
    let users = plan.users.max(1);
    let of_lane = (users - lane).div_ceil(lanes);
    let number = lane + lanes * rng.random_range(0..of_lane);
    Session::new(Visitor::new(plan.seed, number), rng)
}

/// An event as a client sends it.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Event {
    /// A UUID.
    pub event_id: String,
    /// Who.
    pub user_id: String,
    /// In which visit.
    pub session_id: String,
    /// `page_view`, `search`, `add_to_cart`, `checkout_start` or `purchase`.
    pub event_type: &'static str,
    /// Where.
    pub page_url: String,
    /// When, ISO 8601.
    pub timestamp: String,
    /// What else is known.
    pub metadata: Metadata,
}

/// What is known about an event beyond the required fields.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
#[expect(missing_docs, reason = "named as in the event's JSON")]
pub struct Metadata {
    pub ip_address: String,
    pub user_agent: &'static str,
    pub locale: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_query: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
}

/// A UUID of version 4 out of the generator's own randomness.
fn uuid(rng: &mut StdRng) -> uuid::Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

#[cfg(test)]
mod tests;
