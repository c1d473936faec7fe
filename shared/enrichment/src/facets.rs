//! Single facts about an event, for those who need no document.

use crate::document::Enricher;
use crate::page_url;
use crate::user_agent::ParsedUserAgent;
pub(crate) use freshet_events::text_of as text;
use freshet_events::{Event, IP_ADDRESS, USER_AGENT};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The metadata key of what a conversion earns.
pub(crate) const AMOUNT: &str = "amount";

impl Enricher {
    /// The path of the event's page, as its document has it; `None` if it has
    /// no page, or its URL cannot be split.
    #[must_use]
    pub fn path<'e>(&self, event: &'e Event<'_>) -> Option<Cow<'e, str>> {
        let url = page_url::split(event.page_url()?).ok()?;
        Some(url.path)
    }

    /// The event's browser, as its document has it; `None` without a user agent.
    #[must_use]
    pub fn browser(&self, event: &Event<'_>) -> Option<Arc<ParsedUserAgent>> {
        let user_agent = event.metadata().get(USER_AGENT).and_then(text)?;
        Some(self.user_agents.parse(&user_agent))
    }

    /// The name of the country that the event came from, as its document has it.
    #[must_use]
    pub fn country(&self, event: &Event<'_>) -> Option<String> {
        let address = event.metadata().get(IP_ADDRESS).and_then(text);
        if let Some(place) = address.and_then(|address| self.geo.lookup_str(&address)) {
            return place.country_name.map(|name| name.to_string());
        }
        let known: KnownPlace<'_> = serde_json::from_str(event.place()?.get()).ok()?;
        known.country_name.map(Cow::into_owned)
    }

    /// The event's amount, as its document's revenue has it, if it has one.
    #[must_use]
    pub fn amount(&self, event: &Event<'_>) -> Option<f64> {
        event.metadata().get(AMOUNT).and_then(amount)
    }
}

/// A place that was looked up before.
#[derive(serde::Deserialize)]
struct KnownPlace<'a> {
    #[serde(borrow)]
    country_name: Option<Cow<'a, str>>,
}

/// A finite number, be it written as a number or as text.
pub(crate) fn amount(value: &RawValue) -> Option<f64> {
    let number: Option<f64> = match text(value) {
        Some(text) => text.trim().parse().ok(),
        None => value.get().parse().ok(),
    };
    number.filter(|amount| amount.is_finite())
}
