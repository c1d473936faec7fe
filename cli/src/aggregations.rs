//! What the query API says: asked again and again, and read only when it has
//! changed.

use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where aggregations are below an API's address.
const ROOT: &str = "v1/aggregations";
/// An answer that takes longer is no help to a view of the last seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// A slot is one item of a table, compressed; this is far more than fits.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AggregationsError {
    /// The address is none.
    #[error("{0} is not an address of an API, http://… or https://…")]
    Address(String),
    /// Nobody answers, or not in time.
    #[error("{url} does not answer")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// What was in the way.
        #[source]
        source: reqwest::Error,
    },
    /// An answer, but not a result.
    #[error("{url} answered {status}: {detail}")]
    Refused {
        /// Who was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Why, in the words of whoever refused.
        detail: String,
    },
    /// A result that is none.
    #[error("the answer of {url} is not a result")]
    Malformed {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// More than any result has.
    #[error("the answer of {url} is over {MAX_BODY_BYTES} bytes")]
    TooLarge {
        /// Who was asked.
        url: String,
    },
}

impl AggregationsError {
    /// A stable name of what happened.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address(_) => "address_invalid",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } => "result_malformed",
            Self::TooLarge { .. } => "result_too_large",
        }
    }
}

/// The newest slot, to somebody who may have it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Latest {
    /// It is the one with the tag that was sent along.
    Unchanged,
    /// Nothing was counted in the windows that are kept.
    Nothing,
    /// Another one.
    Changed {
        /// To be sent along with the next question.
        tag: Option<String>,
        /// JSON, as `docs/openapi.yaml` describes it.
        body: Vec<u8>,
    },
}

/// A problem as RFC 9457 has it, or the message of an API Gateway.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    message: String,
}

/// Asks one API.
#[derive(Clone, Debug)]
pub struct Aggregations {
    http: reqwest::Client,
    root: Url,
    read_key: Option<String>,
}

impl Aggregations {
    /// Asks the API at `url`, with or without `/v1/aggregations` at its end.
    /// The key goes along if there is one.
    ///
    /// # Errors
    /// [`AggregationsError::Address`], or if no HTTP client can be made.
    pub fn new(url: &str, read_key: Option<String>) -> Result<Self, AggregationsError> {
        let not_one = || AggregationsError::Address(url.to_owned());
        let mut root = Url::parse(url).map_err(|_| not_one())?;
        if !matches!(root.scheme(), "http" | "https") {
            return Err(not_one());
        }
        root.set_query(None);
        root.set_fragment(None);
        let path = root.path().trim_end_matches('/');
        if !path.ends_with(ROOT) {
            let path = format!("{path}/{ROOT}");
            root.set_path(&path);
        } else if path.len() < root.path().len() {
            let path = path.to_owned();
            root.set_path(&path);
        }
        // Somebody else's redirect is not to be handed the key.
        let mut http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if matches!(
            root.host_str(),
            Some("127.0.0.1" | "localhost" | "[::1]" | "::1")
        ) {
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|source| AggregationsError::Unreachable {
                url: root.to_string(),
                source,
            })?;
        Ok(Self {
            http,
            root,
            read_key,
        })
    }

    /// Where the aggregations are.
    #[must_use]
    pub fn url(&self) -> &str {
        self.root.as_str()
    }

    /// The newest slot of an aggregation, unless it is the one that `known` is
    /// the tag of.
    ///
    /// # Errors
    /// [`AggregationsError`] says who did not answer as it should.
    pub async fn latest(
        &self,
        name: &str,
        known: Option<&str>,
    ) -> Result<Latest, AggregationsError> {
        let mut url = self.root.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(name);
        }
        let asked = url.to_string();
        let unreachable = |source: reqwest::Error| AggregationsError::Unreachable {
            url: asked.clone(),
            // The address is in the message already.
            source: source.without_url(),
        };
        let mut request = self.http.get(url);
        if let Some(tag) = known {
            request = request.header(IF_NONE_MATCH, tag);
        }
        if let Some(key) = &self.read_key {
            request = request.bearer_auth(key);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Latest::Unchanged);
        }
        let tag = response.headers().get(ETAG);
        let tag = tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(AggregationsError::TooLarge { url: asked });
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return Ok(Latest::Changed { tag, body });
        }
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        if problem.code == "no_result" {
            return Ok(Latest::Nothing);
        }
        let said = [problem.detail, problem.message]
            .into_iter()
            .find(|text| !text.is_empty());
        let reason = || status.canonical_reason().unwrap_or("no reason given");
        Err(AggregationsError::Refused {
            url: asked,
            status: status.as_u16(),
            detail: said.unwrap_or_else(|| reason().to_owned()),
        })
    }
}

