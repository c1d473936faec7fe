//! What a replay did, counted by shape and code.

use super::Kind;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

/// The most failures named one by one.
const MAX_FAILURES: usize = 20;

/// Events (and records that could not be opened), each in exactly one of
/// these, and the letters they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages or objects that hold at least one of them.
    pub letters: usize,
    /// The stream has them.
    pub replayed: usize,
    /// A dry run would put them.
    pub replayable: usize,
    /// In another letter of the same replay too, and not put again.
    pub repeated: usize,
    /// Not events, or too large: they stay where they are.
    pub failed: usize,
    /// Refused by the stream: a later replay takes them up.
    pub refused: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.replayed + self.replayable + self.repeated + self.failed + self.refused
    }

    const fn add(&mut self, other: &Self) {
        self.letters += other.letters;
        self.replayed += other.replayed;
        self.replayable += other.replayable;
        self.repeated += other.repeated;
        self.failed += other.failed;
        self.refused += other.refused;
    }
}

/// One event that could not be replayed: where it lies, never what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which shape.
    pub kind: Kind,
    /// The object's key or the message's id.
    pub letter: String,
    /// Its place in the letter, counted from 0.
    pub position: usize,
    /// Why: a stable code.
    pub code: String,
}

/// What a replay did. Its `Display` is the table that the command prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// By shape and code.
    pub rows: BTreeMap<(Kind, String), Counts>,
    /// The first failures, by name.
    pub failures: Vec<Failure>,
    /// Why it ended before its end: what the stream said.
    pub stopped: Option<String>,
    /// Objects it was to read.
    pub objects: usize,
    /// Objects that an interrupted replay before this one had done.
    pub objects_done_before: usize,
    /// Records that only count what the collector refused: they hold no event
    /// and are passed over.
    pub notices: usize,
    /// Messages that are replayed but could not be deleted: they come again,
    /// and change nothing.
    pub undeleted: usize,
    /// Replayed events that the metric `Replayed` does not have: it could not
    /// be published.
    pub untold: usize,
    /// Whether the queue holds more than one replay can look at.
    pub queue_cut: bool,
}

impl Summary {
    pub(super) const fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            rows: BTreeMap::new(),
            failures: Vec::new(),
            stopped: None,
            objects: 0,
            objects_done_before: 0,
            notices: 0,
            undeleted: 0,
            untold: 0,
            queue_cut: false,
        }
    }

    /// Whether everything selected could be (in a dry run: can be) replayed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let total = self.total();
        self.stopped.is_none() && !self.queue_cut && total.failed == 0 && total.refused == 0
    }

    /// The sum of all rows.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.rows.values().for_each(|counts| total.add(counts));
        total
    }

    /// The sum of one shape's rows.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Counts {
        let mut total = Counts::default();
        let rows = self.rows.iter().filter(|((of, _), _)| *of == kind);
        rows.for_each(|(_, counts)| total.add(counts));
        total
    }

    pub(super) fn counts(&mut self, kind: Kind, code: &str) -> &mut Counts {
        self.rows.entry((kind, code.to_owned())).or_default()
    }

    /// Counts a letter once under each of its items' codes.
    pub(super) fn begin_letter<'c>(
        &mut self,
        kind: Kind,
        codes: impl IntoIterator<Item = &'c str>,
    ) {
        for code in codes.into_iter().collect::<BTreeSet<_>>() {
            self.counts(kind, code).letters += 1;
        }
    }

    pub(super) fn fail(
        &mut self,
        kind: Kind,
        item_code: &str,
        letter: &str,
        position: usize,
        code: &str,
    ) {
        self.counts(kind, item_code).failed += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure {
                kind,
                letter: letter.to_owned(),
                position,
                code: code.to_owned(),
            });
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        if self.rows.is_empty() {
            writeln!(f, "no dead letters")?;
        } else {
            self.table(f, &total)?;
        }
        self.notes(f, &total)
    }
}

