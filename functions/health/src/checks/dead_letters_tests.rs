use super::*;
use crate::stand_in::{aws, on};
use freshet_events::wire::Packer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::matchers::{any, method};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const NOW_MS: i64 = 1_795_730_400_000; // 2026-11-26T22:00:00Z
const PERIOD_MS: i64 = 60_000;

/// A bucket: bodies and when they were stored, by key.
#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<Objects>>);

type Objects = BTreeMap<String, (i64, Vec<u8>)>;

impl Respond for Bucket {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let objects = self.0.lock().unwrap();
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let Some(prefix) = query.get("prefix") else {
            let key = request.url.path().strip_prefix("/bucket/").unwrap();
            return match objects.get(key) {
                Some((_, body)) if body.is_empty() => ResponseTemplate::new(500),
                Some((_, body)) => ResponseTemplate::new(200).set_body_bytes(body.clone()),
                None => {
                    let code = "<Error><Code>NoSuchKey</Code></Error>";
                    ResponseTemplate::new(404).set_body_string(code)
                }
            };
        };
        let after = query.get("start-after").map_or("", String::as_str);
        let matching = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        if query.contains_key("delimiter") {
            let mut folders: Vec<&str> = matching
                .filter_map(|(key, _)| Some(&key[..=prefix.len() + key[prefix.len()..].find('/')?]))
                .collect();
            folders.dedup();
            let folders: String = folders
                .iter()
                .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"))
                .collect();
            return ResponseTemplate::new(200)
                .set_body_string(format!("<ListBucketResult>{folders}</ListBucketResult>"));
        }
        // A small page, so that few objects are more than one.
        let page: Vec<_> = matching.take(6).collect();
        let more = page.len() == 6;
        let contents: String = page
            .iter()
            .take(5)
            .map(|(key, (at, _))| {
                let at = Timestamp::from_millis(*at).unwrap();
                format!("<Contents><Key>{key}</Key><LastModified>{at}</LastModified></Contents>")
            })
            .collect();
        ResponseTemplate::new(200).set_body_string(format!(
            "<ListBucketResult><IsTruncated>{more}</IsTruncated>{contents}</ListBucketResult>"
        ))
    }
}

impl Bucket {
    /// An object of a mapping, stored so many milliseconds ago.
    fn put(&self, mapping: &str, shard: u32, name: &str, ago_ms: i64, body: Vec<u8>) {
        let at = NOW_MS - ago_ms;
        let shard = format!("{ON_FAILURE}{mapping}/shardId-{shard:012}/");
        let key = format!("{}-{name}", key_at(&shard, at));
        self.0.lock().unwrap().insert(key, (at, body));
    }
}

fn packed(events: usize) -> Vec<u8> {
    let mut packer = Packer::new();
    for _ in 0..events {
        packer.push(b"{}");
    }
    packer.finish()
}

fn object(records: &[Vec<u8>]) -> Vec<u8> {
    use base64::Engine as _;
    let encode = |data: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(data);
    let records: Vec<Value> = records
        .iter()
        .map(|data| json!({"eventID": "shardId-000000000000:1", "kinesis": {"sequenceNumber": "1", "data": encode(data), "approximateArrivalTimestamp": 1.0}}))
        .collect();
    json!({"requestContext": {"condition": "RetryAttemptsExhausted"}, "payload": json!({"Records": records}).to_string()})
        .to_string()
        .into_bytes()
}

struct Fixture {
    server: MockServer,
    bucket: Bucket,
    store: DeadLetterStore,
    sqs: Client,
}

impl Fixture {
    async fn new() -> Self {
        let server = MockServer::builder().start().await;
        let bucket = Bucket::default();
        let depth = json!({"Attributes": {"ApproximateNumberOfMessages": "4"}});
        let depth = ResponseTemplate::new(200).set_body_json(depth);
        on(&server, "AmazonSQS.GetQueueAttributes", depth).await;
        Mock::given(method("GET"))
            .respond_with(bucket.clone())
            .mount(&server)
            .await;
        let aws = aws(&server);
        let s3 = aws_sdk_s3::config::Builder::from(&aws)
            .force_path_style(true)
            .build();
        Self {
            bucket,
            store: DeadLetterStore::new(aws_sdk_s3::Client::from_conf(s3), "bucket"),
            sqs: Client::new(&aws),
            server,
        }
    }

    async fn look(&self, counted: Option<Cursor>, now_ms: i64) -> Found<DeadLetters> {
        let url = format!("{}/queue", self.server.uri());
        let look = Look {
            queue: (&self.sqs, &url),
            store: &self.store,
            enrich_mapping: "m",
            period_ms: PERIOD_MS,
            now_ms,
            by: Instant::now() + Duration::from_secs(60),
        };
        check(&look, async { counted }).await
    }
}

