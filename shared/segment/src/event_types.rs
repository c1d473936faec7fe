//! What a track call's event is called here.

use freshet_events::Limits;
use serde_json::Value;
use std::collections::HashMap;
use thiserror::Error;

/// The longest name that an extra table may hold, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The longest event type, in bytes.
const MAX_TYPE_BYTES: usize = Limits::DEFAULT.max_event_type_bytes;

/// The names that have an event type of ours: those of Segment's e-commerce
/// specification, and of its first version.
const BUILT_IN: [(&str, &str); 9] = [
    ("Products Searched", "search"),
    ("Product Added", "add_to_cart"),
    ("Wishlist Product Added to Cart", "add_to_cart"),
    ("Product Removed", "remove_from_cart"),
    ("Checkout Started", "checkout_start"),
    ("Order Completed", "purchase"),
    ("Added Product", "add_to_cart"),
    ("Removed Product", "remove_from_cart"),
    ("Completed Order", "purchase"),
];

/// Names of track calls and their event types. A name stands for all ways to
/// write its words: `Product Added`, `product added`, `product_added`,
/// `productAdded`. One that is not in the table becomes `snake_case`.
#[derive(Clone, Debug)]
pub struct EventTypes {
    /// By the name's words in `snake_case`.
    by_words: HashMap<String, String>,
}

/// What is wrong with an extra table.
#[derive(Debug, Error)]
pub enum EventTypesError {
    /// It is not JSON.
    #[error("the table of event types is not JSON")]
    Malformed(#[source] serde_json::Error),
    /// It is JSON, but no object.
    #[error("the table of event types is a JSON object: names and their event types")]
    NotAnObject,
    /// A name has no letter and no digit.
    #[error("the name {0:?} has neither a letter nor a digit")]
    NameEmpty(String),
    /// A name is too long.
    #[error("a name of an event is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// Two names are ways to write the same words.
    #[error("the name {0:?} stands there in two ways")]
    NameTwice(String),
    /// An event type is no text in `snake_case`.
    #[error("the event type of {0:?} is not text in snake_case, like add_to_cart")]
    TypeNotSnakeCase(String),
    /// An event type is longer than any event's may be.
    #[error("the event type of {0:?} is longer than {MAX_TYPE_BYTES} bytes")]
    TypeTooLong(String),
}

impl EventTypesError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "event_types_malformed",
            Self::NotAnObject => "event_types_not_an_object",
            Self::NameEmpty(_) => "event_name_empty",
            Self::NameTooLong => "event_name_too_long",
            Self::NameTwice(_) => "event_name_twice",
            Self::TypeNotSnakeCase(_) => "event_type_not_snake_case",
            Self::TypeTooLong(_) => "event_type_too_long",
        }
    }
}

impl Default for EventTypes {
    /// The built-in table.
    fn default() -> Self {
        let built_in = BUILT_IN.iter();
        Self {
            by_words: built_in
                .map(|(name, event_type)| (snake_case(name), (*event_type).to_owned()))
                .collect(),
        }
    }
}

impl EventTypes {
    /// The built-in table and the entries of a JSON object, which come first.
    /// Empty text is an empty object.
    ///
    /// # Errors
    /// The first thing that is wrong with the text.
    pub fn with(extra_json: &str) -> Result<Self, EventTypesError> {
        let mut types = Self::default();
        if extra_json.trim().is_empty() {
            return Ok(types);
        }
        let extra: Value = serde_json::from_str(extra_json).map_err(EventTypesError::Malformed)?;
        let Value::Object(extra) = extra else {
            return Err(EventTypesError::NotAnObject);
        };
        let mut given = HashMap::with_capacity(extra.len());
        for (name, event_type) in extra {
            if name.len() > MAX_NAME_BYTES {
                return Err(EventTypesError::NameTooLong);
            }
            let words = snake_case(&name);
            if words.is_empty() {
                return Err(EventTypesError::NameEmpty(name));
            }
            let Some(event_type) = event_type.as_str().filter(|text| is_snake_case(text)) else {
                return Err(EventTypesError::TypeNotSnakeCase(name));
            };
            if event_type.len() > MAX_TYPE_BYTES {
                return Err(EventTypesError::TypeTooLong(name));
            }
            if given.insert(words, event_type.to_owned()).is_some() {
                return Err(EventTypesError::NameTwice(name));
            }
        }
        types.by_words.extend(given);
        Ok(types)
    }

    /// The built-in names and their event types, as they are documented.
    pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.into_iter()
    }

    /// The event type of a track call's event; empty if the name has neither
    /// a letter nor a digit.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        let words = snake_case(name);
        if let Some(event_type) = self.by_words.get(&words) {
            return event_type.clone();
        }
        // In whatever case: `PRODUCT added`, `pRODUCT ADDED`.
        match self.by_words.get(&snake_case(&name.to_lowercase())) {
            Some(event_type) => event_type.clone(),
            None => words,
        }
    }
}

