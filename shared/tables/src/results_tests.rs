use super::*;
use crate::stand_in::{aws, on};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wiremock::{MockServer, ResponseTemplate};

const END: i64 = 1_795_456_800;

fn table(server: &MockServer) -> ResultTable {
    ResultTable::new(&aws(server, RetryConfig::disabled()), "aggregation")
}

fn now() -> Timestamp {
    Timestamp::from_millis(END * 1000 + 30_500).unwrap()
}

fn slot(end: i64) -> SlotResult {
    SlotResult {
        window_start: end - 300,
        window_end: end,
        updated_at: now(),
        approximate: false,
        body: format!(r#"{{"result":{{"end":{end}}}}}"#).into_bytes(),
        expires_at: end + 600,
    }
}

/// A slot as DynamoDB gives it.
fn item(slot: &SlotResult) -> Value {
    let body = packed(&slot.body).unwrap();
    json!({
        "pk": {"S": "result#page_view"}, "sk": {"S": slot_key(slot.window_end)},
        "version": {"N": "3"}, "inputs": {"S": "abc"},
        "window_start": {"N": slot.window_start.to_string()}, "window_end": {"N": slot.window_end.to_string()},
        "updated_at": {"N": slot.updated_at.as_millis().to_string()}, "approximate": {"BOOL": slot.approximate},
        "body": {"B": STANDARD.encode(body)}, "expires_at": {"N": slot.expires_at.to_string()},
    })
}

fn body_of(request: &wiremock::Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn failed(kind: &str) -> ResponseTemplate {
    let answer =
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "no"});
    ResponseTemplate::new(400).set_body_json(answer)
}

#[tokio::test]
async fn a_slot_is_written_whole_upon_the_version_that_was_read() {
    let server = MockServer::builder().start().await;
    on(&server, "PutItem", |request| {
        let body = body_of(request);
        let item = &body["Item"];
        assert_eq!(item["pk"]["S"], "result#page_view");
        assert_eq!(item["sk"]["S"], "slot#1795456800");
        assert_eq!(
            (&item["window_start"]["N"], &item["window_end"]["N"]),
            (&json!("1795456500"), &json!("1795456800"))
        );
        assert_eq!(
            (&item["expires_at"]["N"], &item["inputs"]["S"]),
            (&json!("1795457400"), &json!("hash"))
        );
        match body["ConditionExpression"].as_str().unwrap() {
            "attribute_not_exists(pk)" => assert_eq!(item["version"]["N"], "1"),
            "version = :version" => {
                assert_eq!(
                    (
                        &body["ExpressionAttributeValues"][":version"]["N"],
                        &item["version"]["N"]
                    ),
                    (&json!("7"), &json!("8"))
                );
                return failed("ConditionalCheckFailedException");
            }
            other => panic!("{other}"),
        }
        ResponseTemplate::new(200).set_body_json(json!({}))
    })
    .await;
    let table = table(&server);
    let put = async |based_on| {
        table
            .put_slot("page_view", &slot(END), "hash", based_on)
            .await
    };
    assert_eq!(put(None).await.unwrap(), Put::Written(1));
    assert_eq!(put(Some(7)).await.unwrap(), Put::Overtaken);
}

#[tokio::test]
async fn what_is_stored_is_read_consistently_and_without_the_body() {
    let server = MockServer::builder().start().await;
    on(&server, "GetItem", |request| {
        let body = body_of(request);
        assert_eq!(
            (&body["ConsistentRead"], &body["ProjectionExpression"]),
            (&json!(true), &json!("version, inputs"))
        );
        let answer = match body["Key"]["sk"]["S"].as_str().unwrap() {
            "slot#1795456800" => json!({"Item": {"version": {"N": "3"}, "inputs": {"S": "abc"}}}),
            _ => json!({}),
        };
        ResponseTemplate::new(200).set_body_json(answer)
    })
    .await;
    let table = table(&server);
    let expected = Stored {
        version: 3,
        inputs: "abc".to_owned(),
    };
    assert_eq!(
        table.stored("page_view", END).await.unwrap(),
        Some(expected)
    );
    assert_eq!(table.stored("page_view", END + 60).await.unwrap(), None);
}

