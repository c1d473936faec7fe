//! How long to wait before trying again.

use std::time::Duration;

/// Full jitter: a random time up to `base · 2^attempt`, at most one second.
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
pub(crate) fn full_jitter(attempt: u32, base: Duration) -> Duration {
    let ceiling = base
        .saturating_mul(1 << attempt.min(10))
        .min(Duration::from_secs(1));
    ceiling.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_under_its_ceiling() {
        for attempt in 0..40 {
            let ceiling = Duration::from_millis(50).saturating_mul(1 << attempt.min(10));
            assert!(
                full_jitter(attempt, Duration::from_millis(50))
                    <= ceiling.min(Duration::from_secs(1))
            );
        }
    }
}
