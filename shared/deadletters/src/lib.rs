//! Adapter: the three shapes of dead letters, written and read back.
//!
//! | shape | where | who writes it | may hold an IP address |
//! |---|---|---|---|
//! | [`queue_message`] | SQS | collect, when the stream refuses | yes: it was not looked up yet |
//! | [`object`] `rejected/` | S3 | enrich, when the index refuses an item | no |
//! | [`object`] `undecodable/` | S3 | enrich, when a record cannot be read | yes: it cannot be taken out |
//! | [`on_failure`] `aws/lambda/` | S3 | Lambda, when attempts are exhausted | yes: it is the record itself |
//!
//! All of them are encrypted and expire; see `docs/dead-letters.md`.

pub mod object;
pub mod on_failure;
pub mod queue_message;
mod store;

pub use store::{DeadLetterStore, Listing, StoreError, StoredObject};
