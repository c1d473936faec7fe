//! Why an alarm is refused.

use thiserror::Error;

/// What is wrong with an alarm's definition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// CloudWatch would refuse it.
    #[error("{alarm}: {reason}")]
    Invalid {
        /// Its logical id or name.
        alarm: String,
        /// What is wrong.
        reason: String,
    },
    /// CloudWatch takes it, and this evaluator does not know what it would do.
    #[error("{alarm}: {what} is not evaluated here")]
    Unsupported {
        /// Its logical id or name.
        alarm: String,
        /// What is not known.
        what: String,
    },
    /// A composite alarm's rule cannot be read.
    #[error("at byte {at} of the rule: {reason}")]
    Rule {
        /// Where.
        at: usize,
        /// Why.
        reason: String,
    },
    /// Two alarms have one name.
    #[error("{0}: two alarms have this name")]
    Duplicate(String),
    /// A composite alarm needs an alarm that is not there, or itself.
    #[error("{alarm} needs {needs}, which is not there or needs it in turn")]
    Unresolved {
        /// The composite alarm.
        alarm: String,
        /// What it needs.
        needs: String,
    },
}

impl Error {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_alarm",
            Self::Unsupported { .. } => "unsupported_alarm",
            Self::Rule { .. } => "invalid_rule",
            Self::Duplicate(_) => "duplicate_alarm",
            Self::Unresolved { .. } => "unresolved_alarm",
        }
    }
}
