//! RudderStack's pixel: a call in the query of an image.

use crate::call_type::CallType;
use crate::calls::CallsError;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::borrow::Cow;
use thiserror::Error;

/// How many parts a parameter's name may have.
const MAX_PARTS: usize = 16;

/// Why a query is no call.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PixelError {
    /// A name or value is not UTF-8.
    #[error("a name or value of the query is not UTF-8")]
    NotText,
    /// A name is both a value and an object.
    #[error("a name of the query stands for a value and for an object")]
    NameTwofold,
    /// A name has too many parts.
    #[error("a name of the query has more than {MAX_PARTS} parts")]
    NameTooDeep,
}

impl PixelError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "request_malformed"
    }
}

/// The JSON of the call in a pixel's query. Names with dots are paths
/// (`context.page.url=…`), the first of equal names counts, and every value is
/// text. `writeKey` is left out; `channel` is `web` unless the query says
/// another.
///
/// # Errors
/// [`CallsError::Pixel`] if names or values cannot be read.
pub fn pixel(raw_query: &str, call: CallType) -> Result<String, CallsError> {
    let mut fields = Map::new();
    for parameter in raw_query.split('&').filter(|text| !text.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, mut value) = (decode(name)?, decode(value)?);
        if name == "writeKey" {
            continue;
        }
        if name == "anonymousId" {
            // AMP writes it in quotes.
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            value = inner.map(str::to_owned).unwrap_or(value);
        }
        insert(&mut fields, &name, value)?;
    }
    fields.insert("type".to_owned(), call.as_str().into());
    fields.entry("channel").or_insert_with(|| "web".into());
    Ok(Value::Object(fields).to_string())
}

fn insert(fields: &mut Map<String, Value>, name: &str, value: String) -> Result<(), PixelError> {
    if name.split('.').count() > MAX_PARTS {
        return Err(PixelError::NameTooDeep);
    }
    let (path, last) = name
        .rsplit_once('.')
        .map_or(("", name), |(path, last)| (path, last));
    let mut object = fields;
    for part in path.split('.').filter(|_| name.contains('.')) {
        let inner = object
            .entry(part)
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else {
            return Err(PixelError::NameTwofold);
        };
        object = inner;
    }
    match object.get(last) {
        None => {
            object.insert(last.to_owned(), Value::String(value));
            Ok(())
        }
        Some(Value::Object(_)) => Err(PixelError::NameTwofold),
        Some(_) => Ok(()),
    }
}

/// Percent and plus signs, as forms encode them. A percent sign that begins
/// no code stands for itself.
fn decode(text: &str) -> Result<String, PixelError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|_| PixelError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(query: &str) -> Value {
        serde_json::from_str(&pixel(query, CallType::Page).unwrap()).unwrap()
    }

    #[test]
    fn a_query_is_a_call() {
        let query = "writeKey=k&anonymousId=%22a-1%22&name=Home&context.library.name=Rudderstack+AMP+SDK\
            &context.page.url=https%3A%2F%2Fshop.example%2F%3Fq%3Dcaf%C3%A9&context.page.title=100%&properties.a=&b&&a=1&a=2";
        assert_eq!(
            read(query),
            json!({
                "type": "page", "channel": "web", "anonymousId": "a-1", "name": "Home",
                "context": {
                    "library": {"name": "Rudderstack AMP SDK"},
                    "page": {"url": "https://shop.example/?q=café", "title": "100%"}
                },
                "properties": {"a": ""}, "b": "", "a": "1",
            })
        );
        assert_eq!(read("channel=mobile&type=track")["channel"], "mobile");
        assert_eq!(read("type=track")["type"], "page");
        assert_eq!(read(""), json!({"type": "page", "channel": "web"}));
    }

    #[test]
    fn says_what_cannot_be_read() {
        let fails = |query: &str| match pixel(query, CallType::Track) {
            Err(CallsError::Pixel(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(fails("a=%ff"), PixelError::NotText);
        assert_eq!(fails("%ff=a"), PixelError::NotText);
        assert_eq!(fails("a=1&a.b=2"), PixelError::NameTwofold);
        assert_eq!(fails("a.b=1&a=2"), PixelError::NameTwofold);
        assert_eq!(
            fails(&format!("{}=1", "a.".repeat(4_000))),
            PixelError::NameTooDeep
        );
        let error = CallsError::from(PixelError::NotText);
        assert_eq!(error.code(), "request_malformed");
    }

    proptest::proptest! {
        #[test]
        fn no_query_makes_it_panic(query in r"[a-c.&=%+0-9é]{0,60}") {
            let _ = pixel(&query, CallType::Track);
        }
    }
}
