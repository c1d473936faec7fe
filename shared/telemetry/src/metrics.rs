//! Metrics as lines in embedded metric format, one an invocation.

use crate::stages::StageMetrics;
use crate::values::Count;
use metrique::emf::Emf;
use metrique::writer::format::Format;
use metrique::writer::{Entry, EntryWriter};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where CloudWatch keeps them.
pub const NAMESPACE: &str = "Freshet";
/// What they are told apart by. Each combination costs as a metric of its own.
const DIMENSIONS: [&str; 2] = ["Stack", "Stage"];

/// Writes a process's metrics.
pub struct Metrics {
    stack: String,
    writer: Mutex<Writer>,
    is_first: AtomicBool,
}

struct Writer {
    emf: Emf,
    line: Vec<u8>,
    output: Box<dyn Write + Send>,
}

/// What an invocation measures; written when it is dropped, and so also when
/// the invocation fails or panics.
pub struct Line<'m, S: StageMetrics> {
    metrics: &'m Metrics,
    request_id: String,
    cold_starts: Count,
    measured: S,
}

/// Lines that were written, for tests.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

/// All that a line says.
struct Whole<'l, S> {
    stack: &'l str,
    request_id: &'l str,
    cold_starts: &'l Count,
    measured: &'l S,
}

impl Metrics {
    /// Writes to standard output, from where Lambda takes them. The stack is
    /// the one that `STACK_NAME` names.
    #[must_use]
    pub fn from_env() -> Self {
        let stack = std::env::var("STACK_NAME").unwrap_or_default();
        Self::new(&stack, std::io::stdout())
    }

    /// Writes to `output`, each line at once.
    #[must_use]
    pub fn new(stack: &str, output: impl Write + Send + 'static) -> Self {
        let dimensions = DIMENSIONS.map(str::to_owned).to_vec();
        Self {
            // A dimension without a value is none, and then there is no metric.
            stack: if stack.is_empty() { "unnamed" } else { stack }.to_owned(),
            writer: Mutex::new(Writer {
                emf: Emf::builder(NAMESPACE.to_owned(), vec![dimensions]).build(),
                line: Vec::new(),
                output: Box::new(output),
            }),
            is_first: AtomicBool::new(true),
        }
    }

    /// Keeps the lines, for tests.
    #[must_use]
    pub fn kept(stack: &str) -> (Self, Written) {
        let written = Written::default();
        (Self::new(stack, written.clone()), written)
    }

    /// Begins an invocation's line. The process's first is a cold start.
    pub fn begin<S: StageMetrics + Default>(&self, request_id: &str) -> Line<'_, S> {
        let is_first = self.is_first.swap(false, Ordering::Relaxed);
        Line {
            metrics: self,
            request_id: request_id.to_owned(),
            cold_starts: Count::from(u64::from(is_first)),
            measured: S::default(),
        }
    }

    /// Writes a line more, of another stage than the invocation's own.
    pub fn write(&self, request_id: &str, measured: &impl StageMetrics) {
        self.write_whole(&Whole {
            stack: &self.stack,
            request_id,
            cold_starts: &Count::default(),
            measured,
        });
    }

    fn write_whole(&self, whole: &Whole<'_, impl StageMetrics>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Writer { emf, line, output } = &mut *writer;
        line.clear();
        if let Err(error) = emf.format(whole, line) {
            let stage = whole.measured.stage();
            tracing::error!(%error, stage, "metrics are not written");
            return;
        }
        // At once, so that no other line comes into it.
        let written = output.write_all(line).and_then(|()| output.flush());
        if let Err(error) = written {
            tracing::error!(%error, "metrics are not written");
        }
    }
}

impl<S: StageMetrics> Entry for Whole<'_, S> {
    fn write<'a>(&'a self, writer: &mut impl EntryWriter<'a>) {
        writer.value("Stack", self.stack);
        writer.value("Stage", self.measured.stage());
        writer.value("requestId", self.request_id);
        writer.value("ColdStarts", self.cold_starts);
        self.measured.write(writer);
    }
}

impl<S: StageMetrics> Deref for Line<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.measured
    }
}

impl<S: StageMetrics> DerefMut for Line<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.measured
    }
}

impl<S: StageMetrics> Drop for Line<'_, S> {
    fn drop(&mut self) {
        self.metrics.write_whole(&Whole {
            stack: &self.metrics.stack,
            request_id: &self.request_id,
            cold_starts: &self.cold_starts,
            measured: &self.measured,
        });
    }
}

impl Written {
    /// The lines so far, without their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }

    /// The counts of a line, by name, but for `ColdStarts`, which every first
    /// line has. `None` if it is no line of metrics.
    #[must_use]
    pub fn counts(line: &Value) -> Option<BTreeMap<&str, u64>> {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array()?;
        let counts = metrics.iter().filter(|metric| metric["Unit"] == "Count");
        counts
            .map(|metric| metric["Name"].as_str())
            .filter(|name| *name != Some("ColdStarts"))
            .map(|name| Some((name?, line[name?].as_u64()?)))
            .collect()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
