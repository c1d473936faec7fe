use super::*;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use wiremock::matchers::header;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const SHARD: &str = "shardId-000000000003";

fn table(server: &MockServer) -> ChainTable {
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
            Credentials::new("test", "test", None, None, "test"),
        ))
        .endpoint_url(server.uri())
        .retry_config(RetryConfig::disabled())
        .build();
    ChainTable::new(&aws, "aggregations")
}

async fn on(
    server: &MockServer,
    operation: &str,
    respond: impl Fn(Value) -> ResponseTemplate + Send + Sync + 'static,
) {
    Mock::given(header(
        "x-amz-target",
        format!("DynamoDB_20120810.{operation}"),
    ))
    .respond_with(move |request: &Request| respond(serde_json::from_slice(&request.body).unwrap()))
    .mount(server)
    .await;
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn refused(code: &str) -> ResponseTemplate {
    let body =
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "no"});
    ResponseTemplate::new(400).set_body_json(body)
}

fn manifest(window_start: i64, first: &str, last: &str) -> Manifest {
    Manifest {
        chain: ChainName {
            window_start,
            shard: SHARD.to_owned(),
            first: first.to_owned(),
        },
        last: last.to_owned(),
        pieces: vec![PieceEntry {
            name: PieceName::of(SHARD, b"x"),
            parts: 1,
            bytes: 1,
            panes: vec![window_start / 60],
        }],
        late_dropped: 2,
        early_dropped: 3,
    }
}

/// The item as DynamoDB returns it.
fn item(manifest: &Manifest, expires_at_s: i64) -> Value {
    json!({
        "pk": {"S": format!("chains#{}", manifest.chain.window_start / 3_600)},
        "sk": {"S": manifest.chain.to_string()},
        "last": {"S": format!("{:0>60}", manifest.last)},
        "pieces": {"B": BASE64_STANDARD.encode(manifest.to_bytes())},
        "expires_at": {"N": expires_at_s.to_string()},
    })
}

/// A table of parts: what is put can be got.
async fn parts(server: &MockServer) -> Arc<Mutex<BTreeMap<(String, String), Value>>> {
    let stored = Arc::new(Mutex::new(BTreeMap::new()));
    let key = |item: &Value| {
        let text = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
        (text("pk"), text("sk"))
    };
    let puts = Arc::clone(&stored);
    on(server, "PutItem", move |body| {
        assert_eq!(body["TableName"], "aggregations");
        let item = body["Item"].clone();
        puts.lock().unwrap().insert(key(&item), item);
        ok(json!({}))
    })
    .await;
    let gets = Arc::clone(&stored);
    on(server, "GetItem", move |body| {
        assert_eq!(body["ConsistentRead"], true);
        match gets.lock().unwrap().get(&key(&body["Key"])) {
            Some(item) => ok(json!({"Item": {"data": item["data"]}})),
            None => ok(json!({})),
        }
    })
    .await;
    stored
}

#[tokio::test]
async fn a_piece_is_split_and_comes_back_whole() {
    let server = MockServer::builder().start().await;
    let stored = parts(&server).await;
    let table = table(&server);
    let content: Vec<u8> = (0..PART_BYTES * 2 + 1).map(|n| (n % 251) as u8).collect();
    let (name, parts) = table.put_piece(SHARD, &content, 77).await.unwrap();
    assert_eq!(parts, 3);
    let keys: Vec<(String, String)> = stored.lock().unwrap().keys().cloned().collect();
    let pk = format!("piece#{SHARD}#{name}");
    let expected = ["000", "001", "002"].map(|sk| (pk.clone(), sk.to_owned()));
    assert_eq!(keys, expected);
    for item in stored.lock().unwrap().values() {
        assert_eq!(item["expires_at"]["N"], "77");
        let data = BASE64_STANDARD.decode(item["data"]["B"].as_str().unwrap());
        assert!(data.unwrap().len() <= PART_BYTES);
    }
    let entry = PieceEntry {
        name,
        parts,
        bytes: content.len() as u32,
        panes: vec![],
    };
    assert!(table.piece(SHARD, &entry).await.unwrap() == content);
    // Again, it is the same piece; of another shard, it is another.
    assert_eq!(table.put_piece(SHARD, &content, 78).await.unwrap().0, name);
    assert_eq!(stored.lock().unwrap().len(), 3);
    assert_ne!(PieceName::of("shardId-000000000004", &content), name);
    // Nothing is a piece too.
    let (name, parts) = table.put_piece(SHARD, b"", 77).await.unwrap();
    let entry = PieceEntry {
        name,
        parts,
        bytes: 0,
        panes: vec![],
    };
    assert_eq!(
        (parts, table.piece(SHARD, &entry).await.unwrap()),
        (0, vec![])
    );
}

