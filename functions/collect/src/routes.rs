//! Which request is which.

use freshet_segment::{CallType, Endpoint};
use std::borrow::Cow;

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'r> {
    /// Freshet's own events.
    Events,
    /// Calls of a Segment or RudderStack SDK.
    Calls(Endpoint),
    /// One call, by somebody who can only load a picture.
    Pixel(CallType),
    /// What Segment's browser SDK asks before all else; for this write key.
    SegmentSettings(Cow<'r, str>),
    /// The same of RudderStack's.
    RudderStackSettings,
    /// Whether collect runs.
    Health,
    /// There is such a path, for other methods: for these.
    MethodNotAllowed(&'static str),
    /// A call that Segment does not have.
    UnknownCall,
    /// There is no such path.
    NotFound,
}

impl<'r> Route<'r> {
    /// By method and path.
    #[must_use]
    pub fn of(method: &str, path: &'r str) -> Self {
        let (route, allowed) = match path {
            "/v1/events" => (Self::Events, "POST"),
            "/health" => (Self::Health, "GET, HEAD"),
            "/beacon/v1/batch" => (Self::Calls(Endpoint::Batch), "POST"),
            "/sourceConfig" | "/sourceConfig/" => (Self::RudderStackSettings, "GET, HEAD"),
            _ => {
                if let Some(key) = within(path, "/v1/projects/", "/settings") {
                    (Self::SegmentSettings(key), "GET, HEAD")
                } else if let Some(name) = within(path, "/pixel/v1/", "") {
                    match Endpoint::of(&name) {
                        Some(Endpoint::One(call @ (CallType::Track | CallType::Page))) => {
                            (Self::Pixel(call), "GET, HEAD")
                        }
                        _ => return Self::NotFound,
                    }
                } else if let Some(name) = within(path, "/v1/", "") {
                    let call = Endpoint::of(&name);
                    (call.map_or(Self::UnknownCall, Self::Calls), "POST")
                } else {
                    return Self::NotFound;
                }
            }
        };
        if allowed.split(", ").any(|allowed| allowed == method) {
            route
        } else {
            Self::MethodNotAllowed(allowed)
        }
    }
}

/// The one segment between these, percent-decoded; `None` if it is empty.
fn within<'p>(path: &'p str, before: &str, after: &str) -> Option<Cow<'p, str>> {
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    let is_one = !segment.is_empty() && !segment.contains('/');
    is_one.then(|| crate::request::percent_decoded(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_route() {
        let one = |call| Route::Calls(Endpoint::One(call));
        let key = |text| Route::SegmentSettings(Cow::Borrowed(text));
        for (method, path, route) in [
            ("POST", "/v1/events", Route::Events),
            ("GET", "/v1/events", Route::MethodNotAllowed("POST")),
            ("GET", "/health", Route::Health),
            ("HEAD", "/health", Route::Health),
            ("POST", "/health", Route::MethodNotAllowed("GET, HEAD")),
            ("POST", "/v1/track", one(CallType::Track)),
            ("POST", "/v1/t", one(CallType::Track)),
            ("POST", "/v1/p", one(CallType::Page)),
            ("POST", "/v1/screen", one(CallType::Screen)),
            ("POST", "/v1/i", one(CallType::Identify)),
            ("POST", "/v1/g", one(CallType::Group)),
            ("POST", "/v1/a", one(CallType::Alias)),
            ("POST", "/v1/b", Route::Calls(Endpoint::Batch)),
            ("POST", "/v1/batch", Route::Calls(Endpoint::Batch)),
            ("POST", "/v1/import", Route::Calls(Endpoint::Import)),
            ("POST", "/beacon/v1/batch", Route::Calls(Endpoint::Batch)),
            ("GET", "/v1/batch", Route::MethodNotAllowed("POST")),
            ("POST", "/v1/merge", Route::UnknownCall),
            ("POST", "/v1/", Route::NotFound),
            ("GET", "/pixel/v1/track", Route::Pixel(CallType::Track)),
            ("GET", "/pixel/v1/page", Route::Pixel(CallType::Page)),
            ("GET", "/pixel/v1/batch", Route::NotFound),
            (
                "POST",
                "/pixel/v1/page",
                Route::MethodNotAllowed("GET, HEAD"),
            ),
            ("GET", "/v1/projects/k%201/settings", key("k 1")),
            ("GET", "/v1/projects//settings", Route::NotFound),
            ("GET", "/v1/projects/a/b/settings", Route::NotFound),
            ("GET", "/sourceConfig/", Route::RudderStackSettings),
            ("GET", "/", Route::NotFound),
        ] {
            assert_eq!(Route::of(method, path), route, "{method} {path}");
        }
    }
}
