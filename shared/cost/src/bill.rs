//! What was metered, priced.

use crate::HOURS;
use crate::prices::{PriceError, PriceList};
use std::fmt;

/// A part of the system that is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The HTTP API, with what it sends back.
    Api,
    /// The function behind it.
    Collect,
    /// The stream.
    Stream,
    /// The function that indexes.
    Enrich,
    /// The table of sessions.
    Sessions,
    /// The OpenSearch domain.
    Search,
    /// The function that counts.
    Aggregate,
    /// The table of aggregations.
    Aggregations,
    /// The function that reads them.
    Query,
    /// The function that looks after the others.
    Health,
    /// The queue and the bucket.
    DeadLetters,
    /// Logs of functions and of the API.
    Logs,
    /// Metrics, alarms and dashboards.
    Metrics,
    /// Secrets and keys.
    Secrets,
}

impl Component {
    /// Its name, as it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "http api",
            Self::Collect => "collect",
            Self::Stream => "stream",
            Self::Enrich => "enrich",
            Self::Sessions => "sessions",
            Self::Search => "opensearch",
            Self::Aggregate => "aggregate",
            Self::Aggregations => "aggregations",
            Self::Query => "query",
            Self::Health => "health",
            Self::DeadLetters => "dead letters",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Secrets => "secrets, keys",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a price is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rate {
    /// In the list, under this key.
    Key(&'static str),
    /// An hour of an OpenSearch instance of this type.
    Instance(String),
}

/// An amount, a month.
#[derive(Clone, Debug, PartialEq)]
pub struct Metered {
    /// Which part uses it.
    pub component: Component,
    /// What it is, in a word or three.
    pub what: &'static str,
    /// What one costs.
    pub rate: Rate,
    /// How many a month.
    pub amount: f64,
}

impl Metered {
    /// So many a month, at the price called `key`.
    #[must_use]
    pub const fn new(
        component: Component,
        what: &'static str,
        key: &'static str,
        amount: f64,
    ) -> Self {
        Self {
            component,
            what,
            rate: Rate::Key(key),
            amount,
        }
    }

    /// Nodes of an OpenSearch domain, the whole month.
    #[must_use]
    pub fn nodes(what: &'static str, instance_type: &str, nodes: f64) -> Self {
        Self {
            component: Component::Search,
            what,
            rate: Rate::Instance(instance_type.to_owned()),
            amount: nodes * HOURS,
        }
    }
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Which part uses it.
    pub component: Component,
    /// What it is.
    pub what: &'static str,
    /// How many a month.
    pub amount: f64,
    /// Of what.
    pub unit: String,
    /// Dollars a month.
    pub dollars: f64,
    /// Whether its price was found quoted.
    pub sure: bool,
}

/// A month's bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    lines: Vec<Line>,
}

impl Bill {
    /// Prices what was metered. What is alike is put together first: tiers go
    /// by what is used of a thing in all.
    ///
    /// # Errors
    /// [`PriceError`] if the list lacks a price.
    pub fn of(metered: &[Metered], prices: &PriceList) -> Result<Self, PriceError> {
        let mut lines = Vec::with_capacity(metered.len());
        for item in metered {
            let (unit, dollars, sure) = match &item.rate {
                Rate::Key(key) => {
                    let price = prices.price(key)?;
                    let all: f64 = metered
                        .iter()
                        .filter(|other| other.rate == item.rate)
                        .map(|other| other.amount)
                        .sum();
                    let share = if all > 0.0 { item.amount / all } else { 0.0 };
                    (price.unit.clone(), price.dollars(all) * share, price.sure)
                }
                Rate::Instance(name) => {
                    let instance = prices.instance(name)?;
                    let dollars = item.amount * instance.dollars_an_hour;
                    (format!("hours of {name}"), dollars, instance.sure)
                }
            };
            lines.push(Line {
                component: item.component,
                what: item.what,
                amount: item.amount,
                unit,
                dollars,
                sure,
            });
        }
        lines.sort_by_key(|line| line.component);
        Ok(Self { lines })
    }

    /// Its lines, by component.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The components there are, in the order an event meets them.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        let mut components: Vec<_> = self.lines.iter().map(|line| line.component).collect();
        components.dedup();
        components
    }

    /// Dollars a month for one component.
    #[must_use]
    pub fn of_component(&self, component: Component) -> f64 {
        let of = self.lines.iter().filter(|line| line.component == component);
        of.map(|line| line.dollars).sum()
    }

    /// Dollars a month in all.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.lines.iter().map(|line| line.dollars).sum()
    }
}