fn is_snake_case(text: &str) -> bool {
    !text.is_empty() && text == snake_case(text)
}

/// The words of a name in lower case, joined by `_`. Words end at whatever is
/// neither a letter nor a digit, before a capital after a small letter or
/// digit, and before the last of several capitals if a small letter follows it
/// (`HTTPError`).
pub(crate) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    let mut before: Option<char> = None;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_of_a_word(c) {
            before = None;
            continue;
        }
        let starts = match before {
            None => true,
            Some(before) if is_capital(c) => {
                !is_capital(before) || chars.peek().is_some_and(|next| next.is_lowercase())
            }
            Some(_) => false,
        };
        if starts && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
        before = Some(c);
    }
    out
}

/// A capital that has a small letter: mathematical ones have none.
fn is_capital(c: char) -> bool {
    c.is_uppercase() && !c.to_lowercase().eq([c])
}

/// Letters and digits of every script, and the accents that may follow them.
fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, expected) in [
            ("Clicked Sign-Up  Button", "clicked_sign_up_button"),
            ("orderCompleted", "order_completed"),
            ("HTTPError", "http_error"),
            ("Parsed HTTP", "parsed_http"),
            ("À𝒞", "à𝒞"),
            ("  spaces  around ", "spaces_around"),
            ("already_snake_case", "already_snake_case"),
            ("__x__", "x"),
            ("Step2Done", "step2_done"),
            ("v2", "v2"),
            ("user:signup.completed", "user_signup_completed"),
            ("Überweisung Getätigt", "überweisung_getätigt"),
            ("Cafe\u{301} Viewed", "cafe\u{301}_viewed"),
            ("商品を追加", "商品を追加"),
            ("🎉 Signed Up 🎉", "signed_up"),
            ("🎉", ""),
            ("", ""),
            (" -_. ", ""),
            ("İstanbul", "i\u{307}stanbul"),
        ] {
            assert_eq!(snake_case(name), expected, "{name}");
        }
    }

    #[test]
    fn the_table_comes_before_the_rule() {
        let types = EventTypes::default();
        for (name, expected) in EventTypes::built_in() {
            assert_eq!(types.of(name), expected);
            assert_eq!(types.of(&name.to_uppercase()), expected);
            assert_eq!(types.of(&name.to_lowercase()), expected);
            assert_eq!(types.of(&snake_case(name)), expected);
        }
        assert_eq!(types.of("OrderCompleted"), "purchase");
        assert_eq!(types.of("checkoutStarted"), "checkout_start");
        assert_eq!(types.of("pRODUCT addeD"), "add_to_cart");
        assert_eq!(types.of("Product Viewed"), "product_viewed");
    }

    #[test]
    fn a_parameter_extends_it() {
        let types = EventTypes::with(
            r#"{"Signed Up":"sign_up","Order Completed":"order_completed","Über":"über"}"#,
        )
        .unwrap();
        assert_eq!(types.of("signed up"), "sign_up");
        assert_eq!(types.of("Order Completed"), "order_completed");
        assert_eq!(types.of("Completed Order"), "purchase");
        assert_eq!(types.of("über"), "über");
        assert_eq!(
            EventTypes::with(" ").unwrap().of("product added"),
            "add_to_cart"
        );
        assert_eq!(
            EventTypes::with("{}").unwrap().of("product added"),
            "add_to_cart"
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_parameter() {
        let fails = |json: &str| EventTypes::with(json).unwrap_err().code();
        assert_eq!(fails("{"), "event_types_malformed");
        assert_eq!(fails("[]"), "event_types_not_an_object");
        assert_eq!(fails(r#"{"-":"x"}"#), "event_name_empty");
        assert_eq!(
            fails(&format!(r#"{{"{}":"x"}}"#, "x".repeat(257))),
            "event_name_too_long"
        );
        assert_eq!(
            fails(r#"{"Signed Up":"a","signed_up":"b"}"#),
            "event_name_twice"
        );
        for event_type in [
            r#""Sign Up""#,
            r#""signUp""#,
            r#""""#,
            "1",
            "null",
            r#""_x""#,
        ] {
            let json = format!(r#"{{"Signed Up":{event_type}}}"#);
            assert_eq!(fails(&json), "event_type_not_snake_case", "{json}");
        }
        let long = format!(r#"{{"Signed Up":"{}"}}"#, "x".repeat(129));
        assert_eq!(fails(&long), "event_type_too_long");
        let error = EventTypes::with(r#"{"Signed Up":"Sign Up"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"the event type of "Signed Up" is not text in snake_case, like add_to_cart"#
        );
    }

    proptest::proptest! {
        #[test]
        fn snake_case_is_stable(name in ".{0,40}") {
            let once = snake_case(&name);
            proptest::prop_assert_eq!(snake_case(&once), once);
        }
    }
}
