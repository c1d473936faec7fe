//! Which source a write key belongs to.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use freshet_events::SOURCE_OPEN;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Keys are read again after this long.
const REFRESH_EVERY: Duration = Duration::from_secs(300);
/// An unknown key makes them be read again, but no more often than this: a new
/// key works at once, and a wrong one cannot hammer the secret.
const REFRESH_ON_UNKNOWN: Duration = Duration::from_secs(30);
/// A secret that does not answer must not use up a request's time.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// A source name goes into every document.
const MAX_SOURCE_BYTES: usize = 64;

/// Why a request is not let in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unauthorised {
    /// No key, and keys are configured.
    #[error("a write key is required: header X-Write-Key, Basic user name, or query writeKey")]
    Missing,
    /// No such key.
    #[error("the write key is not known")]
    Unknown,
}

impl Unauthorised {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "write_key_missing",
            Self::Unknown => "write_key_invalid",
        }
    }
}

/// Why the keys cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The secret cannot be read.
    #[error("the secret with the write keys cannot be read: {0}")]
    Secret(String),
    /// The secret is not `{"<write key>": "<source name>", …}` with at least one key.
    #[error("the secret is not a JSON object from write key to source name, with at least one key")]
    Shape,
    /// A source name is empty, too long, or one that Freshet itself uses.
    #[error(
        "a source name is empty, longer than {MAX_SOURCE_BYTES} bytes, or reserved (open, stream)"
    )]
    Source,
}

/// Keys by their hash: looking one up takes the same time however much of it
/// is right, and the keys themselves are not kept.
type Keys = HashMap<[u8; 32], Arc<str>>;

/// The write keys, read again from time to time.
pub struct WriteKeys {
    secret: Option<(Client, String)>,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    keys: Arc<Keys>,
    at: Instant,
}

impl WriteKeys {
    /// No keys: anyone may write. Said in the log, so that nobody is surprised.
    #[must_use]
    pub fn open() -> Self {
        tracing::warn!("no write keys are configured: anyone may write");
        Self {
            secret: None,
            loaded: Mutex::new(Loaded {
                keys: Arc::default(),
                at: Instant::now(),
            }),
        }
    }

    /// Reads the secret `id`.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read or is not what it should be.
    pub async fn load(client: Client, id: String) -> Result<Self, LoadError> {
        let keys = Arc::new(read(&client, &id).await?);
        Ok(Self {
            secret: Some((client, id)),
            loaded: Mutex::new(Loaded {
                keys,
                at: Instant::now(),
            }),
        })
    }

    /// The name configured beside `key`.
    ///
    /// # Errors
    /// [`Unauthorised`] if keys are configured and this is none of them.
    pub async fn source(&self, key: Option<&str>) -> Result<Arc<str>, Unauthorised> {
        let Some((client, id)) = &self.secret else {
            return Ok(Arc::from(SOURCE_OPEN));
        };
        let key = key
            .filter(|key| !key.is_empty())
            .ok_or(Unauthorised::Missing)?;
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (keys, age) = self.current();
        let known = keys.get(&digest).cloned();
        let stale = age
            > if known.is_some() {
                REFRESH_EVERY
            } else {
                REFRESH_ON_UNKNOWN
            };
        if !stale {
            return known.ok_or(Unauthorised::Unknown);
        }
        match read(client, id).await {
            Ok(fresh) => self.store(Arc::new(fresh)),
            Err(error) => {
                // The keys that were good a moment ago are better than none.
                tracing::error!(%error, "the write keys were not refreshed");
                self.store(keys);
            }
        }
        self.current()
            .0
            .get(&digest)
            .cloned()
            .ok_or(Unauthorised::Unknown)
    }

    fn current(&self) -> (Arc<Keys>, Duration) {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&loaded.keys), loaded.at.elapsed())
    }

    fn store(&self, keys: Arc<Keys>) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Loaded {
            keys,
            at: Instant::now(),
        };
    }
}

async fn read(client: &Client, id: &str) -> Result<Keys, LoadError> {
    let request = client.get_secret_value().secret_id(id).send();
    let answer = tokio::time::timeout(REFRESH_TIMEOUT, request)
        .await
        .map_err(|_| LoadError::Secret("no answer in time".to_owned()))?;
    let secret =
        answer.map_err(|error| LoadError::Secret(DisplayErrorContext(&error).to_string()))?;
    parse(secret.secret_string().ok_or(LoadError::Shape)?)
}

fn parse(secret: &str) -> Result<Keys, LoadError> {
    let sources: HashMap<String, String> =
        serde_json::from_str(secret).map_err(|_| LoadError::Shape)?;
    if sources.is_empty() || sources.keys().any(String::is_empty) {
        return Err(LoadError::Shape);
    }
    let reserved = |name: &str| [SOURCE_OPEN, freshet_events::SOURCE_STREAM].contains(&name);
    if sources
        .values()
        .any(|name| name.is_empty() || name.len() > MAX_SOURCE_BYTES || reserved(name))
    {
        return Err(LoadError::Source);
    }
    Ok(sources
        .into_iter()
        .map(|(key, name)| (Sha256::digest(key).into(), Arc::from(name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_maps_keys_to_sources() {
        let keys = parse(r#"{"k1":"shop","k2":"shop","k3":"app"}"#).unwrap();
        let name = |key: &str| {
            keys.get::<[u8; 32]>(&Sha256::digest(key).into())
                .map(AsRef::as_ref)
        };
        assert_eq!(
            (name("k1"), name("k2"), name("k3"), name("k4")),
            (Some("shop"), Some("shop"), Some("app"), None)
        );
    }

    #[test]
    fn other_secrets_are_refused() {
        for secret in ["", "[]", "{}", r#"{"k":1}"#, r#"{"":"shop"}"#] {
            assert!(matches!(parse(secret), Err(LoadError::Shape)), "{secret}");
        }
        for secret in [r#"{"k":""}"#, r#"{"k":"open"}"#, r#"{"k":"stream"}"#] {
            assert!(matches!(parse(secret), Err(LoadError::Source)), "{secret}");
        }
    }

    #[tokio::test]
    async fn without_keys_anyone_may_write() {
        assert_eq!(WriteKeys::open().source(None).await.as_deref(), Ok("open"));
        assert_eq!(
            WriteKeys::open().source(Some("x")).await.as_deref(),
            Ok("open")
        );
    }
}
