//! Alarms through time.

use crate::definition::{CompositeAlarm, Definition, MetricAlarm};
use crate::error::Error;
use crate::judge::{State, judge};
use crate::metrics::{Datum, Metrics};
use std::collections::{BTreeMap, BTreeSet};

/// How time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a minute is, in milliseconds: a period of 60 s is this long.
    pub minute_ms: i64,
    /// A minute is judged so long after its end. CloudWatch takes a while too,
    /// and does not say how long.
    pub settle_ms: i64,
    /// How much longer than `EvaluationPeriods` the evaluation range is. The
    /// guide says that it is longer, and has 2 in its examples.
    pub extra_periods: usize,
}

impl Default for Timing {
    /// As it is, with what functions write last still on its way.
    fn default() -> Self {
        Self::with_minute(60_000)
    }
}

impl Timing {
    /// Minutes of this length.
    #[must_use]
    pub const fn with_minute(minute_ms: i64) -> Self {
        Self {
            minute_ms,
            settle_ms: minute_ms / 2,
            extra_periods: 2,
        }
    }

    fn scaled(&self, seconds: u32) -> i64 {
        (i64::from(seconds) * self.minute_ms / 60).max(1)
    }
}

/// A change of an alarm's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The alarm's name.
    pub alarm: String,
    /// The end of the last period that was looked at, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The state before.
    pub from: State,
    /// The state from now on.
    pub to: State,
}

/// The state of an alarm at `now_ms`, the end of its last period, or nothing if
/// it stays as it is.
///
/// Periods slide: "at the end of minute 6, the alarm is evaluated based on the
/// data from minutes 2 to 6", if its period is five minutes.
///
/// With `EvaluateLowSampleCountPercentile: ignore` the alarm stays as it is
/// while any of the points that count is of too few samples.
#[must_use]
pub fn evaluate(
    alarm: &MetricAlarm,
    metrics: &Metrics,
    now_ms: i64,
    timing: &Timing,
) -> Option<State> {
    let period_ms = timing.scaled(alarm.period_s);
    let n = alarm.evaluation_periods;
    let (mut range, mut real) = (Vec::new(), 0);
    let mut to_ms = now_ms;
    for _ in 0..n + timing.extra_periods {
        let from_ms = to_ms - period_ms;
        let samples = metrics.samples(alarm, from_ms, to_ms);
        to_ms = from_ms;
        let point = alarm.statistic.of(&samples);
        if point.is_some() && real < n {
            real += 1;
            let count: f64 = samples.iter().map(|(_, count)| count).sum();
            let significant_from = alarm.statistic.significant_from();
            // What rounding adds to 10/(1 - p) is no sample.
            let too_few = significant_from.is_some_and(|from| count < from - 1e-6);
            if alarm.ignores_low_samples && too_few {
                return None;
            }
        }
        range.push(point.map(|value| alarm.comparison.breaches(value, alarm.threshold)));
    }
    range.reverse();
    judge(&range, n, alarm.datapoints_to_alarm, alarm.missing)
}

/// Alarms that are looked at as time goes on. A new one has insufficient data.
#[derive(Clone, Debug)]
pub struct Monitor {
    timing: Timing,
    metrics: Metrics,
    alarms: Vec<MetricAlarm>,
    /// Each after those that it needs.
    composites: Vec<CompositeAlarm>,
    states: BTreeMap<String, State>,
    transitions: Vec<Transition>,
    /// The next time at which alarms are due.
    next_ms: i64,
}

impl Monitor {
    /// Watches these alarms from `start_ms` on.
    ///
    /// # Errors
    /// If two have one name, or a composite alarm needs one that is not there.
    pub fn new(definitions: Vec<Definition>, timing: Timing, start_ms: i64) -> Result<Self, Error> {
        let mut states = BTreeMap::new();
        let (mut alarms, mut composites) = (Vec::new(), Vec::new());
        for definition in definitions {
            let name = definition.name().to_owned();
            if states
                .insert(name.clone(), State::InsufficientData)
                .is_some()
            {
                return Err(Error::Duplicate(name));
            }
            match definition {
                Definition::Metric(alarm) => alarms.push(alarm),
                Definition::Composite(alarm) => composites.push(alarm),
            }
        }
        let known = alarms.iter().map(|alarm| alarm.name.clone()).collect();
        let tick_ms = timing.scaled(tick_s(&alarms));
        Ok(Self {
            timing,
            metrics: Metrics::default(),
            composites: in_order(composites, known)?,
            alarms,
            states,
            transitions: Vec::new(),
            next_ms: (start_ms.div_euclid(tick_ms) + 1) * tick_ms,
        })
    }

