//! Visitors who ask not to be followed: `DNT: 1` and `Sec-GPC: 1`.

use crate::config::OptOutMode;
use crate::request::Request;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use freshet_events::{Code, Event, IP_ADDRESS, Rejection, Stage};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

/// What a pseudonym begins with.
const PREFIX: &str = "anon-";

/// What becomes of the events of a visitor who asks not to be followed.
#[derive(Debug, Default)]
pub enum OptOut {
    /// What becomes of everybody's.
    #[default]
    Ignore,
    /// They are refused.
    Drop,
    /// They are taken, and nobody's.
    Anonymise(PseudonymKey),
}

/// What becomes of one request's events.
#[derive(Clone, Copy, Debug, Default)]
pub enum Wish<'k> {
    /// Nothing was asked, or it is not honoured.
    #[default]
    None,
    /// To refuse them.
    Drop,
    /// To take them as somebody's without a name.
    Anonymise(&'k PseudonymKey),
}

/// Why the key of pseudonyms cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The secret cannot be read.
    #[error("the secret cannot be read: {0}")]
    Secret(String),
    /// It is no text, or empty.
    #[error("the secret is no text, or empty")]
    Empty,
}

impl OptOut {
    /// What the configuration says, with its secret.
    ///
    /// # Errors
    /// [`LoadError`] if the secret is needed and is not there.
    pub async fn load(secrets: &Client, mode: &OptOutMode) -> Result<Self, LoadError> {
        let secret_id = match mode {
            OptOutMode::Ignore => return Ok(Self::Ignore),
            OptOutMode::Drop => return Ok(Self::Drop),
            OptOutMode::Anonymise { secret_id } => secret_id,
        };
        let asked = secrets.get_secret_value().secret_id(secret_id).send();
        let secret = asked
            .await
            .map_err(|error| LoadError::Secret(DisplayErrorContext(&error).to_string()))?;
        let key = PseudonymKey::new(secret.secret_string().unwrap_or_default());
        key.map(Self::Anonymise).ok_or(LoadError::Empty)
    }

    /// What this request asks for, as far as it is honoured.
    #[must_use]
    pub fn wish(&self, request: &Request<'_>) -> Wish<'_> {
        let asked = ["dnt", "sec-gpc"]
            .iter()
            .any(|name| request.header(name).map(str::trim) == Some("1"));
        match self {
            Self::Drop if asked => Wish::Drop,
            Self::Anonymise(key) if asked => Wish::Anonymise(key),
            Self::Ignore | Self::Drop | Self::Anonymise(_) => Wish::None,
        }
    }
}

impl Wish<'_> {
    /// Refuses, if that is what was asked for.
    ///
    /// # Errors
    /// [`Code::OptedOut`].
    pub fn check(self) -> Result<(), Rejection> {
        match self {
            Wish::Drop => Err(Rejection::new(
                Stage::Collect,
                Code::OptedOut,
                "the visitor asks not to be followed",
            )),
            Wish::None | Wish::Anonymise(_) => Ok(()),
        }
    }

    /// Gives an event to a pseudonym of its user and takes its address away,
    /// if that is what was asked for. The rest of its metadata is the client's.
    pub fn anonymise(self, event: &mut Event<'_>) {
        if let Wish::Anonymise(key) = self {
            event.set_user_id(key.pseudonym(event.user_id()));
            event.metadata_mut().remove(&[IP_ADDRESS]);
        }
    }

    /// Whether the address of the request may be noted.
    #[must_use]
    pub const fn allows_address(self) -> bool {
        matches!(self, Wish::None)
    }
}

/// The secret that pseudonyms are made with. Who has it can tell whether a
/// pseudonym is that of somebody they know; nobody can read it backwards.
#[derive(Clone)]
pub struct PseudonymKey(Hmac<Sha256>);

impl PseudonymKey {
    /// This secret; `None` if it is empty.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        if secret.is_empty() {
            return None;
        }
        // A key of HMAC may have any length.
        Hmac::new_from_slice(secret.as_bytes()).ok().map(Self)
    }

    /// `anon-` and base64url of the first 16 bytes of HMAC-SHA256 of the user
    /// id: the same for a user as long as the secret is.
    #[must_use]
    pub fn pseudonym(&self, user_id: &str) -> String {
        let mut hmac = self.0.clone();
        hmac.update(user_id.as_bytes());
        let digest = hmac.finalize().into_bytes();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&digest[..16]))
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn wish(opt_out: &OptOut, headers: &Value) -> &'static str {
        let payload = json!({"headers": headers, "requestContext": {"http": {"method": "POST"}}});
        let payload = payload.to_string();
        let request: Request<'_> = serde_json::from_str(&payload).unwrap();
        match opt_out.wish(&request) {
            Wish::None => "none",
            Wish::Drop => "drop",
            Wish::Anonymise(_) => "anonymise",
        }
    }

    #[test]
    fn either_header_is_a_wish_and_the_policy_decides() {
        let key = || PseudonymKey::new("secret").unwrap();
        for headers in [json!({"dnt": "1"}), json!({"Sec-GPC": " 1 "})] {
            assert_eq!(wish(&OptOut::Ignore, &headers), "none");
            assert_eq!(wish(&OptOut::Drop, &headers), "drop");
            assert_eq!(wish(&OptOut::Anonymise(key()), &headers), "anonymise");
        }
        for headers in [json!({}), json!({"dnt": "0"}), json!({"sec-gpc": "?1"})] {
            assert_eq!(wish(&OptOut::Drop, &headers), "none");
        }
    }

    #[test]
    fn a_pseudonym_is_the_documented_hash() {
        // printf u-1 | openssl dgst -sha256 -hmac secret -binary | head -c16 | basenc --base64url
        let key = PseudonymKey::new("secret").unwrap();
        assert_eq!(key.pseudonym("u-1"), "anon-inVvelUI9z_fpCW552JEOw");
        assert_ne!(
            key.pseudonym("u-1"),
            PseudonymKey::new("other").unwrap().pseudonym("u-1")
        );
        assert!(PseudonymKey::new("").is_none());
        assert_eq!(format!("{key:?}"), "PseudonymKey");
    }
}