#[tokio::test]
async fn half_a_piece_is_no_piece() {
    let server = MockServer::builder().start().await;
    let stored = parts(&server).await;
    let table = table(&server);
    let content = vec![7; PART_BYTES + 10];
    let (name, parts) = table.put_piece(SHARD, &content, 77).await.unwrap();
    let entry = PieceEntry {
        name,
        parts,
        bytes: content.len() as u32,
        panes: vec![],
    };
    let second = (format!("piece#{SHARD}#{name}"), "001".to_owned());
    let whole = stored.lock().unwrap().remove(&second).unwrap();
    let missing = table.piece(SHARD, &entry).await.unwrap_err();
    assert_eq!(missing.code(), "piece_incomplete");
    assert!(missing.is_retryable());
    assert_eq!(
        missing.to_string(),
        format!("piece {SHARD}#{name} is incomplete: part 1 is missing")
    );
    let mut other = whole.clone();
    other["data"]["B"] = json!(BASE64_STANDARD.encode([7; 9]));
    stored.lock().unwrap().insert(second.clone(), other);
    let wrong = table.piece(SHARD, &entry).await.unwrap_err();
    assert_eq!(wrong.code(), "piece_incomplete");
    assert!(
        wrong
            .to_string()
            .ends_with("350009 bytes that are not the 350010 of its name"),
        "{wrong}"
    );
    stored.lock().unwrap().insert(second, whole);
    assert!(table.piece(SHARD, &entry).await.unwrap() == content);
}

