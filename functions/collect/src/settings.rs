//! What SDKs ask before they send: where to, and what else there is. Freshet
//! is their only destination, so the answer is nearly the same for all.

use crate::request::Request;
use serde_json::{Value, json};

/// The answer to `GET /v1/projects/{writeKey}/settings`. The SDK sends under
/// `apiKey`, to `apiHost`, and loads no other destination's script, as there is
/// none. With `sampleRate` 0 it reports nothing about itself to its maker.
#[must_use]
pub fn segment(request: &Request<'_>, write_key: &str) -> Value {
    let origin = request.origin();
    json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": format!("{}/v1", origin.host),
                "protocol": origin.scheme,
            },
        },
        "metrics": { "sampleRate": 0 },
    })
}

/// The answer to `GET /sourceConfig/`: an enabled source without destinations.
/// The SDK reports neither errors nor statistics about itself.
#[must_use]
pub fn rudderstack(source: &str) -> Value {
    let off = json!({ "enabled": false });
    json!({
        "source": {
            "id": source,
            "name": source,
            "workspaceId": "freshet",
            "enabled": true,
            "config": { "statsCollection": { "errors": off, "metrics": off } },
            "destinations": [],
        },
    })
}
