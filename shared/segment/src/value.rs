//! One JSON value of a call, whose type is never taken for granted.

use crate::refuse;
pub(crate) use freshet_events::text_of as text;
use freshet_events::{Code, Rejection};
use serde_json::value::RawValue;

/// Whole numbers below 2^53 are exact in floating point.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// Below this a number fits the index's `long`.
const LONG_BELOW: f64 = 9.2e18;

/// The text of a whole number, as JSON writes it without a fraction.
fn whole_number(value: &RawValue) -> Option<String> {
    let json = value.get();
    let digits = json.strip_prefix('-').unwrap_or(json);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some(json.to_owned());
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // To JSON 5 and 5.0 are one number, and some languages write the second.
    let number: f64 = json.parse().ok()?;
    #[allow(clippy::cast_possible_truncation)] // whole, and below 2^53
    (number.fract() == 0.0 && number.abs() < EXACT_BELOW).then(|| (number as i64).to_string())
}

/// An identifier: a string, or a whole number as text. Absent and empty are
/// the same.
///
/// # Errors
/// [`Code::FieldWrongType`] for other values.
pub(crate) fn id(name: &str, value: Option<&RawValue>) -> Result<Option<String>, Rejection> {
    let Some(value) = value else { return Ok(None) };
    if value.get().starts_with('"') {
        let text = text(value).ok_or_else(|| not_unicode(name))?;
        return Ok((!text.is_empty()).then(|| text.into_owned()));
    }
    let whole = whole_number(value).ok_or_else(|| {
        let message = format!("{name} is a string or a whole number");
        refuse(Code::FieldWrongType, message)
    })?;
    Ok(Some(whole))
}

pub(crate) fn not_unicode(name: &str) -> Rejection {
    let message = format!("{name} is not Unicode text");
    refuse(Code::EventMalformed, message)
}

/// A finite number, be it written as a number or as text.
pub(crate) fn number(value: &RawValue) -> Option<f64> {
    let json = value.get();
    let digits = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
        .unwrap_or(json);
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if !digits.bytes().all(plain) {
        return None;
    }
    digits
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// Whether the index takes the value as a `long`; it cuts a fraction off. Text
/// with an exponent may be more digits than it should write out.
pub(crate) fn fits_long(value: &RawValue) -> bool {
    let json = value.get();
    if json.starts_with('"') && json.contains(['e', 'E']) {
        return false;
    }
    number(value).is_some_and(|number| number.abs() < LONG_BELOW)
}

/// Whether the index takes the value as a `keyword`: a scalar, or an array
/// that holds no object.
pub(crate) fn fits_keyword(value: &RawValue) -> bool {
    let mut in_string = false;
    let mut escaped = false;
    for byte in value.get().bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => return false,
            _ => {}
        }
    }
    true
}

/// Whether it says nothing: `null`, `""`, `{}` or `[]`.
pub(crate) fn is_empty(value: &RawValue) -> bool {
    let json = value.get();
    match json.bytes().next() {
        Some(b'{' | b'[') => json[1..json.len() - 1].trim_ascii().is_empty(),
        _ => json == "null" || json == "\"\"",
    }
}
