//! Whether a visitor's device sent a call, or a server in its name.

use crate::context::Context;
use crate::fields::Fields;
use crate::value::text;

/// Who sent a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The visitor's own browser or app.
    Device,
    /// A server.
    Server,
    /// The call does not say.
    Unknown,
}

/// Words in the names of the libraries of browsers and apps: `analytics.js`,
/// `RudderLabs JavaScript SDK`, `analytics-kotlin`,
/// `com.rudderstack.android.sdk.core`, `@segment/analytics-react-native`.
const DEVICE_WORDS: [&str; 10] = [
    "js",
    "javascript",
    "ios",
    "swift",
    "android",
    "kotlin",
    "native",
    "flutter",
    "amp",
    "cordova",
];

/// Words in the names of servers' libraries: `@segment/analytics-node`,
/// `analytics-python`, `rudder-sdk-ruby`.
const SERVER_WORDS: [&str; 9] = [
    "node", "python", "ruby", "java", "go", "php", "rust", "net", "elixir",
];

impl Sender {
    pub(crate) fn of(call: &Fields<'_>, context: &Context<'_>) -> Self {
        let channel = call.get("channel").and_then(text);
        match channel.map(|channel| channel.to_lowercase()).as_deref() {
            Some("web" | "browser" | "mobile") => return Self::Device,
            Some("server" | "sources") => return Self::Server,
            _ => {}
        }
        let Some(library) = context.library() else {
            return Self::Unknown;
        };
        let library = library.to_lowercase();
        let has = |words: &[&str]| {
            let mut parts = library.split(|c: char| !c.is_ascii_alphanumeric());
            parts.any(|part| words.contains(&part))
        };
        // `@segment/analytics-node` first: a name may say that it is JavaScript too.
        if has(&SERVER_WORDS) {
            Self::Server
        } else if has(&DEVICE_WORDS) {
            Self::Device
        } else {
            Self::Unknown
        }
    }

    /// Whether the HTTP request came from the visitor's device.
    pub(crate) fn is_device(self, request_user_agent: &str) -> bool {
        match self {
            Self::Device => true,
            Self::Server => false,
            Self::Unknown => request_user_agent.starts_with("Mozilla/"),
        }
    }
}
