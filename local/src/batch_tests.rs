//! One row for each semantic, named as AWS names it.

use super::*;
use serde_json::json;

fn records(range: std::ops::Range<u32>) -> Vec<Record> {
    let record = |n: u32| Record {
        sequence_number: n.to_string(),
        partition_key: String::new(),
        data: String::new(),
        arrived_ms: i64::from(n) * 1000,
    };
    range.map(record).collect()
}

/// What a row says of one step: the records by number.
#[derive(Debug, PartialEq)]
enum Seen {
    Invoked(Vec<u32>),
    GivenUp(Vec<u32>, Condition),
}

type Answers = fn(&[u32], u32) -> Outcome;

struct Row {
    semantic: &'static str,
    policy: FailurePolicy,
    now_ms: i64,
    /// What the function answers to these records on its n-th invocation.
    answers: Answers,
    expected: Vec<Seen>,
}

fn ok() -> Outcome {
    Outcome::Answered(Value::Null)
}

fn failures(ids: &[&str]) -> Outcome {
    let ids: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
    Outcome::Answered(json!({"batchItemFailures": ids}))
}

/// A function that answers with this once, and then with success.
fn once(n: u32, answer: &str) -> Outcome {
    if n == 1 {
        Outcome::of_answer(answer.as_bytes())
    } else {
        ok()
    }
}

/// Runs a batch of the records 1 to 4, each of which is done or given up once.
fn run(row: &Row) -> Vec<Seen> {
    let numbers = |piece: &Piece| {
        piece
            .records
            .iter()
            .map(|r| r.sequence_number.parse().unwrap())
            .collect::<Vec<u32>>()
    };
    let mut batch = BatchRun::new(records(1..5), row.policy.clone());
    let mut seen = Vec::new();
    let mut finished = Vec::new();
    let mut invocations = 0;
    loop {
        assert!(seen.len() < 40, "{}: does not end", row.semantic);
        match batch.next(row.now_ms) {
            Step::Done => {
                // From the front: a checkpoint can move with each of them.
                assert_eq!(finished, records(1..5), "{}", row.semantic);
                return seen;
            }
            Step::GiveUp(piece, condition) => {
                seen.push(Seen::GivenUp(numbers(&piece), condition));
                finished.extend(piece.records);
            }
            Step::Invoke(piece) => {
                let of = numbers(&piece);
                invocations += 1;
                let outcome = (row.answers)(&of, invocations);
                seen.push(Seen::Invoked(of));
                finished.extend(batch.finish(piece, &outcome));
            }
        }
    }
}

