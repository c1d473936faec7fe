//! Core: the saved objects of OpenSearch Dashboards, and the query of each panel.
//!
//! [`generate`] makes the saved objects out of the readable sources in
//! `dashboards/`; [`SavedObjects`] reads them; [`SavedObjects::query`] is the
//! search that Dashboards sends for a panel; [`check`] says what is wrong with
//! them. `docs/dashboards.md` tells how to change one.

mod check;
mod error;
mod generate;
mod kuery;
mod mapping;
mod objects;
mod query;

pub use check::check;
pub use error::DashboardError;
pub use generate::{Sources, generate};
pub use mapping::Mapping;
pub use objects::{Dashboard, IndexPattern, Panel, Placed, SavedObjects};
pub use query::{Query, TimeRange};

/// Every saved object, one a line, as the saved-objects API imports them.
pub const SAVED_OBJECTS: &str = include_str!("../../../dashboards/freshet.ndjson");

/// The outline of the world that the map is drawn on: `TopoJSON`, land at
/// 1:110 million of Natural Earth, as npm's `world-atlas` has it.
pub const WORLD_OUTLINE: &str = include_str!("../../../dashboards/land-110m.json");
