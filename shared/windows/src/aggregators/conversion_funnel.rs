//! How many reach each step on the way to a purchase.

use crate::aggregator::{Aggregator, AggregatorError, in_order, object};
use crate::contribution::Contribution;
use crate::observation::Observation;
use crate::totals::Totals;
use serde::Serialize;
use serde_json::value::RawValue;

const STEP: &str = "step";
const LANDING: &str = "landing";
const PRODUCT_VIEW: &str = "product_view";
const STEPS: [&str; 5] = [
    LANDING,
    PRODUCT_VIEW,
    "add_to_cart",
    "checkout_start",
    "purchase",
];
const PRODUCT_PATH: &str = "/product";

/// The steps `landing`, `product_view`, `add_to_cart`, `checkout_start` and
/// `purchase`: each step's events, and its users once each. `landing` is a
/// session's entry: it is counted once for each session with a page view in
/// the window, and its users are theirs.
pub(crate) struct ConversionFunnel;

impl Aggregator for ConversionFunnel {
    fn name(&self) -> &'static str {
        "conversion_funnel"
    }

    fn description(&self) -> &'static str {
        "Events of each step from landing to purchase, and the share of users who reach it"
    }

    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        if event.event_type == "page_view" {
            to.session(STEP, LANDING);
            to.user(STEP, LANDING);
            if event.path.starts_with(PRODUCT_PATH) {
                to.event(STEP, PRODUCT_VIEW);
            }
        } else if let Some(step) = STEPS[2..].iter().find(|step| **step == event.event_type) {
            to.event(STEP, step);
        }
        Ok(())
    }

    fn result(&self, totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        let in_funnel = totals.users();
        let count = |step| {
            let counts = totals.get(STEP, step);
            if step == LANDING {
                counts.sessions
            } else {
                counts.events
            }
        };
        // Counts are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let rate = |step| {
            // Of two estimates the part may be the larger one.
            let users = totals.get(STEP, step).users.min(in_funnel);
            (format!("{step}_rate"), users as f64 / in_funnel as f64)
        };
        object(&Funnel {
            funnel_counts: STEPS.iter().map(|step| (*step, count(step))).collect(),
            // Of nobody there are no shares.
            conversion_rates: STEPS
                .iter()
                .filter(|_| in_funnel > 0)
                .map(|step| rate(step))
                .collect(),
            total_users_in_funnel: in_funnel,
        })
    }
}

/// The article's fields.
#[derive(Serialize)]
struct Funnel<'a> {
    #[serde(serialize_with = "in_order")]
    funnel_counts: Vec<(&'a str, u64)>,
    /// A step's users by all users in the funnel.
    #[serde(serialize_with = "in_order")]
    conversion_rates: Vec<(String, f64)>,
    total_users_in_funnel: u64,
}
