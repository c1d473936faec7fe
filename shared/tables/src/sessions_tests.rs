use super::*;
use crate::stand_in::{aws, on};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use freshet_events::Timestamp;
use freshet_sessions::{EventMark, SessionEvent, SessionPolicy};
use serde_json::{Value, json};
use wiremock::{MockServer, ResponseTemplate};

fn table(server: &MockServer) -> SessionTable {
    SessionTable::new(&aws(server, RetryConfig::disabled()), "sessions")
}

fn key(n: usize) -> SessionKey {
    SessionKey::new("shop", &n.to_string())
}

fn state(mark: u64) -> SessionState {
    let at = Timestamp::from_millis(1_795_456_800_000).unwrap();
    let event = SessionEvent {
        key: key(0),
        mark: EventMark(mark),
        at,
        source: "shop".to_owned(),
        session_id: Some("s".to_owned()),
        user_id: "u".to_owned(),
        page: Some("/".to_owned()),
        is_page_view: true,
        referrer: None,
        revenue: None,
        synthetic: false,
        bot: false,
    };
    let mut state = SessionState::default();
    state.merge(&key(0), [&event], &SessionPolicy::DEFAULT, at);
    state
}

fn item(key: &str, revision: u64) -> Value {
    json!({"session_key": {"S": key}, "revision": {"N": revision.to_string()},
        "sessions": {"S": state(1).to_text()}, "expires_at": {"N": "1"}})
}

#[tokio::test]
async fn keys_are_read_by_the_hundred_and_those_left_out_are_asked_for_again() {
    let server = MockServer::builder().start().await;
    on(&server, "BatchGetItem", |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let mut asked = body["RequestItems"]["sessions"]["Keys"]
            .as_array()
            .unwrap()
            .clone();
        assert!(asked.len() <= BATCH_KEYS);
        let half = asked.len().div_ceil(2);
        let left = asked.split_off(half);
        let found: Vec<Value> = asked
            .iter()
            .map(|key| item(key["session_key"]["S"].as_str().unwrap(), 3))
            .collect();
        let unprocessed = if left.len() > 20 {
            json!({"sessions": {"Keys": left}})
        } else {
            json!({})
        };
        ResponseTemplate::new(200).set_body_json(
            json!({"Responses": {"sessions": found}, "UnprocessedKeys": unprocessed}),
        )
    })
    .await;
    let keys: Vec<SessionKey> = (0..150).map(key).collect();
    let loaded = table(&server).load(&keys).await.unwrap();
    // 100 → 50 found, 50 left → 25 found, 25 left → 13 found, 12 not there; 50 → 25, 25 → 13.
    assert_eq!(loaded.len(), 50 + 25 + 13 + 25 + 13);
    let expected = Versioned {
        revision: 3,
        state: state(1),
    };
    assert!(loaded.into_values().all(|found| found.unwrap() == expected));
}

#[tokio::test]
async fn a_table_that_answers_nothing_useful_is_an_error() {
    let server = MockServer::builder().start().await;
    on(&server, "BatchGetItem", |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        ResponseTemplate::new(200)
            .set_body_json(json!({"Responses": {}, "UnprocessedKeys": body["RequestItems"]}))
    })
    .await;
    let error = table(&server).load(&[key(1)]).await.unwrap_err();
    assert!(matches!(error, TableError::Throttled), "{error}");
    assert!(!error.is_outage());
    server.reset().await; // 404 from here on
    let error = table(&server).load(&[key(1)]).await.unwrap_err();
    assert!(error.is_outage() && error.code() == "table_unavailable");
    let error = table(&server)
        .save(&key(1), 0, &state(1), 5)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "table_unavailable");
}

#[tokio::test]
async fn a_write_names_its_base_and_an_overtaken_writer_learns_what_is_there() {
    let server = MockServer::builder().start().await;
    on(&server, "PutItem", |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
        match body["ConditionExpression"].as_str().unwrap() {
            "attribute_not_exists(session_key)" => {
                assert_eq!((&body["Item"]["revision"]["N"], &body["Item"]["expires_at"]["N"]), (&json!("1"), &json!("5")));
                ResponseTemplate::new(200).set_body_json(json!({}))
            }
            "revision = :revision" => {
                let mut failed = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "no"});
                if body["ExpressionAttributeValues"][":revision"]["N"] == "7" {
                    failed["Item"] = item(key(0).as_str(), 9);
                }
                ResponseTemplate::new(400).set_body_json(failed)
            }
            other => panic!("{other}"),
        }
    })
    .await;
    let table = table(&server);
    let save = async |revision| table.save(&key(0), revision, &state(2), 5).await.unwrap();
    assert_eq!(save(0).await, Saved::Written(1));
    assert_eq!(
        save(7).await,
        Saved::Overtaken(Versioned {
            revision: 9,
            state: state(1)
        })
    );
    assert_eq!(save(8).await, Saved::Overtaken(Versioned::default()));
}

#[tokio::test]
async fn an_item_that_is_odd_or_refused_stands_for_itself() {
    let server = MockServer::builder().start().await;
    on(&server, "BatchGetItem", |_| {
        let mut newer = item(key(1).as_str(), 1);
        newer["sessions"]["S"] = json!(r#"{"v":9,"sessions":[]}"#);
        let items = json!([newer, item(key(2).as_str(), 4)]);
        ResponseTemplate::new(200).set_body_json(json!({"Responses": {"sessions": items}}))
    })
    .await;
    on(&server, "PutItem", |_| {
        let answer = json!({"__type": "com.amazon.coral.validate#ValidationException", "message": "Item size has exceeded the maximum allowed size"});
        ResponseTemplate::new(400).set_body_json(answer)
    })
    .await;
    let table = table(&server);
    let mut loaded = table.load(&[key(1), key(2), key(3)]).await.unwrap();
    let newer = loaded.remove(&key(1)).unwrap().unwrap_err();
    assert!(!newer.is_outage() && newer.code() == "item_unreadable");
    assert_eq!(loaded.remove(&key(2)).unwrap().unwrap().revision, 4);
    assert!(loaded.is_empty());
    let refused = table.save(&key(1), 0, &state(1), 5).await.unwrap_err();
    assert!(
        !refused.is_outage() && refused.code() == "table_refused",
        "{refused}"
    );
}
