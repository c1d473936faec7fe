//! What came of each step, for CloudFormation and for people.

use std::fmt;

/// What a step found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was there and differed: what was changed.
    Updated(String),
    /// It was there and the same.
    Unchanged,
    /// Nothing was done, and why.
    Skipped(String),
}

impl Outcome {
    /// The outcome in one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated(_) => "updated",
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Updated(text) | Self::Skipped(text) => text,
            Self::Created | Self::Unchanged => "",
        }
    }
}

/// One step and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about: `template freshet-clickstream`.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// All steps, in the order they were taken. Its text is a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Report {
    pub(crate) fn add(&mut self, name: impl Into<String>, outcome: Outcome) {
        let step = Step {
            name: name.into(),
            outcome,
        };
        tracing::info!(
            step = step.name,
            outcome = step.outcome.word(),
            detail = step.outcome.detail(),
            "provisioned"
        );
        self.steps.push(step);
    }

    /// The outcome of a step.
    #[must_use]
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.steps
            .iter()
            .find(|step| step.name == name)
            .map(|step| &step.outcome)
    }

    /// Whether any step created or updated something.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.outcome, Outcome::Created | Outcome::Updated(_)))
    }

    /// The steps by outcome, short enough for CloudFormation's 4 KB.
    #[must_use]
    pub fn data(&self) -> Vec<(String, String)> {
        let named = |word: &str| -> String {
            let steps = self
                .steps
                .iter()
                .filter(|step| step.outcome.word() == word)
                .map(|step| match &step.outcome {
                    Outcome::Skipped(reason) => format!("{}: {reason}", step.name),
                    _ => step.name.clone(),
                });
            let text = steps.collect::<Vec<_>>().join("; ");
            text.chars().take(700).collect()
        };
        let words = ["created", "updated", "unchanged", "skipped"];
        words
            .map(|word| {
                let mut key = word.to_owned();
                key[..1].make_ascii_uppercase();
                (key, named(word))
            })
            .into()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .steps
            .iter()
            .map(|step| step.name.chars().count())
            .max();
        let width = width.unwrap_or(0);
        for Step { name, outcome } in &self.steps {
            let line = format!(
                "{name:<width$}  {:<9}  {}",
                outcome.word(),
                outcome.detail()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add("a template", Outcome::Created);
        report.add("b", Outcome::Unchanged);
        report.add("c", Outcome::Skipped("no policy API".to_owned()));
        report.add("d", Outcome::Updated("refresh_interval".to_owned()));
        report
    }

    #[test]
    fn a_table_for_people() {
        let table = "a template  created\nb           unchanged\nc           skipped    no policy API\nd           updated    refresh_interval\n";
        assert_eq!(report().to_string(), table);
    }

    #[test]
    fn short_lists_for_cloudformation() {
        let data = report().data();
        let data: Vec<_> = data.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let expected = [
            ("Created", "a template"),
            ("Updated", "d"),
            ("Unchanged", "b"),
            ("Skipped", "c: no policy API"),
        ];
        assert_eq!(data, expected);
        let mut long = Report::default();
        for n in 0..1_000 {
            long.add(format!("step {n}"), Outcome::Skipped("x".repeat(100)));
        }
        let size: usize = long.data().iter().map(|(k, v)| k.len() + v.len()).sum();
        assert!(size < 3_000, "{size}");
        assert!(report().changed() && !long.changed());
    }
}
