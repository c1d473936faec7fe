//! Core: an event becomes a searchable document.
//!
//! [`Enricher`] ties the lookups together: [`page_url`] splits the URL,
//! [`user_agent`] names browser and system, [`bots`] tells whether it is a
//! visitor's, [`geo`] finds the place of an IP address, and [`document`] writes
//! the fields the index maps.

pub mod bots;
mod countries;
pub mod document;
mod facets;
pub mod geo;
pub mod page_url;
pub mod restore;
pub mod user_agent;

pub use document::{Document, Enricher};
