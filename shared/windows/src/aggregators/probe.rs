//! Which probes were counted: the events of monitors, and nothing of visitors.

use crate::aggregator::{Aggregator, AggregatorError, object};
use crate::contribution::Contribution;
use crate::observation::Observation;
use crate::totals::Totals;
use serde::Serialize;
use serde_json::value::RawValue;

/// Its one value is the empty text: all synthetic events.
const ALL: &str = "all";
const EVENT_ID: &str = "event_id";
/// Events named so are listed. A load test's are not: a value for each of them
/// would outgrow what a pane may take.
const LISTED_PREFIX: &str = "probe-";
/// Longer names are no probe's.
const LISTED_ID_BYTES: usize = 64;
/// A window holds a handful; but anybody can make up names.
const LISTED_IDS: usize = 100;

/// Synthetic events: how many, and the identifiers of those that are probes.
pub(crate) struct Probe;

impl Aggregator for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn description(&self) -> &'static str {
        "Synthetic events only: how many, and which probes were counted"
    }

    fn takes_synthetic(&self) -> bool {
        true
    }

    // A monitor may drive a headless browser.
    fn takes_bots(&self) -> bool {
        true
    }

    fn count(&self, event: &Observation<'_>, to: &mut Contribution) -> Result<(), AggregatorError> {
        if event.synthetic {
            to.event(ALL, "");
            let id = event.event_id;
            if id.starts_with(LISTED_PREFIX) && id.len() <= LISTED_ID_BYTES {
                to.event(EVENT_ID, id);
            }
        }
        Ok(())
    }

    fn result(&self, totals: &Totals) -> Result<Box<RawValue>, AggregatorError> {
        let mut event_ids: Vec<&str> = totals
            .values(EVENT_ID)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        // Named by their time, the newest are what somebody waits for.
        event_ids.sort_unstable_by(|a, b| b.cmp(a));
        event_ids.truncate(LISTED_IDS);
        object(&Probes {
            events: totals.events(ALL),
            event_ids,
        })
    }
}

#[derive(Serialize)]
struct Probes<'a> {
    events: u64,
    /// The last hundred by name at most.
    event_ids: Vec<&'a str>,
}