#[tokio::test]
async fn losing_the_condition_of_latest_is_success() {
    let server = MockServer::builder().start().await;
    on(&server, "PutItem", |request| {
        let body = body_of(request);
        assert_eq!(
            body["ConditionExpression"],
            "attribute_not_exists(pk) OR window_end < :end OR expires_at <= :now"
        );
        let values = &body["ExpressionAttributeValues"];
        assert_eq!(values[":now"]["N"], (END + 30).to_string());
        match values[":end"]["N"].as_str().unwrap() {
            "1795456800" => failed("ConditionalCheckFailedException"),
            _ => failed("AccessDeniedException"),
        }
    })
    .await;
    let table = table(&server);
    table
        .put_latest("page_view", END, END + 600, now())
        .await
        .unwrap();
    let error = table
        .put_latest("page_view", END + 60, END + 660, now())
        .await
        .unwrap_err();
    assert!(error.is_outage(), "{error}");
}

#[tokio::test]
async fn latest_is_the_slot_it_names_unless_either_has_expired() {
    let server = MockServer::builder().start().await;
    on(&server, "GetItem", |request| {
        let body = body_of(request);
        assert_eq!(body["ConsistentRead"], true);
        let aggregator = body["Key"]["pk"]["S"].as_str().unwrap().to_owned();
        let pointer = |expires_at: i64| json!({"Item": {"window_end": {"N": END.to_string()}, "expires_at": {"N": expires_at.to_string()}}});
        let answer = match (aggregator.as_str(), body["Key"]["sk"]["S"].as_str().unwrap()) {
            ("result#never", _) => json!({}),
            ("result#expired", "latest") => pointer(END + 30),
            (_, "latest") => pointer(END + 600),
            ("result#gone", _) => json!({}),
            ("result#late", _) => json!({"Item": item(&SlotResult { expires_at: END + 30, ..slot(END) })}),
            (_, "slot#1795456800") => json!({"Item": item(&slot(END))}),
            other => panic!("{other:?}"),
        };
        ResponseTemplate::new(200).set_body_json(answer)
    })
    .await;
    let table = table(&server);
    assert_eq!(
        table.latest("page_view", now()).await.unwrap(),
        Some(slot(END))
    );
    for none in ["never", "expired", "gone", "late"] {
        assert_eq!(table.latest(none, now()).await.unwrap(), None, "{none}");
    }
}

/// A table that holds a slot each minute back from `END`, `count` of them; it
/// answers at most three items at a time, and filters as it was told.
async fn minutes(server: &MockServer, count: i64, make: fn(i64) -> SlotResult) {
    on(server, "Query", move |request| {
        let body = body_of(request);
        assert_eq!(
            (
                &body["KeyConditionExpression"],
                &body["FilterExpression"],
                &body["ScanIndexForward"]
            ),
            (
                &json!("pk = :pk AND sk BETWEEN :from AND :to"),
                &json!("expires_at > :now"),
                &json!(false)
            )
        );
        let values = &body["ExpressionAttributeValues"];
        let text = |key: &str| values[key]["S"].as_str().unwrap().to_owned();
        let now: i64 = values[":now"]["N"].as_str().unwrap().parse().unwrap();
        let before = body["ExclusiveStartKey"]["sk"]["S"]
            .as_str()
            .map(str::to_owned);
        let mut slots = (0..count)
            .map(|minute| make(END - 60 * minute))
            .filter(|slot| (text(":from")..=text(":to")).contains(&slot_key(slot.window_end)))
            .filter(|slot| {
                before
                    .as_ref()
                    .is_none_or(|before| slot_key(slot.window_end) < *before)
            });
        let looked_at: Vec<SlotResult> = slots
            .by_ref()
            .take(body["Limit"].as_u64().unwrap().min(3) as usize)
            .collect();
        let alive: Vec<Value> = looked_at
            .iter()
            .filter(|slot| slot.expires_at > now)
            .map(item)
            .collect();
        let mut answer = json!({"Items": alive});
        if let (Some(last), Some(_)) = (looked_at.last(), slots.next()) {
            answer["LastEvaluatedKey"] =
                json!({"pk": {"S": "result#page_view"}, "sk": {"S": slot_key(last.window_end)}});
        }
        ResponseTemplate::new(200).set_body_json(answer)
    })
    .await;
}

fn ends(page: &Page) -> Vec<i64> {
    page.slots
        .iter()
        .map(|slot| (END - slot.window_end) / 60)
        .collect()
}

