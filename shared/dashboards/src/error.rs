//! Why a dashboard, a panel or its query cannot be made.

use thiserror::Error;

/// Why something of a dashboard cannot be made or read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DashboardError {
    /// A source file is not what it should be.
    #[error("{file}: {why}")]
    Source {
        /// Which one, relative to `dashboards/`.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// A saved object is not what it should be.
    #[error("{id}: {why}")]
    Object {
        /// Its id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such saved object.
    #[error("there is no panel {0}")]
    NoSuchPanel(String),
    /// A panel asks for something that is not translated, and not guessed either.
    #[error("{id}: {what} is not translated to a search")]
    Unsupported {
        /// The panel's id.
        id: String,
        /// What it asks for.
        what: String,
    },
}

impl DashboardError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Source { .. } => "dashboard_source",
            Self::Object { .. } => "dashboard_object",
            Self::NoSuchPanel(_) => "dashboard_no_such_panel",
            Self::Unsupported { .. } => "dashboard_unsupported",
        }
    }
}
