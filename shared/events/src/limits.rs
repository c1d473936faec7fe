//! How large and how old an event may be.

/// Bounds that [`Event::parse`](crate::Event::parse) enforces. Bytes are UTF-8
/// bytes, times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest `user_id`, `session_id` and `event_id`. A Kinesis partition key
    /// holds 256 characters, and `user_id` is one.
    pub max_id_bytes: usize,
    /// Longest `event_type`.
    pub max_event_type_bytes: usize,
    /// Longest `page_url`.
    pub max_page_url_bytes: usize,
    /// Longest event, as the client wrote it.
    pub max_event_bytes: usize,
    /// Longest string in `metadata` together with its path: a Lucene term
    /// holds 32,766 bytes and the flattened field stores `path=value`.
    pub max_metadata_term_bytes: usize,
    /// Deepest nesting in `metadata`; OpenSearch flattens down to 20.
    pub max_metadata_depth: usize,
    /// How old a `timestamp` may be; `None` for any age.
    pub max_age_ms: Option<i64>,
    /// How far in the future a `timestamp` may be; `None` for any.
    pub max_future_ms: Option<i64>,
}

impl Limits {
    /// What collect enforces unless its parameters say otherwise: 256 KB an
    /// event, at most 7 days old, at most 5 minutes in the future.
    pub const DEFAULT: Self = Self {
        max_id_bytes: 256,
        max_event_type_bytes: 128,
        max_page_url_bytes: 16_384,
        max_event_bytes: 262_144,
        max_metadata_term_bytes: 32_000,
        max_metadata_depth: 16,
        max_age_ms: Some(7 * 24 * 3_600_000),
        max_future_ms: Some(5 * 60_000),
    };

    /// What enrich enforces on records that another producer put: the same
    /// shapes, but any age (the stream itself keeps records for a week).
    pub const STREAM: Self = Self {
        max_event_bytes: 1_048_576,
        max_age_ms: None,
        max_future_ms: None,
        ..Self::DEFAULT
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