#[tokio::test]
async fn a_part_that_is_not_put_fails_the_piece() {
    let server = MockServer::builder().start().await;
    on(&server, "PutItem", |body| {
        if body["Item"]["sk"]["S"] == "001" {
            refused("ProvisionedThroughputExceededException")
        } else {
            ok(json!({}))
        }
    })
    .await;
    let content = vec![7; PART_BYTES + 10];
    let error = table(&server)
        .put_piece(SHARD, &content, 77)
        .await
        .unwrap_err();
    assert!(matches!(error, ChainError::Table(TableError::Throttled)));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_manifest_names_its_last_number_and_may_be_overtaken() {
    let server = MockServer::builder().start().await;
    on(&server, "PutItem", |body| {
        assert_eq!(
            body["ConditionExpression"],
            "attribute_not_exists(pk) OR #last <= :last"
        );
        assert_eq!(body["ExpressionAttributeNames"], json!({"#last": "last"}));
        let last = &body["ExpressionAttributeValues"][":last"];
        assert_eq!(&body["Item"]["last"], last);
        match last["S"].as_str().unwrap().trim_start_matches('0') {
            "99" => {
                let expected = item(&manifest(1_795_456_800, "7", "99"), 55);
                assert_eq!(body["Item"], expected);
                ok(json!({}))
            }
            "98" => refused("ConditionalCheckFailedException"),
            _ => refused("InternalServerError"),
        }
    })
    .await;
    let table = table(&server);
    let put = async |last| {
        let manifest = manifest(1_795_456_800, "7", last);
        table.put_manifest(&manifest, 55).await
    };
    assert_eq!(put("99").await.unwrap(), ManifestPut::Written);
    assert_eq!(put("98").await.unwrap(), ManifestPut::Overtaken);
    assert!(put("97").await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn a_chain_that_could_not_be_found_again_is_not_stored() {
    let server = MockServer::builder().start().await; // 404 to everything
    let table = table(&server);
    let good = manifest(1_795_456_800, "7", "9");
    let changed = |change: fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest
    };
    for bad in [
        changed(|m| m.last.clear()),
        changed(|m| m.last = "-1".to_owned()),
        changed(|m| m.last = "9".repeat(61)),
        changed(|m| m.chain.first = "x".to_owned()),
        changed(|m| m.chain.shard = "a#b".to_owned()),
        changed(|m| m.chain.window_start = -60),
        changed(|m| m.chain.window_start = 10_000_000_000),
    ] {
        let error = table.put_manifest(&bad, 55).await.unwrap_err();
        assert_eq!(error.code(), "chain_invalid", "{bad:?}");
        assert!(!error.is_retryable());
    }
    let error = table.put_manifest(&good, 55).await.unwrap_err();
    assert!(matches!(error, ChainError::Table(_)), "{error}");
    assert!(server.received_requests().await.unwrap().len() == 1);
}

#[tokio::test]
async fn chains_are_read_over_hours_and_pages_without_what_has_expired() {
    let server = MockServer::builder().start().await;
    let hour = 498_738;
    let start = hour * 3_600 - 60; // the last minute of the hour before
    let (first, second, third, gone) = (
        manifest(start, "1", "10"),
        manifest(start + 60, "2", "20"),
        manifest(start + 120, "3", "0"),
        manifest(start + 120, "4", "40"),
    );
    let (a, b, c, d) = (
        item(&first, 200),
        item(&second, 200),
        item(&third, 101),
        item(&gone, 100),
    );
    on(&server, "Query", move |body| {
        assert_eq!(body["ConsistentRead"], true);
        assert_eq!(
            body["KeyConditionExpression"],
            "pk = :hour AND sk BETWEEN :from AND :to"
        );
        let values = &body["ExpressionAttributeValues"];
        assert_eq!(values[":from"]["S"], format!("{start:010}"));
        assert_eq!(values[":to"]["S"], format!("{:010}$", start + 120));
        let asked = values[":hour"]["S"].as_str().unwrap();
        let later = body["ExclusiveStartKey"].is_object();
        if asked == format!("chains#{}", hour - 1) {
            ok(json!({"Items": [a.clone()]}))
        } else if later {
            ok(json!({"Items": [c.clone(), d.clone()]}))
        } else {
            assert_eq!(asked, format!("chains#{hour}"));
            let key = json!({"pk": b["pk"], "sk": b["sk"]});
            ok(json!({"Items": [b.clone()], "LastEvaluatedKey": key}))
        }
    })
    .await;
    let table = table(&server);
    let found = table.chains(start, start + 120, 100).await.unwrap();
    assert_eq!(found, [first, second, third]);
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
    assert_eq!(table.chains(60, 0, 100).await.unwrap(), []);
}

#[tokio::test]
async fn one_odd_manifest_fails_the_read() {
    let good = item(&manifest(1_795_456_800, "1", "10"), 200);
    let odd = |name: &str, value: Value| {
        let mut item = good.clone();
        item[name] = value;
        item
    };
    let of_later = BASE64_STANDARD.encode([9, 0, 0, 0]);
    for (bad, text) in [
        (odd("pieces", json!({"B": of_later})), "version 9"),
        (odd("pieces", json!({"S": "x"})), "no good pieces"),
        (odd("last", json!({"S": "x"})), "no good last"),
        (odd("expires_at", json!({"S": "5"})), "no good expires_at"),
        (odd("sk", json!({"S": "5#x"})), "no good sk"),
    ] {
        let server = MockServer::builder().start().await;
        let items = json!({"Items": [good.clone(), bad]});
        on(&server, "Query", move |_| ok(items.clone())).await;
        let table = table(&server);
        let read = table.chains(1_795_456_800, 1_795_456_800, 100);
        let error = read.await.unwrap_err();
        assert_eq!(error.code(), "chain_unreadable");
        assert!(
            error.to_string().contains(text) && !error.is_retryable(),
            "{error}"
        );
    }
}
