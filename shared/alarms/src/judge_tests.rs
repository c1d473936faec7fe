//! The guide's tables, row by row, and what holds whatever the data.

use super::*;
use proptest::prelude::*;

const N: usize = 3;

const OK: Option<State> = Some(State::Ok);
const ALARM: Option<State> = Some(State::Alarm);
const INSUFFICIENT: Option<State> = Some(State::InsufficientData);
const RETAIN: Option<State> = None;

/// The guide's notation: 0 is within the threshold, X beyond it, - is missing.
fn points(row: &str) -> Vec<Option<bool>> {
    row.split(' ')
        .map(|point| match point {
            "0" => Some(false),
            "X" => Some(true),
            "-" => None,
            other => panic!("{other}"),
        })
        .collect()
}

/// The columns: missing, ignore, breaching, not breaching.
const COLUMNS: [MissingData; 4] = [
    MissingData::Missing,
    MissingData::Ignore,
    MissingData::Breaching,
    MissingData::NotBreaching,
];

fn holds(m: usize, rows: &[(&str, [Option<State>; 4])]) {
    for (row, expected) in rows {
        let found = COLUMNS.map(|missing| judge(&points(row), N, m, missing));
        assert_eq!(&found, expected, "{row} with M = {m}");
    }
}

/// "How alarm state is evaluated when data is missing", the first table: both
/// Datapoints to Alarm and Evaluation Periods are 3, the evaluation range is 5.
#[test]
fn three_out_of_three() {
    holds(
        3,
        &[
            ("0 - X - X", [OK, OK, OK, OK]),
            ("0 - - - -", [OK, OK, OK, OK]),
            ("- - - - -", [INSUFFICIENT, RETAIN, ALARM, OK]),
            ("0 X X - X", [ALARM, ALARM, ALARM, ALARM]),
            ("- - X - -", [ALARM, RETAIN, ALARM, OK]),
        ],
    );
}

/// The second table: Datapoints to Alarm is 2.
#[test]
fn two_out_of_three() {
    holds(
        2,
        &[
            ("0 - X - X", [ALARM, ALARM, ALARM, ALARM]),
            ("0 0 X 0 X", [ALARM, ALARM, ALARM, ALARM]),
            ("0 - X - -", [OK, OK, ALARM, OK]),
            ("- - - - 0", [OK, OK, ALARM, OK]),
            ("- - - X -", [ALARM, RETAIN, ALARM, OK]),
        ],
    );
}

/// "Avoiding premature transitions to alarm state", and the rows of an earlier
/// edition's tables that the present one no longer has.
#[test]
fn a_breaching_point_that_may_be_followed_by_a_good_one_is_no_alarm_yet() {
    holds(
        3,
        &[
            ("- - - - X", [INSUFFICIENT, RETAIN, ALARM, OK]),
            ("- - - X -", [INSUFFICIENT, RETAIN, ALARM, OK]),
            ("- - - X 0", [OK, OK, OK, OK]),
            ("- - X - 0", [OK, OK, OK, OK]),
            ("X - - - -", [ALARM, RETAIN, ALARM, OK]),
        ],
    );
    holds(2, &[("- - - - X", [INSUFFICIENT, RETAIN, ALARM, OK])]);
    holds(1, &[("- - - - X", [ALARM, ALARM, ALARM, ALARM])]);
}

fn any_range() -> impl Strategy<Value = (Vec<Option<bool>>, usize, usize)> {
    (1_usize..8).prop_flat_map(|n| {
        let range = prop::collection::vec(prop::option::of(any::<bool>()), n + 2);
        (range, Just(n), 1..=n)
    })
}

proptest! {
    #[test]
    fn with_all_the_data_only_the_latest_n_count((range, n, m) in any_range()) {
        let full: Vec<_> = range.iter().map(|point| Some(point.unwrap_or(false))).collect();
        let breaching = full[2..].iter().filter(|point| **point == Some(true)).count();
        let expected = if breaching >= m { ALARM } else { OK };
        for missing in COLUMNS {
            prop_assert_eq!(judge(&full, n, m, missing), expected);
        }
    }

    #[test]
    fn breaching_is_never_milder_than_the_others((range, n, m) in any_range()) {
        let found = COLUMNS.map(|missing| judge(&range, n, m, missing));
        if found.contains(&ALARM) {
            prop_assert_eq!(found[2], ALARM);
        }
        if found[3] == ALARM {
            prop_assert_eq!(found, [ALARM; 4]);
        }
        // Two of the four always decide.
        prop_assert!(found[2..].iter().all(|state| *state == OK || *state == ALARM));
    }

    #[test]
    fn how_missing_data_counts_matters_only_where_it_is_lacking((range, n, m) in any_range()) {
        let real = range.iter().flatten().count();
        let found = COLUMNS.map(|missing| judge(&range, n, m, missing));
        if real >= n {
            prop_assert!(found.iter().all(|state| *state == found[0]), "{:?}", found);
        }
        if real == 0 {
            prop_assert_eq!(found, [INSUFFICIENT, RETAIN, ALARM, OK]);
        }
    }
}
