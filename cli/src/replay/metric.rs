//! What a replay puts is told to the ledger: these events have had an outcome
//! before, and will have another one.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::DisplayErrorContext;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use std::time::Duration;
use tokio::time::Instant;

/// The ledger goes by minutes, so it is told in time.
const EVERY: Duration = Duration::from_secs(10);

/// The metric `Replayed` of the stack, stage `replay`, in CloudWatch.
#[derive(Clone, Debug)]
pub struct Replayed {
    client: Client,
    stack: String,
}

/// What is to be told yet.
#[derive(Debug)]
pub(super) struct Untold {
    events: usize,
    told_at: Instant,
}

impl Replayed {
    /// The metric of the stack called `stack`.
    #[must_use]
    pub fn new(client: Client, stack: impl Into<String>) -> Self {
        Self {
            client,
            stack: stack.into(),
        }
    }

    /// Adds so many events, now. What may have been added although there was no
    /// answer is not known, and is added again by who asks again.
    async fn add(&self, events: usize) -> bool {
        #[allow(clippy::cast_precision_loss)] // exact below 2^53
        let value = events as f64;
        let dimension = |name, value| Dimension::builder().name(name).value(value).build();
        let datum = MetricDatum::builder()
            .metric_name("Replayed")
            .dimensions(dimension("Stack", self.stack.as_str()))
            .dimensions(dimension("Stage", "replay"))
            .unit(StandardUnit::Count)
            .value(value)
            .build();
        let request = self.client.put_metric_data().namespace("Freshet");
        let answer = request.metric_data(datum).send().await;
        if let Err(error) = &answer {
            let error = DisplayErrorContext(error).to_string();
            tracing::warn!(events, error, "the metric Replayed is not published");
        }
        answer.is_ok()
    }
}

impl Untold {
    pub(super) fn new() -> Self {
        Self {
            events: 0,
            told_at: Instant::now(),
        }
    }

    /// Notes that the stream has so many events more, and says so from time to
    /// time.
    pub(super) async fn note(&mut self, events: usize, metric: &Replayed) {
        self.events += events;
        if self.told_at.elapsed() >= EVERY {
            self.tell(metric).await;
        }
    }

    /// Says what has not been said, and how much could not be.
    pub(super) async fn tell(&mut self, metric: &Replayed) -> usize {
        self.told_at = Instant::now();
        if self.events > 0 && metric.add(self.events).await {
            self.events = 0;
        }
        self.events
    }
}
