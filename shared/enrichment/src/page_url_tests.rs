use super::*;
use proptest::prelude::*;

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
    let some = |text: &str| Some(text.to_owned());
    for (text, path, query, fragment) in [
        ("https://a.example", "/", None, None),
        ("https://a.example?q", "/", some("q"), None),
        ("https://a.example#f", "/", None, some("f")),
        ("https://a.example/?#", "/", some(""), some("")),
        ("https://a.example/x#y?z#", "/x", None, some("y?z#")),
        (
            "http://a.example/b/c?d=e&f#g?h",
            "/b/c",
            some("d=e&f"),
            some("g?h"),
        ),
        ("http://localhost:8080/p?q=1", "/p", some("q=1"), None),
        ("https://[2001:db8::1]:8443/p", "/p", None, None),
        ("https://user:word@a.example/p", "/p", None, None),
        ("HTTPS://A.Example/a/../b c/é", "/b%20c/%C3%A9", None, None),
        ("https://a.example/a/%2e%2E/b/./c", "/b/c", None, None),
        ("https://a.example/a/%2E%2E/b", "/b", None, None),
        ("https://a.example/a/%2e", "/a/", None, None),
        ("https://a.example\\b\\c", "/b/c", None, None),
        (
            "https://a.example/?q='é'",
            "/",
            some("q=%27%C3%A9%27"),
            None,
        ),
        (" https://a.example/\tb\n ", "/b", None, None),
        ("https://bücher.example/ü", "/%C3%BC", None, None),
    ] {
        assert_eq!(parts(text), (path.to_owned(), query, fragment), "{text}");
    }
}

#[test]
fn borrows_what_is_normal() {
    for text in [
        "https://a.example/b?c#d",
        "http://shop.a-b.example/b?c=1&e=%C3%A9#d",
    ] {
        let url = split(text).unwrap();
        assert!(matches!(url.path, Cow::Borrowed("/b")), "{text}");
        assert!(matches!(url.query, Some(Cow::Borrowed(_))), "{text}");
        assert!(matches!(url.fragment, Some(Cow::Borrowed("d"))), "{text}");
    }
}

#[test]
fn refuses_what_is_no_page() {
    for text in [
        "ftp://a.example/",
        "javascript:alert(1)",
        "about:blank",
        "data:,x",
        "file:///etc/passwd",
    ] {
        assert_eq!(split(text), Err(PageUrlError::NotAPage), "{text}");
    }
    for text in [
        "",
        "/b",
        "a.example/b",
        "https://",
        "http://a b/",
        "http://256.1.1.1/",
        "http://1.2.3.0x100/",
        "http://xn--a/",
    ] {
        assert!(
            matches!(split(text), Err(PageUrlError::NotAUrl(_))),
            "{text}"
        );
    }
}

/// What `split` promises, said by the `url` crate itself.
fn expected(text: &str) -> Option<(String, Option<String>, Option<String>)> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some((
        url.path().to_owned(),
        url.query().map(str::to_owned),
        url.fragment().map(str::to_owned),
    ))
}

fn split_owned(text: &str) -> Option<(String, Option<String>, Option<String>)> {
    split(text).is_ok().then(|| parts(text))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn equals_the_url_crate_on_anything(text in any::<String>()) {
        prop_assert_eq!(split_owned(&text), expected(&text));
    }

    #[test]
    fn equals_the_url_crate_behind_a_scheme(text in "(https?|HTTP|ftp|ws):/{0,3}\\PC{0,40}") {
        prop_assert_eq!(split_owned(&text), expected(&text));
    }

    /// Near the border between the short way and the long one: few characters, all of them special somewhere.
    #[test]
    fn equals_the_url_crate_at_the_border(
        host in "[a-c0-1x.-]{1,12}|(xn--|0x|1|a)[a-c0-9.-]{0,6}",
        tail in "[/?#][ab/?#.%2eE'\"\\\\:@|\\[\\]^`{}<> ~!é\t]{0,20}|",
    ) {
        let text = format!("https://{host}{tail}");
        prop_assert_eq!(split_owned(&text), expected(&text), "{}", text);
    }
}

proptest! {
    #[test]
    fn equals_the_url_crate_on_dot_segments(
        segments in prop::collection::vec(
            prop::sample::select(vec!["", ".", "..", "%2e", "%2E", "%2e%2E", ".%2e", "%2E.", "a", ".a", "a.", "%2ea", "..."]),
            1..5,
        ),
    ) {
        let text = format!("https://a.example/{}", segments.join("/"));
        prop_assert_eq!(split_owned(&text), expected(&text), "{}", text);
    }
}

/// The short way changes nothing, byte for byte, wherever a byte may stand.
#[test]
fn every_character_in_every_part_equals_the_url_crate() {
    for c in (0..=0x2ff).filter_map(char::from_u32) {
        for text in [
            format!("https://a{c}b.example/"),
            format!("https://a.example/x{c}y"),
            format!("https://a.example/{c}"),
            format!("https://a.example/?x{c}y"),
            format!("https://a.example/?{c}"),
            format!("https://a.example/#x{c}y"),
            format!("https://a.example/#{c}"),
        ] {
            assert_eq!(split_owned(&text), expected(&text), "{text:?}");
        }
    }
}
