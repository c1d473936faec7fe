//! Entity tags and codings (RFC 9110, sections 8.8.3, 12.5.3 and 13.1.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

/// Below this, gzip saves nothing that travels in fewer packets.
const WORTH_ZIPPING_BYTES: usize = 1024;

/// A body in the coding that the client wants, and its strong tag.
pub(crate) struct Entity {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_gzip: bool,
    pub(crate) tag: String,
}

impl Entity {
    /// `body` for a client that sent this `Accept-Encoding`. Each coding has a
    /// tag of its own, as strong ones must.
    pub(crate) fn new(body: Vec<u8>, accept_encoding: Option<&str>) -> Self {
        let hash = Sha256::digest(&body);
        let hash = URL_SAFE_NO_PAD.encode(&hash[..16]);
        if body.len() > WORTH_ZIPPING_BYTES
            && accepts_gzip(accept_encoding)
            && let Ok(bytes) = gzip(&body)
        {
            return Self {
                bytes,
                is_gzip: true,
                tag: format!("\"{hash}-gzip\""),
            };
        }
        Self {
            bytes: body,
            is_gzip: false,
            tag: format!("\"{hash}\""),
        }
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Whether the client takes gzip: it must say so, and not with `q=0`.
fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let quality = |coding: &str| {
        accept_encoding?.split(',').find_map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let q = parameters.split(';').find_map(|parameter| {
                let (key, value) = parameter.split_once('=')?;
                (key.trim().eq_ignore_ascii_case("q")).then(|| value.trim().parse().unwrap_or(0.0))
            });
            let is_it = name.trim().eq_ignore_ascii_case(coding);
            is_it.then_some(q.unwrap_or(1.0_f32))
        })
    };
    let named = quality("gzip").or_else(|| quality("x-gzip"));
    named.or_else(|| quality("*")).is_some_and(|q| q > 0.0)
}

/// Whether `If-None-Match` names this tag; compared weakly, as it asks for.
pub(crate) fn is_known(if_none_match: Option<&str>, tag: &str) -> bool {
    let mut rest = if_none_match.unwrap_or_default().trim();
    if rest == "*" {
        return true;
    }
    // A tag may hold a comma, so they cannot be split at them.
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let Some((inside, after)) = opaque
            .strip_prefix('"')
            .and_then(|text| text.split_once('"'))
        else {
            return false;
        };
        if tag.trim_matches('"') == inside {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for yes in [
            "gzip",
            "br, GZIP;q=0.5",
            "x-gzip",
            "*",
            "br;q=1, *;q=0.1",
            "gzip ; q=1",
        ] {
            assert!(accepts_gzip(Some(yes)), "{yes}");
        }
        for no in [
            "",
            "br",
            "gzip;q=0",
            "gzip; q=0.000",
            "*;q=0",
            "gzip;q=0, *",
            "gzip;q=x",
            "gzipp",
        ] {
            assert!(!accepts_gzip(Some(no)), "{no}");
        }
        assert!(!accepts_gzip(None));
    }

    #[test]
    fn a_tag_is_of_the_content_and_its_coding() {
        let large = vec![b'a'; WORTH_ZIPPING_BYTES + 1];
        let plain = Entity::new(large.clone(), None);
        let zipped = Entity::new(large.clone(), Some("gzip"));
        assert!(zipped.is_gzip && !plain.is_gzip && zipped.bytes.len() < plain.bytes.len());
        assert_ne!(plain.tag, zipped.tag);
        assert_eq!(plain.tag, Entity::new(large.clone(), Some("br")).tag);
        assert_ne!(
            plain.tag,
            Entity::new([large, vec![b'b']].concat(), None).tag
        );
        assert!(!Entity::new(vec![b'a'; WORTH_ZIPPING_BYTES], Some("gzip")).is_gzip);
    }

    #[test]
    fn tags_are_found_in_lists_and_broken_lists_match_nothing() {
        for yes in [
            "*",
            " * ",
            "\"t\"",
            "W/\"t\"",
            "\"a,b\", \"t\"",
            "\"a\",,W/\"t\",\"c\"",
        ] {
            assert!(is_known(Some(yes), "\"t\""), "{yes}");
        }
        for no in [
            "",
            "t",
            "\"T\"",
            "\"t",
            "'t'",
            "\"a\" b \"t\"",
            "\"a\", *",
            "w/\"t\"",
        ] {
            assert!(!is_known(Some(no), "\"t\""), "{no}");
        }
        assert!(!is_known(None, "\"t\""));
    }

    fn opaque() -> impl Strategy<Value = String> {
        "(W/)?\"[!#-~]{0,8}\""
    }

    proptest! {
        #[test]
        fn our_tag_is_known_wherever_it_stands(
            body in prop::collection::vec(any::<u8>(), 0..50),
            before in prop::collection::vec(opaque(), 0..4),
            after in prop::collection::vec(opaque(), 0..4),
            weak in any::<bool>(),
        ) {
            let tag = Entity::new(body, None).tag;
            let ours = if weak { format!("W/{tag}") } else { tag.clone() };
            let others = before.join(", ");
            prop_assert!(!is_known(Some(&others), &tag));
            let list: Vec<String> = before.into_iter().chain([ours]).chain(after).collect();
            prop_assert!(is_known(Some(&list.join(", ")), &tag));
        }

        #[test]
        fn no_header_makes_it_panic(text in ".{0,30}") {
            let _ = (accepts_gzip(Some(&text)), is_known(Some(&text), "\"t\""));
        }
    }
}