    /// Takes a data point.
    pub fn add(&mut self, datum: Datum) {
        self.metrics.add(datum);
    }

    /// Looks at every alarm at every time that it was due until `now_ms`;
    /// returns what changed.
    ///
    /// Alarms are due each minute; those with a shorter period every ten
    /// seconds, those about more than a day every hour.
    pub fn step(&mut self, now_ms: i64) -> &[Transition] {
        let before = self.transitions.len();
        let tick_ms = self.timing.scaled(tick_s(&self.alarms));
        while self.next_ms + self.timing.settle_ms <= now_ms {
            self.look(self.next_ms);
            self.next_ms += tick_ms;
        }
        &self.transitions[before..]
    }

    fn look(&mut self, at_ms: i64) {
        let mut changed = Vec::new();
        for alarm in &self.alarms {
            if at_ms.rem_euclid(self.timing.scaled(interval_s(alarm))) == 0
                && let Some(state) = evaluate(alarm, &self.metrics, at_ms, &self.timing)
            {
                changed.push((alarm.name.clone(), state));
            }
        }
        for (name, state) in changed {
            self.set(&name, state, at_ms);
        }
        for place in 0..self.composites.len() {
            let alarm = &self.composites[place];
            let state = |name: &str| self.state(name).unwrap_or(State::InsufficientData);
            let state = if alarm.rule.holds(&state) {
                State::Alarm
            } else {
                State::Ok
            };
            let name = alarm.name.clone();
            self.set(&name, state, at_ms);
        }
    }

    fn set(&mut self, name: &str, to: State, at_ms: i64) {
        let Some(state) = self.states.get_mut(name) else {
            return;
        };
        let from = std::mem::replace(state, to);
        if from != to {
            self.transitions.push(Transition {
                alarm: name.to_owned(),
                at_ms,
                from,
                to,
            });
        }
    }

    /// An alarm's state, if there is one of this name.
    #[must_use]
    pub fn state(&self, alarm: &str) -> Option<State> {
        self.states.get(alarm).copied()
    }

    /// The names of the alarms that are in this state.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = &str> {
        let of_state = move |(_, other): &(&String, &State)| **other == state;
        self.states
            .iter()
            .filter(of_state)
            .map(|(name, _)| name.as_str())
    }

    /// Every change so far.
    #[must_use]
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }
}

/// How often an alarm is evaluated, in seconds.
fn interval_s(alarm: &MetricAlarm) -> u32 {
    if alarm.period_s < 60 {
        10
    } else if alarm.period_s as usize * alarm.evaluation_periods > 86_400 {
        3_600
    } else {
        60
    }
}

fn tick_s(alarms: &[MetricAlarm]) -> u32 {
    alarms.iter().map(interval_s).min().unwrap_or(60).min(60)
}

/// Composite alarms, each after those that it needs.
fn in_order(
    mut waiting: Vec<CompositeAlarm>,
    mut known: BTreeSet<String>,
) -> Result<Vec<CompositeAlarm>, Error> {
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |alarm: &CompositeAlarm| {
            let needs = alarm.rule.alarms();
            needs.into_iter().all(|name| known.contains(name))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
        if let (true, Some(alarm)) = (ready.is_empty(), rest.first()) {
            let needs = alarm.rule.alarms();
            let needs = needs.into_iter().find(|name| !known.contains(*name));
            return Err(Error::Unresolved {
                alarm: alarm.name.clone(),
                needs: needs.unwrap_or_default().to_owned(),
            });
        }
        known.extend(ready.iter().map(|alarm| alarm.name.clone()));
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
