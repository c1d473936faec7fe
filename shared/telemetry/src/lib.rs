//! Adapter: structured logs. One JSON object a line on standard output, which
//! is where Lambda collects them.
//!
//! Nothing that identifies a visitor is ever logged: no user id, no IP
//! address, no payload. A panic is logged by its place alone, since its
//! message may quote what was being handled.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Starts logging at `level` (`error`, `warn`, `info`, `debug`, `trace`, or a
/// filter such as `info,enrich=debug`). Call it once, first of all.
pub fn init(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_timer(SystemTime)
        .with_env_filter(filter)
        .try_init();
    drop(started); // a second call keeps the first subscriber
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
}
