use super::*;
use proptest::prelude::*;

const GOOD: &str = r#"{"user_id":"u1","session_id":"s1","event_type":"page_view","page_url":"https://shop.example/product/1?a=b#c","timestamp":"2026-11-23T18:00:00Z","metadata":{"amount":1}}"#;

fn now() -> Timestamp {
    Timestamp::parse_iso8601("2026-11-23T18:00:10Z").unwrap()
}

fn stamp() -> Stamp<'static> {
    Stamp {
        source: "shop".into(),
        received_at: now(),
        stage: Stage::Collect,
    }
}

fn parse(json: &str) -> Result<Event<'_>, Rejection> {
    let raw = RawEvent::read(json, Stage::Collect)?;
    Event::parse(raw, &stamp(), &Limits::DEFAULT, now(), || "new".to_owned())
}

/// The good event with one field's JSON replaced, or dropped.
fn with(field: &str, json: Option<&str>) -> String {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(GOOD).unwrap();
    match json {
        Some(json) => event.insert(field.to_owned(), serde_json::from_str(json).unwrap()),
        None => event.remove(field),
    };
    serde_json::to_string(&event).unwrap()
}

#[test]
fn a_good_event_is_stamped() {
    let event = parse(GOOD).unwrap();
    assert_eq!((event.event_id(), event.source()), ("new", "shop"));
    assert_eq!(event.received_at(), now());
    assert_eq!(event.metadata().as_json(), r#"{"amount":1}"#);
    let numeric = with("timestamp", Some("1795456800000"));
    assert_eq!(parse(&numeric).unwrap().timestamp(), event.timestamp());
    let floating = with("timestamp", Some("1795456800000.0"));
    assert_eq!(parse(&floating).unwrap().timestamp(), event.timestamp());
    assert_eq!(
        parse(&with("event_id", Some("\"mine\"")))
            .unwrap()
            .event_id(),
        "mine"
    );
}

#[test]
fn every_reason_has_its_code() {
    let long = |n: usize| format!("\"{}\"", "x".repeat(n));
    let cases: &[(&str, Option<&str>, &str)] = &[
        ("user_id", None, "field_missing"),
        ("session_id", Some("null"), "field_missing"),
        ("event_type", Some("\"\""), "field_empty"),
        ("user_id", Some("17"), "field_wrong_type"),
        ("user_id", Some("{}"), "field_wrong_type"),
        ("user_id", Some(&long(257)), "field_too_long"),
        ("event_type", Some(&long(129)), "field_too_long"),
        ("event_id", Some(&long(257)), "field_too_long"),
        ("page_url", Some("\"ftp://a/b\""), "page_url_invalid"),
        ("page_url", Some("\"/relative\""), "page_url_invalid"),
        (
            "page_url",
            Some("\"javascript:alert(1)\""),
            "page_url_invalid",
        ),
        ("page_url", Some("\"https://\""), "page_url_invalid"),
        ("timestamp", None, "field_missing"),
        ("timestamp", Some("\"noon\""), "timestamp_invalid"),
        ("timestamp", Some("-1"), "timestamp_invalid"),
        ("timestamp", Some("1.5"), "field_wrong_type"),
        ("timestamp", Some("1e300"), "field_wrong_type"),
        (
            "timestamp",
            Some("\"2026-11-16T18:00:09Z\""),
            "timestamp_too_old",
        ),
        (
            "timestamp",
            Some("\"2026-11-23T18:05:11Z\""),
            "timestamp_in_future",
        ),
        ("sent_at", Some("\"?\""), "timestamp_invalid"),
        ("schema_version", Some("\"1\""), "field_wrong_type"),
        ("synthetic", Some("\"true\""), "field_wrong_type"),
        ("synthetic", Some("1"), "field_wrong_type"),
        ("synthetic", Some("0.5"), "field_wrong_type"),
        ("synthetic", Some("[true]"), "field_wrong_type"),
        ("synthetic", Some("{}"), "field_wrong_type"),
        ("user_id", Some("true"), "field_wrong_type"),
        ("timestamp", Some("true"), "field_wrong_type"),
        ("schema_version", Some("false"), "field_wrong_type"),
        ("metadata", Some("[]"), "field_wrong_type"),
        ("source", Some("\"other-shop\""), "field_unknown"),
        ("received_at", Some("1"), "field_unknown"),
    ];
    for (field, json, code) in cases {
        let rejection = parse(&with(field, *json))
            .map(|e| e.event_id.into_owned())
            .unwrap_err();
        assert_eq!(rejection.code, *code, "{field} = {json:?}");
        assert_eq!(rejection.stage, Stage::Collect);
    }
    assert_eq!(parse("[]").unwrap_err().code, "event_not_an_object");
    assert_eq!(parse("{oops").unwrap_err().code, "event_malformed");
    assert_eq!(
        parse(&GOOD.replace("u1", "\\ud800")).unwrap_err().code,
        "event_malformed"
    );
    for field in ["\"user_id\":\"a\"", "\"synthetic\":true,\"synthetic\":true"] {
        let twice = GOOD.replacen('{', &format!("{{{field},"), 1);
        assert_eq!(
            parse(&twice).unwrap_err().code,
            "field_duplicate",
            "{field}"
        );
    }
}

#[test]
fn an_event_is_synthetic_if_it_says_so() {
    for (json, synthetic) in [
        (None, false),
        (Some("null"), false),
        (Some("false"), false),
        (Some("true"), true),
    ] {
        let json = with("synthetic", json);
        let event = parse(&json).unwrap();
        assert_eq!(event.is_synthetic(), synthetic, "{json}");
        let wire = String::from_utf8(event.to_wire()).unwrap();
        assert_eq!(wire.contains("synthetic"), synthetic, "{wire}");
        let read = Event::from_wire(&wire).unwrap();
        assert_eq!(read.is_synthetic(), synthetic);
    }
}

fn call() -> Translated<'static> {
    Translated {
        event_id: Some("m-1".into()),
        user_id: "u1".into(),
        session_id: None,
        event_type: "order_completed".into(),
        page_url: None,
        timestamp: now(),
        sent_at: None,
        metadata: None,
    }
}

