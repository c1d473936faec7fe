//! The part of Dashboards' query language (DQL, once called kuery) that the
//! panels use, translated as Dashboards does.

use serde_json::{Value, json};

/// `term and term …`, where a term is `[not] field:value`, `field:prefix*` or
/// `field:*`. Anything else - `or`, brackets, quotes, ranges, escapes, free
/// text - is refused with what it was.
pub(crate) fn to_search(query: &str) -> Result<Value, String> {
    let mut words = query.split_whitespace().peekable();
    let mut terms = Vec::new();
    loop {
        let negated = words.next_if(|word| is(word, "not")).is_some();
        let word = words
            .next()
            .ok_or_else(|| format!("the unfinished query {query:?}"))?;
        let found = term(word)?;
        terms.push(if negated {
            json!({"bool": {"must_not": found}})
        } else {
            found
        });
        match words.next() {
            None => break,
            Some(word) if is(word, "and") => {}
            Some(word) => return Err(format!("{word:?} in the query {query:?}")),
        }
    }
    Ok(match <[Value; 1]>::try_from(terms) {
        Ok([only]) => only,
        Err(terms) => json!({"bool": {"filter": terms}}),
    })
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

fn term(word: &str) -> Result<Value, String> {
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b'/'))
    };
    let refused = || format!("the term {word:?}");
    let (field, value) = word.split_once(':').ok_or_else(refused)?;
    if !plain(field) {
        return Err(refused());
    }
    let clause = if value == "*" {
        json!({"exists": {"field": field}})
    } else if let Some(prefix) = value.strip_suffix('*')
        && plain(prefix)
    {
        let query = format!("{}*", escaped(prefix));
        json!({"query_string": {"fields": [field], "query": query}})
    } else if plain(value) {
        json!({"match": {field: literal(value)}})
    } else {
        return Err(refused());
    };
    Ok(json!({"bool": {"should": [clause], "minimum_should_match": 1}}))
}

/// Dashboards reads these three words as what they name.
fn literal(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        text => text.into(),
    }
}

/// What means something in Lucene's query syntax and may be in a plain value.
fn escaped(text: &str) -> String {
    text.replace('-', r"\-").replace('/', r"\/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn should(clause: &Value) -> Value {
        json!({"bool": {"should": [clause], "minimum_should_match": 1}})
    }

    #[test]
    fn translates_as_dashboards_does() {
        let cases = [
            (
                "event_type:purchase",
                should(&json!({"match": {"event_type": "purchase"}})),
            ),
            (
                "is_conversion:true",
                should(&json!({"match": {"is_conversion": true}})),
            ),
            (
                "metadata.other:*",
                should(&json!({"exists": {"field": "metadata.other"}})),
            ),
            (
                "not metadata.other:*",
                json!({"bool": {"must_not": should(&json!({"exists": {"field": "metadata.other"}}))}}),
            ),
            (
                "event_type:page_view and url_path:/product*",
                json!({"bool": {"filter": [
                    should(&json!({"match": {"event_type": "page_view"}})),
                    should(&json!({"query_string": {"fields": ["url_path"], "query": r"\/product*"}})),
                ]}}),
            ),
        ];
        for (query, expected) in cases {
            assert_eq!(to_search(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for query in [
            "",
            "purchase",
            "not",
            "a:b and",
            "a:b or c:d",
            "a:b c:d",
            "(a:b)",
            "a:(b or c)",
            "a:\"b c\"",
            "a>1",
            "a:b\\*",
            "a*:b",
            "a:*b",
            "a:b*c*",
            "a:",
            ":b",
            "a:{ b:c }",
            "and a:b",
        ] {
            let refused = to_search(query);
            assert!(refused.is_err(), "{query:?} gave {refused:?}");
        }
    }
}
