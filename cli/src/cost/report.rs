//! What the command says, before it is text or JSON.

use super::deployed::Deployed;
use super::usage::Used;
use anyhow::Result;
use freshet_cost::{
    Bill, Deployment, PriceList, Stream, Traffic, break_even, estimate, shortfalls, what_ifs,
};
use serde::Serialize;

/// What the command says.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What it is about.
    pub(super) title: String,
    /// `estimate` or `usage`.
    pub(super) basis: &'static str,
    /// Whose prices.
    pub(super) region: String,
    /// Of which month.
    pub(super) prices_as_of: String,
    /// Events a month, if they are known.
    pub(super) events_a_month: Option<f64>,
    /// Dollars in all.
    pub(super) total: Dollars,
    /// Dollars by component.
    pub(super) components: Vec<Part>,
    /// The same with one thing changed.
    pub(super) what_ifs: Vec<Change>,
    /// Below so many events a second a stream on demand is cheaper.
    pub(super) on_demand_below_events_per_second: Option<f64>,
    /// What CloudWatch has no data of, and so is not in the total.
    pub(super) missing: Vec<String>,
    /// What else is to be known.
    pub(super) notes: Vec<String>,
}

/// Dollars.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Dollars {
    /// A month.
    pub(super) month: f64,
    /// A million events, if the events are known.
    pub(super) million: Option<f64>,
}

/// A component.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    /// Its name.
    pub(super) name: &'static str,
    /// Its dollars.
    #[serde(flatten)]
    pub(super) dollars: Dollars,
    /// What it is made of.
    pub(super) lines: Vec<Item>,
}

/// A line of a component.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    /// What it is.
    pub(super) what: &'static str,
    /// How many a month.
    pub(super) amount: f64,
    /// Of what.
    pub(super) unit: String,
    /// Its dollars.
    #[serde(flatten)]
    pub(super) dollars: Dollars,
    /// Whether the price was found quoted.
    pub(super) sure: bool,
}

/// The same with one thing changed.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    /// What is changed.
    pub(super) name: String,
    /// What it then costs.
    #[serde(flatten)]
    pub(super) dollars: Dollars,
    /// How much more that is.
    pub(super) more_a_month: f64,
}

impl Report {
    /// What `deployment` will cost.
    pub(super) fn of_plan(
        name: &str,
        traffic: &Traffic,
        deployment: &Deployment,
        prices: &PriceList,
    ) -> Result<Self> {
        let bill = Bill::of(&estimate(traffic, deployment), prices)?;
        let title = format!(
            "{name} · {} events/s, {} at peak · {} bytes · {} a request",
            traffic.events_per_second,
            traffic.peak_events_per_second,
            traffic.event_bytes,
            traffic.events_per_request
        );
        let mut report = Self::new(title, "estimate", &bill, Some(traffic.events()), prices);
        for case in what_ifs(traffic, deployment, prices)? {
            report.what_ifs.push(Change {
                dollars: dollars(case.bill.total(), report.events_a_month),
                more_a_month: case.bill.total() - bill.total(),
                name: case.name,
            });
        }
        for lack in shortfalls(traffic, deployment, prices)? {
            report.notes.push(format!(
                "too small: {:.0} {}, {:.0} are needed: {}",
                lack.has, lack.what, lack.needs, lack.advice
            ));
        }
        if let Stream::Shards(shards) = deployment.stream {
            report.on_demand_below_events_per_second =
                break_even(traffic, deployment, shards, prices)?;
        }
        if deployment.domain.is_none() {
            report
                .notes
                .push("the OpenSearch cluster is one of your own: not in the total".to_owned());
        }
        Ok(report)
    }

    /// What a stack has cost.
    pub(super) fn of_usage(deployed: &Deployed, used: &Used, prices: &PriceList) -> Result<Self> {
        let bill = Bill::of(&used.metered, prices)?;
        let title = format!(
            "stack {} · the last {:.0} hours, scaled to a month",
            deployed.name, used.hours
        );
        let mut report = Self::new(title, "usage", &bill, used.events, prices);
        report.missing.clone_from(&used.missing);
        report.notes.clone_from(&used.notes);
        if deployed.region != prices.region {
            report.notes.push(format!(
                "the stack is in {}: --prices takes a list of that region",
                deployed.region
            ));
        }
        Ok(report)
    }

    fn new(
        title: String,
        basis: &'static str,
        bill: &Bill,
        events: Option<f64>,
        prices: &PriceList,
    ) -> Self {
        let part = |component: freshet_cost::Component| Part {
            name: component.name(),
            dollars: dollars(bill.of_component(component), events),
            lines: bill
                .lines()
                .iter()
                .filter(|line| line.component == component)
                .map(|line| Item {
                    what: line.what,
                    amount: line.amount,
                    unit: line.unit.clone(),
                    dollars: dollars(line.dollars, events),
                    sure: line.sure,
                })
                .collect(),
        };
        Self {
            title,
            basis,
            region: prices.region.clone(),
            prices_as_of: prices.as_of.clone(),
            events_a_month: events,
            total: dollars(bill.total(), events),
            components: bill.components().into_iter().map(part).collect(),
            what_ifs: Vec::new(),
            on_demand_below_events_per_second: None,
            missing: Vec::new(),
            notes: Vec::new(),
        }
    }
}

fn dollars(month: f64, events: Option<f64>) -> Dollars {
    let million = events.filter(|events| *events > 0.0);
    Dollars {
        month,
        million: million.map(|events| month / events * 1e6),
    }
}
