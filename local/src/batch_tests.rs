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
