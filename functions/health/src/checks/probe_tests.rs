use super::*;
use crate::stand_in::{aws, on};
use freshet_search::Auth;
use wiremock::matchers::{body_partial_json, header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn key(secret: &str) -> Result<String, CheckError> {
    let server = MockServer::builder().start().await;
    let answer = json!({"Name": "keys", "SecretString": secret});
    let answer = ResponseTemplate::new(200).set_body_json(answer);
    on(&server, "secretsmanager.GetSecretValue", answer).await;
    write_key(&Client::new(&aws(&server)), "keys").await
}

#[tokio::test]
async fn the_key_is_the_probes_own_or_the_first() {
    assert_eq!(key(r#"{"a":"shop","b":"probe"}"#).await.as_deref(), Ok("b"));
    assert_eq!(key(r#"{"b":"shop","a":"app"}"#).await.as_deref(), Ok("a"));
    for odd in ["{}", "[]", "no"] {
        assert_eq!(key(odd).await, Err(CheckError::Answer("Secrets Manager")));
    }
}

#[tokio::test]
async fn it_looks_until_it_is_there_or_the_time_is_over() {
    let posted = Instant::now();
    let by = posted + Duration::from_secs(60);
    let looks = std::cell::Cell::new(0);
    let third = || {
        looks.set(looks.get() + 1);
        let there = looks.get() == 3;
        async move { Ok(there) }
    };
    let took = wait(posted, by, third).await.unwrap();
    assert!(took >= 1_000, "there are pauses between looks: {took} ms");
    assert_eq!(looks.get(), 3);
    let soon = || Instant::now() + Duration::from_millis(30);
    let not_there = || async { Ok(false) };
    assert_eq!(wait(posted, soon(), not_there).await, Err(None));
    let down = || async { Err(CheckError::Unreachable("x")) };
    let failure = Some(CheckError::Unreachable("x"));
    assert_eq!(wait(posted, soon(), down).await, Err(failure));
    let hang = || futures::future::pending::<Result<bool, CheckError>>();
    assert_eq!(
        wait(posted, soon(), hang).await,
        Err(Some(CheckError::Timeout))
    );
}

#[tokio::test]
async fn a_probe_that_is_refused_says_by_what_code() {
    for (answer, code) in [
        (
            json!({"results": [{"index": 0, "status": "drop", "code": "timestamp_too_old"}]}),
            "timestamp_too_old",
        ),
        (
            json!({"results": [{"index": 0, "status": "retry"}]}),
            "retry",
        ),
        (json!({"error": "write_key_invalid"}), "401"),
    ] {
        let server = MockServer::builder().start().await;
        let posted = Mock::given(path("/v1/events"))
            .and(header("content-type", "application/json"))
            .and(body_partial_json(
                json!({"synthetic": true, "user_id": "freshet-probe", "event_id": "probe-5"}),
            ));
        let status = if code == "401" { 401 } else { 400 };
        posted
            .respond_with(ResponseTemplate::new(status).set_body_json(answer))
            .mount(&server)
            .await;
        let url = format!("{}/v1/events", server.uri());
        let way = Way {
            http: &reqwest::Client::new(),
            collect_url: &url,
            keys: None,
            search: &Search::connect(&server.uri(), Auth::None).unwrap(),
            alias: "clickstream",
            results: &ResultTable::new(&aws(&server), "t"),
        };
        let by = Instant::now() + Duration::from_secs(30);
        let found = check(&way, Timestamp::from_millis(5).unwrap(), by).await;
        let refused = CheckError::Refused {
            service: "collect",
            code: code.to_owned(),
        };
        assert_eq!(found.failure, Some(refused));
        assert_eq!(found.value, Some(Probe::default()));
    }
}
