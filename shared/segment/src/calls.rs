//! A request body becomes the calls in it, each by itself.

use crate::call_type::Endpoint;
use crate::fields::Fields;
use crate::pixel::PixelError;
use crate::value::text;
use freshet_events::{BodyError, elements};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// The calls of a request, and what applies to all of them.
#[derive(Clone)]
pub struct Calls<'a> {
    /// The body's `writeKey`, if it is text.
    pub write_key: Option<Cow<'a, str>>,
    /// Each call's JSON text, in order; none of them has been judged.
    pub calls: Vec<&'a str>,
    pub(crate) endpoint: Endpoint,
    /// The batch's `sentAt`.
    pub(crate) sent_at: Option<&'a RawValue>,
    /// The batch's `context`.
    pub(crate) context: Option<&'a RawValue>,
    /// The batch's `integrations`.
    pub(crate) integrations: Option<&'a RawValue>,
}

/// Why a body or query as a whole cannot be split into calls.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CallsError {
    /// It is not JSON.
    #[error("the body is not JSON")]
    Malformed,
    /// It is JSON, but no call.
    #[error("the body of this path is a call: an object")]
    NotACall,
    /// It is JSON, but no batch.
    #[error("the body of this path is a batch: an object with an array `batch`")]
    NotABatch,
    /// It holds no call.
    #[error("the batch holds no call")]
    NoCalls,
    /// A pixel's query is no call.
    #[error(transparent)]
    Pixel(#[from] PixelError),
    /// It holds more calls than one request may.
    #[error("a request holds at most {limit} calls")]
    TooManyCalls {
        /// The most a request may hold.
        limit: usize,
    },
}

impl CallsError {
    /// The stable code of this error: those of
    /// [`BodyError`](freshet_events::BodyError), and `request_malformed`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "body_malformed",
            Self::NotACall | Self::NotABatch => "body_wrong_shape",
            Self::NoCalls => "no_events",
            Self::Pixel(error) => error.code(),
            Self::TooManyCalls { .. } => "too_many_events",
        }
    }
}

impl<'a> Calls<'a> {
    /// Splits the body of a request to `endpoint` into at most `max_calls`
    /// calls.
    ///
    /// # Errors
    /// A [`CallsError`] if there is no telling which calls it holds.
    pub fn split(body: &'a str, endpoint: Endpoint, max_calls: usize) -> Result<Self, CallsError> {
        let body = body.strip_prefix('\u{feff}').unwrap_or(body).trim_ascii();
        let is_batch = !matches!(endpoint, Endpoint::One(_));
        let Some(fields) = Fields::read(body) else {
            return Err(match serde_json::from_str::<IgnoredAny>(body) {
                Err(_) => CallsError::Malformed,
                // An object whose keys are not Unicode text is no JSON either.
                Ok(_) if body.starts_with('{') => CallsError::Malformed,
                Ok(_) if is_batch => CallsError::NotABatch,
                Ok(_) => CallsError::NotACall,
            });
        };
        let write_key = fields.get("writeKey").and_then(text);
        if !is_batch {
            return Ok(Self {
                write_key,
                calls: vec![body],
                endpoint,
                sent_at: None,
                context: None,
                integrations: None,
            });
        }
        let batch = fields.get("batch").map(RawValue::get);
        let batch = batch.filter(|batch| batch.starts_with('['));
        let calls =
            elements(batch.ok_or(CallsError::NotABatch)?, max_calls).map_err(
                |error| match error {
                    BodyError::TooManyEvents { limit } => CallsError::TooManyCalls { limit },
                    _ => CallsError::Malformed,
                },
            )?;
        if calls.is_empty() {
            return Err(CallsError::NoCalls);
        }
        Ok(Self {
            write_key,
            calls,
            endpoint,
            sent_at: fields.get("sentAt"),
            context: fields.get("context"),
            integrations: fields.get("integrations"),
        })
    }

    /// How many bytes of the batch go into each of its calls.
    #[must_use]
    pub fn shared_bytes(&self) -> usize {
        self.context.map_or(0, |context| context.get().len())
    }

    /// Whether they are out of the past, and may be older than others.
    #[must_use]
    pub fn is_import(&self) -> bool {
        self.endpoint == Endpoint::Import
    }
}

