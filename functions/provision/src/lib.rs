//! Lambda behind a CloudFormation custom resource: everything that a cluster
//! needs before the first event - templates, lifecycle, roles, the first write
//! index, dashboards. Doing it again changes nothing.
//!
//! [`mod@provision`] is what it does, usable from a shell too;
//! [`custom_resource`] is how CloudFormation asks for it and is always answered.

mod auto_creation;
mod cluster;
pub mod config;
pub mod custom_resource;
mod dashboards;
mod first_indices;
pub mod lifecycle;
mod live;
mod mapping;
pub mod outcome;
pub mod provision;
mod roles;
pub mod settings;
pub mod sign_in;
pub mod templates;

pub use mapping::Conflict;
