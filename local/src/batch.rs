//! What happens to a batch: the rules of an event source mapping for streams,
//! as a state machine without I/O or clock. Source: AWS Lambda Developer
//! Guide, "Using Lambda to process records from Amazon Kinesis Data Streams"
//! and "Configuring partial batch response with Kinesis Data Streams and Lambda".

use crate::window::{OpenWindow, Progress, Turn, Window, WindowState, answered_state};
use serde_json::Value;

/// One record as it was read from its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the shard.
    pub sequence_number: String,
    /// Decides its lane.
    pub partition_key: String,
    /// Its bytes in base64.
    pub data: String,
    /// When it arrived, in milliseconds since the epoch.
    pub arrived_ms: i64,
}

/// The mapping's properties that decide about failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailurePolicy {
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_batch_item_failures: bool,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// `MaximumRetryAttempts`; none = as long as the records are young enough.
    pub max_retries: Option<u32>,
    /// `MaximumRecordAgeInSeconds` in milliseconds; none = any age.
    pub max_age_ms: Option<i64>,
}

/// What an invocation came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function answered with this.
    Answered(Value),
    /// The function answered with something that is no JSON.
    Unreadable,
    /// The function failed, timed out or went away.
    FunctionError,
}

impl Outcome {
    /// What an answer is; an empty one is null.
    #[must_use]
    pub fn of_answer(answer: &[u8]) -> Self {
        if answer.trim_ascii().is_empty() {
            return Self::Answered(Value::Null);
        }
        serde_json::from_slice(answer).map_or(Self::Unreadable, Self::Answered)
    }
}

/// Why records are given up: `condition` of the invocation record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `MaximumRetryAttempts` is reached.
    RetryAttemptsExhausted,
    /// `MaximumRecordAgeInSeconds` is passed.
    RecordAgeExceeded,
}

impl Condition {
    /// The text in the invocation record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
        }
    }
}

/// A run of records that are invoked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// In the order of the shard.
    pub records: Vec<Record>,
    /// How often it was tried again so far.
    pub retries: u32,
    /// With tumbling windows: what the invocation is given beside the records,
    /// of which there may be none.
    pub turn: Option<Turn>,
}

