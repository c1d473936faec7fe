//! Which source a write key belongs to.

use aws_sdk_secretsmanager::Client;
use freshet_events::{SOURCE_OPEN, SOURCE_STREAM};
use freshet_keys::{Keys, LoadError};
use std::sync::Arc;
use thiserror::Error;

/// Why a request is not let in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unauthorised {
    /// No key, and keys are configured.
    #[error(
        "a write key is required: header X-Write-Key, Basic user name, query writeKey, or an SDK's body"
    )]
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

/// The write keys; each has the name of a source beside it.
pub struct WriteKeys {
    keys: Option<Keys>,
}

impl WriteKeys {
    /// No keys: anyone may write. Said in the log, so that nobody is surprised.
    #[must_use]
    pub fn open() -> Self {
        tracing::warn!("no write keys are configured: anyone may write");
        Self { keys: None }
    }

    /// Reads the secret `id`.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read or is not what it should be.
    pub async fn load(client: Client, id: String) -> Result<Self, LoadError> {
        // Freshet's own sources: no client may pass for them.
        let keys = Keys::load(client, id, &[SOURCE_OPEN, SOURCE_STREAM]).await?;
        Ok(Self { keys: Some(keys) })
    }

    /// The name configured beside `key`.
    ///
    /// # Errors
    /// [`Unauthorised`] if keys are configured and this is none of them.
    pub async fn source(&self, key: Option<&str>) -> Result<Arc<str>, Unauthorised> {
        let Some(keys) = &self.keys else {
            return Ok(Arc::from(SOURCE_OPEN));
        };
        keys.name(key).await.map_err(|error| match error {
            freshet_keys::Unauthorised::Missing => Unauthorised::Missing,
            freshet_keys::Unauthorised::Unknown => Unauthorised::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_keys_anyone_may_write() {
        assert_eq!(WriteKeys::open().source(None).await.as_deref(), Ok("open"));
        assert_eq!(
            WriteKeys::open().source(Some("x")).await.as_deref(),
            Ok("open")
        );
    }
}
