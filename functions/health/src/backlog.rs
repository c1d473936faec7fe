//! What consumers have not read yet, as far as sums of periods tell. Pure.
//!
//! CloudWatch knows an iterator age - how old the last record of a batch was -
//! only of periods in which the consumer was invoked. A consumer that is not
//! invoked although records arrive falls behind, and says nothing about it.

/// How old the oldest record is that a consumer has not read, at the end of
/// each period. `known` are the iterator ages, `arrived` the stream's records.
///
/// Without an iterator age nothing is read: what had not been read stays, and
/// what arrives waits. One period's silence is not believed yet, because its
/// iterator age may only be late.
#[must_use]
pub fn ages_ms(known: &[Option<f64>], arrived: &[f64], period_ms: f64) -> Vec<f64> {
    let mut ages = Vec::with_capacity(known.len());
    let mut silent = 0_u32;
    let mut last = 0.0;
    let mut waiting = 0.0;
    for (known, arrived) in known.iter().zip(arrived) {
        if let Some(age) = known {
            (silent, waiting) = (0, 0.0);
            last = age.max(0.0);
            ages.push(last);
            continue;
        }
        silent += 1;
        // From the beginning of the first period with something to read, or
        // from what was left before.
        if waiting > 0.0 || *arrived > 0.0 || last >= period_ms {
            waiting += period_ms;
        }
        let left = if last >= period_ms { last } else { 0.0 };
        ages.push(if silent == 1 { last } else { left + waiting });
    }
    ages
}

/// How much of `amounts` came in the `age_ms` before the end of the first
/// `until` periods. Within a period it is taken to come evenly. `None` if the
/// age begins before the first period.
#[must_use]
pub fn within(amounts: &[f64], until: usize, age_ms: f64, period_ms: f64) -> Option<f64> {
    let mut left = (age_ms / period_ms).max(0.0);
    let mut sum = 0.0;
    for amount in amounts.iter().take(until).rev() {
        if left <= 0.0 {
            break;
        }
        sum += amount * left.min(1.0);
        left -= 1.0;
    }
    (left <= 1e-9).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P: f64 = 60_000.0;

    #[test]
    fn a_consumer_that_is_not_invoked_falls_behind_only_if_something_arrives() {
        let some = Some(500.0);
        let ages = |known: &[Option<f64>], arrived: &[f64]| ages_ms(known, arrived, P);
        assert_eq!(
            ages(&[some, None, None], &[5.0, 0.0, 0.0]),
            [500.0, 500.0, 0.0]
        );
        assert_eq!(
            ages(&[some, None, None, None], &[5.0, 5.0, 5.0, 0.0]),
            [500.0, 500.0, 2.0 * P, 3.0 * P]
        );
        // A night without traffic is no lag of a night.
        assert_eq!(
            ages(&[some, None, None, None, None], &[5.0, 0.0, 0.0, 0.0, 5.0]),
            [500.0, 500.0, 0.0, 0.0, P]
        );
        // What was left before waits too.
        assert_eq!(
            ages(&[Some(3.0 * P), None, None], &[5.0, 0.0, 0.0]),
            [3.0 * P, 3.0 * P, 5.0 * P]
        );
        assert_eq!(
            ages(&[None, None, None], &[7.0, 7.0, 7.0]),
            [0.0, 2.0 * P, 3.0 * P]
        );
    }

    #[test]
    fn an_age_takes_its_share_of_a_period() {
        let amounts = [100.0, 40.0, 20.0];
        assert_eq!(within(&amounts, 3, 0.0, P), Some(0.0));
        assert_eq!(within(&amounts, 3, P / 2.0, P), Some(10.0));
        assert_eq!(within(&amounts, 3, 2.0 * P, P), Some(60.0));
        assert_eq!(within(&amounts, 2, 2.0 * P, P), Some(140.0));
        assert_eq!(within(&amounts, 3, 3.5 * P, P), None);
        assert_eq!(within(&[], 0, 0.0, P), Some(0.0));
    }

    proptest! {
        #[test]
        fn more_age_is_never_less(amounts in proptest::collection::vec(0.0..1e6_f64, 1..20), age in 0.0..20.0_f64, more in 0.0..5.0_f64) {
            let one = within(&amounts, amounts.len(), age * P, P);
            let other = within(&amounts, amounts.len(), (age + more) * P, P);
            match (one, other) {
                (Some(one), Some(other)) => prop_assert!(one <= other + 1e-6),
                (None, other) => prop_assert_eq!(other, None),
                (Some(_), None) => {}
            }
        }
    }
}
