//! Lambda behind the HTTP API: reads what aggregate counted.
//!
//! [`request`] reads what API Gateway hands over, [`range`] which slots it asks
//! for, [`access`] whether it may, [`handler`] asks the table, [`health`] what
//! the last report is worth, and [`answer`] is what goes back: JSON with an
//! entity tag, or a problem (RFC 9457).

pub mod access;
pub mod answer;
pub mod config;
pub mod entity;
pub mod handler;
pub mod health;
pub mod range;
pub mod request;

#[cfg(test)]
mod tests;
