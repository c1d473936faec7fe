//! A document back to the event it came from: the reverse of
//! [`document`](crate::document), for dead letters that are replayed.

use freshet_events::{Rejection, Timestamp, wire};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a document cannot become an event again.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// It is not a document that enrichment wrote.
    #[error("not an enriched document")]
    NotADocument(#[source] serde_json::Error),
    /// One of its times is not ISO 8601.
    #[error("the document's {0} is not a time")]
    Time(&'static str),
    /// What came out is not an event.
    #[error("the document does not restore to an event: {0}")]
    NotAnEvent(Rejection),
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "@timestamp", borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(default)]
    session_derived: bool,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    page_url: Option<Cow<'a, str>>,
    sent_at: Option<String>,
    received_at: String,
    schema_version: Option<i64>,
    #[serde(default)]
    synthetic: bool,
    #[serde(borrow)]
    geoip: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

#[derive(serde::Serialize)]
struct Wire<'a> {
    event_id: &'a str,
    source: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_url: Option<&'a str>,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<i64>,
    received_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synthetic: Option<bool>,
    metadata: BTreeMap<Cow<'a, str>, &'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    geoip: Option<&'a RawValue>,
}

/// The wire JSON of the event that `document` was made from. Its IP address is
/// gone for good; the place that was found stays with it.
///
/// # Errors
/// [`RestoreError`] if it is not a document that enrichment wrote.
pub fn restore(document: &str) -> Result<Vec<u8>, RestoreError> {
    let source: Source<'_> = serde_json::from_str(document).map_err(RestoreError::NotADocument)?;
    let moment = |name, text: &str| {
        Timestamp::parse_iso8601(text)
            .map(Timestamp::as_millis)
            .ok_or(RestoreError::Time(name))
    };
    let mut metadata = source.metadata;
    if let Some(other) = metadata.remove("other") {
        let other: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(other.get()).map_err(RestoreError::NotADocument)?;
        metadata.extend(other);
    }
    let wire = Wire {
        event_id: &source.event_id,
        source: &source.source,
        user_id: &source.user_id,
        // One that was derived is derived again.
        session_id: (!source.session_derived).then_some(&*source.session_id),
        event_type: &source.event_type,
        page_url: source.page_url.as_deref(),
        timestamp: moment("@timestamp", &source.timestamp)?,
        sent_at: source
            .sent_at
            .as_deref()
            .map(|text| moment("sent_at", text))
            .transpose()?,
        received_at: moment("received_at", &source.received_at)?,
        schema_version: source.schema_version,
        synthetic: source.synthetic.then_some(true),
        metadata,
        geoip: source.geoip,
    };
    let json = serde_json::to_vec(&wire).map_err(RestoreError::NotADocument)?;
    // What is put on the stream is read before it is put.
    wire::check(&json).map_err(RestoreError::NotAnEvent)?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Enricher, bots::Bots, geo::Geo, user_agent::UserAgents};
    use freshet_events::Event;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn enrich(wire: &[u8]) -> Value {
        let regexes = b"user_agent_parsers: []\nos_parsers: []\ndevice_parsers: []\n";
        let enricher = Enricher::new(
            UserAgents::from_yaml(regexes)
                .unwrap()
                .with_bots(Bots::from_json(b"[]").unwrap()),
            Geo::open::<&str>(&[]).unwrap(),
        );
        let event = Event::from_wire(std::str::from_utf8(wire).unwrap()).unwrap();
        let now = Timestamp::from_millis(1_795_456_800_000).unwrap();
        serde_json::from_slice(&enricher.enrich(&event, now).unwrap().json).unwrap()
    }

    proptest! {
        #[test]
        fn restoring_and_enriching_again_gives_the_same_document(
            user in ".{1,20}", url_tail in "[a-z?&=#é ]{0,20}", other in ".{0,20}",
            sent in any::<bool>(), place in any::<bool>(), synthetic in any::<bool>(), bot in any::<bool>(),
            page in any::<bool>(), session in any::<bool>(), met in any::<bool>(),
        ) {
            let mut wire = json!({
                "event_id": "e", "source": "s", "user_id": user, "session_id": "x", "event_type": "purchase",
                "page_url": format!("https://a.example/{url_tail}"), "timestamp": 1_000, "received_at": 2_000,
                "metadata": {"amount": 5, "other": other, "k": [1, {"z": user}], "user_agent": "u", "ip_address": "8.8.8.8"},
            });
            if !page { wire.as_object_mut().unwrap().remove("page_url"); }
            if !session { wire.as_object_mut().unwrap().remove("session_id"); }
            if bot { wire["metadata"]["user_agent"] = json!("HeadlessChrome/142"); }
            if sent { wire["sent_at"] = json!(1_500); }
            if synthetic { wire["synthetic"] = json!(true); }
            if place { wire["geoip"] = json!({"country_name": "Peru"}); }
            let first = enrich(&serde_json::to_vec(&wire).unwrap());
            prop_assert_eq!(first.get("synthetic"), synthetic.then_some(&json!(true)));
            prop_assert_eq!(first.get("bot").is_some(), bot);
            prop_assert!(first["session_id"].is_string());
            prop_assert_eq!(first.get("session_derived").is_some(), !session);
            prop_assert_eq!((first.get("page_url").is_some(), first.get("url_path").is_some()), (page, page));
            // As it is refused by the index, after it has met its session.
            let mut refused = first.clone();
            if met {
                refused["session_duration"] = json!(3.5);
                if !session { refused["session_id"] = json!("of-a-session-document"); }
            }
            let restored = restore(&refused.to_string()).unwrap();
            let event = Event::from_wire(std::str::from_utf8(&restored).unwrap()).unwrap();
            prop_assert_eq!((event.page_url().is_some(), event.session_id().is_some()), (page, session));
            prop_assert_eq!(first, enrich(&restored));
        }
    }

    #[test]
    fn other_json_is_refused() {
        assert!(matches!(restore("{}"), Err(RestoreError::NotADocument(_))));
        assert!(matches!(
            restore("nonsense"),
            Err(RestoreError::NotADocument(_))
        ));
    }
}
