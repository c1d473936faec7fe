//! An aggregator of one's own: what purchases bring in, by country.
//!
//! `cargo run -p freshet-windows --example revenue_per_country` prints its
//! result for a handful of events.

use freshet_windows::{
    Accumulator, Details, EventHash, Observation, Pane, Registry, SessionHash, Slot, Summary,
    Totals, UserHash, Windowing,
};
use std::borrow::Cow;
use std::sync::Arc;

// docs/aggregators.md shows what stands between these two lines.
use freshet_windows::{Aggregator, AggregatorError, Contribution, UNKNOWN, in_order, object};
use serde::Serialize;
use serde_json::value::RawValue;

const COUNTRY: &str = "country";

/// What purchases bring in, by the country they came from.
pub(crate) struct RevenuePerCountry;

impl Aggregator for RevenuePerCountry {
    fn name(&self) -> &'static str {
        "revenue_per_country"
    }

    fn description(&self) -> &'static str {
        "Revenue of purchases by country, and how many purchases there were"
    }

    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        if event.event_type == "purchase" {
            let country = event.details.country();
            let country = country.as_deref().unwrap_or(UNKNOWN);
            to.amount(COUNTRY, country, event.details.amount().unwrap_or(0.0));
        }
        Ok(())
    }

    fn result(&self, totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        let mut countries: Vec<(&str, i64)> = totals
            .values(COUNTRY)
            .into_iter()
            .map(|(country, counts)| (country, counts.amount_micros))
            .collect();
        // They come with the most purchases first; here the most revenue counts.
        countries.sort_by(|(a, a_micros), (b, b_micros)| b_micros.cmp(a_micros).then(a.cmp(b)));
        let total = countries
            .iter()
            .fold(0_i64, |total, (_, micros)| total.saturating_add(*micros));
        object(&Revenue {
            revenue_by_country: countries
                .iter()
                .map(|(country, micros)| (*country, units(*micros)))
                .collect(),
            total_revenue: units(total),
            purchases: totals.events(COUNTRY),
        })
    }
}

#[derive(Serialize)]
struct Revenue<'a> {
    #[serde(serialize_with = "in_order")]
    revenue_by_country: Vec<(&'a str, f64)>,
    total_revenue: f64,
    purchases: u64,
}

/// Amounts are kept in millionths.
fn units(micros: i64) -> f64 {
    micros as f64 / 1e6
}
// docs/aggregators.md shows what stands between these two lines.

/// What the function finds out about an event if an aggregator asks.
struct Known {
    country: Option<&'static str>,
    amount: Option<f64>,
}

impl Details for Known {
    fn country(&self) -> Option<String> {
        self.country.map(str::to_owned)
    }

    fn amount(&self) -> Option<f64> {
        self.amount
    }
}

fn purchase(id: u64, at: freshet_events::Timestamp, details: &Known) -> Observation<'_> {
    Observation {
        // Hashes spread over all 64 bits; `Observation::hashes` makes them of an event.
        id: EventHash(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        event_id: "",
        synthetic: false,
        bot: false,
        user: UserHash(id.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)),
        session: SessionHash(id.wrapping_mul(0x1656_67b1_9e37_79f9)),
        at,
        event_type: "purchase",
        path: Cow::Borrowed("/checkout"),
        browser: "Firefox",
        details,
    }
}

/// Its result for five events, one of them a repetition.
pub(crate) fn demonstrate() -> Result<Box<RawValue>, Box<dyn std::error::Error>> {
    let at = freshet_events::Timestamp::from_millis(1_795_449_630_000).ok_or("out of range")?;
    let windowing = Windowing::default();
    let registry = Registry::new([Arc::new(RevenuePerCountry) as Arc<dyn Aggregator>]);

    // What the function does before the store: it counts events.
    let mut accumulator = Accumulator::new(&registry, windowing);
    let purchases = [
        (1, Some("Portugal"), Some(19.9)),
        (2, Some("Japan"), Some(120.0)),
        (3, Some("Portugal"), Some(5.05)),
        // The client did not get the answer and sent the second once more.
        (2, Some("Japan"), Some(120.0)),
        (4, None, Some(7.5)),
    ];
    for (id, country, amount) in purchases {
        accumulator.count(&purchase(id, at, &Known { country, amount }), at);
    }
    let (piece, _tally) = accumulator.finish();

    // And after it: it puts together what was counted in a window's panes.
    let tables: Vec<_> = piece
        .tables
        .into_iter()
        .map(|(_, _, table)| table)
        .collect();
    let mut summary = Summary::default();
    summary.unite(&tables, 1_000_000);
    let slot = Slot(*windowing.slots(Pane::of(at)).start());
    let totals = Totals::of(&[&summary], windowing.window(slot));
    Ok(RevenuePerCountry.result(&totals)?)
}

// Tests have this file as a module.
#[allow(dead_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", demonstrate()?);
    Ok(())
}
