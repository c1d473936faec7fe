//! Core: calls of Segment's and RudderStack's SDKs become events.
//!
//! ```text
//! request body ──Calls::split──▶ a call's JSON ──Draft::of──▶ Draft ──Event::translated──▶ Event
//! query of a pixel ──pixel──────▶      ▲ EventTypes
//! ```
//!
//! The one module that knows the format of these calls. What becomes of each
//! field is the table in docs/segment.md; [`Draft::of`] goes through it from
//! top to bottom. Synchronous and pure: the time is an argument.

mod anonymise;
mod call_type;
mod calls;
mod context;
mod draft;
mod event_types;
mod fields;
mod identity;
mod metadata;
mod pixel;
mod properties;
mod sender;
mod times;
mod value;

pub use call_type::{CallType, Endpoint};
pub use calls::{Calls, CallsError, claimed_message_id};
pub use draft::Draft;
pub use event_types::{EventTypes, EventTypesError, MAX_NAME_BYTES};
pub use pixel::{PixelError, pixel};

/// The largest call, in bytes, as Segment documents it.
pub const MAX_CALL_BYTES: usize = 32 * 1024;

/// The largest request, in bytes, as Segment documents it.
pub const MAX_REQUEST_BYTES: usize = 500 * 1024;

use freshet_events::{Code, Rejection, Stage};

/// A call's refusal, at the door.
fn refuse(code: Code, message: impl Into<String>) -> Rejection {
    Rejection::new(Stage::Collect, code, message)
}
