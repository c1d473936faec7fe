use crate::answer::Answer;
use crate::handler::{Handler, Stores};
use crate::prepare::Prepared;
use crate::sessions::{self, Sessions};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_deadletters::DeadLetterStore;
use freshet_deadletters::object::{self, RejectedItem, UndecodableItem};
use freshet_edge::records::{Batch, SequenceNumber};
use freshet_enrichment::{Enricher, bots::Bots, geo::Geo, user_agent::UserAgents};
use freshet_events::{Notice, Timestamp, wire};
use freshet_search::{Auth, BulkLimits, DailyIndices, Indexer, Search};
use freshet_telemetry::stages::Enrich;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn enricher() -> Enricher {
    let regexes = b"user_agent_parsers: []\nos_parsers: []\ndevice_parsers: []\n";
    Enricher::new(
        UserAgents::from_yaml(regexes)
            .unwrap()
            .with_bots(Bots::from_json(b"[]").unwrap()),
        Geo::open::<&str>(&[]).unwrap(),
    )
}

pub(crate) fn wire_event(id: &str) -> String {
    wire_event_at(id, "s", 1_000)
}

fn wire_event_at(id: &str, session: &str, timestamp_ms: u128) -> String {
    format!(
        r#"{{"event_id":"{id}","source":"shop","user_id":"u","session_id":"{session}","event_type":"page_view","page_url":"https://a.example/p","timestamp":{timestamp_ms},"received_at":2000,"metadata":{{"ip_address":"203.0.113.7"}}}}"#
    )
}

pub(crate) fn packed(ids: &[&str]) -> Vec<u8> {
    let mut packer = wire::Packer::new();
    ids.iter()
        .for_each(|id| packer.push(wire_event(id).as_bytes()));
    packer.finish()
}

pub(crate) fn notice(source: &str, rejected: &[(&str, u32)]) -> Vec<u8> {
    let rejected = rejected.iter().map(|(code, n)| ((*code).to_owned(), *n));
    let at = Timestamp::from_millis(1_795_456_799_000).unwrap();
    let notice = Notice::new(at, source, rejected.collect()).unwrap();
    notice.encode()
}

pub(crate) fn batch(records: &[Vec<u8>]) -> String {
    let records: Vec<Value> = records
        .iter()
        .enumerate()
        .map(|(n, data)| {
            json!({"eventID": format!("shardId-000000000000:{}", 100 + n), "kinesis": {
                "sequenceNumber": format!("{}", 100 + n), "partitionKey": "u", "data": STANDARD.encode(data),
                "approximateArrivalTimestamp": 1_795_456_800.25 }})
        })
        .collect();
    json!({"Records": records}).to_string()
}

/// OpenSearch and S3 in one, answering each item as its event id says:
/// `retry…` 429, `bad…` 400, `dup…` 409, everything else 201. Session
/// documents go by their session id: also `closed…` 400, a closed index.
pub(crate) async fn servers(s3_status: u16) -> (MockServer, Handler) {
    servers_with(s3_status, None).await
}

pub(crate) async fn servers_with(
    s3_status: u16,
    sessions: Option<Sessions>,
) -> (MockServer, Handler) {
    let server = MockServer::start().await;
    let view = json!({"c-1": {"aliases": {"c": {"is_write_index": true}}, "settings": {"index": {"creation_date": "0"}}}});
    Mock::given(method("GET"))
        .and(path("/c"))
        .respond_with(ResponseTemplate::new(200).set_body_json(view))
        .mount(&server)
        .await;
    let bulk = |request: &Request| {
        let body = std::str::from_utf8(&request.body).unwrap();
        let lines: Vec<Value> = body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let items: Vec<Value> = lines
            .chunks(2)
            .map(|pair| {
                let source = &pair[1];
                let id = source["event_id"].as_str().or(source["session_id"].as_str());
                let id = id.unwrap_or("a note");
                let (status, kind) = match id.trim_end_matches(|c: char| c.is_ascii_digit()) {
                    "retry" => (429, "rejected_execution_exception"),
                    "bad" => (400, "mapper_parsing_exception"),
                    "dup" => (409, "version_conflict_engine_exception"),
                    "closed" => (400, "index_closed_exception"),
                    _ => (201, "none"),
                };
                let (action, target) = pair[0].as_object().unwrap().iter().next().unwrap();
                json!({action: {"_id": target["_id"], "status": status, "error": {"type": kind, "reason": "r"}}})
            })
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"items": items}))
    };
    Mock::given(method("POST"))
        .and(path_regex("_bulk$"))
        .respond_with(bulk)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .respond_with(ResponseTemplate::new(s3_status))
        .mount(&server)
        .await;
    let s3 = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(server.uri())
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .build();
    let search = Search::connect(&server.uri(), Auth::None).unwrap();
    let stores = Stores {
        indexer: Indexer::new(search.clone(), "c", BulkLimits::default()),
        daily: DailyIndices::new(search.clone(), BulkLimits::default()),
        search,
        alias: "c".to_owned(),
        dead_letters: DeadLetterStore::new(aws_sdk_s3::Client::from_conf(s3), "b"),
    };
    (server, Handler::new(enricher(), stores, sessions))
}

