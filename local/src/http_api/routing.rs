//! Which route a request takes. Source: API Gateway Developer Guide, "Create
//! routes for HTTP APIs in API Gateway".

use anyhow::ensure;
use axum::http::Method;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// A route key, taken apart.
#[derive(Debug)]
pub(super) enum RouteKey {
    /// `$default`: what no other route takes.
    Default,
    /// A method, or nothing for `ANY`, and a path.
    Path(Option<Method>, Vec<Segment>),
}

#[derive(Debug)]
pub(super) enum Segment {
    Literal(String),
    Variable(String),
    /// `{name+}`: the rest of the path, in the last place only.
    Greedy(String),
}

/// How well a route matches; the greatest is taken. The guide's order is: full
/// matches, then greedy ones, then `$default`. Among equals the literal
/// segments decide, from the front, and then a method over `ANY`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    kind: Kind,
    literals: Vec<bool>,
    method: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Default,
    Greedy,
    Full,
}

/// `pathParameters`.
pub(super) type Parameters = BTreeMap<String, String>;

/// Which of `keys` a request takes, with the values of its path variables.
pub(super) fn choose<'a>(
    keys: impl Iterator<Item = &'a RouteKey>,
    method: &Method,
    path: &str,
) -> Option<(usize, Parameters)> {
    let matching = keys.enumerate().filter_map(|(index, key)| {
        let (rank, parameters) = key.matches(method, path)?;
        Some((rank, index, parameters))
    });
    matching
        .max_by(|a, b| a.0.cmp(&b.0))
        .map(|(_, index, parameters)| (index, parameters))
}

impl RouteKey {
    /// Takes a key apart: `$default`, `GET /a/{b}`, `ANY /a/{b+}`.
    ///
    /// # Errors
    /// If API Gateway would not take it.
    pub(super) fn parse(key: &str) -> anyhow::Result<Self> {
        if key == "$default" {
            return Ok(Self::Default);
        }
        let (method, path) = key.split_once(" /").unwrap_or_default();
        let method = match method {
            "ANY" => None,
            name => Some(Method::from_bytes(name.as_bytes())?),
        };
        ensure!(
            path.is_empty() || !path.ends_with('/'),
            "{key}: a route's path does not end with a slash"
        );
        let segments: Vec<Segment> = path.split('/').map(Segment::parse).collect();
        for (index, segment) in segments.iter().enumerate() {
            let last = index + 1 == segments.len();
            let (name, well_placed) = match segment {
                Segment::Literal(text) => {
                    ensure!(!text.contains(['{', '}']), "{key}: {text}");
                    continue;
                }
                Segment::Variable(name) => (name, true),
                Segment::Greedy(name) => (name, last),
            };
            ensure!(!name.is_empty(), "{key}: a variable without a name");
            ensure!(well_placed, "{key}: {{{name}+}} is not at the end");
        }
        Ok(Self::Path(method, segments))
    }

    fn matches(&self, method: &Method, path: &str) -> Option<(Rank, Parameters)> {
        let mut rank = Rank {
            kind: Kind::Default,
            literals: Vec::new(),
            method: false,
        };
        let mut parameters = Parameters::new();
        let Self::Path(own_method, segments) = self else {
            return Some((rank, parameters));
        };
        if own_method.as_ref().is_some_and(|own| own != method) {
            return None;
        }
        rank.kind = Kind::Full;
        rank.method = own_method.is_some();
        let mut rest = Some(path.strip_prefix('/')?);
        for segment in segments {
            let (next, after) = match rest?.split_once('/') {
                Some((next, after)) => (next, Some(after)),
                None => (rest?, None),
            };
            match segment {
                Segment::Literal(text) if *text == percent_decoded(next) => {
                    rank.literals.push(true);
                }
                Segment::Variable(name) if !next.is_empty() => {
                    rank.literals.push(false);
                    parameters.insert(name.clone(), percent_decoded(next));
                }
                // `/a/{b+}` takes `/a/`, `/{b+}` does not take `/`: seen by others
                // (storacha/w3infra#166), the guide says nothing of it.
                Segment::Greedy(name) if !rest?.is_empty() || segments.len() > 1 => {
                    rank.kind = Kind::Greedy;
                    parameters.insert(name.clone(), percent_decoded(rest?));
                    return Some((rank, parameters));
                }
                _ => return None,
            }
            rest = after;
        }
        rest.is_none().then_some((rank, parameters))
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        let name = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        match name.map(|name| (name, name.strip_suffix('+'))) {
            None => Self::Literal(text.to_owned()),
            Some((_, Some(greedy))) => Self::Greedy(greedy.to_owned()),
            Some((name, None)) => Self::Variable(name.to_owned()),
        }
    }
}

