//! Core: event types, validation, the wire form and identity.
//!
//! An event passes through three types, and each step is a parse that either
//! proves every invariant of the next type or yields a [`Rejection`]:
//!
//! ```text
//! request body ──body::split──▶ RawEvent ──Event::parse──▶ Event ──enrichment──▶ document
//!                                            (collect)       │▲
//!                                                    wire::pack / wire::Record (stream)
//! ```
//!
//! What another protocol's module made of a call is a [`Translated`] instead of
//! a raw event, and [`Event::translated`] makes the same checks.
//!
//! Everything here is synchronous and pure: the time and new identifiers are
//! arguments, so the same input always gives the same output.

mod body;
mod event;
mod identity;
mod judge;
mod limits;
mod metadata;
pub mod notice;
mod raw;
mod rejection;
mod timestamp;
pub mod wire;

pub use body::{BodyError, elements, split};
pub use event::{Event, Place, Stamp};
pub use identity::DocumentId;
pub use judge::{Translated, is_web_url};
pub use limits::Limits;
pub use metadata::{IP_ADDRESS, KNOWN_METADATA, Metadata, USER_AGENT};
pub use notice::Notice;
pub use raw::{Key, RawEvent, Scalar, printable, text_of};
pub use rejection::{Code, Rejection, Stage};
pub use timestamp::Timestamp;

/// The `source` of events that another producer put on the stream directly.
pub const SOURCE_STREAM: &str = "stream";

/// The `source` of events accepted while no write keys are configured.
pub const SOURCE_OPEN: &str = "open";
