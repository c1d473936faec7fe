//! Adapter: the keys that let a request in, and whose they are. They are a
//! secret, `{"<key>": "<name>"}`; a name may have several keys, so that one can
//! be replaced without a moment in which none works.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
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
/// A name goes into documents and logs.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unauthorised {
    /// No key.
    #[error("a key is required")]
    Missing,
    /// No such key.
    #[error("the key is not known")]
    Unknown,
}

/// Why the keys cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The secret cannot be read.
    #[error("the secret with the keys cannot be read: {0}")]
    Secret(String),
    /// The secret is not `{"<key>": "<name>", …}` with at least one key.
    #[error("the secret is not a JSON object from key to name, with at least one key")]
    Shape,
    /// A name is empty, too long, or reserved.
    #[error("a name is empty, longer than {MAX_NAME_BYTES} bytes, or one of {0:?}")]
    Name(&'static [&'static str]),
}

/// Keys by their hash: looking one up takes the same time however much of it
/// is right, and the keys themselves are not kept.
type Names = HashMap<[u8; 32], Arc<str>>;

/// The keys of a secret, read again from time to time.
pub struct Keys {
    client: Client,
    secret_id: String,
    reserved: &'static [&'static str],
    loaded: Mutex<Loaded>,
}

struct Loaded {
    names: Arc<Names>,
    at: Instant,
}

impl Keys {
    /// Reads the secret. No key may have a `reserved` name.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read or is not what it should be.
    pub async fn load(
        client: Client,
        secret_id: impl Into<String>,
        reserved: &'static [&'static str],
    ) -> Result<Self, LoadError> {
        let secret_id = secret_id.into();
        let names = Arc::new(read(&client, &secret_id, reserved).await?);
        let at = Instant::now();
        Ok(Self {
            client,
            secret_id,
            reserved,
            loaded: Mutex::new(Loaded { names, at }),
        })
    }

    /// The name configured beside `key`.
    ///
    /// # Errors
    /// [`Unauthorised`] if there is none.
    pub async fn name(&self, key: Option<&str>) -> Result<Arc<str>, Unauthorised> {
        let key = key
            .filter(|key| !key.is_empty())
            .ok_or(Unauthorised::Missing)?;
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (names, age) = self.current();
        let known = names.get(&digest).cloned();
        let stale = age
            > if known.is_some() {
                REFRESH_EVERY
            } else {
                REFRESH_ON_UNKNOWN
            };
        if !stale {
            return known.ok_or(Unauthorised::Unknown);
        }
        match read(&self.client, &self.secret_id, self.reserved).await {
            Ok(fresh) => self.store(Arc::new(fresh)),
            Err(error) => {
                // The keys that were good a moment ago are better than none.
                tracing::error!(%error, "the keys were not refreshed");
                self.store(names);
            }
        }
        let (names, _) = self.current();
        names.get(&digest).cloned().ok_or(Unauthorised::Unknown)
    }

    fn current(&self) -> (Arc<Names>, Duration) {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&loaded.names), loaded.at.elapsed())
    }

    fn store(&self, names: Arc<Names>) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Loaded {
            names,
            at: Instant::now(),
        };
    }
}

async fn read(
    client: &Client,
    secret_id: &str,
    reserved: &'static [&'static str],
) -> Result<Names, LoadError> {
    let request = client.get_secret_value().secret_id(secret_id).send();
    let answer = tokio::time::timeout(REFRESH_TIMEOUT, request)
        .await
        .map_err(|_| LoadError::Secret("no answer in time".to_owned()))?;
    let secret =
        answer.map_err(|error| LoadError::Secret(DisplayErrorContext(&error).to_string()))?;
    parse(secret.secret_string().ok_or(LoadError::Shape)?, reserved)
}

fn parse(secret: &str, reserved: &'static [&'static str]) -> Result<Names, LoadError> {
    let names: HashMap<String, String> =
        serde_json::from_str(secret).map_err(|_| LoadError::Shape)?;
    if names.is_empty() || names.keys().any(String::is_empty) {
        return Err(LoadError::Shape);
    }
    let odd = |name: &String| {
        name.is_empty() || name.len() > MAX_NAME_BYTES || reserved.contains(&name.as_str())
    };
    if names.values().any(odd) {
        return Err(LoadError::Name(reserved));
    }
    Ok(names
        .into_iter()
        .map(|(key, name)| (Sha256::digest(key).into(), Arc::from(name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Config, Credentials, Region};
    use serde_json::json;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn keys(server: &MockServer, secret: &str) -> Result<Keys, LoadError> {
        let answer = json!({"Name": "keys", "SecretString": secret});
        Mock::given(any())
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(server)
            .await;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(server.uri());
        Keys::load(Client::from_conf(config.build()), "keys", &["open"]).await
    }

    #[tokio::test]
    async fn a_secret_maps_keys_to_names_and_is_not_asked_about_each_wrong_one() {
        let server = MockServer::start().await;
        let keys = keys(&server, r#"{"k1":"shop","k2":"shop","k3":"app"}"#)
            .await
            .unwrap();
        for (key, name) in [("k1", "shop"), ("k2", "shop"), ("k3", "app")] {
            assert_eq!(keys.name(Some(key)).await.as_deref(), Ok(name));
        }
        for _ in 0..3 {
            assert_eq!(keys.name(Some("k4")).await, Err(Unauthorised::Unknown));
            assert_eq!(keys.name(Some("")).await, Err(Unauthorised::Missing));
            assert_eq!(keys.name(None).await, Err(Unauthorised::Missing));
        }
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_new_key_works_as_soon_as_the_secret_may_be_read_again() {
        let server = MockServer::start().await;
        let keys = keys(&server, r#"{"old":"shop"}"#).await.unwrap();
        let age = |by: Duration| {
            let mut loaded = keys.loaded.lock().unwrap();
            loaded.at = Instant::now().checked_sub(by).unwrap();
        };
        server.reset().await;
        let answer = json!({"Name": "keys", "SecretString": r#"{"new":"shop"}"#});
        let fresh = Mock::given(any())
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount_as_scoped(&server)
            .await;
        assert_eq!(keys.name(Some("new")).await, Err(Unauthorised::Unknown));
        age(REFRESH_ON_UNKNOWN * 2);
        assert_eq!(keys.name(Some("new")).await.as_deref(), Ok("shop"));
        assert_eq!(keys.name(Some("old")).await, Err(Unauthorised::Unknown));
        drop(fresh); // the secret cannot be read from here on
        age(REFRESH_EVERY * 2);
        assert_eq!(keys.name(Some("new")).await.as_deref(), Ok("shop"));
    }

    #[tokio::test]
    async fn other_secrets_are_refused() {
        for secret in ["", "[]", "{}", r#"{"k":1}"#, r#"{"":"shop"}"#] {
            assert!(
                matches!(parse(secret, &[]), Err(LoadError::Shape)),
                "{secret}"
            );
        }
        for secret in [r#"{"k":""}"#, r#"{"k":"open"}"#, r#"{"k":"stream"}"#] {
            let error = parse(secret, &["open", "stream"]).unwrap_err();
            assert!(matches!(error, LoadError::Name(_)), "{secret}");
        }
        let server = MockServer::start().await;
        let refused = keys(&server, "[]").await.err().unwrap();
        assert!(matches!(refused, LoadError::Shape));
    }
}
