//! The ledger: what went in came out, or is on its way (decision 12). Pure.
//!
//! A span of [`SPAN`] periods ends at each of the last [`JUDGED`] periods that
//! should be whole. What entered the stream in a span and had no outcome must
//! be more in flight at its end than at its beginning. What is left is the
//! span's *residue*. An event that is lost is in the residue of every span
//! that it entered in, a moment's mistake only in one: so what lasts is the
//! smallest residue of them all.

use crate::backlog::{ages_ms, within};
use crate::config::Stage;
use crate::series::{Asked, Series};
use serde::Serialize;

/// Periods of a span.
pub const SPAN: usize = 45;
/// Spans that are compared.
pub const JUDGED: usize = 15;
/// Periods before the first span, so that it is known what was in flight then.
const BEFORE: usize = 60;
/// Periods that are asked for: one is not whole yet.
pub const PERIODS: usize = BEFORE + SPAN + JUDGED;
/// Residues up to this share of what was accepted are nobody's loss.
const TOLERANCE: f64 = 0.001;

/// The flows of events, by period, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// Accepted by collect.
    pub accepted: Vec<f64>,
    /// Came onto the stream: accepted and not put into the queue instead, and
    /// replayed.
    pub entered: Vec<f64>,
    /// Final outcomes of what collect did not accept: they entered too, but
    /// are only known by their outcome.
    pub others: Vec<f64>,
    /// Final outcomes, and what Lambda gave up.
    pub left: Vec<f64>,
    /// How old the oldest unread record was at each period's end.
    pub ages_ms: Vec<f64>,
    /// A period's length.
    pub period_ms: f64,
}

/// What the ledger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// Of the last span; below 0, more came out than went in.
    pub residue: f64,
    /// Of the last span: what one period more or less of age would change.
    pub uncertainty: f64,
    /// The residue that lasts, or 0.
    pub unbalanced: f64,
    /// Accepted in the last span.
    pub accepted: f64,
}

/// What the series say.
#[must_use]
pub fn check(series: &Series) -> Ledger {
    let of = |stage, name| series.sums(Asked::Ours(stage, name));
    let mut left = vec![0.0; series.periods()];
    for (stage, name) in [
        ("enrich", "Indexed"),
        ("enrich", "Duplicates"),
        ("enrich", "Rejected"),
        ("enrich", "Undecodable"),
        ("health", "GivenUp"),
    ] {
        add(&mut left, &of(stage, name), 1.0);
    }
    let accepted = of("collect", "Accepted");
    let mut entered = accepted.clone();
    add(&mut entered, &of("replay", "Replayed"), 1.0);
    add(&mut entered, &of("collect", "DeadLetters"), -1.0);
    #[allow(clippy::cast_precision_loss)] // an hour at the most
    let period_ms = series.period_ms() as f64;
    let ages_ms = ages_ms(
        &series.points(Asked::IteratorAge(Stage::Enrich)),
        &series.sums(Asked::Incoming),
        period_ms,
    );
    // The last period is over, but its lines may not all have arrived.
    let settled = series.periods().saturating_sub(1);
    judge(
        &Flows {
            accepted,
            entered,
            others: of("enrich", "OtherProducers"),
            left,
            ages_ms,
            period_ms,
        },
        settled,
    )
}

fn add(to: &mut [f64], more: &[f64], times: f64) {
    to.iter_mut()
        .zip(more)
        .for_each(|(to, more)| *to += more * times);
}

/// Judges the first `until` periods.
#[must_use]
pub fn judge(flows: &Flows, until: usize) -> Ledger {
    let Some(first) = until.checked_sub(JUDGED - 1) else {
        return Ledger::default();
    };
    let spans: Vec<Ledger> = (first..=until)
        .filter_map(|end| flows.span(end.checked_sub(SPAN)?, end))
        .collect();
    let lasting = spans
        .iter()
        .map(|span| span.residue)
        .fold(f64::INFINITY, f64::min);
    let beyond = |span: &Ledger| span.residue > span.uncertainty.max(TOLERANCE * span.accepted);
    let mut last = spans.last().copied().unwrap_or_default();
    if spans.len() == JUDGED && spans.iter().all(beyond) {
        last.unbalanced = lasting;
    }
    last
}

impl Flows {
    /// The span from the end of the first `from` periods to that of the first
    /// `to`; `None` if there are not so many.
    fn span(&self, from: usize, to: usize) -> Option<Ledger> {
        let sum = |amounts: &[f64]| Some(amounts.get(from..to)?.iter().sum::<f64>());
        let moved = sum(&self.entered)? + sum(&self.others)? - sum(&self.left)?;
        let accepted = sum(&self.accepted)?;
        let (before, after) = (self.in_flight(from), self.in_flight(to));
        let in_flight = after.0 - before.0;
        Some(Ledger {
            residue: (moved - in_flight).round(),
            uncertainty: (before.1 + after.1).round(),
            unbalanced: 0.0,
            accepted,
        })
    }

    /// What was in flight at the end of the first `until` periods, and how
    /// sure that is. An age that begins before all that is known leaves
    /// everything uncertain.
    fn in_flight(&self, until: usize) -> (f64, f64) {
        let age = until.checked_sub(1).and_then(|last| self.ages_ms.get(last));
        let age = age.copied().unwrap_or_default();
        let of = |age: f64| within(&self.entered, until, age.max(0.0), self.period_ms);
        let all: f64 = self.entered.iter().sum();
        let Some(now) = of(age) else {
            return (all, all);
        };
        let less = now - of(age - self.period_ms).unwrap_or_default();
        let more = of(age + self.period_ms).unwrap_or(all) - now;
        (now, less.max(more).max(0.0))
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
