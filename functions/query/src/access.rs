//! Who may read.

use crate::request::Request;
use freshet_keys::{Keys, Unauthorised};

/// Who may read.
pub enum Access {
    /// Whom IAM lets in: the API has asked it before it asks us.
    Iam,
    /// Who has a key of the secret.
    ReadKey(Keys),
    /// Anyone. Said in the log by [`Access::anyone`].
    Anyone,
}

impl Access {
    /// Lets anyone read, and says so in the log, so that nobody is surprised.
    #[must_use]
    pub fn anyone() -> Self {
        tracing::warn!("no authorisation is configured: anyone may read");
        Self::Anyone
    }

    /// Whether a cache may give an answer to somebody else.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        matches!(self, Self::Anyone)
    }

    /// Makes sure that the request may read.
    ///
    /// # Errors
    /// [`Unauthorised`] without a key that is known, where one is needed.
    pub async fn check(&self, request: &Request<'_>) -> Result<(), Unauthorised> {
        match self {
            Self::Iam | Self::Anyone => Ok(()),
            Self::ReadKey(keys) => keys.name(read_key(request)).await.map(drop),
        }
    }
}

/// The read key: header `X-Read-Key`, or the bearer token.
fn read_key<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    let bearer = || {
        let (scheme, token) = request.header("authorization")?.trim().split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    };
    request.header("x-read-key").map(str::trim).or_else(bearer)
}
