//! Core: the saved objects of OpenSearch Dashboards, and the query of each panel.

/// Every saved object, one a line, as the saved-objects API imports them.
pub const SAVED_OBJECTS: &str = include_str!("../../../dashboards/freshet.ndjson");
