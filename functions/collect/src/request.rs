//! What API Gateway hands over (HTTP API, payload 2.0), and the body in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read as _;
use thiserror::Error;

/// The largest body, as it arrives and inflated.
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// Under which types events are sent.
pub const MEDIA_TYPES: &[&str] = &[
    "application/json",
    "text/plain",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// Under which types calls of SDKs are sent, JSON all of them. (The last is
/// what RudderStack's SDK for servers says of what it has compressed.)
pub const CALL_MEDIA_TYPES: &[&str] = &[
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
];

/// The parts of an HTTP API request that the collector reads. (The type of
/// `aws_lambda_events` owns every header and an untyped authorizer map: twice
/// the allocations of this one, before the body is even looked at.)
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    #[serde(borrow, default)]
    headers: HashMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow, default)]
    raw_query_string: Cow<'a, str>,
    #[serde(borrow, default)]
    raw_path: Cow<'a, str>,
    #[serde(borrow)]
    request_context: RequestContext<'a>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    #[serde(borrow)]
    http: Http<'a>,
    #[serde(borrow, default)]
    stage: Cow<'a, str>,
    #[serde(borrow, default)]
    domain_name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    source_ip: Cow<'a, str>,
    #[serde(borrow, default)]
    user_agent: Cow<'a, str>,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Request({} bytes)",
            self.body.as_ref().map_or(0, |body| body.len())
        )
    }
}

/// Why a body cannot be read as text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The content type is not one of ours.
    #[error("the content type is none of {}", .0.join(", "))]
    UnsupportedMediaType(&'static [&'static str]),
    /// The content encoding is not one of ours.
    #[error("the content encoding is gzip or identity")]
    UnsupportedEncoding,
    /// Broken base64 or gzip.
    #[error("the body cannot be decoded")]
    NotDecodable,
    /// Larger than the limit, as it arrived or inflated.
    #[error("the body is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("the body is not UTF-8 text")]
    NotUtf8,
}

impl DecodeError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::NotDecodable => "body_not_decodable",
            Self::TooLarge => "body_too_large",
            Self::NotUtf8 => "body_not_utf8",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding => 415,
            Self::TooLarge => 413,
            Self::NotDecodable | Self::NotUtf8 => 400,
        }
    }
}

