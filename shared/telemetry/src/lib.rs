//! Adapter: structured logs and metrics. One JSON object a line on standard
//! output, which is where Lambda collects them; inside an invocation a log
//! line's `span` holds the `requestId`.
//!
//! [`Metrics`] writes one line an invocation, in embedded metric format;
//! [`stages`] has what each stage measures.
//!
//! Nothing that identifies a visitor is ever logged: no user id, no IP
//! address, no payload. A panic is logged by its place alone, since its
//! message may quote what was being handled.

mod latency;
mod metrics;
pub mod stages;
mod values;

pub use latency::Latency;
pub use metrics::{Line, Metrics, NAMESPACE, Written};
pub use values::{ByWord, Bytes, Count, Family, Gauge, Level, Millis, Note, Percent, Sum, Word};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::SystemTime;

// cargo-lambda builds with `panic = "abort"` wherever the profile is silent.
// One bad event would then end the process, and so hold its shard.
#[cfg(not(panic = "unwind"))]
compile_error!("a panic must unwind, so that it costs one event: set panic = \"unwind\"");

/// What the targets of our own crates begin with. Only they may log below
/// `info`: there, `lambda_runtime` and the SDKs print whole requests.
const OURS: [&str; 7] = [
    "freshet",
    "collect",
    "enrich",
    "aggregate",
    "query",
    "provision",
    "health",
];
/// Where `lambda_runtime` opens the span with the request id; it logs nothing.
const REQUEST_SPAN: &str = "lambda_runtime::layers::trace=info";

/// Starts logging at `level`: `error`, `warn`, `info`, `debug` or `trace`; any
/// other text counts as `info`. Our dependencies never log below `info`. Call
/// it once, first of all.
pub fn init(level: &str) {
    // A second call keeps the first subscriber.
    drop(tracing::subscriber::set_global_default(subscriber(
        level,
        std::io::stdout,
    )));
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
}

fn subscriber<W>(level: &str, writer: W) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_timer(SystemTime)
        .with_env_filter(filter(level))
        .with_writer(writer)
        .finish()
}

fn filter(level: &str) -> EnvFilter {
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let mut directives = format!("{},{REQUEST_SPAN}", level.min(LevelFilter::INFO));
    for ours in OURS {
        directives.push_str(&format!(",{ours}={level}"));
    }
    EnvFilter::new(directives)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            written.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` logs at `level`.
    fn logged(level: &str, work: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(level, move || writer.clone());
        tracing::subscriber::with_default(subscriber, work);
        let written = sink.0.lock().unwrap();
        written
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn messages(level: &str, work: impl FnOnce()) -> Vec<String> {
        let text = |line: &Value| line["message"].as_str().unwrap().to_owned();
        logged(level, work).iter().map(text).collect()
    }

    #[test]
    fn a_line_is_flat_and_carries_the_request_id_at_every_level() {
        for level in ["error", "warn", "info", "trace"] {
            let lines = logged(level, || {
                let span = tracing::info_span!(
                    target: "lambda_runtime::layers::trace", "Lambda runtime invoke", requestId = "r-1"
                );
                let _inside = span.enter();
                tracing::error!(received = 3, "request handled");
            });
            assert_eq!(lines.len(), 1, "{level}");
            assert_eq!(lines[0]["message"], "request handled");
            assert_eq!(lines[0]["received"], 3);
            assert_eq!(lines[0]["span"]["requestId"], "r-1", "{level}");
        }
    }

    #[test]
    fn what_dependencies_print_below_info_is_never_logged() {
        let everybody = || {
            tracing::trace!(target: "lambda_runtime::layers::api_response", "a raw event");
            tracing::debug!(target: "aws_smithy_runtime::client::orchestrator", "a request");
            tracing::info!(target: "aws_config", "theirs");
            tracing::debug!(target: "freshet_streams::stream", "adapter");
            tracing::trace!(target: "collect::handler", "function");
        };
        assert_eq!(
            messages("trace", everybody),
            ["theirs", "adapter", "function"]
        );
        assert_eq!(messages("debug", everybody), ["theirs", "adapter"]);
        assert_eq!(messages("info", everybody), ["theirs"]);
        assert_eq!(messages("aws_config=trace", everybody), ["theirs"]);
        assert!(messages("warn", everybody).is_empty());
    }
}