#[tokio::test]
async fn pages_are_filled_despite_what_has_expired_and_follow_each_other() {
    let server = MockServer::builder().start().await;
    // Every third has expired, though newer and older ones have not.
    minutes(&server, 20, |end| SlotResult {
        expires_at: if (end / 60) % 3 == 0 { END } else { END + 600 },
        ..slot(end)
    })
    .await;
    let table = table(&server);
    let read = async |limit, after| {
        table
            .slots("page_view", 0, i64::MAX, limit, now(), after)
            .await
            .unwrap()
    };
    let alive: Vec<i64> = (0..20)
        .filter(|minute| (END / 60 - minute) % 3 != 0)
        .collect();
    for limit in 1..=14 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = read(limit, after).await;
            let left = alive.len() - seen.len();
            assert_eq!(page.slots.len(), limit.min(left), "limit {limit}");
            assert_eq!(page.next.is_some(), left > limit, "limit {limit}");
            seen.extend(ends(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, alive, "limit {limit}");
    }
}

#[tokio::test]
async fn bounds_are_half_open_and_an_empty_range_asks_nothing() {
    let server = MockServer::builder().start().await;
    minutes(&server, 10, slot).await;
    let table = table(&server);
    let read = async |from, to, after| {
        let page = table
            .slots("page_view", from, to, 100, now(), after)
            .await
            .unwrap();
        ends(&page)
    };
    assert_eq!(read(END - 120, END, None).await, [1, 2]);
    assert_eq!(read(END - 120, END + 1, None).await, [0, 1, 2]);
    assert_eq!(read(END - 120, END + 1, Some(END - 60)).await, [2]);
    assert_eq!(read(i64::MIN, i64::MAX, Some(END - 480)).await, [9]);
    server.reset().await; // an error from here on
    for (from, to) in [
        (END, END),
        (END, END - 60),
        (i64::MAX, i64::MAX),
        (0, i64::MIN),
    ] {
        assert_eq!(read(from, to, None).await, [0_i64; 0]);
    }
}

#[tokio::test]
async fn a_page_is_no_larger_than_an_answer_may_be() {
    let server = MockServer::builder().start().await;
    minutes(&server, 3, |end| SlotResult {
        body: vec![b'a'; MAX_PAGE_BYTES / 2 + 1],
        ..slot(end)
    })
    .await;
    let table = table(&server);
    let page = table
        .slots("page_view", 0, i64::MAX, 10, now(), None)
        .await
        .unwrap();
    assert_eq!((ends(&page), page.next), (vec![0], Some(END)));
    let page = table
        .slots("page_view", 0, i64::MAX, 10, now(), Some(END - 60))
        .await
        .unwrap();
    assert_eq!((ends(&page), page.next), (vec![2], None));
}

#[tokio::test]
async fn a_result_that_no_item_holds_is_not_sent() {
    let server = MockServer::builder().start().await;
    let mut seed: u64 = 1;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    };
    for (body, limit) in [
        (noise(MAX_STORED_BODY_BYTES + 1), MAX_STORED_BODY_BYTES),
        (vec![b'a'; MAX_BODY_BYTES + 1], MAX_BODY_BYTES),
    ] {
        let slot = SlotResult { body, ..slot(END) };
        let error = table(&server)
            .put_slot("page_view", &slot, "", None)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "item_too_large");
        assert!(
            error.to_string().contains(&limit.to_string()) && !error.is_retryable(),
            "{error}"
        );
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_item_that_is_odd_is_an_error_and_no_outage() {
    let mut no_zstd = item(&slot(END));
    no_zstd["body"] = json!({"B": "e30="});
    let mut no_end = item(&slot(END));
    no_end.as_object_mut().unwrap().remove("window_start");
    let mut bomb = item(&slot(END));
    let huge = zstd::bulk::compress(&vec![b'a'; MAX_BODY_BYTES * 10], 3).unwrap();
    bomb["body"] = json!({"B": STANDARD.encode(huge)});
    for odd in [no_zstd, no_end, bomb] {
        let server = MockServer::builder().start().await;
        on(&server, "Query", move |_| {
            ResponseTemplate::new(200).set_body_json(json!({"Items": [odd]}))
        })
        .await;
        let error = table(&server)
            .slots("page_view", 0, END, 1, now(), None)
            .await
            .unwrap_err();
        assert!(
            error.code() == "item_unreadable" && !error.is_outage(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_throttled_request_is_tried_again_as_the_sdk_does() {
    let server = MockServer::builder().start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    on(&server, "GetItem", move |_| {
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            return failed("ProvisionedThroughputExceededException");
        }
        ResponseTemplate::new(200).set_body_json(json!({}))
    })
    .await;
    let aws = aws(&server, RetryConfig::standard());
    let table = ResultTable::new(&aws, "aggregation");
    assert_eq!(table.latest("page_view", now()).await.unwrap(), None);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
