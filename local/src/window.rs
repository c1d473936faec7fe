//! Tumbling windows: which window a record belongs to, and what an invocation
//! of one is given and answers. Source: AWS Lambda Developer Guide,
//! "Implementing stateful Kinesis Data Streams processing in Lambda".
//!
//! What the guide does not say, and was chosen here:
//! - A record belongs to the window of its own arrival time. Arrival times may
//!   trail by a little, so a window can begin again after its end, with an
//!   empty state.
//! - `state` must be an object; an answer without one is a function error, be
//!   the invocation the final one or not.
//! - Beside `batchItemFailures`, the answer's state is that of the records
//!   before the returned number: it is kept, and the rest begins with it.
//! - The state is too large by its JSON's length. The window is then terminated
//!   by an invocation without records that is given the large state. It begins
//!   again with its next record, and an empty state.
//! - The last batch is the final invocation if it is known to be the last when
//!   it is formed (a record of another window, or the shard's end, follows).
//!   Otherwise an invocation without records follows.
//! - A final invocation without records has nothing to give up: it is tried
//!   until it succeeds ("suspends further processing until a successful
//!   invocation"). One with records is given up like any batch, and one without
//!   follows.
//! - A window that was never invoked, as all its records were too old, has no
//!   final invocation.

use crate::batch::Outcome;
use anyhow::ensure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The largest state, as JSON.
pub const MAX_STATE_BYTES: usize = 1_048_576;

/// The largest `TumblingWindowInSeconds`.
pub const MAX_WINDOW: Duration = Duration::from_secs(900);

/// Refuses what AWS refuses: windows that are too long, or read by several lanes.
pub(crate) fn check(length: Option<Duration>, parallelization_factor: usize) -> anyhow::Result<()> {
    let seconds = length.unwrap_or(MAX_WINDOW).as_secs();
    ensure!(
        (1..=MAX_WINDOW.as_secs()).contains(&seconds),
        "TumblingWindowInSeconds is 1 to {}, not {seconds}",
        MAX_WINDOW.as_secs()
    );
    ensure!(
        length.is_none() || parallelization_factor <= 1,
        "TumblingWindowInSeconds needs a ParallelizationFactor of 1, not {parallelization_factor}"
    );
    Ok(())
}

/// What invocations of a window hand on.
pub type WindowState = Map<String, Value>;

/// A span of arrival times: from its start until before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// In milliseconds since the epoch.
    pub start_ms: i64,
    /// In milliseconds since the epoch.
    pub end_ms: i64,
}

impl Window {
    /// The window of this length that a record belongs to. Windows begin at
    /// multiples of their length since the epoch.
    #[must_use]
    pub fn of(arrived_ms: i64, length: Duration) -> Self {
        let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
        let start_ms = arrived_ms.div_euclid(length_ms) * length_ms;
        Self {
            start_ms,
            end_ms: start_ms.saturating_add(length_ms),
        }
    }

    fn payload(self) -> Value {
        let text = |ms| {
            jiff::Timestamp::from_millisecond(ms)
                .unwrap_or_default()
                .to_string()
        };
        json!({"start": text(self.start_ms), "end": text(self.end_ms)})
    }
}

/// A window that was invoked and had no final invocation yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// Which one.
    #[serde(flatten)]
    pub window: Window,
    /// What the last invocation that succeeded handed on.
    pub state: WindowState,
}

/// What an invocation is given beside its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The window, with the state that was handed on.
    pub open: OpenWindow,
    /// `isFinalInvokeForWindow`.
    pub is_final: bool,
    /// `isWindowTerminatedEarly`.
    pub terminated_early: bool,
}

