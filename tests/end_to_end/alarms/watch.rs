//! The evaluator of CloudWatch's rules, fed with what a stack measures.

use crate::support::Bench;
use anyhow::{Context as _, Result, ensure};
use freshet_alarms::{Datum, Definition, Monitor, State, Timing, Transition, definitions};
use freshet_local::metrics;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Alarms whose threshold is a time of the stack's minutes: five minutes behind
/// are ten seconds here. Aggregate has the same, as a batch alone takes a second.
const BEHIND_MINUTES: f64 = 5.0;

/// What happens from now on, minute by minute.
pub(super) struct Watch {
    monitor: Monitor,
    minute: Duration,
    /// Up to where the stack's data points are taken.
    place: u64,
    /// How many transitions there were at the mark.
    marked: usize,
}

impl Watch {
    /// Watches every alarm of the stack.
    pub(super) async fn start(bench: &Bench, minute: Duration) -> Result<Self> {
        let resources = bench.stack.cloud.alarms().await?;
        let mut alarms = definitions(&resources)?;
        ensure!(alarms.len() > 30, "{} alarms", alarms.len());
        let minute_ms = i64::try_from(minute.as_millis())?;
        for alarm in &mut alarms {
            if let Definition::Metric(alarm) = alarm
                && alarm.metric == "IteratorAge"
            {
                alarm.threshold = BEHIND_MINUTES * minute.as_secs_f64() * 1_000.0;
            }
        }
        let timing = Timing {
            // A run of health takes a few seconds, however short its minute is.
            settle_ms: 4 * minute_ms,
            ..Timing::with_minute(minute_ms)
        };
        let (data, place) = bench.stack.cloud.metrics.since(0);
        let mut monitor = Monitor::new(alarms, timing, now_ms() - timing.settle_ms)?;
        for datum in data {
            monitor.add(of(datum));
        }
        Ok(Self {
            monitor,
            minute,
            place,
            marked: 0,
        })
    }

    /// The time so many minutes from now.
    pub(super) fn minutes(&self, count: u32) -> i64 {
        now_ms() + i64::try_from((self.minute * count).as_millis()).unwrap_or(i64::MAX)
    }

    /// Takes what came since the last look, a quarter of a minute later.
    pub(super) async fn look(&mut self, bench: &Bench) {
        tokio::time::sleep(self.minute / 4).await;
        let (data, place) = bench.stack.cloud.metrics.since(self.place);
        self.place = place;
        data.into_iter()
            .for_each(|datum| self.monitor.add(of(datum)));
        self.monitor.step(now_ms());
    }

    /// Lets so many minutes pass.
    pub(super) async fn pass(&mut self, bench: &Bench, minutes: u32) -> Result<()> {
        self.mark();
        let until = self.minutes(minutes);
        while now_ms() < until {
            self.look(bench).await;
        }
        Ok(())
    }

    /// What changes from now on is what [`since_now`](Self::since_now) tells.
    pub(super) fn mark(&mut self) {
        self.marked = self.monitor.transitions().len();
    }

    pub(super) fn since_now(&self, of: impl Fn(&&Transition) -> bool) -> Vec<Transition> {
        let transitions = &self.monitor.transitions()[self.marked..];
        transitions.iter().filter(of).cloned().collect()
    }

    /// Whether an alarm, named without its stack, is in this state.
    pub(super) fn is(&self, alarm: &str, state: State) -> bool {
        self.monitor.state(&full_name(alarm)) == Some(state)
    }

    /// Waits until each of these alarms has been raised since the mark.
    pub(super) async fn until_alarm(
        &mut self,
        bench: &Bench,
        minutes: u32,
        alarms: &[&str],
    ) -> Result<()> {
        for alarm in alarms {
            let known = self.monitor.state(&full_name(alarm));
            known.with_context(|| format!("no alarm {alarm}"))?;
        }
        let until = self.minutes(minutes) + self.settling_ms();
        loop {
            self.look(bench).await;
            let raised = self.since_now(|t| t.to == State::Alarm);
            let is_raised = |alarm: &&&str| raised.iter().any(|t| t.alarm == full_name(alarm));
            let missing: Vec<_> = alarms.iter().filter(|alarm| !is_raised(alarm)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(
                now_ms() < until,
                "not raised in {minutes} minutes: {missing:?}; {}",
                self.states()
            );
        }
    }

    /// Of the others than these, none was raised since the mark.
    pub(super) fn others_are_silent(&self, alarms: &[&str]) -> Result<()> {
        let named = |t: &&Transition| alarms.iter().any(|alarm| t.alarm == full_name(alarm));
        let others = self.since_now(|t| t.to == State::Alarm && !named(t));
        ensure!(others.is_empty(), "raised too: {others:?}");
        Ok(())
    }

    /// Waits until every alarm is in this state.
    pub(super) async fn until_all(
        &mut self,
        bench: &Bench,
        minutes: u32,
        state: State,
    ) -> Result<()> {
        let until = self.minutes(minutes) + self.settling_ms();
        loop {
            self.look(bench).await;
            match self.all_are(state) {
                Ok(()) => return Ok(()),
                Err(error) => ensure!(now_ms() < until, "after {minutes} minutes: {error}"),
            }
        }
    }

    pub(super) fn all_are(&self, state: State) -> Result<()> {
        let all = [State::Ok, State::Alarm, State::InsufficientData];
        let others = all.into_iter().filter(|other| *other != state);
        let count: usize = others
            .map(|other| self.monitor.in_state(other).count())
            .sum();
        ensure!(
            count == 0,
            "{count} alarms are not {state}: {}",
            self.states()
        );
        Ok(())
    }

    /// What is not as it should be, for a message.
    pub(super) fn states(&self) -> String {
        let mut text = String::new();
        for state in [State::Alarm, State::InsufficientData] {
            let names: Vec<_> = self.monitor.in_state(state).collect();
            let _ = write!(text, "{state}: {names:?} ");
        }
        let changes = self.since_now(|_| true);
        let changes: Vec<_> = changes
            .iter()
            .map(|t| format!("{} {} at {}", t.alarm, t.to, t.at_ms))
            .collect();
        let _ = write!(text, "since: {changes:?}");
        text
    }

    fn settling_ms(&self) -> i64 {
        i64::try_from((self.minute * 4).as_millis()).unwrap_or(i64::MAX)
    }
}

fn full_name(alarm: &str) -> String {
    format!("{}-{alarm}", freshet::deploy::STACK_NAME)
}

fn of(datum: metrics::Datum) -> Datum {
    let metrics::Datum {
        namespace,
        name,
        dimensions,
        unit,
        timestamp_ms,
        values,
        counts,
    } = datum;
    let dimensions: BTreeMap<String, String> = dimensions;
    Datum {
        namespace,
        name,
        dimensions,
        unit,
        timestamp_ms,
        values,
        counts,
    }
}

pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