#[tokio::test]
async fn events_are_counted_once_each_by_mapping() {
    let fixture = Fixture::new().await;
    let bucket = &fixture.bucket;
    let notice = b"\x03{\"at\":1,\"source\":\"shop\",\"rejected\":{\"field_empty\":2}}".to_vec();
    bucket.put("m", 0, "a", 50_000, object(&[packed(3), packed(2), notice]));
    bucket.put("m", 0, "b", 40_000, object(&[vec![2, 0, 0]]));
    bucket.put("other", 0, "a", 30_000, object(&[packed(10)]));
    bucket.put("other", 0, "b", 30_000, b"not ours".to_vec());
    bucket.put("m", 0, "old", 61_000, object(&[packed(100)]));
    let found = fixture.look(None, NOW_MS).await;
    assert_eq!(found.failure, None);
    let found = found.value.unwrap();
    assert_eq!((found.events, found.given_up), (Some(16), Some(6)));
    assert_eq!(
        (found.queue_depth, found.unreadable, found.left),
        (Some(4), 2, 0)
    );
    // Nothing is counted again, whichever run it is.
    let later = fixture.look(found.counted_until, NOW_MS + PERIOD_MS).await;
    assert_eq!(later.value.unwrap().events, Some(0));
}

#[tokio::test]
async fn what_has_just_been_stored_is_the_next_runs() {
    let fixture = Fixture::new().await;
    fixture.bucket.put("m", 0, "a", 1_000, object(&[packed(3)]));
    let first = fixture.look(None, NOW_MS).await.value.unwrap();
    assert_eq!(first.events, Some(0));
    let second = fixture.look(first.counted_until, NOW_MS + PERIOD_MS).await;
    assert_eq!(second.value.unwrap().events, Some(3));
}

#[tokio::test]
async fn many_objects_are_found_by_their_day_and_the_rest_is_said() {
    let fixture = Fixture::new().await;
    for old in 0..20 {
        fixture.bucket.put(
            "m",
            0,
            &format!("{old:02}"),
            86_400_000,
            object(&[packed(9)]),
        );
    }
    for shard in 0..3 {
        fixture
            .bucket
            .put("m", shard, "new", 20_000, object(&[packed(2)]));
    }
    let found = fixture.look(None, NOW_MS).await.value.unwrap();
    assert_eq!((found.events, found.incomplete), (Some(6), false));
    for more in 0..6 {
        fixture.bucket.put(
            "m",
            0,
            &format!("more-{more}"),
            10_000,
            object(&[packed(1)]),
        );
    }
    let found = fixture.look(None, NOW_MS).await.value.unwrap();
    assert!(found.incomplete);
}

#[tokio::test]
async fn an_object_that_cannot_be_had_now_is_counted_by_the_next_run() {
    let fixture = Fixture::new().await;
    fixture
        .bucket
        .put("m", 0, "a", 30_000, object(&[packed(1)]));
    fixture.bucket.put("m", 0, "b", 20_000, vec![]);
    fixture
        .bucket
        .put("m", 0, "c", 10_000, object(&[packed(1)]));
    let found = fixture.look(None, NOW_MS).await.value.unwrap();
    assert_eq!((found.events, found.left), (Some(1), 2));
    fixture
        .bucket
        .put("m", 0, "b", 20_000, object(&[packed(5)]));
    let found = fixture.look(found.counted_until, NOW_MS + PERIOD_MS).await;
    assert_eq!(found.value.unwrap().events, Some(6));
}

#[test]
fn a_clock_that_went_back_or_was_ahead_does_not_stop_the_count() {
    let at = |until_ms| Cursor {
        until_ms,
        key: String::new(),
    };
    let begin = |cursor| beginning(cursor, NOW_MS, PERIOD_MS).until_ms;
    assert_eq!(begin(None), NOW_MS - PERIOD_MS);
    assert_eq!(begin(Some(at(NOW_MS - 90_000))), NOW_MS - 90_000);
    assert_eq!(
        begin(Some(at(NOW_MS + 1_000))),
        NOW_MS + 1_000,
        "went back a little"
    );
    assert_eq!(
        begin(Some(at(NOW_MS + 3_600_000))),
        NOW_MS - PERIOD_MS,
        "was ahead"
    );
    assert_eq!(begin(Some(at(0))), NOW_MS - 15 * PERIOD_MS, "was away");
    assert_eq!(beginning(None, i64::MIN, PERIOD_MS).until_ms, i64::MIN);
}

#[tokio::test]
async fn either_is_told_without_the_other() {
    let fixture = Fixture::new().await;
    fixture.server.reset().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(403))
        .mount(&fixture.server)
        .await;
    let found = fixture.look(None, NOW_MS).await;
    assert!(found.failure.is_some());
    assert_eq!(found.value, Some(DeadLetters::default()));
}
