//! What API Gateway hands over (HTTP API, payload 2.0), as far as a read needs it.

use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;

/// A request to read.
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    #[serde(borrow)]
    http: Http<'a>,
    #[serde(borrow, default)]
    stage: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

impl Request<'_> {
    /// The method, in upper case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.request_context.http.method
    }

    /// The path, parted after the stage's name: `("/prod", "/v1/aggregations")`.
    /// The first part is empty on the default stage.
    #[must_use]
    pub fn path(&self) -> (&str, &str) {
        let path = self.raw_path.as_ref();
        let stage = self.request_context.stage.as_ref();
        match path
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(stage))
        {
            Some(rest) if rest.starts_with('/') && !stage.is_empty() => {
                path.split_at(path.len() - rest.len())
            }
            _ => ("", path),
        }
    }

    /// A header's value, by its lower-case name; several are joined by commas.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let exact = self.headers.get(name);
        let found = exact.or_else(|| {
            let mut all = self.headers.iter();
            all.find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        });
        found.map(AsRef::as_ref)
    }

    /// What follows the question mark, as it was sent.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.raw_query_string
    }
}

/// Undoes `%xx`. A plus sign stays one: it is in `10:00:00+01:00`. `None` if
/// the text is not well encoded or not UTF-8.
#[must_use]
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (hex, tail) = tail.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16);
        out.push(u8::try_from(digit(hex[0])? * 16 + digit(hex[1])?).ok()?);
        rest = tail;
    }
    String::from_utf8(out).ok()
}
