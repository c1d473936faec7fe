//! Adapter: what functions read at their edge - their environment variables,
//! the clock, their deadline, and the [`records`] of a stream. The core gets
//! all of them as arguments.

pub mod records;

use freshet_events::Timestamp;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use tokio::time::Instant;

/// Every variable that is missing or wrong.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// Environment variables, read one by one; what is wrong with any of them is
/// kept until the end, so that all of it is told at once.
#[derive(Debug)]
pub struct Variables {
    given: Vec<(String, String)>,
    wrong: Vec<String>,
}

impl Variables {
    /// These variables. Empty values count as absent: a template cannot leave
    /// a variable out, only set it to nothing.
    pub fn new(given: impl IntoIterator<Item = (String, String)>) -> Self {
        let given = given
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self {
            given,
            wrong: Vec::new(),
        }
    }

    /// A variable that may be absent.
    #[must_use]
    pub fn optional(&self, key: &str) -> Option<String> {
        self.given
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
    }

    /// A list, its items separated by commas; none if it is absent.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<String> {
        let text = self.optional(key).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A variable that must be there.
    pub fn required(&mut self, key: &str) -> String {
        self.optional(key).unwrap_or_else(|| {
            self.wrong.push(format!("{key} is missing"));
            String::new()
        })
    }

    /// A number within a range, or its default.
    pub fn number<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        match self.optional(key).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) if range.contains(&value) => value,
            Some(_) => {
                self.wrong.push(format!(
                    "{key} is not a whole number from {} to {}",
                    range.start(),
                    range.end()
                ));
                default
            }
        }
    }

    /// One of some words, or by default the first of them.
    pub fn one_of<T: Copy, const N: usize>(&mut self, key: &str, words: [(&str, T); N]) -> T {
        const { assert!(N > 0, "there is a default") };
        let text = self.optional(key);
        let known = |text: &str| {
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
        };
        text.as_deref()
            .map_or(Some(words[0].1), known)
            .unwrap_or_else(|| {
                let names = words.map(|(word, _)| word);
                self.wrong.push(match names.as_slice() {
                    [one, other] => format!("{key} is neither {one} nor {other}"),
                    names => format!("{key} is none of {}", names.join(", ")),
                });
                words[0].1
            })
    }

    /// Notes what is wrong with variables that are good each by itself.
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// `value`, if nothing was wrong.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that was.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.wrong.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError(self.wrong))
        }
    }
}

/// The clock. One that is outside 1970 to 9999 is no clock: then the epoch.
#[must_use]
pub fn now() -> Timestamp {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    i64::try_from(ms)
        .ok()
        .and_then(Timestamp::from_millis)
        .unwrap_or(Timestamp::EPOCH)
}

/// Half a second before the function's own deadline: when its answer must be
/// under way.
#[must_use]
pub fn answer_by(function_deadline: SystemTime) -> Instant {
    let left = function_deadline
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    Instant::now() + left.saturating_sub(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> Variables {
        Variables::new(
            given
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    #[test]
    fn what_is_there_is_read_and_the_rest_has_its_default() {
        let mut variables = variables(&[("A", "text"), ("N", "7"), ("W", "b"), ("EMPTY", "")]);
        assert_eq!(
            (
                variables.required("A").as_str(),
                variables.optional("EMPTY")
            ),
            ("text", None)
        );
        assert_eq!(
            (
                variables.number("N", 1, 0..=9),
                variables.number("M", 1, 0..=9)
            ),
            (7, 1)
        );
        assert_eq!(
            (
                variables.one_of("W", [("a", 1), ("b", 2)]),
                variables.one_of("V", [("a", 1), ("b", 2)])
            ),
            (2, 1)
        );
        assert_eq!(variables.finish(()), Ok(()));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut variables = variables(&[("N", "70"), ("M", "x"), ("W", "c")]);
        let _ = variables.required("A");
        let _ = (
            variables.number("N", 1, 0..=9),
            variables.number("M", 1, 0..=9),
        );
        let _ = variables.one_of("W", [("a", 1), ("b", 2)]);
        let told = variables.finish(()).unwrap_err().to_string();
        let expected = "A is missing; N is not a whole number from 0 to 9; M is not a whole number from 0 to 9; W is neither a nor b";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_deadline_that_has_passed_is_now() {
        assert!(answer_by(UNIX_EPOCH) <= Instant::now());
    }
}
