use super::*;
use crate::stand_in::{aws, on};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use wiremock::{MockServer, ResponseTemplate};

const CHECKED_AT: i64 = 1_795_456_800_250;

fn table(server: &MockServer) -> HealthTable {
    HealthTable::new(&aws(server, RetryConfig::disabled()), "aggregation")
}

fn checked(ms: i64) -> HealthReport {
    HealthReport {
        checked_at: Timestamp::from_millis(ms).unwrap(),
        status: "degraded".to_owned(),
        body: r#"{"checks":{"search":{"ok":false}}}"#.to_owned(),
    }
}

/// A table of one item.
async fn keeps_the_item(server: &MockServer) -> Arc<Mutex<Vec<Value>>> {
    let puts: Arc<Mutex<Vec<Value>>> = Arc::default();
    let written = Arc::clone(&puts);
    on(server, "PutItem", move |request| {
        written
            .lock()
            .unwrap()
            .push(serde_json::from_slice(&request.body).unwrap());
        ResponseTemplate::new(200).set_body_json(json!({}))
    })
    .await;
    let read = Arc::clone(&puts);
    on(server, "GetItem", move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(
            body["Key"],
            json!({"pk": {"S": "health"}, "sk": {"S": "latest"}})
        );
        assert_eq!(
            (&body["TableName"], &body["ConsistentRead"]),
            (&json!("aggregation"), &json!(true))
        );
        let puts = read.lock().unwrap();
        let answer = puts.last().map_or_else(
            || json!({}),
            |put| {
                let item = &put["Item"];
                json!({ "Item": item })
            },
        );
        ResponseTemplate::new(200).set_body_json(answer)
    })
    .await;
    puts
}

#[tokio::test]
async fn the_last_report_is_read_as_it_was_written_and_lives_for_a_week() {
    let server = MockServer::builder().start().await;
    let puts = keeps_the_item(&server).await;
    let table = table(&server);
    assert_eq!(table.get().await.unwrap(), None);
    table.put(&checked(CHECKED_AT)).await.unwrap();
    assert_eq!(table.get().await.unwrap(), Some(checked(CHECKED_AT)));
    let put = puts.lock().unwrap()[0].clone();
    assert_eq!(put["TableName"], "aggregation");
    assert_eq!(
        put["Item"],
        json!({
            "pk": {"S": "health"}, "sk": {"S": "latest"},
            "checked_at": {"N": "1795456800250"}, "status": {"S": "degraded"},
            "body": {"S": r#"{"checks":{"search":{"ok":false}}}"#},
            "expires_at": {"N": (1_795_456_800 + 604_800).to_string()},
        })
    );
}

#[tokio::test]
async fn a_clock_that_went_back_does_not_silence_health() {
    let server = MockServer::builder().start().await;
    let puts = keeps_the_item(&server).await;
    let table = table(&server);
    table.put(&checked(CHECKED_AT)).await.unwrap();
    table.put(&checked(CHECKED_AT - 3_600_000)).await.unwrap();
    let stored = table.get().await.unwrap().unwrap();
    assert_eq!(stored.checked_at.as_millis(), CHECKED_AT - 3_600_000);
    for put in puts.lock().unwrap().iter() {
        assert!(put.get("ConditionExpression").is_none(), "{put}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_sent() {
    let server = MockServer::builder().start().await;
    let puts = keeps_the_item(&server).await;
    let table = table(&server);
    let mut report = checked(CHECKED_AT);
    report.body = "x".repeat(MAX_REPORT_BYTES);
    table.put(&report).await.unwrap();
    report.body.push('x');
    let error = table.put(&report).await.unwrap_err();
    assert_eq!(error.code(), "item_too_large");
    assert!(!error.is_retryable());
    assert_eq!(puts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_odd_item_and_a_table_that_fails_are_told_apart() {
    let whole = json!({"checked_at": {"N": "5"}, "status": {"S": "healthy"}, "body": {"S": "{}"}});
    for missing in ["checked_at", "status", "body"] {
        let server = MockServer::builder().start().await;
        let mut item = whole.clone();
        item.as_object_mut().unwrap().remove(missing);
        on(&server, "GetItem", move |_| {
            ResponseTemplate::new(200).set_body_json(json!({ "Item": item }))
        })
        .await;
        let error = table(&server).get().await.unwrap_err();
        assert_eq!(error.code(), "item_unreadable", "{missing}");
    }
    let server = MockServer::builder().start().await; // it answers 404 to everything
    let table = table(&server);
    let read = table.get().await.unwrap_err();
    let written = table.put(&checked(CHECKED_AT)).await.unwrap_err();
    assert!(read.is_retryable() && written.is_retryable());
    assert_eq!(
        (read.code(), written.code()),
        ("table_unavailable", "table_unavailable")
    );
}
