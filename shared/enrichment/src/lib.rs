//! Core: an event becomes a searchable document (URL, user agent, place, derived fields). Depends on events.
//!
//! The lookups, each usable alone: [`page_url`] splits a URL, [`user_agent`]
//! names browser, system and device, [`geo`] finds the place of an IP address.
//! None knows a clock or the environment; the files they read are arguments.

mod countries;
pub mod geo;
pub mod page_url;
pub mod user_agent;
