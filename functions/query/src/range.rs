//! Which slots a request asks for.

use crate::request::percent_decoded;
use freshet_events::Timestamp;
use thiserror::Error;

/// Slots of a page, if the request does not say.
pub const DEFAULT_LIMIT: usize = 20;
/// The most slots of a page.
pub const MAX_LIMIT: usize = 100;

/// Slots by their windows' ends, from the newest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The earliest end, in seconds since 1970.
    pub from: i64,
    /// Where ends stop: this one is not included.
    pub to: i64,
    /// How many at most.
    pub limit: usize,
    /// The cursor of the page before.
    pub after: Option<i64>,
}

/// A parameter that is not what it should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParameterError {
    /// It is none of ours.
    #[error("{0:?} is no parameter of this resource")]
    Unknown(String),
    /// It is there twice.
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    /// Its value is not a moment.
    #[error("{0} is neither ISO 8601 nor seconds since 1970, or outside 1970 to 9999")]
    Moment(&'static str),
    /// Its value is not a number in range.
    #[error("limit is not a whole number from 1 to {MAX_LIMIT}")]
    Limit,
    /// It was not made by us.
    #[error("after is not a cursor that an answer has given")]
    Cursor,
    /// Broken percent encoding.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
}

/// The parameters of a query, each a name of ours and its decoded value.
///
/// # Errors
/// [`ParameterError`] about the first that is unknown or repeated.
fn parameters(
    query: &str,
    known: &[&'static str],
) -> Result<Vec<(&'static str, String)>, ParameterError> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text| percent_decoded(text).ok_or(ParameterError::Encoding);
        let (name, value) = (decoded(name)?, decoded(value)?);
        let Some(name) = known.iter().find(|known| **known == name) else {
            return Err(ParameterError::Unknown(name));
        };
        if found.iter().any(|(before, _)| before == name) {
            return Err(ParameterError::Repeated(name));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// Makes sure that a query has no parameters.
///
/// # Errors
/// [`ParameterError::Unknown`] names one.
pub fn none(query: &str) -> Result<(), ParameterError> {
    parameters(query, &[]).map(drop)
}

impl Range {
    /// The range that a query names; `None` if it has no parameters.
    ///
    /// # Errors
    /// [`ParameterError`] about the first that is not what it should be.
    pub fn parse(query: &str) -> Result<Option<Self>, ParameterError> {
        let given = parameters(query, &["from", "to", "limit", "after"])?;
        if given.is_empty() {
            return Ok(None);
        }
        let mut range = Self {
            from: 0,
            to: i64::MAX,
            limit: DEFAULT_LIMIT,
            after: None,
        };
        for (name, value) in given {
            match name {
                "from" => range.from = moment(name, &value)?,
                "to" => range.to = moment(name, &value)?,
                "limit" => {
                    let limit = whole(&value).and_then(|limit| usize::try_from(limit).ok());
                    range.limit = limit
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or(ParameterError::Limit)?;
                }
                _ => range.after = Some(whole(&value).ok_or(ParameterError::Cursor)?),
            }
        }
        Ok(Some(range))
    }
}

/// Seconds since 1970; of a moment between two seconds the later one, so that
/// it parts whole seconds as the moment does.
fn moment(name: &'static str, text: &str) -> Result<i64, ParameterError> {
    let moment = match whole(text) {
        Some(seconds) => seconds.checked_mul(1000).and_then(Timestamp::from_millis),
        None => Timestamp::parse_iso8601(text),
    };
    let ms = moment.ok_or(ParameterError::Moment(name))?.as_millis();
    Ok(ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0))
}

/// Digits only: a number's own parser takes a sign as well.
fn whole(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(query: &str) -> Range {
        Range::parse(query).unwrap().unwrap()
    }

    #[test]
    fn any_parameter_makes_a_range_and_the_others_have_defaults() {
        assert_eq!(Range::parse(""), Ok(None));
        let expected = Range {
            from: 0,
            to: i64::MAX,
            limit: 20,
            after: None,
        };
        assert_eq!(parsed("limit=20"), expected);
        let all = "from=1795456800&to=2026-11-23T18%3A10%3A00Z&limit=100&after=1795457000";
        let expected = Range {
            from: 1_795_456_800,
            to: 1_795_457_400,
            limit: 100,
            after: Some(1_795_457_000),
        };
        assert_eq!(parsed(all), expected);
    }

    #[test]
    fn moments_are_iso_8601_or_seconds_and_keep_their_offset() {
        for text in [
            "1795456800",
            "2026-11-23T18:00:00Z",
            "2026-11-23T19:00:00+01:00",
            "2026-11-23T19:00:00%2B01:00",
            "2026-11-23T18:00:00",
            "2026-11-23T17:59:59.001Z",
        ] {
            assert_eq!(
                parsed(&format!("from={text}")).from,
                1_795_456_800,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, told) in [
            ("form=1", "\"form\" is no parameter of this resource"),
            ("limit=1&limit=2", "limit is given more than once"),
            ("from=", "from is neither"),
            ("to=yesterday", "to is neither"),
            ("to=-1", "to is neither"),
            ("from=99999999999999999999", "from is neither"),
            ("from=9223372036854775807", "from is neither"),
            ("limit=0", "limit is not"),
            ("limit=101", "limit is not"),
            ("limit=%2B5", "limit is not"),
            ("limit", "limit is not"),
            ("after=x", "after is not"),
            ("limit=%zz", "the query is not"),
            ("limit=%+5", "the query is not"),
            ("limit=%ff", "the query is not"),
            ("limit=5%", "the query is not"),
        ] {
            let error = Range::parse(query).unwrap_err().to_string();
            assert!(error.starts_with(told), "{query}: {error}");
        }
        assert_eq!(none("&"), Ok(()));
        assert_eq!(none("a=1"), Err(ParameterError::Unknown("a".to_owned())));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in "[ -~é]{0,40}", value in ".{0,12}") {
            let _ = Range::parse(&query);
            for name in ["from", "to", "limit", "after"] {
                let _ = Range::parse(&format!("{name}={value}"));
            }
        }

        #[test]
        fn a_moment_parts_whole_seconds_as_its_text_does(ms in 0_i64..4_102_444_800_000) {
            let text = Timestamp::from_millis(ms).unwrap().to_string();
            let from = parsed(&format!("from={text}")).from;
            prop_assert!(from * 1000 >= ms && (from - 1) * 1000 < ms);
        }
    }
}