impl Summary {
    fn table(&self, f: &mut fmt::Formatter<'_>, total: &Counts) -> fmt::Result {
        let codes = self.rows.keys().map(|(_, code)| code.chars().count());
        let width = codes.max().unwrap_or(0).max("code".len());
        let put = if self.dry_run {
            "replayable"
        } else {
            "replayed"
        };
        writeln!(
            f,
            "{:<11}  {:<width$}  {:>8}  {:>10}  {put:>10}  {:>10}  {:>10}",
            "kind", "code", "letters", "events", "repeated", "failed"
        )?;
        let mut row = |kind: &str, code: &str, counts: &Counts| {
            writeln!(
                f,
                "{kind:<11}  {code:<width$}  {:>8}  {:>10}  {:>10}  {:>10}  {:>10}",
                counts.letters,
                counts.events(),
                counts.replayed + counts.replayable,
                counts.repeated,
                counts.failed + counts.refused,
            )
        };
        for ((kind, code), counts) in &self.rows {
            row(kind.as_str(), code, counts)?;
        }
        if self.rows.len() > 1 {
            row("all", "", total)?;
        }
        Ok(())
    }

    fn notes(&self, f: &mut fmt::Formatter<'_>, total: &Counts) -> fmt::Result {
        if !self.failures.is_empty() {
            writeln!(f, "\nnot replayable:")?;
        }
        for failure in &self.failures {
            let Failure {
                kind,
                letter,
                position,
                code,
            } = failure;
            writeln!(f, "  {} {letter} item {position}: {code}", kind.as_str())?;
        }
        if total.failed > self.failures.len() {
            writeln!(f, "  … and {} more", total.failed - self.failures.len())?;
        }
        if self.objects_done_before > 0 {
            let done = self.objects_done_before;
            writeln!(f, "\nwent on after {done} objects of an interrupted replay")?;
        }
        if self.notices > 0 {
            let notices = self.notices;
            writeln!(f, "\npassed over {notices} notices, which hold no event")?;
        }
        if self.undeleted > 0 {
            let messages = self.undeleted;
            writeln!(f, "\n{messages} replayed messages are still in the queue")?;
        }
        if self.untold > 0 {
            let events = self.untold;
            writeln!(
                f,
                "\nwarning: {events} replayed events are not in the metric Replayed, which could not be published. For the next hour the ledger \
                 (LedgerResidue) shows {events} events less than it should: as many that were lost would not be noticed"
            )?;
        }
        if self.queue_cut {
            writeln!(
                f,
                "\nthe queue holds more messages than one replay can look at: run it again"
            )?;
        }
        if let Some(code) = &self.stopped {
            writeln!(
                f,
                "\nstopped: the stream answered {code}. Run it again to go on."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_each_code_once_and_where_failures_lie() {
        let mut summary = Summary::new(false);
        assert_eq!(summary.to_string(), "no dead letters\n");
        summary.begin_letter(Kind::Queue, ["stream_refused", "stream_refused"]);
        summary.counts(Kind::Queue, "stream_refused").replayed = 12;
        summary.begin_letter(Kind::OnFailure, ["RetryAttemptsExhausted"]);
        for position in 0..22 {
            summary.fail(
                Kind::OnFailure,
                "RetryAttemptsExhausted",
                "aws/lambda/x",
                position,
                "record_undecodable",
            );
        }
        assert!(!summary.is_complete());
        assert_eq!(
            (summary.of(Kind::Queue).letters, summary.total().events()),
            (1, 34)
        );
        let text = summary.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "kind         code                     letters      events    replayed    repeated      failed"
        );
        assert_eq!(
            lines[1],
            "queue        stream_refused                 1          12          12           0           0"
        );
        assert_eq!(
            lines[2],
            "on-failure   RetryAttemptsExhausted         1          22           0           0          22"
        );
        assert_eq!(
            lines[6],
            "  on-failure aws/lambda/x item 0: record_undecodable"
        );
        assert_eq!(lines.last(), Some(&"  … and 2 more"));
    }
}
