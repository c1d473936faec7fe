//! Why an event was refused: a value, never an error of its batch.

use std::borrow::Cow;
use std::fmt;

/// Where on the path an event was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// By the collector, at the door.
    Collect,
    /// While a stream record was opened.
    Unpack,
    /// While it was enriched.
    Enrich,
    /// By the search index.
    Index,
}

impl Stage {
    /// The stable name in answers, dead letters and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Unpack => "unpack",
            Self::Enrich => "enrich",
            Self::Index => "index",
        }
    }
}

/// A stable code for each reason. Codes are part of the API: they may be
/// added, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Not JSON, or a string in it is not Unicode text (a lone surrogate).
    EventMalformed,
    /// JSON, but not an object.
    EventNotAnObject,
    /// The event is larger than the limit.
    EventTooLarge,
    /// A required field is absent or null.
    FieldMissing,
    /// A field is an empty string.
    FieldEmpty,
    /// A field is longer than its limit.
    FieldTooLong,
    /// A field has the wrong JSON type.
    FieldWrongType,
    /// A field stands there twice.
    FieldDuplicate,
    /// A top-level field that the event does not have; such data belongs in
    /// `metadata`.
    FieldUnknown,
    /// The `type` of a Segment call is none of the six.
    CallTypeUnknown,
    /// `page_url` is not an absolute http or https URL.
    PageUrlInvalid,
    /// `timestamp` or `sent_at` is not ISO 8601.
    TimestampInvalid,
    /// `timestamp` is too far in the future.
    TimestampInFuture,
    /// `timestamp` is too old.
    TimestampTooOld,
    /// `metadata` nests too deep.
    MetadataTooDeep,
    /// A key stands twice in one object of `metadata`.
    MetadataKeyDuplicate,
    /// A key of `metadata` is empty.
    MetadataKeyEmpty,
    /// A string in `metadata`, with its path, is longer than a term can be.
    MetadataValueTooLong,
    /// The visitor asked not to be tracked, and `OptOut` is `drop`.
    OptedOut,
    /// The record's header, lengths or compression cannot be read.
    RecordUndecodable,
    /// The record inflates to more than its cap.
    RecordTooLarge,
    /// The code that handled the event panicked.
    Panicked,
}

impl Code {
    /// The stable `snake_case` text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventMalformed => "event_malformed",
            Self::EventNotAnObject => "event_not_an_object",
            Self::EventTooLarge => "event_too_large",
            Self::FieldMissing => "field_missing",
            Self::FieldEmpty => "field_empty",
            Self::FieldTooLong => "field_too_long",
            Self::FieldWrongType => "field_wrong_type",
            Self::FieldDuplicate => "field_duplicate",
            Self::FieldUnknown => "field_unknown",
            Self::CallTypeUnknown => "call_type_unknown",
            Self::PageUrlInvalid => "page_url_invalid",
            Self::TimestampInvalid => "timestamp_invalid",
            Self::TimestampInFuture => "timestamp_in_future",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::MetadataTooDeep => "metadata_too_deep",
            Self::MetadataKeyDuplicate => "metadata_key_duplicate",
            Self::MetadataKeyEmpty => "metadata_key_empty",
            Self::MetadataValueTooLong => "metadata_value_too_long",
            Self::OptedOut => "opted_out",
            Self::RecordUndecodable => "record_undecodable",
            Self::RecordTooLarge => "record_too_large",
            Self::Panicked => "panicked",
        }
    }
}

/// One event's refusal. The message is for the client: it names the field and
/// the limit, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where it was refused.
    pub stage: Stage,
    /// A stable `snake_case` code: one of [`Code`], or what the index answered.
    pub code: Cow<'static, str>,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
}

impl Rejection {
    /// A refusal with one of our own codes.
    pub fn new(stage: Stage, code: Code, message: impl Into<String>) -> Self {
        Self {
            stage,
            code: Cow::Borrowed(code.as_str()),
            message: message.into(),
        }
    }

    /// A refusal by the index, whose code is the index's own error type.
    pub fn by_index(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            stage: Stage::Index,
            code: Cow::Owned(code.into()),
            message: message.into(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {}: {}",
            self.code,
            self.stage.as_str(),
            self.message
        )
    }
}