/// `queryStringParameters`: decoded, values of the same name joined by commas.
pub(super) fn query_parameters(query: &str) -> Parameters {
    let mut parameters = Parameters::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let [name, value] = [name, value].map(|text| percent_decoded(&text.replace('+', " ")));
        parameters
            .entry(name)
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

/// Undoes `%xx`.
fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<'a>(keys: &[&'a str], request: &str) -> Option<(&'a str, String)> {
        let parsed: Vec<RouteKey> = keys.iter().map(|k| RouteKey::parse(k).unwrap()).collect();
        let (method, path) = request.split_once(' ').unwrap();
        let (index, parameters) = choose(parsed.iter(), &method.parse().unwrap(), path)?;
        let parameters: Vec<String> = parameters.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Some((keys[index], parameters.join("&")))
    }

    #[test]
    fn the_most_specific_route_is_taken_in_whatever_order_they_are() {
        let mut keys = [
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/dog/{id}",
            "ANY /pets/dog/{id}",
            "GET /pets/{kind}/1",
            "GET /pets/dog/1",
        ];
        for _ in 0..2 {
            for (request, key, parameters) in [
                ("GET /pets/dog/1", "GET /pets/dog/1", ""),
                ("GET /pets/dog/2", "GET /pets/dog/{id}", "id=2"),
                ("PUT /pets/dog/2", "ANY /pets/dog/{id}", "id=2"),
                ("GET /pets/cat/1", "GET /pets/{kind}/1", "kind=cat"),
                ("GET /pets/cat/2", "GET /pets/{proxy+}", "proxy=cat/2"),
                ("GET /pets/dog", "GET /pets/{proxy+}", "proxy=dog"),
                ("POST /pets/cat/1", "ANY /{proxy+}", "proxy=pets/cat/1"),
                ("POST /test/5", "ANY /{proxy+}", "proxy=test/5"),
                ("GET /pets/", "GET /pets/{proxy+}", "proxy="),
                ("GET /pets", "ANY /{proxy+}", "proxy=pets"),
                ("GET /", "$default", ""),
            ] {
                let expected = Some((key, parameters.to_owned()));
                assert_eq!(chosen(&keys, request), expected, "{request}");
            }
            keys.reverse();
        }
    }

    #[test]
    fn a_route_takes_nothing_else() {
        let keys = ["GET /v1/x/{name}", "POST /v1/events"];
        for request in [
            "GET /v1/x",
            "GET /v1/x/",
            "GET /v1/x/a/b",
            "GET /v1/x/a/",
            "POST /v1/x/a",
            "POST /v1/events/",
            "POST /v1/Events",
            "GET /v1/events",
            "OPTIONS *",
        ] {
            assert_eq!(chosen(&keys, request), None, "{request}");
        }
    }

    #[test]
    fn variables_are_decoded_and_a_slash_in_them_parts_nothing() {
        assert_eq!(
            chosen(&["GET /x/{a}/{b}"], "GET /x/caf%C3%A9%2F1/50%25%zz"),
            Some(("GET /x/{a}/{b}", "a=café/1&b=50%%zz".to_owned()))
        );
    }

    #[test]
    fn query_parameters_are_decoded_and_joined() {
        for (query, expected) in [
            ("", &[][..]),
            ("a=1&b", &[("a", "1"), ("b", "")]),
            ("a=1&b=x&a=2", &[("a", "1,2"), ("b", "x")]),
            (
                "caf%C3%A9=a%26b+c&&d=e=f",
                &[("café", "a&b c"), ("d", "e=f")],
            ),
        ] {
            let parameters = query_parameters(query);
            let pairs = parameters.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            assert_eq!(pairs.collect::<Vec<_>>(), expected, "{query}");
        }
    }

    #[test]
    fn keys_that_api_gateway_refuses_are_refused() {
        for key in [
            "",
            "GET",
            "GET x",
            "/x",
            "GET /{a+}/b",
            "GET /{}",
            "GET /{+}",
            "GET /a{b}",
            "GET /a/",
        ] {
            assert!(RouteKey::parse(key).is_err(), "{key}");
        }
    }
}
