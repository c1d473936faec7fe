//! Events of a shop for the oracle, and as records of a stream.

use super::definition::{Delivery, Event, Traffic, event_id};
use serde_json::{Value, json};

const USERS: u64 = 20_000;
/// As many are synthetic as a result lists, or fewer.
const SYNTHETIC_EVERY: u64 = 2_000;
/// Never one that is synthetic.
const BOT_EVERY: u64 = 40;
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
/// User agents, and the families that uap-core finds in them.
const BROWSERS: [(&str, &str); 3] = [
    (
        "Chrome",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    (
        "Firefox",
        "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    ),
    (
        "Safari",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    ),
];

/// A number that looks drawn, the same each time.
fn drawn(n: u64, salt: u64) -> u64 {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..2 {
        x ^= x >> 31;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    x ^ x >> 29
}

/// `count` events of the three minutes before `start_ms`: some clients' clocks
/// are a minute fast or two minutes slow, one event in a hundred comes half an
/// hour late, and one in twenty is sent twice.
pub(super) fn of_a_shop(count: usize, start_ms: i64) -> Traffic {
    let mut events = Vec::with_capacity(count);
    let mut deliveries = Vec::new();
    for n in 0..count as u64 {
        let user = drawn(n, 1) % USERS;
        let skew_ms = match drawn(user, 2) % 40 {
            0 => 60_000,
            1 => -120_000,
            _ => 0,
        };
        let late_ms = if drawn(n, 3).is_multiple_of(100) {
            30 * 60_000
        } else {
            0
        };
        let ago_ms = (drawn(n, 4) % 180_000) as i64;
        let event_type = match drawn(n, 5) % 20 {
            0..=13 => "page_view",
            14..=15 => "add_to_cart",
            16 => "checkout_start",
            17 => "purchase",
            _ => "search",
        };
        let path = match drawn(n, 6) % 300 {
            page @ 0..=149 => format!("/product/{}", page * page / 150),
            page => format!("/category/{}", page % 20),
        };
        // Most sessions have one user; some are shared by several shards' users.
        let session = if drawn(n, 7).is_multiple_of(50) {
            drawn(n, 8) % 300
        } else {
            1_000 + user * 2 + drawn(n, 9) % 2
        };
        deliveries.push((drawn(n, 10), events.len()));
        if drawn(n, 11).is_multiple_of(20) {
            deliveries.push((drawn(n, 12), events.len()));
        }
        events.push(Event {
            event_id: event_id(events.len()),
            synthetic: n % SYNTHETIC_EVERY == 1,
            bot: n % BOT_EVERY == 7,
            user: user as usize,
            session: session as usize,
            at_ms: start_ms - ago_ms + skew_ms - late_ms,
            event_type,
            path: Some(path),
            browser: BROWSERS
                .get((drawn(user, 13) % 4) as usize)
                .map(|(name, _)| *name),
            country: None,
            amount_cents: None,
        });
    }
    deliveries.sort_unstable();
    let deliveries = deliveries
        .into_iter()
        .map(|(_, event)| Delivery {
            event,
            arrived_ms: start_ms,
        })
        .collect();
    Traffic { events, deliveries }
}

/// A user's partition key.
pub(super) fn user(event: &Event) -> String {
    format!("user-{}", event.user)
}

/// An event as another producer puts it on the stream.
pub(super) fn json(traffic: &Traffic, number: usize) -> Value {
    let event = &traffic.events[number];
    let agent = BROWSERS
        .iter()
        .find(|(name, _)| Some(*name) == event.browser);
    let agent = agent.map(|(_, agent)| *agent);
    let agent = if event.bot { Some(BOT) } else { agent };
    json!({
        "event_id": event.event_id,
        "synthetic": event.synthetic,
        "user_id": user(event),
        "session_id": format!("session-{}", event.session),
        "event_type": event.event_type,
        "page_url": format!("https://shop.example{}?n={number}", event.path.as_deref().unwrap_or_default()),
        "timestamp": event.at_ms,
        "metadata": agent.map_or(json!({}), |agent| json!({"user_agent": agent})),
    })
}
