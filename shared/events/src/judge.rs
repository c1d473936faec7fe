//! What makes an [`Event`] of what was sent, and says what is wrong with it.

use crate::event::{Event, Stamp};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::raw::{RawEvent, Scalar};
use crate::rejection::{Code, Rejection, Stage};
use crate::timestamp::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What another protocol's module made of a call: every field of the right
/// type, and nothing else believed about it.
#[derive(Clone)]
pub struct Translated<'a> {
    /// The client's own identifier of it, if it has one.
    pub event_id: Option<Cow<'a, str>>,
    /// Whose it is.
    pub user_id: Cow<'a, str>,
    /// The visit it belongs to; without one its session is derived.
    pub session_id: Option<Cow<'a, str>>,
    /// What happened.
    pub event_type: Cow<'a, str>,
    /// Where it happened; servers and phones have no page.
    pub page_url: Option<Cow<'a, str>>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When the client sent it.
    pub sent_at: Option<Timestamp>,
    /// Everything else: a JSON object, or null.
    pub metadata: Option<&'a RawValue>,
}

impl fmt::Debug for Translated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata_bytes = self.metadata.map_or(0, |metadata| metadata.get().len());
        f.debug_struct("Translated")
            .field("metadata_bytes", &metadata_bytes)
            .finish_non_exhaustive()
    }
}

impl<'a> Event<'a> {
    /// Judges what a client sent. `now` is the clock for the age limits;
    /// `new_id` is called once if the client sent no `event_id`.
    ///
    /// # Errors
    /// The first thing that is wrong, by a stable code.
    pub fn parse(
        raw: RawEvent<'a>,
        stamp: &Stamp<'a>,
        limits: &Limits,
        now: Timestamp,
        new_id: impl FnOnce() -> String,
    ) -> Result<Self, Rejection> {
        let stage = stamp.stage;
        if let Some(name) = raw.duplicate {
            return Err(Rejection::new(
                stage,
                Code::FieldDuplicate,
                format!("{name} stands twice"),
            ));
        }
        if let Some(name) = raw.unknown {
            let message = format!("there is no field {name:?}; put it in metadata");
            return Err(Rejection::new(stage, Code::FieldUnknown, message));
        }
        let required = |name, value| text(stage, name, value)?.ok_or_else(|| missing(stage, name));
        let translated = Translated {
            user_id: required("user_id", raw.user_id)?,
            session_id: Some(required("session_id", raw.session_id)?),
            event_type: required("event_type", raw.event_type)?,
            page_url: Some(required("page_url", raw.page_url)?),
            timestamp: moment(stage, "timestamp", &raw.timestamp)?
                .ok_or_else(|| missing(stage, "timestamp"))?,
            event_id: text(stage, "event_id", raw.event_id)?,
            sent_at: moment(stage, "sent_at", &raw.sent_at)?,
            metadata: raw.metadata,
        };
        let schema_version = match raw.schema_version {
            Scalar::Missing => None,
            Scalar::Integer(version) if (0..=i64::from(i32::MAX)).contains(&version) => {
                Some(version)
            }
            _ => {
                return Err(wrong_type(
                    stage,
                    "schema_version",
                    "a whole number from 0 on",
                ));
            }
        };
        let synthetic = match raw.synthetic {
            Scalar::Missing => false,
            Scalar::Boolean(synthetic) => synthetic,
            _ => return Err(wrong_type(stage, "synthetic", "true or false")),
        };
        let event = Self::translated(translated, stamp, limits, now, new_id)?;
        Ok(Self {
            schema_version,
            synthetic,
            ..event
        })
    }