impl Turn {
    /// The fields of the payload that stand beside `Records`.
    #[must_use]
    pub fn payload(&self, shard_id: &str, stream_arn: &str) -> Map<String, Value> {
        [
            ("window", self.open.window.payload()),
            ("state", Value::Object(self.open.state.clone())),
            ("shardId", shard_id.into()),
            ("eventSourceARN", stream_arn.into()),
            ("isFinalInvokeForWindow", self.is_final.into()),
            ("isWindowTerminatedEarly", self.terminated_early.into()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
    }
}

/// A batch's window on its way through the batch's invocations.
#[derive(Debug)]
pub(crate) struct Progress {
    window: Window,
    /// None while it has no invocation: at first, and after a final one.
    state: Option<WindowState>,
    too_large: bool,
    /// Nothing of this window follows the batch.
    closes: bool,
}

impl Progress {
    pub(crate) fn new(window: Window, state: Option<WindowState>, closes: bool) -> Self {
        Self {
            window,
            too_large: state.as_ref().is_some_and(is_too_large),
            state,
            closes,
        }
    }

    pub(crate) fn open(&self) -> Option<OpenWindow> {
        let (window, state) = (self.window, self.state.clone()?);
        Some(OpenWindow { window, state })
    }

    /// The turn that must come before anything else: an early termination.
    pub(crate) fn early(&self) -> Option<Turn> {
        self.too_large.then(|| self.turn(true, true)).flatten()
    }

    /// The turn of a batch's records.
    pub(crate) fn of_records(&mut self, are_the_last: bool) -> Option<Turn> {
        self.state.get_or_insert_default();
        self.turn(self.closes && are_the_last, false)
    }

    /// The turn after all records: the final one, if there was none with records.
    pub(crate) fn closing(&self) -> Option<Turn> {
        self.closes.then(|| self.turn(true, false)).flatten()
    }

    fn turn(&self, is_final: bool, terminated_early: bool) -> Option<Turn> {
        self.open().map(|open| Turn {
            open,
            is_final,
            terminated_early,
        })
    }

    /// Takes the state of a successful answer, which is dropped after a final turn.
    pub(crate) fn answered(&mut self, state: WindowState, ended: bool) {
        self.too_large = !ended && is_too_large(&state);
        self.state = (!ended).then_some(state);
    }
}

/// `state` of an answer.
pub(crate) fn answered_state(outcome: &Outcome) -> Option<WindowState> {
    match outcome {
        Outcome::Answered(answer) => answer.get("state")?.as_object().cloned(),
        Outcome::Unreadable | Outcome::FunctionError => None,
    }
}

/// How long a state is as JSON.
pub(crate) fn state_bytes(state: &WindowState) -> usize {
    serde_json::to_vec(state).map_or(0, |json| json.len())
}

fn is_too_large(state: &WindowState) -> bool {
    state_bytes(state) > MAX_STATE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_multiples_of_their_length() {
        let of = |arrived_ms, seconds| {
            let window = Window::of(arrived_ms, Duration::from_secs(seconds));
            (window.start_ms, window.end_ms)
        };
        assert_eq!(of(0, 60), (0, 60_000));
        assert_eq!(of(59_999, 60), (0, 60_000));
        assert_eq!(of(60_000, 60), (60_000, 120_000));
        assert_eq!(of(-1, 60), (-60_000, 0));
        assert_eq!(of(1_000_001, 900), (900_000, 1_800_000));
    }

    #[test]
    fn the_payload_is_as_aws_documents_it() {
        let turn = Turn {
            open: OpenWindow {
                window: Window::of(1_607_497_475_000, Duration::from_secs(120)),
                state: Map::from_iter([("1".to_owned(), json!(282))]),
            },
            is_final: false,
            terminated_early: true,
        };
        assert_eq!(
            Value::Object(turn.payload("shardId-000000000006", "arn:s")),
            json!({
                "window": {"start": "2020-12-09T07:04:00Z", "end": "2020-12-09T07:06:00Z"},
                "state": {"1": 282},
                "shardId": "shardId-000000000006",
                "eventSourceARN": "arn:s",
                "isFinalInvokeForWindow": false,
                "isWindowTerminatedEarly": true,
            })
        );
    }

    #[test]
    fn the_largest_state_is_a_megabyte_of_json() {
        let state = |bytes: usize| {
            WindowState::from_iter([(
                "s".to_owned(),
                json!("x".repeat(bytes - r#"{"s":""}"#.len())),
            )])
        };
        assert_eq!(state_bytes(&state(MAX_STATE_BYTES)), MAX_STATE_BYTES);
        assert!(!is_too_large(&state(MAX_STATE_BYTES)));
        assert!(is_too_large(&state(MAX_STATE_BYTES + 1)));
    }
}
