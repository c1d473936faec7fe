//! What state the data points of an alarm come to: the guide's rules of M out
//! of N and of missing data.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Within the threshold.
    Ok,
    /// Beyond the threshold.
    Alarm,
    /// Not known.
    InsufficientData,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        })
    }
}

/// `TreatMissingData`: what a period without data counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingData {
    /// Nothing; an alarm that has no data at all has insufficient data.
    #[default]
    Missing,
    /// The alarm stays as it is.
    Ignore,
    /// Beyond the threshold.
    Breaching,
    /// Within the threshold.
    NotBreaching,
}

/// The state that data points come to, or nothing if the alarm stays as it is.
///
/// `range` is the evaluation range, the latest point last: whether it breaches,
/// and nothing where data is missing. It is longer than `n`
/// (`EvaluationPeriods`), so that there is something to fall back on; `m` is
/// `DatapointsToAlarm`.
///
/// The guide's text and tables leave open what becomes of one breaching point
/// too new to count (`- - - - X` with M = 3, missing data `missing`): "does not
/// go immediately into ALARM state". An earlier edition's table has
/// `INSUFFICIENT_DATA` there, and so has this. Its tables also decide that a
/// point within the threshold ends the rule of the oldest breaching point, even
/// if it is older (`0 - X - -` is `OK`).
#[must_use]
pub fn judge(range: &[Option<bool>], n: usize, m: usize, missing: MissingData) -> Option<State> {
    let state = |alarm| Some(if alarm { State::Alarm } else { State::Ok });
    let real: Vec<bool> = range.iter().rev().flatten().copied().take(n).collect();
    let breaching = real.iter().filter(|breaches| **breaches).count();
    let lacking = n - real.len();
    if lacking == 0 {
        return state(breaching >= m);
    }
    match missing {
        MissingData::Breaching => state(breaching + lacking >= m),
        MissingData::NotBreaching => state(breaching >= m),
        MissingData::Missing | MissingData::Ignore if breaching >= m => state(true),
        MissingData::Missing | MissingData::Ignore if breaching < real.len() => state(false),
        // Only breaching points from here on, and too few of them; or none.
        MissingData::Ignore => None,
        MissingData::Missing => {
            let oldest = range.iter().rev().rposition(Option::is_some);
            let old_enough = oldest.is_some_and(|age| age + 1 >= m);
            Some(if old_enough {
                State::Alarm
            } else {
                State::InsufficientData
            })
        }
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
