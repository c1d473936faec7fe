//! Schedules: invokes functions as `AWS::Scheduler::Schedule` does. Source: its
//! user guide, "Schedule types".
//!
//! A rate without a start date begins at once. Invocations are asynchronous:
//! one that takes long does not hold the next one back. Lambda itself would
//! invoke a function again, twice and minutes later, if it failed; here it does
//! not, as by then the next run is due.

use crate::function::Function;
use crate::mapping::now_ms;
use crate::stack::StackSchedule;
use crate::{ACCOUNT, REGION};
use axum::body::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// A running schedule. Dropping it ends it; what is invoked goes on.
pub struct Schedule {
    paused: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Schedule {
    /// Invokes `function` as `schedule` says, in minutes of this length; never,
    /// if it is not enabled.
    #[must_use]
    pub fn start(
        name: &str,
        schedule: StackSchedule,
        function: Arc<Function>,
        minute: Duration,
    ) -> Self {
        let name = name.to_owned();
        let paused = Arc::new(AtomicBool::new(!schedule.enabled));
        let is_paused = Arc::clone(&paused);
        let task = tokio::spawn(async move {
            run(&name, &schedule, &function, minute, &is_paused).await;
        });
        Self { paused, task }
    }

    /// Invokes nothing from now on, or again.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }
}

async fn run(
    name: &str,
    schedule: &StackSchedule,
    function: &Arc<Function>,
    minute: Duration,
    is_paused: &AtomicBool,
) {
    let every = (minute * schedule.every_minutes).max(Duration::from_millis(1));
    let max_age = minute.mul_f64(f64::from(schedule.max_age_s) / 60.0);
    let mut times = interval_at(Instant::now(), every);
    // What was due while this machine slept is not made up for.
    times.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = JoinSet::new();
    loop {
        times.tick().await;
        while under_way.try_join_next().is_some() {}
        if is_paused.load(Ordering::Acquire) {
            continue;
        }
        let input = schedule.input.clone().unwrap_or_else(|| event(name));
        let (name, function) = (name.to_owned(), Arc::clone(function));
        under_way.spawn(async move {
            // One that has begun goes on; one that has not is too old by then.
            match timeout(max_age, function.invoke(Bytes::from(input))).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(name, %error, "a scheduled invocation failed"),
                Err(_) => tracing::warn!(name, "a scheduled invocation takes too long"),
            }
        });
    }
}

/// What a target without an input is given.
fn event(name: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(now_ms()).unwrap_or_default();
    json!({
        "version": "0",
        "id": uuid::Uuid::now_v7().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT,
        "time": format!("{time:.0}"),
        "region": REGION,
        "resources": [format!("arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}")],
        "detail": "{}",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::tests::setup;
    use serde_json::Value;

    fn schedule(changed: impl FnOnce(&mut StackSchedule)) -> StackSchedule {
        let mut schedule = StackSchedule {
            function: "F".into(),
            every_minutes: 2,
            input: None,
            max_age_s: 60,
            enabled: true,
        };
        changed(&mut schedule);
        schedule
    }

    #[tokio::test]
    async fn a_function_is_invoked_at_once_and_then_as_often_as_it_says() {
        let setup = setup("scheduled", Duration::from_secs(20), 1);
        let minute = Duration::from_millis(100);
        let function = Arc::clone(&setup.function);
        let began = Instant::now();
        let running = Schedule::start("S", schedule(|s| s.max_age_s = 6_000), function, minute);
        for n in 0..3_u32 {
            let (invocation, payload) = setup.given_with_payload(0).await;
            let event: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(event["source"], "aws.scheduler");
            assert!(began.elapsed() >= minute * 2 * n, "run {n} came too early");
            setup.respond(&invocation, "{}").await;
        }
        drop(running);
        setup.function.shutdown().await;
    }

    #[tokio::test]
    async fn the_input_is_passed_and_what_is_disabled_does_not_run() {
        let setup = setup("input", Duration::from_secs(20), 1);
        let minute = Duration::from_millis(20);
        let disabled = schedule(|s| s.enabled = false);
        let disabled = Schedule::start("D", disabled, Arc::clone(&setup.function), minute);
        let running = schedule(|s| {
            s.input = Some("{\"x\":1}".into());
            s.max_age_s = 60_000;
        });
        let running = Schedule::start("S", running, Arc::clone(&setup.function), minute);
        for _ in 0..2 {
            let (invocation, payload) = setup.given_with_payload(0).await;
            assert_eq!(payload, "{\"x\":1}");
            setup.respond(&invocation, "{}").await;
        }
        drop((disabled, running));
        setup.function.shutdown().await;
    }

    #[tokio::test]
    async fn a_schedule_that_is_paused_invokes_nothing_until_it_goes_on() {
        let setup = setup("paused", Duration::from_secs(20), 1);
        let minute = Duration::from_millis(20);
        let running = schedule(|s| s.enabled = false);
        let running = Schedule::start("P", running, Arc::clone(&setup.function), minute);
        tokio::time::sleep(minute * 10).await;
        assert!(setup.function.pids().is_empty());
        running.pause(false);
        let (invocation, _) = setup.given_with_payload(0).await;
        setup.respond(&invocation, "{}").await;
        drop(running);
        setup.function.shutdown().await;
    }
}