/// The newest slot of one aggregation, read when it changes.
#[derive(Clone, Debug)]
pub struct Followed<R> {
    name: &'static str,
    tag: Option<String>,
    /// What the last answer was; none before there was one, or if nothing was
    /// counted.
    pub slot: Option<Slot<R>>,
}

impl<R: DeserializeOwned> Followed<R> {
    /// Nothing is known of it yet.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            tag: None,
            slot: None,
        }
    }

    /// Asks for what is new.
    ///
    /// # Errors
    /// As [`Aggregations::latest`]; what was known before stays.
    pub async fn refresh(&mut self, api: &Aggregations) -> Result<(), AggregationsError> {
        match api.latest(self.name, self.tag.as_deref()).await? {
            Latest::Unchanged => {}
            Latest::Nothing => (self.tag, self.slot) = (None, None),
            Latest::Changed { tag, body } => {
                let slot = serde_json::from_slice(&body).map_err(|source| {
                    let url = format!("{}/{}", api.url(), self.name);
                    AggregationsError::Malformed { url, source }
                })?;
                (self.tag, self.slot) = (tag, Some(slot));
            }
        }
        Ok(())
    }
}

/// A window's result, and what is said of every window.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Slot<R> {
    /// Its bounds.
    pub window: Window,
    /// When it was last merged, milliseconds since 1970.
    #[serde(rename = "updated_at", deserialize_with = "moment")]
    pub updated_ms: i64,
    /// Whether its numbers are estimates.
    pub approximate: bool,
    /// How good they are, then.
    pub error_bound: Option<ErrorBound>,
    /// What was counted.
    pub result: R,
}

/// Half-open, in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// Milliseconds since 1970.
    #[serde(rename = "start", deserialize_with = "moment")]
    pub start_ms: i64,
    /// Milliseconds since 1970.
    #[serde(rename = "end", deserialize_with = "moment")]
    pub end_ms: i64,
}

/// What an approximate result may be off by: shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ErrorBound {
    /// Of counts of events, too few.
    pub events: f64,
    /// Of distinct users and sessions, either way.
    pub users: f64,
}

/// The result of `page_view`, as far as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PageView {
    /// Events.
    pub total_page_views: u64,
    /// Paths.
    pub unique_pages: u64,
    /// Paths and their views, the most first.
    pub top_pages: Ordered,
    /// Paths and their users.
    pub unique_users_by_page: Ordered,
    /// Browsers and their views, the most first.
    pub browser_distribution: Ordered,
}

/// The result of `conversion_funnel`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ConversionFunnel {
    /// Steps in their order, and their events.
    pub funnel_counts: Ordered,
    /// `<step>_rate`: the step's users by all in the funnel.
    pub conversion_rates: BTreeMap<String, f64>,
    /// All users in the funnel.
    pub total_users_in_funnel: u64,
}

impl ConversionFunnel {
    /// The share of the funnel's users who did this step, and how many.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    pub fn reached(&self, step: &str) -> (f64, u64) {
        let rate = self.conversion_rates.get(&format!("{step}_rate"));
        let rate = rate.copied().unwrap_or_default().clamp(0.0, 1.0);
        // The rate is this number by the total: nothing is lost by rounding.
        let users = (rate * self.total_users_in_funnel as f64).round() as u64;
        (rate, users)
    }
}

/// A JSON object of counts, in its own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered(pub Vec<(String, u64)>);

impl Ordered {
    /// The count under this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, count)| *count)
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of counts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        from.deserialize_map(Entries)
    }
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = String::deserialize(from)?;
    let moment: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
    Ok(moment.as_millisecond())
}

#[cfg(test)]
#[path = "aggregations_tests.rs"]
mod tests;