    /// Judges what was made of another protocol's call, as [`parse`](Self::parse)
    /// judges an event: only page and session may be missing.
    ///
    /// # Errors
    /// The first thing that is wrong, by a stable code.
    pub fn translated(
        translated: Translated<'a>,
        stamp: &Stamp<'a>,
        limits: &Limits,
        now: Timestamp,
        new_id: impl FnOnce() -> String,
    ) -> Result<Self, Rejection> {
        let stage = stamp.stage;
        let within = |name, text, max_bytes| within(stage, name, text, max_bytes);
        let id = |name, text| within(name, text, limits.max_id_bytes);
        let user_id = id("user_id", translated.user_id)?;
        let session_id = translated
            .session_id
            .map(|text| id("session_id", text))
            .transpose()?;
        let event_type = within(
            "event_type",
            translated.event_type,
            limits.max_event_type_bytes,
        )?;
        let page_url = translated
            .page_url
            .map(|text| web_url(stage, within("page_url", text, limits.max_page_url_bytes)?))
            .transpose()?;
        check_age(stage, translated.timestamp, limits, now)?;
        let event_id = match translated.event_id {
            Some(given) => id("event_id", given)?,
            None => Cow::Owned(new_id()),
        };
        Ok(Self {
            event_id,
            source: stamp.source.clone(),
            user_id,
            session_id,
            event_type,
            page_url,
            timestamp: translated.timestamp,
            sent_at: translated.sent_at,
            received_at: stamp.received_at,
            schema_version: None,
            synthetic: false,
            metadata: Metadata::parse(translated.metadata, limits, stage)?,
            place: None,
        })
    }
}

fn missing(stage: Stage, name: &str) -> Rejection {
    Rejection::new(stage, Code::FieldMissing, format!("{name} is missing"))
}

fn wrong_type(stage: Stage, name: &str, wanted: &str) -> Rejection {
    Rejection::new(stage, Code::FieldWrongType, format!("{name} is {wanted}"))
}

fn text<'a>(
    stage: Stage,
    name: &str,
    value: Scalar<'a>,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    match value {
        Scalar::Missing => Ok(None),
        Scalar::Text(text) => Ok(Some(text)),
        Scalar::Integer(_) | Scalar::Boolean(_) | Scalar::Other(_) => {
            Err(wrong_type(stage, name, "a string"))
        }
    }
}

fn within<'a>(
    stage: Stage,
    name: &str,
    text: Cow<'a, str>,
    max_bytes: usize,
) -> Result<Cow<'a, str>, Rejection> {
    if text.is_empty() {
        let message = format!("{name} is empty");
        return Err(Rejection::new(stage, Code::FieldEmpty, message));
    }
    if text.len() > max_bytes {
        let message = format!("{name} is longer than {max_bytes} bytes");
        return Err(Rejection::new(stage, Code::FieldTooLong, message));
    }
    Ok(text)
}

/// ISO 8601, or a whole number of milliseconds since the epoch.
fn moment(stage: Stage, name: &str, value: &Scalar<'_>) -> Result<Option<Timestamp>, Rejection> {
    let read = match value {
        Scalar::Missing => return Ok(None),
        Scalar::Text(text) => Timestamp::parse_iso8601(text),
        Scalar::Integer(ms) => Timestamp::from_millis(*ms),
        Scalar::Boolean(_) | Scalar::Other(_) => {
            return Err(wrong_type(stage, name, "ISO 8601 text or milliseconds"));
        }
    };
    read.map(Some).ok_or_else(|| {
        let message = format!("{name} is not an ISO 8601 time between 1970 and 9999");
        Rejection::new(stage, Code::TimestampInvalid, message)
    })
}

fn check_age(
    stage: Stage,
    timestamp: Timestamp,
    limits: &Limits,
    now: Timestamp,
) -> Result<(), Rejection> {
    let age_ms = now.as_millis() - timestamp.as_millis();
    if let Some(max) = limits.max_age_ms.filter(|max| age_ms > *max) {
        let message = format!("timestamp is more than {} s old", max / 1000);
        return Err(Rejection::new(stage, Code::TimestampTooOld, message));
    }
    if let Some(max) = limits.max_future_ms.filter(|max| -age_ms > *max) {
        let message = format!("timestamp is more than {} s in the future", max / 1000);
        return Err(Rejection::new(stage, Code::TimestampInFuture, message));
    }
    Ok(())
}

/// Whether `text` may be a `page_url`: an absolute http or https URL.
#[must_use]
pub fn is_web_url(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn web_url(stage: Stage, text: Cow<'_, str>) -> Result<Cow<'_, str>, Rejection> {
    if is_web_url(&text) {
        Ok(text)
    } else {
        let message = "page_url is not an absolute http or https URL";
        Err(Rejection::new(stage, Code::PageUrlInvalid, message))
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
