//! How many items become `_bulk` requests, and how often these are tried.

use crate::bulk::ItemOutcome;
use crate::client::SearchError;
use freshet_events::Rejection;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often items that may still get in are tried again.
const RETRIES: u32 = 3;
/// Before the first retry; doubled for each further one, with full jitter.
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest a single request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How large one `_bulk` request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// Documents.
    pub max_documents: usize,
    /// Bytes. Small managed domains refuse more than 10 MiB.
    pub max_bytes: usize,
}

impl Default for BulkLimits {
    fn default() -> Self {
        Self {
            max_documents: 1_000,
            max_bytes: 5 * 1024 * 1024,
        }
    }
}

/// Sends items of these sizes by `attempt`, which is given the places of those
/// that one request takes and says what became of each, in order. Gives one
/// outcome for each item. What may still get in is tried again until
/// `deadline`, three times at the most.
pub(crate) async fn run(
    sizes: &[usize],
    limits: BulkLimits,
    deadline: Instant,
    attempt: impl AsyncFn(&[usize]) -> Result<Vec<ItemOutcome>, SearchError>,
) -> Vec<ItemOutcome> {
    let mut outcomes = vec![ItemOutcome::retry("not_tried"); sizes.len()];
    let mut pending: Vec<usize> = (0..sizes.len()).collect();
    for round in 0..=RETRIES {
        for chunk in cut(&pending, sizes, limits) {
            send(chunk, &attempt, &mut outcomes).await;
        }
        pending.retain(|at| matches!(outcomes[*at], ItemOutcome::Retry { .. }));
        let next = Instant::now() + backoff(round);
        if pending.is_empty() || round == RETRIES || next >= deadline {
            break;
        }
        sleep_until(next).await;
    }
    outcomes
}

/// One request's items. A request that is refused as a whole for what is in
/// it is halved, until the item that it is refused for is alone.
async fn send(
    chunk: &[usize],
    attempt: &impl AsyncFn(&[usize]) -> Result<Vec<ItemOutcome>, SearchError>,
    outcomes: &mut [ItemOutcome],
) {
    let mut stack = vec![chunk];
    while let Some(chunk) = stack.pop() {
        match attempt(chunk).await {
            Ok(each) => chunk
                .iter()
                .zip(each)
                .for_each(|(at, outcome)| outcomes[*at] = outcome),
            Err(error) => {
                let own_fault = matches!(error.status(), Some(400 | 413));
                tracing::warn!(
                    code = error.code(),
                    status = error.status(),
                    documents = chunk.len(),
                    "a bulk request failed"
                );
                if own_fault && chunk.len() > 1 {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    stack.extend([second, first]);
                    continue;
                }
                let outcome = if own_fault {
                    ItemOutcome::Rejected(Rejection::by_index(
                        "request_refused",
                        "the index refused the request",
                    ))
                } else {
                    ItemOutcome::retry(error.code())
                };
                chunk.iter().for_each(|at| outcomes[*at] = outcome.clone());
            }
        }
    }
}

/// Cuts the pending items into requests within both limits.
fn cut<'p>(pending: &'p [usize], sizes: &[usize], limits: BulkLimits) -> Vec<&'p [usize]> {
    let mut requests = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, at) in pending.iter().enumerate() {
        let size = sizes[*at];
        let full = place - start == limits.max_documents || bytes + size > limits.max_bytes;
        if place > start && full {
            requests.push(&pending[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += size;
    }
    if start < pending.len() {
        requests.push(&pending[start..]);
    }
    requests
}

/// What is left for one request.
pub(crate) fn timeout(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .clamp(Duration::from_millis(1), REQUEST_TIMEOUT)
}

/// Full jitter under a ceiling that doubles, at most five seconds.
fn backoff(attempt: u32) -> Duration {
    BACKOFF
        .saturating_mul(1 << attempt.min(8))
        .min(Duration::from_secs(5))
        .mul_f64(rand::random::<f64>())
}