impl fmt::Debug for Calls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("calls", &self.calls.len())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A call's own `messageId`, if it is usable: for answers about calls that
/// were refused.
#[must_use]
pub fn claimed_message_id(call_json: &str) -> Option<String> {
    let fields = Fields::read(call_json)?;
    let id = crate::value::id("messageId", fields.get("messageId")).ok()??;
    (id.len() <= 256).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallType;

    const TRACK: Endpoint = Endpoint::One(CallType::Track);

    fn fails(body: &str, endpoint: Endpoint) -> &'static str {
        Calls::split(body, endpoint, 3).unwrap_err().code()
    }

    #[test]
    fn a_call_is_its_body() {
        let body = "\u{feff} {\"writeKey\":\"k\\u0031\",\"sentAt\":1} ";
        let calls = Calls::split(body, TRACK, 3).unwrap();
        assert_eq!(calls.calls, ["{\"writeKey\":\"k\\u0031\",\"sentAt\":1}"]);
        assert_eq!(calls.write_key.as_deref(), Some("k1"));
        assert!(calls.sent_at.is_none(), "it is the call's own");
    }

    #[test]
    fn a_batch_holds_calls_and_what_applies_to_all() {
        let body =
            r#"{"batch":[{"a":1}, 2],"writeKey":7,"sentAt":"x","context":{},"integrations":null}"#;
        for endpoint in [Endpoint::Batch, Endpoint::Import] {
            let calls = Calls::split(body, endpoint, 3).unwrap();
            assert_eq!(calls.calls, [r#"{"a":1}"#, "2"]);
            assert_eq!(calls.write_key, None);
            assert_eq!(calls.sent_at.unwrap().get(), r#""x""#);
            assert_eq!(calls.context.unwrap().get(), "{}");
            assert_eq!(calls.shared_bytes(), 2);
            assert!(calls.integrations.is_none());
            assert_eq!(calls.endpoint, endpoint);
            assert_eq!(calls.is_import(), endpoint == Endpoint::Import);
        }
    }

    #[test]
    fn says_what_is_wrong_with_the_whole() {
        for endpoint in [TRACK, Endpoint::Batch] {
            assert_eq!(fails("", endpoint), "body_malformed");
            assert_eq!(fails("{", endpoint), "body_malformed");
            assert_eq!(fails("{} {}", endpoint), "body_malformed");
            assert_eq!(fails(r#"{"\ud800":1}"#, endpoint), "body_malformed");
            assert_eq!(fails("[{}]", endpoint), "body_wrong_shape");
            assert_eq!(fails("17", endpoint), "body_wrong_shape");
        }
        for body in ["{}", r#"{"batch":null}"#, r#"{"batch":{}}"#] {
            assert_eq!(fails(body, Endpoint::Batch), "body_wrong_shape", "{body}");
        }
        assert_eq!(fails(r#"{"batch":[]}"#, Endpoint::Batch), "no_events");
        assert_eq!(
            fails(r#"{"batch":[1,2,3,4]}"#, Endpoint::Import),
            "too_many_events"
        );
        assert!(Calls::split(r#"{"batch":[1,2,3]}"#, Endpoint::Batch, 3).is_ok());
    }

    #[test]
    fn a_refused_call_is_named_by_its_own_id() {
        let claimed = |json| claimed_message_id(json);
        assert_eq!(claimed(r#"{"messageId":"m-1"}"#).as_deref(), Some("m-1"));
        assert_eq!(claimed(r#"{"messageId":17}"#).as_deref(), Some("17"));
        for json in ["", "[]", "{}", r#"{"messageId":""}"#, r#"{"messageId":{}}"#] {
            assert_eq!(claimed(json), None, "{json}");
        }
        let long = format!(r#"{{"messageId":"{}"}}"#, "x".repeat(257));
        assert_eq!(claimed(&long), None);
    }

    #[test]
    fn a_deep_body_is_split_without_recursion() {
        let deep = format!(
            r#"{{"batch":[{}{}]}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(
            Calls::split(&deep, Endpoint::Batch, 9).unwrap().calls.len(),
            1
        );
    }
}