fn rows() -> Vec<Row> {
    use Condition::{RecordAgeExceeded, RetryAttemptsExhausted};
    use Seen::{GivenUp, Invoked};
    let all = || vec![1, 2, 3, 4];
    let reporting = || FailurePolicy {
        report_batch_item_failures: true,
        ..FailurePolicy::default()
    };
    let bisecting = |max_retries| FailurePolicy {
        bisect: true,
        max_retries,
        ..FailurePolicy::default()
    };
    let row = |semantic, policy, answers: Answers, expected| Row {
        semantic,
        policy,
        now_ms: 4_000,
        answers,
        expected,
    };
    vec![
        row(
            "success: every record is done",
            reporting(),
            |_, _| ok(),
            vec![Invoked(all())],
        ),
        row(
            "function error: the whole batch is tried again",
            FailurePolicy::default(),
            |_, n| if n < 3 { Outcome::FunctionError } else { ok() },
            vec![Invoked(all()), Invoked(all()), Invoked(all())],
        ),
        row(
            "MaximumRetryAttempts: given up after the first attempt and so many retries",
            FailurePolicy {
                max_retries: Some(2),
                ..FailurePolicy::default()
            },
            |_, _| Outcome::FunctionError,
            vec![
                Invoked(all()),
                Invoked(all()),
                Invoked(all()),
                GivenUp(all(), RetryAttemptsExhausted),
            ],
        ),
        row(
            "MaximumRetryAttempts 0: no retry at all",
            FailurePolicy {
                max_retries: Some(0),
                ..FailurePolicy::default()
            },
            |_, _| Outcome::FunctionError,
            vec![Invoked(all()), GivenUp(all(), RetryAttemptsExhausted)],
        ),
        Row {
            semantic: "MaximumRecordAgeInSeconds: records that are too old are given up, the others go on",
            policy: FailurePolicy {
                max_age_ms: Some(1_500),
                ..FailurePolicy::default()
            },
            now_ms: 4_000,
            answers: |_, _| ok(),
            expected: vec![GivenUp(vec![1, 2], RecordAgeExceeded), Invoked(vec![3, 4])],
        },
        row(
            "ReportBatchItemFailures: the lowest number is the checkpoint, also out of order",
            reporting(),
            |_, n| if n == 1 { failures(&["4", "3"]) } else { ok() },
            vec![Invoked(all()), Invoked(vec![3, 4])],
        ),
        row(
            "ReportBatchItemFailures: progress starts the count of retries anew",
            FailurePolicy {
                max_retries: Some(1),
                ..reporting()
            },
            |of, n| {
                if n < 6 {
                    failures(&[&of[usize::from(n % 2 == 0 && of.len() > 1)].to_string()])
                } else {
                    ok()
                }
            },
            vec![
                Invoked(all()),
                Invoked(all()),
                Invoked(vec![2, 3, 4]),
                Invoked(vec![2, 3, 4]),
                Invoked(vec![3, 4]),
                Invoked(vec![3, 4]),
            ],
        ),
        row(
            "ReportBatchItemFailures: an empty list is complete success",
            reporting(),
            |_, n| once(n, r#"{"batchItemFailures": []}"#),
            vec![Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: a null list is complete success",
            reporting(),
            |_, n| once(n, r#"{"batchItemFailures": null}"#),
            vec![Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an empty object is complete success",
            reporting(),
            |_, n| once(n, r#"{}"#),
            vec![Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an object without the list is complete success",
            reporting(),
            |_, n| once(n, r#"{"records": 4}"#),
            vec![Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: a null answer is complete success",
            reporting(),
            |_, n| once(n, r#"null"#),
            vec![Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an empty answer is complete success",
            reporting(),
            |_, n| once(n, ""),
            vec![Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an empty itemIdentifier is complete failure, whatever else is listed",
            reporting(),
            |_, n| {
                once(
                    n,
                    r#"{"batchItemFailures": [{"itemIdentifier": "3"}, {"itemIdentifier": ""}]}"#,
                )
            },
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: a null itemIdentifier is complete failure",
            reporting(),
            |_, n| once(n, r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#),
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an itemIdentifier with a bad key name is complete failure",
            reporting(),
            |_, n| once(n, r#"{"batchItemFailures": [{"id": "3"}]}"#),
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an itemIdentifier of no record of the batch is complete failure",
            reporting(),
            |_, n| once(n, r#"{"batchItemFailures": [{"itemIdentifier": "99"}]}"#),
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: a list that is none is complete failure",
            reporting(),
            |_, n| once(n, r#"{"batchItemFailures": {"itemIdentifier": "3"}}"#),
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: an answer that is no JSON is complete failure",
            reporting(),
            |_, n| once(n, r#"processed 4 records"#),
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: a JSON answer that is no object is complete failure",
            reporting(),
            |_, n| once(n, r#"[{"itemIdentifier": "3"}]"#),
            vec![Invoked(all()), Invoked(all())],
        ),
        row(
            "ReportBatchItemFailures: a complete failure is no function error, and is not bisected",
            FailurePolicy {
                report_batch_item_failures: true,
                ..bisecting(Some(0))
            },
            |_, _| Outcome::of_answer(b"processed 4 records"),
            vec![Invoked(all()), GivenUp(all(), RetryAttemptsExhausted)],
        ),
        row(
            "without ReportBatchItemFailures the answer is not looked at",
            FailurePolicy::default(),
            |_, _| failures(&["1"]),
            vec![Invoked(all())],
        ),
        row(
            "without ReportBatchItemFailures an answer that is no JSON is success",
            FailurePolicy::default(),
            |_, _| Outcome::of_answer(b"processed 4 records"),
            vec![Invoked(all())],
        ),
        row(
            "BisectBatchOnFunctionError: halves, in order, until the poison is alone; the good ones are done",
            bisecting(Some(1)),
            |of, _| {
                if of.contains(&3) {
                    Outcome::FunctionError
                } else {
                    ok()
                }
            },
            vec![
                Invoked(all()),
                Invoked(vec![1, 2]),
                Invoked(vec![3, 4]),
                Invoked(vec![3]),
                Invoked(vec![3]),
                GivenUp(vec![3], RetryAttemptsExhausted),
                Invoked(vec![4]),
            ],
        ),
        row(
            "BisectBatchOnFunctionError: halves do not count as retries",
            bisecting(Some(0)),
            |of, _| {
                if of.len() > 1 {
                    Outcome::FunctionError
                } else {
                    ok()
                }
            },
            vec![
                Invoked(all()),
                Invoked(vec![1, 2]),
                Invoked(vec![1]),
                Invoked(vec![2]),
                Invoked(vec![3, 4]),
                Invoked(vec![3]),
                Invoked(vec![4]),
            ],
        ),
        row(
            "bisect with partial failures: the cut is at the returned number",
            FailurePolicy {
                report_batch_item_failures: true,
                ..bisecting(Some(1))
            },
            |_, n| match n {
                1 => failures(&["2"]),
                2 => Outcome::FunctionError,
                _ => ok(),
            },
            vec![
                Invoked(all()),
                Invoked(vec![2, 3, 4]),
                Invoked(vec![2]),
                Invoked(vec![3, 4]),
            ],
        ),
    ]
}

#[test]
fn every_semantic_holds() {
    for row in rows() {
        assert_eq!(run(&row), row.expected, "{}", row.semantic);
    }
}

/// An invocation of a window: the records and the state by number.
#[derive(Debug, PartialEq)]
enum Turned {
    Invoked(Vec<u32>, Vec<u32>),
    Final(Vec<u32>, Vec<u32>),
    Early(Vec<u32>, Vec<u32>),
    GivenUp(Vec<u32>, Condition),
}

type WindowAnswers = fn(&Turned, u32) -> Outcome;

struct WindowRow {
    semantic: &'static str,
    policy: FailurePolicy,
    now_ms: i64,
    batch: std::ops::Range<u32>,
    /// What invocations before the batch handed on, if there were any.
    state: Option<Vec<u32>>,
    closes: bool,
    answers: WindowAnswers,
    expected: Vec<Turned>,
    /// What is handed on after the batch, if the window stays open.
    left: Option<Vec<u32>>,
}

fn state_of(numbers: &[u32]) -> WindowState {
    WindowState::from_iter([("seen".to_owned(), json!(numbers))])
}

fn numbers_of(state: &WindowState) -> Vec<u32> {
    let numbers = state.get("seen").and_then(Value::as_array);
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    numbers.into_iter().flatten().map(number).collect()
}

/// A function that adds the records to its state.
fn counted(turned: &Turned) -> Outcome {
    let (Turned::Invoked(records, state)
    | Turned::Final(records, state)
    | Turned::Early(records, state)) = turned
    else {
        unreachable!("only invocations are answered");
    };
    Outcome::Answered(json!({"state": state_of(&[&state[..], records].concat())}))
}

/// The same, once the first invocation has failed.
fn failing_once(turned: &Turned, n: u32) -> Outcome {
    if n == 1 {
        Outcome::FunctionError
    } else {
        counted(turned)
    }
}

/// A function that reports this number, and whose state has what is before it.
fn reporting_from(turned: &Turned, from: u32) -> Outcome {
    let (Turned::Invoked(records, state) | Turned::Final(records, state)) = turned else {
        unreachable!("only invocations with records report");
    };
    let before = records.iter().filter(|n| **n < from).copied();
    let state: Vec<u32> = state.iter().copied().chain(before).collect();
    let from = from.to_string();
    let failures = json!([{"itemIdentifier": from}]);
    Outcome::Answered(json!({"state": state_of(&state), "batchItemFailures": failures}))
}

fn too_large() -> Outcome {
    let large = "x".repeat(crate::window::MAX_STATE_BYTES);
    Outcome::Answered(json!({"state": {"seen": [9], "large": large}}))
}

fn run_window(row: &WindowRow) -> Vec<Turned> {
    let numbers = |piece: &Piece| {
        let number = |record: &Record| record.sequence_number.parse().unwrap();
        piece.records.iter().map(number).collect::<Vec<u32>>()
    };
    let window = Window::of(0, std::time::Duration::from_secs(60));
    let mut batch = BatchRun::in_window(
        records(row.batch.clone()),
        row.policy.clone(),
        window,
        row.state.as_deref().map(state_of),
        row.closes,
    );
    let mut seen = Vec::new();
    let mut finished = Vec::new();
    let mut invocations = 0;
    loop {
        assert!(seen.len() < 40, "{}: does not end", row.semantic);
        match batch.next(row.now_ms) {
            Step::Done => {
                assert_eq!(finished, records(row.batch.clone()), "{}", row.semantic);
                let left = batch.open_window().map(|open| numbers_of(&open.state));
                assert_eq!(left, row.left, "{}", row.semantic);
                return seen;
            }
            Step::GiveUp(piece, condition) => {
                seen.push(Turned::GivenUp(numbers(&piece), condition));
                finished.extend(piece.records);
            }
            Step::Invoke(piece) => {
                let turn = piece.turn.as_ref().unwrap();
                assert_eq!(turn.open.window, window);
                let (records, state) = (numbers(&piece), numbers_of(&turn.open.state));
                let turned = match (turn.is_final, turn.terminated_early) {
                    (false, false) => Turned::Invoked(records, state),
                    (true, false) => Turned::Final(records, state),
                    (true, true) => Turned::Early(records, state),
                    (false, true) => unreachable!("an early termination is final"),
                };
                invocations += 1;
                let outcome = (row.answers)(&turned, invocations);
                seen.push(turned);
                finished.extend(batch.finish(piece, &outcome));
            }
        }
    }
}

fn window_rows() -> Vec<WindowRow> {
    use Condition::{RecordAgeExceeded, RetryAttemptsExhausted};
    use Turned::{Early, Final, GivenUp, Invoked};
    let all = || vec![1, 2, 3, 4];
    let none = Vec::new;
    let reporting = || FailurePolicy {
        report_batch_item_failures: true,
        ..FailurePolicy::default()
    };
    let retrying = |max| FailurePolicy {
        max_retries: Some(max),
        ..FailurePolicy::default()
    };
    let row = |semantic, answers: WindowAnswers, expected, left| WindowRow {
        semantic,
        policy: FailurePolicy::default(),
        now_ms: 4_000,
        batch: 1..5,
        state: None,
        closes: false,
        answers,
        expected,
        left,
    };
    vec![
        row(
            "TumblingWindow: the first state is empty, and what is returned is handed on",
            |turned, _| counted(turned),
            vec![Invoked(all(), none())],
            Some(all()),
        ),
        WindowRow {
            state: Some(vec![8, 9]),
            ..row(
                "TumblingWindow: a batch is given the state of the one before",
                |turned, _| counted(turned),
                vec![Invoked(all(), vec![8, 9])],
                Some(vec![8, 9, 1, 2, 3, 4]),
            )
        },
        WindowRow {
            state: Some(vec![8, 9]),
            closes: true,
            ..row(
                "TumblingWindow: the last records come with the final invocation, and the state is dropped",
                |turned, _| counted(turned),
                vec![Final(all(), vec![8, 9])],
                None,
            )
        },
        WindowRow {
            batch: 1..1,
            state: Some(vec![8, 9]),
            closes: true,
            ..row(
                "TumblingWindow: without further records the final invocation has none",
                |turned, _| counted(turned),
                vec![Final(none(), vec![8, 9])],
                None,
            )
        },
        WindowRow {
            batch: 1..1,
            closes: true,
            ..row(
                "TumblingWindow: a window without records is never invoked",
                |turned, _| counted(turned),
                vec![],
                None,
            )
        },
        WindowRow {
            state: Some(vec![9]),
            ..row(
                "TumblingWindow: a function error is tried again with the same state",
                failing_once,
                vec![Invoked(all(), vec![9]), Invoked(all(), vec![9])],
                Some(vec![9, 1, 2, 3, 4]),
            )
        },
        WindowRow {
            policy: reporting(),
            ..row(
                "TumblingWindow: an answer without a state is a failed invocation, whatever it reports",
                |turned, n| match n {
                    1 => ok(),
                    2 => failures(&[]),
                    3 => failures(&["3"]),
                    4 => Outcome::Answered(json!({"state": null})),
                    5 => Outcome::Answered(json!({"state": [1]})),
                    6 => Outcome::Unreadable,
                    _ => counted(turned),
                },
                (0..7).map(|_| Invoked(all(), none())).collect(),
                Some(all()),
            )
        },
        WindowRow {
            ..row(
                "TumblingWindow: an answer without a state is one also where nothing is reported",
                |turned, n| if n == 1 { ok() } else { counted(turned) },
                vec![Invoked(all(), none()), Invoked(all(), none())],
                Some(all()),
            )
        },
        WindowRow {
            policy: FailurePolicy {
                bisect: true,
                ..FailurePolicy::default()
            },
            state: Some(vec![9]),
            closes: true,
            ..row(
                "TumblingWindow: the second half is given the first's state, and it alone is final",
                failing_once,
                vec![
                    Final(all(), vec![9]),
                    Invoked(vec![1, 2], vec![9]),
                    Final(vec![3, 4], vec![9, 1, 2]),
                ],
                None,
            )
        },
        WindowRow {
            policy: reporting(),
            closes: true,
            ..row(
                "TumblingWindow: what is before the returned number is done with the returned state; the rest is final again",
                |turned, n| {
                    if n == 1 {
                        reporting_from(turned, 3)
                    } else {
                        counted(turned)
                    }
                },
                vec![Final(all(), none()), Final(vec![3, 4], vec![1, 2])],
                None,
            )
        },
        WindowRow {
            policy: reporting(),
            state: Some(vec![9]),
            ..row(
                "TumblingWindow: nothing before the returned number, so the state stays",
                |turned, n| {
                    if n == 1 {
                        reporting_from(turned, 1)
                    } else {
                        counted(turned)
                    }
                },
                vec![Invoked(all(), vec![9]), Invoked(all(), vec![9])],
                Some(vec![9, 1, 2, 3, 4]),
            )
        },
        WindowRow {
            policy: retrying(1),
            state: Some(vec![9]),
            ..row(
                "TumblingWindow: MaximumRetryAttempts gives up the records, the state before stays",
                |_, _| Outcome::FunctionError,
                vec![
                    Invoked(all(), vec![9]),
                    Invoked(all(), vec![9]),
                    GivenUp(all(), RetryAttemptsExhausted),
                ],
                Some(vec![9]),
            )
        },
        WindowRow {
            policy: retrying(0),
            state: Some(vec![9]),
            closes: true,
            ..row(
                "TumblingWindow: a final invocation that is given up is followed by one without records",
                failing_once,
                vec![
                    Final(all(), vec![9]),
                    GivenUp(all(), RetryAttemptsExhausted),
                    Final(none(), vec![9]),
                ],
                None,
            )
        },
        WindowRow {
            policy: FailurePolicy {
                max_age_ms: Some(1_500),
                ..FailurePolicy::default()
            },
            closes: true,
            ..row(
                "TumblingWindow: MaximumRecordAge gives up what is too old, the others go on",
                |turned, _| counted(turned),
                vec![
                    GivenUp(vec![1, 2], RecordAgeExceeded),
                    Final(vec![3, 4], none()),
                ],
                None,
            )
        },
        WindowRow {
            policy: FailurePolicy {
                max_age_ms: Some(1_500),
                ..FailurePolicy::default()
            },
            now_ms: 10_000,
            closes: true,
            ..row(
                "TumblingWindow: a window whose records are all too old is never invoked",
                |turned, _| counted(turned),
                vec![GivenUp(all(), RecordAgeExceeded)],
                None,
            )
        },
        WindowRow {
            policy: FailurePolicy {
                max_age_ms: Some(0),
                ..retrying(0)
            },
            batch: 1..1,
            state: Some(vec![9]),
            closes: true,
            ..row(
                "TumblingWindow: a final invocation without records is tried until it succeeds",
                |turned, n| {
                    if n < 4 {
                        Outcome::FunctionError
                    } else {
                        counted(turned)
                    }
                },
                (0..4).map(|_| Final(none(), vec![9])).collect(),
                None,
            )
        },
        row(
            "TumblingWindow: a state over 1 MB terminates the window early, without records and with that state",
            |turned, n| {
                if n == 1 { too_large() } else { counted(turned) }
            },
            vec![Invoked(all(), none()), Early(none(), vec![9])],
            None,
        ),
        WindowRow {
            closes: true,
            ..row(
                "TumblingWindow: the state of a final answer is dropped, however large it is",
                |turned, n| {
                    if n == 1 { too_large() } else { counted(turned) }
                },
                vec![Final(all(), none())],
                None,
            )
        },
        WindowRow {
            policy: FailurePolicy {
                bisect: true,
                ..FailurePolicy::default()
            },
            closes: true,
            ..row(
                "TumblingWindow: terminated early between two halves, the window begins again with an empty state",
                |turned, n| match n {
                    1 => Outcome::FunctionError,
                    2 => too_large(),
                    _ => counted(turned),
                },
                vec![
                    Final(all(), none()),
                    Invoked(vec![1, 2], none()),
                    Early(none(), vec![9]),
                    Final(vec![3, 4], none()),
                ],
                None,
            )
        },
        WindowRow {
            policy: reporting(),
            ..row(
                "TumblingWindow: an early termination that fails is tried again before anything else",
                |turned, n| match n {
                    1 => {
                        let Outcome::Answered(mut answer) = too_large() else {
                            unreachable!("it is an answer");
                        };
                        answer["batchItemFailures"] = json!([{"itemIdentifier": "3"}]);
                        Outcome::Answered(answer)
                    }
                    2 => Outcome::FunctionError,
                    _ => counted(turned),
                },
                vec![
                    Invoked(all(), none()),
                    Early(none(), vec![9]),
                    Early(none(), vec![9]),
                    Invoked(vec![3, 4], none()),
                ],
                Some(vec![3, 4]),
            )
        },
    ]
}

#[test]
fn every_semantic_of_windows_holds() {
    for row in window_rows() {
        assert_eq!(run_window(&row), row.expected, "{}", row.semantic);
    }
}

#[test]
fn a_state_that_was_too_large_is_terminated_early_after_a_restart_too() {
    let large = json!({"large": "x".repeat(crate::window::MAX_STATE_BYTES)});
    let state = large.as_object().cloned();
    let window = Window::of(0, std::time::Duration::from_secs(60));
    let policy = FailurePolicy::default();
    // Nothing follows, and yet the window has no second final invocation.
    let mut batch = BatchRun::in_window(Vec::new(), policy, window, state, true);
    let Step::Invoke(piece) = batch.next(0) else {
        panic!("it is invoked");
    };
    assert!(piece.turn.as_ref().unwrap().terminated_early && piece.records.is_empty());
    assert!(
        batch
            .finish(piece, &Outcome::of_answer(b"{\"state\":{}}"))
            .is_empty()
    );
    assert_eq!((batch.next(0), batch.open_window()), (Step::Done, None));
}
