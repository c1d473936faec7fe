//! What happens to a batch: the rules of an event source mapping for streams,
//! as a state machine without I/O or clock. Source: AWS Lambda Developer
//! Guide, "Using Lambda to process records from Amazon Kinesis Data Streams"
//! and "Configuring partial batch response with Kinesis Data Streams and Lambda".

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
}

impl BatchRun {
    /// A batch that was not tried yet.
    #[must_use]
    pub fn new(records: Vec<Record>, policy: FailurePolicy) -> Self {
        Self {
            policy,
            pieces: vec![Piece {
                records,
                retries: 0,
            }],
            given_up: Vec::new(),
        }
    }

    /// What to do at `now_ms`.
    pub fn next(&mut self, now_ms: i64) -> Step {
        if let Some((piece, condition)) = self.given_up.pop() {
            return Step::GiveUp(piece, condition);
        }
        loop {
            let Some(mut piece) = self.pieces.pop() else {
                return Step::Done;
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
                self.pieces.push(Piece {
                    records: rest,
                    retries: piece.retries,
                });
                return Step::GiveUp(piece, Condition::RecordAgeExceeded);
            }
            if !piece.records.is_empty() {
                return Step::Invoke(piece);
            }
        }
    }

    /// Takes what the invocation of `piece` came to, and returns the records
    /// that are done with it.
    #[must_use]
    pub fn finish(&mut self, mut piece: Piece, outcome: &Outcome) -> Vec<Record> {
        match failed_from(
            &piece.records,
            outcome,
            self.policy.report_batch_item_failures,
        ) {
            None => return piece.records,
            Some(Failed::Function) if self.policy.bisect && piece.records.len() > 1 => {
                // Halves are no retries.
                let mut first = piece.records;
                let second = first.split_off(first.len() / 2);
                self.pieces.push(Piece {
                    records: second,
                    retries: piece.retries,
                });
                self.pieces.push(Piece {
                    records: first,
                    retries: piece.retries,
                });
            }
            Some(Failed::From(from)) if from > 0 => {
                // What came before is done: the rest begins anew.
                let records = piece.records.split_off(from);
                self.pieces.push(Piece {
                    records,
                    retries: 0,
                });
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
