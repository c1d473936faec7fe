//! What provision leaves on the real server, and that it does so once.

mod fields;
mod node;
mod refusals;
mod rollover;
mod unchanged;
