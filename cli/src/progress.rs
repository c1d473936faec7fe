//! What somebody who waits sees: the steps, how far each is, how long it took.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The steps of something that takes a while.
#[derive(Clone, Debug)]
pub struct Progress {
    show: Show,
    total: ProgressBar,
}

#[derive(Clone, Debug)]
enum Show {
    /// Redrawn in place.
    Bars(MultiProgress),
    /// A line when a step begins to say something and when it ends.
    Lines,
    /// Nothing, for tests; failures are errors.
    Nothing,
}

impl Progress {
    /// Bars on a terminal, else lines, on standard error.
    #[must_use]
    pub fn new(steps: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                show: Show::Lines,
                total: ProgressBar::hidden(),
            };
        }
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(steps).with_style(style(TOTAL)));
        total.enable_steady_tick(Duration::from_secs(1));
        Self {
            show: Show::Bars(bars),
            total,
        }
    }

    /// Shows nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            show: Show::Nothing,
            total: ProgressBar::hidden(),
        }
    }

    /// Begins a step. It ends with [`Step::done`]; dropped, it has failed.
    #[must_use]
    pub fn step(&self, name: &'static str) -> Step {
        let bar = match &self.show {
            Show::Bars(bars) => {
                let bar = ProgressBar::new_spinner()
                    .with_style(style(RUNNING))
                    .with_prefix(name);
                let bar = bars.insert_before(&self.total, bar);
                bar.enable_steady_tick(Duration::from_millis(100));
                bar
            }
            Show::Lines | Show::Nothing => ProgressBar::hidden(),
        };
        Step {
            name,
            bar,
            total: self.total.clone(),
            lines: matches!(self.show, Show::Lines),
            started: Instant::now(),
            ended: false,
            said: Arc::default(),
        }
    }

    /// A step that was not counted at first: something is to be installed.
    pub fn expect_one_more(&self) {
        self.total.inc_length(1);
    }

    /// Takes the summary bar away; the finished steps stay.
    pub fn finish(&self) {
        self.total.finish_and_clear();
    }
}

/// One step.
#[derive(Debug)]
pub struct Step {
    name: &'static str,
    bar: ProgressBar,
    total: ProgressBar,
    lines: bool,
    started: Instant,
    ended: bool,
    said: Arc<Mutex<Option<Instant>>>,
}

const TOTAL: &str = "  {bar:30.cyan/black.bright}  {pos} of {len} steps  {elapsed:.dim}";
const RUNNING: &str = "  {spinner:.cyan} {prefix:<13} {wide_msg:.dim}";
const COUNTING: &str =
    "  {spinner:.cyan} {prefix:<13} {bar:20.cyan/black.bright} {pos}/{len}  {wide_msg:.dim}";
const DONE: &str = "  {spinner:.green} {prefix:<13} {wide_msg}";
const FAILED: &str = "  {spinner:.red} {prefix:<13} {wide_msg}";

/// Where lines are not redrawn, a step speaks at most this often.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

impl Step {
    /// What it does at the moment.
    pub fn note(&self, what: &str) {
        if self.lines {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.is_none_or(|at| at.elapsed() >= BETWEEN_LINES) {
                *said = Some(Instant::now());
                print_line(&format!("… {}: {what}", self.name));
            }
        } else {
            self.bar.set_message(what.to_owned());
        }
    }

    /// That `done` of `of` parts are done, and what it does at the moment.
    pub fn advance(&self, done: u64, of: u64, what: &str) {
        if self.lines {
            self.note(&format!("{done}/{of} {what}"));
            return;
        }
        if self.bar.length() != Some(of) {
            self.bar.set_length(of);
            self.bar.set_style(style(COUNTING));
        }
        self.bar.set_position(done);
        self.bar.set_message(what.to_owned());
    }

    /// Ends it well; `result` says what came out.
    pub fn done(mut self, result: &str) {
        self.ended = true;
        let seconds = self.started.elapsed().as_secs_f64();
        if self.lines {
            print_line(&format!("✓ {}: {result} ({seconds:.1} s)", self.name));
        }
        let time = console::style(format!("{seconds:.1} s")).for_stderr().dim();
        self.bar.set_style(ended(DONE, "✓"));
        self.bar.finish_with_message(format!("{result}  {time}"));
        self.total.inc(1);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            if self.lines {
                print_line(&format!("✗ {}", self.name));
            }
            self.bar.set_style(ended(FAILED, "✗"));
            self.bar.abandon();
            self.total.finish_and_clear();
        }
    }
}

/// Standard error may be gone (a closed terminal); that is no reason to fail.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "  {line}");
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("━━─")
}

/// A spinner that stands still, showing how the step ended.
fn ended(template: &str, mark: &str) -> ProgressStyle {
    style(template).tick_strings(&[mark, mark])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_understood() {
        for template in [TOTAL, RUNNING, COUNTING, DONE, FAILED] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