fn judge(call: Translated<'static>) -> Result<Event<'static>, Rejection> {
    let new_id = || "new".to_owned();
    Event::translated(call, &stamp(), &Limits::DEFAULT, now(), new_id)
}

#[test]
fn a_translated_call_may_have_no_page_and_no_session() {
    let event = judge(call()).unwrap();
    assert_eq!((event.page_url(), event.session_id()), (None, None));
    assert_eq!((event.event_id(), event.source()), ("m-1", "shop"));
    let wire = String::from_utf8(event.to_wire()).unwrap();
    assert_eq!(
        wire,
        r#"{"event_id":"m-1","source":"shop","user_id":"u1","event_type":"order_completed","timestamp":1795456810000,"received_at":1795456810000,"metadata":{}}"#
    );
    let read = Event::from_wire(&wire).unwrap();
    assert_eq!((read.page_url(), read.session_id()), (None, None));
    assert_eq!(read.to_wire(), wire.as_bytes());
    let nameless = Translated {
        event_id: None,
        ..call()
    };
    assert_eq!(judge(nameless).unwrap().event_id(), "new");
}

#[test]
fn a_translated_call_is_judged_like_any_event() {
    let long = "x".repeat(257);
    let list: &RawValue = serde_json::from_str("[1]").unwrap();
    let old = Timestamp::parse_iso8601("2026-11-16T18:00:09Z").unwrap();
    let soon = Timestamp::parse_iso8601("2026-11-23T18:05:11Z").unwrap();
    let with = |change: &dyn Fn(&mut Translated<'static>)| {
        let mut call = call();
        change(&mut call);
        judge(call).map(|_| ()).unwrap_err().code.into_owned()
    };
    let cases = [
        (with(&|c| c.user_id = "".into()), "field_empty"),
        (with(&|c| c.session_id = Some("".into())), "field_empty"),
        (with(&|c| c.event_type = "".into()), "field_empty"),
        (with(&|c| c.page_url = Some("".into())), "field_empty"),
        (with(&|c| c.event_id = Some("".into())), "field_empty"),
        (with(&|c| c.user_id = long.clone().into()), "field_too_long"),
        (
            with(&|c| c.session_id = Some(long.clone().into())),
            "field_too_long",
        ),
        (
            with(&|c| c.page_url = Some("app://home".into())),
            "page_url_invalid",
        ),
        (with(&|c| c.timestamp = old), "timestamp_too_old"),
        (with(&|c| c.timestamp = soon), "timestamp_in_future"),
        (with(&|c| c.metadata = Some(list)), "field_wrong_type"),
    ];
    for (n, (code, expected)) in cases.into_iter().enumerate() {
        assert_eq!(code, expected, "case {n}");
    }
    assert!(!format!("{:?}", call()).contains("u1"));
}

#[test]
fn ages_at_the_limit_pass() {
    for at in ["2026-11-16T18:00:10Z", "2026-11-23T18:05:10Z"] {
        assert!(
            parse(&with("timestamp", Some(&format!("\"{at}\"")))).is_ok(),
            "{at}"
        );
    }
}

#[test]
fn nul_bytes_and_long_urls_are_text_like_any_other() {
    assert_eq!(
        parse(&with("user_id", Some("\"a\\u0000b\"")))
            .unwrap()
            .user_id(),
        "a\0b"
    );
    let url = format!("\"https://shop.example/{}\"", "p".repeat(4_000));
    assert!(parse(&with("page_url", Some(&url))).is_ok());
}

#[test]
fn debug_shows_no_payload() {
    let shown = format!("{:?}", parse(GOOD).unwrap());
    assert!(
        !shown.contains("u1") && !shown.contains("shop.example"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"[\[\]{}",:a0\\u d8n.-]{0,80}"#) {
        let _ = parse(&text);
    }

    #[test]
    fn any_field_value_is_accepted_or_refused(
        field in prop::sample::select(vec!["user_id", "session_id", "event_type", "page_url", "timestamp", "event_id", "sent_at", "schema_version", "synthetic", "metadata"]),
        text in ".{0,300}",
    ) {
        let json = with(field, Some(&serde_json::to_string(&text).unwrap()));
        match parse(&json) {
            Ok(event) => prop_assert!(!event.user_id().is_empty()),
            Err(rejection) => prop_assert!(!rejection.code.is_empty()),
        }
    }

    /// With page and session, the native API and a translated call give the
    /// same event, or refuse it for the same reason.
    #[test]
    fn a_translated_call_is_what_the_native_event_is(
        texts in prop::array::uniform4(prop::sample::select(vec![
            "u1".to_owned(), "page_view".to_owned(), "https://shop.example/p".to_owned(), String::new(), "x".repeat(200), "x".repeat(300),
        ])),
        id in prop::option::of(prop::sample::select(vec!["mine", ""])),
        age_ms in -600_000_i64..700_000_000,
    ) {
        let [user, session, kind, page] = &texts;
        let at = now().saturating_add_millis(-age_ms);
        let mut json = serde_json::json!({
            "user_id": user, "session_id": session, "event_type": kind, "page_url": page, "timestamp": at.as_millis(), "metadata": {"a": 1},
        });
        if let Some(id) = id { json["event_id"] = id.into(); }
        let metadata: &RawValue = serde_json::from_str(r#"{"a":1}"#).unwrap();
        let call = Translated {
            event_id: id.map(Into::into),
            user_id: user.clone().into(),
            session_id: Some(session.clone().into()),
            event_type: kind.clone().into(),
            page_url: Some(page.clone().into()),
            timestamp: at,
            sent_at: None,
            metadata: Some(metadata),
        };
        let json = json.to_string();
        let native = parse(&json).map(|event| event.to_wire());
        prop_assert_eq!(judge(call).map(|event| event.to_wire()), native);
    }
}
