//! `page_url` into the parts that are searched for.

use std::borrow::Cow;
use thiserror::Error;
use url::{Position, Url};

/// Why a page's URL cannot be split.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PageUrlError {
    /// The WHATWG parser refuses it.
    #[error("page_url is not a URL")]
    NotAUrl(#[source] url::ParseError),
    /// It is a URL of something else than a page.
    #[error("page_url is not an http or https URL")]
    NotAPage,
}

/// The parts of a page's URL, percent-encoded as the WHATWG URL standard
/// serialises them. They borrow from the input where it already is in that form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageUrl<'a> {
    /// Begins with `/`.
    pub path: Cow<'a, str>,
    /// What stands between `?` and `#`, without the `?`.
    pub query: Option<Cow<'a, str>>,
    /// What follows `#`, without it.
    pub fragment: Option<Cow<'a, str>>,
}

/// Splits an http or https URL as WHATWG understands it.
///
/// # Errors
/// [`PageUrlError`] if it is no URL, or of another scheme.
pub fn split(text: &str) -> Result<PageUrl<'_>, PageUrlError> {
    let url = Url::parse(text).map_err(PageUrlError::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(PageUrlError::NotAPage);
    }
    // Most URLs are in normal form already: then the parts stand at the same
    // places of the input, and nothing has to be copied.
    if url.as_str() == text {
        let offset = |position| url[..position].len();
        let part = |start, end| Cow::Borrowed(&text[start..end]);
        return Ok(PageUrl {
            path: part(offset(Position::BeforePath), offset(Position::AfterPath)),
            query: url
                .query()
                .map(|_| part(offset(Position::BeforeQuery), offset(Position::AfterQuery))),
            fragment: url
                .fragment()
                .map(|_| part(offset(Position::BeforeFragment), text.len())),
        });
    }
    Ok(PageUrl {
        path: Cow::Owned(url.path().to_owned()),
        query: url.query().map(|query| Cow::Owned(query.to_owned())),
        fragment: url
            .fragment()
            .map(|fragment| Cow::Owned(fragment.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<String>, Option<String>) {
        let url = split(text).unwrap();
        (
            url.path.into_owned(),
            url.query.map(Cow::into_owned),
            url.fragment.map(Cow::into_owned),
        )
    }

    #[test]
    fn splits_as_browsers_do() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(parts("https://a.example"), ("/".into(), None, None));
        assert_eq!(parts("https://a.example?q"), ("/".into(), some("q"), None));
        assert_eq!(
            parts("http://a.example/b/c?d=e&f#g?h"),
            ("/b/c".into(), some("d=e&f"), some("g?h"))
        );
        assert_eq!(
            parts("https://a.example/x#y"),
            ("/x".into(), None, some("y"))
        );
        assert_eq!(
            parts("https://a.example/?#"),
            ("/".into(), some(""), some(""))
        );
        assert_eq!(
            parts("HTTPS://A.Example/a/../b c/é"),
            ("/b%20c/%C3%A9".into(), None, None)
        );
        assert_eq!(
            parts("https://[2001:db8::1]:8443/p"),
            ("/p".into(), None, None)
        );
    }

    #[test]
    fn borrows_what_is_normal() {
        let url = split("https://a.example/b?c#d").unwrap();
        assert!(matches!(
            (url.path, url.query, url.fragment),
            (
                Cow::Borrowed("/b"),
                Some(Cow::Borrowed("c")),
                Some(Cow::Borrowed("d"))
            )
        ));
    }

    #[test]
    fn refuses_what_is_no_page() {
        assert_eq!(split("ftp://a.example/"), Err(PageUrlError::NotAPage));
        assert!(matches!(split("/b"), Err(PageUrlError::NotAUrl(_))));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_url_crate(text in "https?://[a-z0-9.@:%/?#\\[\\] é]{0,30}") {
            match (Url::parse(&text), split(&text)) {
                (Ok(url), Ok(parts)) => {
                    proptest::prop_assert_eq!(parts.path.as_ref(), url.path());
                    proptest::prop_assert_eq!(parts.query.as_deref(), url.query());
                    proptest::prop_assert_eq!(parts.fragment.as_deref(), url.fragment());
                }
                (parsed, split) => proptest::prop_assert!(parsed.is_err() && split.is_err()),
            }
        }
    }
}
