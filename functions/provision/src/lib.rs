//! Lambda behind a CloudFormation custom resource: index template and first
//! write index. Doing it again changes nothing.
//!
//! [`provision`] is what it does, usable from a shell too; [`custom_resource`]
//! is how CloudFormation asks for it and is always answered.

pub mod config;
pub mod custom_resource;
pub mod provision;