impl Piece {
    fn new(records: Vec<Record>, retries: u32) -> Self {
        Self {
            records,
            retries,
            turn: None,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Invoke the function with this, then call [`BatchRun::finish`].
    Invoke(Piece),
    /// Send this to the on-failure destination; it is done then. Ask again.
    GiveUp(Piece, Condition),
    /// Every record is done or given up.
    Done,
}

/// A batch on its way through retries, halves and partial answers. Pieces are
/// worked off from the front, so that order is kept.
#[derive(Debug)]
pub struct BatchRun {
    policy: FailurePolicy,
    /// The next piece is the last.
    pieces: Vec<Piece>,
    given_up: Vec<(Piece, Condition)>,
    window: Option<Progress>,
    /// How often an invocation without records was tried again so far.
    empty_retries: u32,
}

impl BatchRun {
    /// A batch that was not tried yet.
    #[must_use]
    pub fn new(records: Vec<Record>, policy: FailurePolicy) -> Self {
        Self {
            policy,
            pieces: vec![Piece::new(records, 0)],
            given_up: Vec::new(),
            window: None,
            empty_retries: 0,
        }
    }

    /// A batch of one tumbling window, of which there may be a `state` already.
    /// It `closes` the window if nothing of it follows; it may have no records.
    #[must_use]
    pub fn in_window(
        records: Vec<Record>,
        policy: FailurePolicy,
        window: Window,
        state: Option<WindowState>,
        closes: bool,
    ) -> Self {
        Self {
            window: Some(Progress::new(window, state, closes)),
            ..Self::new(records, policy)
        }
    }

    /// The window, if it is to be gone on with. It belongs to the records that
    /// are done so far.
    #[must_use]
    pub fn open_window(&self) -> Option<OpenWindow> {
        self.window.as_ref()?.open()
    }

    /// What to do at `now_ms`.
    pub fn next(&mut self, now_ms: i64) -> Step {
        if let Some((piece, condition)) = self.given_up.pop() {
            return Step::GiveUp(piece, condition);
        }
        if let Some(early) = self.window.as_ref().and_then(Progress::early) {
            return self.without_records(early);
        }
        loop {
            let Some(mut piece) = self.pieces.pop() else {
                return match self.window.as_ref().and_then(Progress::closing) {
                    Some(closing) => self.without_records(closing),
                    None => Step::Done,
                };
            };
            let young = |record: &Record| {
                self.policy
                    .max_age_ms
                    .is_none_or(|max| now_ms - record.arrived_ms <= max)
            };
            let old = piece
                .records
                .iter()
                .position(young)
                .unwrap_or(piece.records.len());
            if old > 0 {
                let rest = piece.records.split_off(old);
                self.pieces.push(Piece::new(rest, piece.retries));
                return Step::GiveUp(piece, Condition::RecordAgeExceeded);
            }
            if !piece.records.is_empty() {
                let last = self.pieces.is_empty();
                piece.turn = self.window.as_mut().and_then(|w| w.of_records(last));
                return Step::Invoke(piece);
            }
        }
    }

    fn without_records(&self, turn: Turn) -> Step {
        Step::Invoke(Piece {
            turn: Some(turn),
            ..Piece::new(Vec::new(), self.empty_retries)
        })
    }

    /// Takes what the invocation of `piece` came to, and returns the records
    /// that are done with it.
    #[must_use]
    pub fn finish(&mut self, mut piece: Piece, outcome: &Outcome) -> Vec<Record> {
        let reports = self.policy.report_batch_item_failures;
        let failed = failed_from(&piece.records, outcome, reports);
        let failed = self.take_state(&mut piece, outcome, failed);
        match failed {
            None => return piece.records,
            Some(_) if piece.records.is_empty() => {}
            Some(Failed::Function) if self.policy.bisect && piece.records.len() > 1 => {
                // Halves are no retries.
                let mut first = piece.records;
                let second = first.split_off(first.len() / 2);
                self.pieces.push(Piece::new(second, piece.retries));
                self.pieces.push(Piece::new(first, piece.retries));
            }
            Some(Failed::From(from)) if from > 0 => {
                // What came before is done: the rest begins anew.
                let rest = piece.records.split_off(from);
                self.pieces.push(Piece::new(rest, 0));
                return piece.records;
            }
            Some(Failed::Function | Failed::From(_)) => {
                if self
                    .policy
                    .max_retries
                    .is_some_and(|max| piece.retries >= max)
                {
                    self.given_up
                        .push((piece, Condition::RetryAttemptsExhausted));
                } else {
                    self.pieces.push(Piece {
                        retries: piece.retries + 1,
                        ..piece
                    });
                }
            }
        }
        Vec::new()
    }

    /// Hands the answer's state on, as far as the invocation succeeded.
    fn take_state(
        &mut self,
        piece: &mut Piece,
        outcome: &Outcome,
        failed: Option<Failed>,
    ) -> Option<Failed> {
        let (Some(turn), Some(window)) = (piece.turn.take(), &mut self.window) else {
            return failed;
        };
        let failed = match (answered_state(outcome), failed) {
            (None, _) => Some(Failed::Function),
            (Some(state), None) => {
                window.answered(state, turn.is_final);
                None
            }
            (Some(state), Some(Failed::From(from))) if from > 0 => {
                window.answered(state, false);
                Some(Failed::From(from))
            }
            (Some(_), failed) => failed,
        };
        if piece.records.is_empty() {
            self.empty_retries = failed.as_ref().map_or(0, |_| self.empty_retries + 1);
        }
        failed
    }
}

enum Failed {
    Function,
    From(usize),
}

/// From which record on the batch failed, if it did.
fn failed_from(records: &[Record], outcome: &Outcome, reports: bool) -> Option<Failed> {
    // The guide lists what is a complete success: an empty or null list, an
    // empty or null answer. "All other results" are a complete failure.
    let answer = match outcome {
        Outcome::FunctionError => return Some(Failed::Function),
        Outcome::Answered(_) | Outcome::Unreadable if !reports => return None,
        Outcome::Answered(answer) => answer,
        Outcome::Unreadable => return Some(Failed::From(0)),
    };
    let failures = match answer {
        Value::Null => return None,
        Value::Object(fields) => match fields.get("batchItemFailures") {
            None | Some(Value::Null) => return None,
            Some(Value::Array(failures)) => failures,
            Some(_) => return Some(Failed::From(0)),
        },
        _ => return Some(Failed::From(0)),
    };
    // An identifier that is empty, null, missing or of no record of the batch
    // makes the whole batch a failure; otherwise the lowest one counts.
    let places: Option<Vec<usize>> = failures
        .iter()
        .map(|failure| {
            let id = failure
                .get("itemIdentifier")?
                .as_str()
                .filter(|id| !id.is_empty())?;
            records
                .iter()
                .position(|record| record.sequence_number == id)
        })
        .collect();
    match places {
        None => Some(Failed::From(0)),
        Some(places) => places.into_iter().min().map(Failed::From),
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