impl Request<'_> {
    /// Method and path, the stage's name taken off.
    #[must_use]
    pub fn route(&self) -> (&str, &str) {
        let path = self.raw_path.as_ref();
        let stage = self.request_context.stage.as_ref();
        let path = match path
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(stage))
        {
            Some(rest) if rest.starts_with('/') && !stage.is_empty() => rest,
            _ => path,
        };
        (&self.request_context.http.method, path)
    }

    /// A header's value, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let exact = self.headers.get(name);
        let found = exact.or_else(|| {
            self.headers
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v)
        });
        found.map(AsRef::as_ref)
    }

    /// The caller's address, as API Gateway saw it.
    #[must_use]
    pub fn source_ip(&self) -> &str {
        &self.request_context.http.source_ip
    }

    /// The caller's user agent.
    #[must_use]
    pub fn user_agent(&self) -> &str {
        &self.request_context.http.user_agent
    }

    /// The write key: header `X-Write-Key`, Basic user name, or query
    /// `writeKey`; the first of them that is there.
    #[must_use]
    pub fn write_key(&self) -> Option<Cow<'_, str>> {
        self.write_key_in_headers()
            .or_else(|| self.write_key_in_query())
    }

    /// The write key: header `X-Write-Key`, else Basic user name.
    #[must_use]
    pub fn write_key_in_headers(&self) -> Option<Cow<'_, str>> {
        let key = self.header("x-write-key").map(str::trim);
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            return Some(Cow::Borrowed(key));
        }
        let user = self.header("authorization").and_then(basic_user);
        user.filter(|user| !user.is_empty()).map(Cow::Owned)
    }

    /// The write key: query `writeKey`.
    #[must_use]
    pub fn write_key_in_query(&self) -> Option<Cow<'_, str>> {
        self.raw_query_string
            .split('&')
            .find_map(|pair| pair.strip_prefix("writeKey="))
            .map(percent_decoded)
    }

    /// What stands behind the `?`, as it is.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.raw_query_string
    }

    /// Where this API is, as the caller wrote it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let domain = self.request_context.domain_name.as_ref();
        let host = self.header("host").unwrap_or(domain);
        // The stage is part of every path but that of the default one.
        let stage = match self.request_context.stage.as_ref() {
            "" | "$default" => String::new(),
            stage if self.raw_path.starts_with(&format!("/{stage}/")) => format!("/{stage}"),
            _ => String::new(),
        };
        let plain = self.header("x-forwarded-proto") == Some("http");
        Origin {
            scheme: if plain { "http" } else { "https" },
            host: format!("{host}{stage}"),
        }
    }

    /// The body as text, sent under one of these types: base64 and gzip undone,
    /// up to the limit.
    ///
    /// # Errors
    /// [`DecodeError`] says with which status and code to answer.
    pub fn text(&self, media_types: &'static [&'static str]) -> Result<Cow<'_, str>, DecodeError> {
        self.check_media_type(media_types)?;
        let body = self.body.as_deref().unwrap_or_default();
        let bytes: Cow<'_, [u8]> = if self.is_base64_encoded {
            Cow::Owned(
                STANDARD
                    .decode(body)
                    .map_err(|_| DecodeError::NotDecodable)?,
            )
        } else {
            Cow::Borrowed(body.as_bytes())
        };
        if bytes.len() > MAX_BODY_BYTES {
            return Err(DecodeError::TooLarge);
        }
        let encoding = self.header("content-encoding").map_or("", str::trim);
        let bytes = match encoding {
            "" => bytes,
            e if e.eq_ignore_ascii_case("identity") => bytes,
            e if e.eq_ignore_ascii_case("gzip") || e.eq_ignore_ascii_case("x-gzip") => {
                Cow::Owned(gunzip(&bytes)?)
            }
            _ => return Err(DecodeError::UnsupportedEncoding),
        };
        match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|_| DecodeError::NotUtf8),
            Cow::Owned(bytes) => String::from_utf8(bytes)
                .map(Cow::Owned)
                .map_err(|_| DecodeError::NotUtf8),
        }
    }

    fn check_media_type(&self, known: &'static [&'static str]) -> Result<(), DecodeError> {
        let Some(content_type) = self.header("content-type") else {
            return Ok(());
        };
        let (media, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let charset = parameters.split(';').find_map(|p| {
            let (name, value) = p.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches('"'))
        });
        let media_ok = known.iter().any(|k| media.trim().eq_ignore_ascii_case(k));
        let charset_ok = charset.is_none_or(|c| {
            ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|k| c.eq_ignore_ascii_case(k))
        });
        if media_ok && charset_ok {
            Ok(())
        } else {
            Err(DecodeError::UnsupportedMediaType(known))
        }
    }
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut inflated = Vec::with_capacity(bytes.len().saturating_mul(4).min(MAX_BODY_BYTES));
    let limit = MAX_BODY_BYTES as u64 + 1;
    let read = MultiGzDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut inflated);
    if inflated.len() > MAX_BODY_BYTES {
        return Err(DecodeError::TooLarge);
    }
    read.map(|_| inflated)
        .map_err(|_| DecodeError::NotDecodable)
}

fn basic_user(header: &str) -> Option<String> {
    let (scheme, credentials) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    Some(
        text.split_once(':')
            .map_or(text.as_str(), |(user, _)| user)
            .to_owned(),
    )
}

/// Where an API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `https`, or `http` on a laptop.
    pub scheme: &'static str,
    /// Host and port, and the stage if it is part of the path.
    pub host: String,
}

/// Undoes `%xx`; what is not text then stays as it was.
pub(crate) fn percent_decoded(text: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.unwrap_or(Cow::Borrowed(text))
}
