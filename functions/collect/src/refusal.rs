//! Why a request is refused as a whole, before any of its events was judged.

use crate::request::{DecodeError, MAX_BODY_BYTES};
use crate::write_keys::Unauthorised;
use freshet_events::BodyError;
use freshet_segment::{CallsError, MAX_REQUEST_BYTES};

/// A request's refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// A stable code.
    pub code: &'static str,
    /// In words.
    pub message: String,
}

impl Refusal {
    /// A body of calls that is larger than Segment takes, or becomes too large
    /// once each call has its batch's context.
    ///
    /// # Errors
    /// If it is.
    pub fn check_size(body: &str, calls: usize, shared_bytes: usize) -> Result<(), Self> {
        let in_all = body
            .len()
            .saturating_add(calls.saturating_mul(shared_bytes));
        let limit = match (body.len(), in_all) {
            (own, _) if own > MAX_REQUEST_BYTES => MAX_REQUEST_BYTES,
            (_, all) if all > MAX_BODY_BYTES => MAX_BODY_BYTES,
            _ => return Ok(()),
        };
        Err(Self {
            status: 400,
            code: DecodeError::TooLarge.code(),
            message: format!("the body, its context in each call, is larger than {limit} bytes"),
        })
    }
}

impl From<Unauthorised> for Refusal {
    fn from(error: Unauthorised) -> Self {
        Self {
            status: 401,
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self {
            status: error.status(),
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let too_many = matches!(error, BodyError::TooManyEvents { .. });
        Self {
            status: if too_many { 413 } else { 400 },
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<CallsError> for Refusal {
    fn from(error: CallsError) -> Self {
        Self {
            status: 400,
            code: error.code(),
            message: error.to_string(),
        }
    }
}