async fn handle(handler: &Handler, records: &[Vec<u8>]) -> Option<String> {
    let deadline = SystemTime::now() + Duration::from_secs(12);
    let mut line = Enrich::default();
    let payload = batch(records);
    let answer = handler.handle(&payload, deadline, &mut line).await;
    answer.unwrap().from_record().map(str::to_owned)
}

/// The stored objects, by key: their lines.
async fn stored(server: &MockServer) -> Vec<(String, String)> {
    let requests = server.received_requests().await.unwrap();
    let puts = requests.iter().filter(|r| r.method.as_str() == "PUT");
    puts.map(|r| (r.url.path().to_owned(), object::text(&r.body).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_good_batch_is_done() {
    let (server, handler) = servers(200).await;
    assert_eq!(
        handle(&handler, &[packed(&["a", "dup"]), packed(&["b"])]).await,
        None
    );
    assert_eq!(stored(&server).await, []);
}

#[tokio::test]
async fn the_lowest_record_that_must_come_again_is_named() {
    let (server, handler) = servers(200).await;
    let records = [
        packed(&["a", "bad1"]),
        packed(&["b"]),
        packed(&["c", "retry1"]),
        packed(&["bad2"]),
        packed(&["retry2"]),
    ];
    assert_eq!(handle(&handler, &records).await.as_deref(), Some("102"));
    let objects = stored(&server).await;
    assert_eq!(objects.len(), 1, "what comes again is not stored yet");
    assert_eq!(
        objects[0].0,
        "/b/rejected/2026/11/23/shardId-000000000000/100.jsonl.gz"
    );
    let items: Vec<RejectedItem<'_>> = object::lines(&objects[0].1)
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        (items.len(), items[0].position, items[0].code.as_ref()),
        (1, 1, "mapper_parsing_exception")
    );
    assert!(items[0].event.get().contains(r#""event_id":"bad1""#));
    assert!(
        !objects[0].1.contains("203.0.113.7"),
        "an item's dead letter holds no address"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_blocks_nothing() {
    let (server, handler) = servers(200).await;
    let plain = br#"{"user_id":7}"#.to_vec();
    assert_eq!(
        handle(&handler, &[vec![0xff, 0], packed(&["a"]), plain.clone()]).await,
        None
    );
    let objects = stored(&server).await;
    assert_eq!(
        objects[0].0,
        "/b/undecodable/2026/11/23/shardId-000000000000/100.jsonl.gz"
    );
    let items: Vec<UndecodableItem<'_>> = object::lines(&objects[0].1)
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        (items[0].bytes().unwrap(), items[0].position),
        (vec![0xff, 0], None)
    );
    assert_eq!(
        (items[1].bytes().unwrap(), items[1].position),
        (plain, Some(0))
    );
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_stored_is_delivered_again() {
    let (_server, handler) = servers(503).await;
    assert_eq!(
        handle(
            &handler,
            &[packed(&["a"]), packed(&["bad"]), packed(&["b"])]
        )
        .await
        .as_deref(),
        Some("101")
    );
    assert_eq!(
        handle(&handler, &[packed(&["a"]), packed(&["bad"]), vec![0xff]])
            .await
            .as_deref(),
        Some("101")
    );
}

#[tokio::test]
async fn a_cluster_that_is_down_fails_the_batch_from_its_first_record() {
    let (server, handler) = servers(200).await;
    server.reset().await;
    Mock::given(method("PUT"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    assert_eq!(
        handle(&handler, &[packed(&["a"]), packed(&["b"])])
            .await
            .as_deref(),
        Some("100")
    );
}

#[tokio::test]
async fn a_session_that_is_not_written_comes_again_unless_its_index_stays_as_it_is() {
    let table = sessions::tests::Table::default();
    let dynamodb = table.serve().await;
    let now_ms = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let record = |session: &str| {
        let mut packer = wire::Packer::new();
        packer.push(wire_event_at(&format!("of-{session}"), session, now_ms).as_bytes());
        packer.finish()
    };
    let environment = || Some(sessions::tests::environment(&dynamodb));
    let (server, handler) = servers_with(200, environment()).await;
    let records = ["a", "bad", "closed", "b"].map(record);
    assert_eq!(
        handle(&handler, &records).await,
        None,
        "nobody waits for these"
    );
    let again = ["c", "retry1", "d", "retry2"].map(record);
    assert_eq!(handle(&handler, &again).await.as_deref(), Some("101"));
    let bulks = server.received_requests().await.unwrap();
    let session_bulks = bulks.iter().filter(|r| r.url.path() == "/_bulk");
    let bodies: Vec<String> = session_bulks
        .map(|r| String::from_utf8(r.body.clone()).unwrap())
        .collect();
    assert!(
        bodies[0].contains(r#""_index":"c_sessions-"#),
        "{}",
        bodies[0]
    );
    assert!(bodies.iter().all(|body| !body.contains("c_rejections-")));
    // A record that comes again anyway does not write its sessions yet.
    let (server, handler) = servers_with(200, environment()).await;
    let mut packer = wire::Packer::new();
    packer.push(wire_event_at("retry", "late", now_ms).as_bytes());
    assert_eq!(
        handle(&handler, &[packer.finish()]).await.as_deref(),
        Some("100")
    );
    let bulks = server.received_requests().await.unwrap();
    assert!(bulks.iter().all(|r| r.url.path() != "/_bulk"));
}

#[tokio::test]
async fn events_that_no_visitor_made_are_indexed_and_make_no_session() {
    let synthetic = |event: &str| event.replacen('{', r#"{"synthetic":true,"#, 1);
    let bot = |event: &str| {
        let agent = r#""metadata":{"user_agent":"Mozilla/5.0 HeadlessChrome/142","#;
        event.replacen(r#""metadata":{"#, agent, 1)
    };
    let source = indexed_without_session(synthetic).await;
    assert_eq!(
        (source.get("bot"), &source["synthetic"]),
        (None, &json!(true))
    );
    let source = indexed_without_session(bot).await;
    assert_eq!(
        source["bot"],
        json!({"is_bot": true, "reason": "headless:HeadlessChrome"})
    );
}

/// The document of an event that is changed so; fails if it is of a session.
async fn indexed_without_session(change: impl Fn(&str) -> String) -> Value {
    let table = sessions::tests::Table::default();
    let dynamodb = table.serve().await;
    let environment = sessions::tests::environment(&dynamodb);
    let (server, handler) = servers_with(200, Some(environment)).await;
    let now_ms = freshet_edge::now().as_millis().unsigned_abs();
    let event = wire_event_at("probe-1", "s", now_ms.into());
    let mut packer = wire::Packer::new();
    packer.push(change(&event).as_bytes());
    assert_eq!(handle(&handler, &[packer.finish()]).await, None);
    let requests = server.received_requests().await.unwrap();
    let bulk = requests
        .iter()
        .find(|r| r.url.path() == "/c-1/_bulk")
        .unwrap();
    let body = std::str::from_utf8(&bulk.body).unwrap();
    let source: Value = serde_json::from_str(body.lines().nth(1).unwrap()).unwrap();
    assert_eq!(source["event_id"], "probe-1");
    assert_eq!(source.get("session_duration"), None);
    assert_eq!(noted(&server).await, [] as [Value; 0]);
    assert_eq!(table.calls(), (0, 0));
    source
}

/// The bodies of requests that wrote to daily indices, as lines.
async fn noted(server: &MockServer) -> Vec<Value> {
    let requests = server.received_requests().await.unwrap();
    let daily = requests.iter().filter(|r| r.url.path() == "/_bulk");
    let bodies: Vec<String> = daily
        .map(|r| String::from_utf8(r.body.clone()).unwrap())
        .collect();
    let lines = bodies.iter().flat_map(|body| body.lines());
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_notice_is_one_line_for_each_code_and_no_event() {
    let (server, handler) = servers(200).await;
    let records = [
        notice("shop", &[("field_empty", 2), ("event_malformed", 1)]),
        packed(&["a"]),
        notice("app", &[("field_empty", 7)]),
    ];
    assert_eq!(handle(&handler, &records).await, None);
    assert_eq!(stored(&server).await, [], "there is no dead letter");
    let line = |place: &str, source: &str, code: &str, count: u32| {
        let id = format!("shardId-000000000000:{place}:{code}");
        [
            json!({"create": {"_index": "c_rejections-2026.11.23", "_id": id}}),
            json!({"@timestamp": "2026-11-23T18:00:00.250Z", "stage": "collect", "code": code, "source": source, "count": count}),
        ]
    };
    let expected = [
        line("100", "shop", "event_malformed", 1),
        line("100", "shop", "field_empty", 2),
        line("102", "app", "field_empty", 7),
    ];
    assert_eq!(noted(&server).await, expected.concat());
}

#[tokio::test]
async fn notices_wait_for_their_record_to_be_final() {
    let (server, handler) = servers(200).await;
    let records = [
        notice("shop", &[("field_empty", 2)]),
        packed(&["retry1"]),
        notice("shop", &[("field_empty", 3)]),
    ];
    assert_eq!(handle(&handler, &records).await.as_deref(), Some("101"));
    let lines = noted(&server).await;
    assert_eq!((lines.len(), &lines[1]["count"]), (2, &json!(2)));
}

#[tokio::test]
async fn a_notice_that_cannot_be_noted_holds_nothing() {
    let (server, handler) = servers(200).await;
    server.reset().await; // every request is answered 404
    assert_eq!(
        handle(&handler, &[notice("shop", &[("field_empty", 2)])]).await,
        None
    );
    assert!(!noted(&server).await.is_empty(), "it was tried");
}

#[tokio::test]
async fn a_malformed_notice_is_a_dead_letter() {
    let (server, handler) = servers(200).await;
    let mut bad = notice("shop", &[("field_empty", 2)]);
    bad.pop();
    assert_eq!(handle(&handler, &[bad.clone(), packed(&["a"])]).await, None);
    let objects = stored(&server).await;
    let items: Vec<UndecodableItem<'_>> = object::lines(&objects[0].1)
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        (items[0].bytes().unwrap(), items[0].code.as_ref()),
        (bad, "record_undecodable")
    );
}

#[test]
fn an_identifier_is_never_empty() {
    assert!(SequenceNumber::try_from(std::borrow::Cow::Borrowed("")).is_err());
    assert!(serde_json::from_str::<Batch<'_>>(r#"{"Records":[{"eventID":"s:","kinesis":{"sequenceNumber":"","data":"","approximateArrivalTimestamp":1}}]}"#).is_err());
    assert_eq!(
        serde_json::to_string(&Answer::done()).unwrap(),
        r#"{"batchItemFailures":[]}"#
    );
    let one =
        Answer::again_from(SequenceNumber::try_from(std::borrow::Cow::Borrowed("17")).unwrap());
    assert_eq!(
        serde_json::to_string(&one).unwrap(),
        r#"{"batchItemFailures":[{"itemIdentifier":"17"}]}"#
    );
}

#[test]
fn a_record_that_is_not_base64_stands_for_itself() {
    let text = batch(&[packed(&["a"]), packed(&["b"])]).replacen("\"data\":\"", "\"data\":\"%", 1);
    let batch: Batch<'_> = serde_json::from_str(&text).unwrap();
    let prepared = Prepared::from_batch(&batch, &enricher(), Timestamp::EPOCH);
    assert_eq!((prepared.enriched.len(), prepared.unreadable.len()), (1, 1));
}

proptest! {
    #[test]
    fn one_event_in_exactly_one_outcome_out(kinds in prop::collection::vec((0_u8..6, 1_usize..6), 0..30)) {
        let mut events = 0;
        let records: Vec<Vec<u8>> = kinds
            .iter()
            .map(|(kind, count)| match kind {
                0..=2 => {
                    events += count;
                    packed(&vec!["a"; *count])
                }
                3 => {
                    events += count;
                    vec!["{}"; *count].join("\n").into_bytes()
                }
                4 => {
                    events += 1;
                    vec![0xfe; *count]
                }
                _ => notice("shop", &[("field_empty", 3)]),
            })
            .collect();
        let text = batch(&records);
        let batch: Batch<'_> = serde_json::from_str(&text).unwrap();
        let prepared = Prepared::from_batch(&batch, &enricher(), Timestamp::EPOCH);
        prop_assert_eq!(prepared.enriched.len() + prepared.unreadable.len(), events);
        let notices = kinds.iter().filter(|(kind, _)| *kind == 5).count();
        prop_assert_eq!(prepared.noticed.len(), notices);
    }
}
