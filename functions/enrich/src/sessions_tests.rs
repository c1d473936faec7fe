use super::*;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use freshet_events::DocumentId;
use freshet_sessions::EventMark;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const NOW_MS: i64 = 1_795_456_800_000;

/// DynamoDB, as far as the session table uses it: conditional puts and batch
/// reads, over a map.
#[derive(Clone, Default)]
pub(crate) struct Table {
    items: Arc<Mutex<HashMap<String, Value>>>,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl Table {
    pub(crate) async fn serve(&self) -> MockServer {
        let server = MockServer::start().await;
        for (operation, weight) in [("PutItem", 1), ("BatchGetItem", 1)] {
            let table = self.clone();
            Mock::given(header(
                "x-amz-target",
                format!("DynamoDB_20120810.{operation}"),
            ))
            .respond_with(move |request: &Request| {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                if operation == "PutItem" {
                    table.writes.fetch_add(weight, Ordering::AcqRel);
                    table.put(&body)
                } else {
                    table.reads.fetch_add(weight, Ordering::AcqRel);
                    table.get(&body)
                }
            })
            .mount(&server)
            .await;
        }
        server
    }

    fn put(&self, body: &Value) -> ResponseTemplate {
        let mut items = self.items.lock().unwrap();
        let key = body["Item"]["session_key"]["S"]
            .as_str()
            .unwrap()
            .to_owned();
        let known = items.get(&key);
        let expected = &body["ExpressionAttributeValues"][":revision"];
        let holds = match known {
            None => body["ConditionExpression"] == "attribute_not_exists(session_key)",
            Some(known) => known["revision"] == *expected,
        };
        if holds {
            items.insert(key, body["Item"].clone());
            return ResponseTemplate::new(200).set_body_json(json!({}));
        }
        let mut failed = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "no"});
        if let Some(known) = known {
            failed["Item"] = known.clone();
        }
        ResponseTemplate::new(400).set_body_json(failed)
    }

    fn get(&self, body: &Value) -> ResponseTemplate {
        let items = self.items.lock().unwrap();
        let keys = body["RequestItems"]["sessions"]["Keys"].as_array().unwrap();
        let found: Vec<&Value> = keys
            .iter()
            .filter_map(|key| items.get(key["session_key"]["S"].as_str().unwrap()))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"Responses": {"sessions": found}}))
    }

    pub(crate) fn calls(&self) -> (usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::AcqRel);
        (take(&self.reads), take(&self.writes))
    }
}

/// An environment of the function.
pub(crate) fn environment(server: &MockServer) -> Sessions {
    let credentials = aws_sdk_s3::config::Credentials::new("test", "test", None, None, "test");
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(
            credentials,
        ))
        .endpoint_url(server.uri())
        .retry_config(RetryConfig::disabled())
        .build();
    Sessions::new(SessionTable::new(&aws, "sessions"), SessionPolicy::DEFAULT)
}

/// An event of a session, so many seconds before now.
fn event(session: &str, seconds_ago: i64) -> SessionEvent {
    let id = DocumentId::new(session, &seconds_ago.to_string());
    SessionEvent {
        key: SessionKey::new("shop", session),
        mark: EventMark::from(&id),
        at: Timestamp::from_millis(NOW_MS - seconds_ago * 1_000).unwrap(),
        source: "shop".to_owned(),
        session_id: Some(session.to_owned()),
        user_id: "u".to_owned(),
        page: Some("/".to_owned()),
        is_page_view: true,
        referrer: None,
        revenue: None,
        synthetic: false,
        bot: false,
    }
}

async fn meet(sessions: &Sessions, events: &[SessionEvent]) -> Meeting {
    let events: Vec<&SessionEvent> = events.iter().collect();
    let now = Timestamp::from_millis(NOW_MS).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    sessions.meet(&events, now, deadline).await
}

/// Durations in seconds; negative where nothing is known.
fn durations(meeting: &Meeting, events: &[SessionEvent]) -> Vec<f64> {
    let of = |(met, event): (&Met, &SessionEvent)| match met {
        Met::Within { start, .. } => event.at.seconds_since(*start),
        Met::Outside => -1.0,
        Met::Unknown => -2.0,
    };
    meeting.met.iter().zip(events).map(of).collect()
}

fn counted(meeting: &Meeting) -> Vec<(u64, u64)> {
    let of = |touched: &Touched| {
        let json: Value = serde_json::from_slice(&touched.document.json).unwrap();
        (json["events"].as_u64().unwrap(), touched.document.version)
    };
    meeting.documents.iter().map(of).collect()
}

#[tokio::test]
async fn sessions_go_on_from_batch_to_batch_with_few_requests() {
    let table = Table::default();
    let server = table.serve().await;
    let warm = environment(&server);
    let batch = [
        event("a", 60),
        event("b", 50),
        event("a", 40),
        event("a", 9 * 86_400),
    ];
    let first = meet(&warm, &batch).await;
    assert_eq!(durations(&first, &batch), [0.0, 0.0, 20.0, -1.0]);
    assert_eq!(table.calls(), (1, 2), "one read for both, one write each");
    let next = [event("a", 10)];
    let second = meet(&warm, &next).await;
    assert_eq!(
        (durations(&second, &next), counted(&second)),
        (vec![50.0], vec![(3, 2)])
    );
    assert_eq!((table.calls(), second.from_memory), ((0, 1), 1));
    // Delivered again, nothing is written, and the documents are the same.
    let again = meet(&warm, &next).await;
    assert_eq!((counted(&again), table.calls()), (vec![(3, 2)], (0, 0)));
    // A cold environment reads once.
    let cold = meet(&environment(&server), &next).await;
    assert_eq!((counted(&cold), table.calls()), (vec![(3, 2)], (1, 0)));
}

#[tokio::test]
async fn a_synthetic_event_and_a_bot_s_ask_for_no_session_and_leave_none() {
    let table = Table::default();
    let server = table.serve().await;
    let sessions = environment(&server);
    let synthetic = |session: &str| SessionEvent {
        synthetic: true,
        ..event(session, 20)
    };
    let bot = |session: &str| SessionEvent {
        bot: true,
        ..event(session, 20)
    };
    let meeting = meet(&sessions, &[synthetic("a"), bot("b")]).await;
    assert_eq!(meeting.met, [Met::Outside, Met::Outside]);
    assert!(meeting.documents.is_empty());
    assert_eq!(table.calls(), (0, 0));
    // Beside a visitor's event of the same name it is not counted.
    let batch = [bot("a"), event("a", 60)];
    let meeting = meet(&sessions, &batch).await;
    assert_eq!(durations(&meeting, &batch), [-1.0, 0.0]);
    assert_eq!(counted(&meeting), [(1, 1)]);
}

#[tokio::test]
async fn a_table_that_is_down_is_not_missed_by_synthetic_events() {
    let server = MockServer::start().await; // it answers 404 to everything
    let synthetic = SessionEvent {
        synthetic: true,
        ..event("a", 20)
    };
    let meeting = meet(&environment(&server), &[synthetic]).await;
    assert_eq!(
        meeting.met,
        [Met::Outside],
        "not of those without a session"
    );
}

#[tokio::test]
async fn an_overtaken_writer_takes_its_events_to_what_is_there() {
    let table = Table::default();
    let server = table.serve().await;
    let (one, other) = (environment(&server), environment(&server));
    meet(&one, &[event("a", 60)]).await;
    meet(&other, &[event("a", 90)]).await;
    table.calls();
    // `one` still remembers revision 1.
    let late = [event("a", 30)];
    let meeting = meet(&one, &late).await;
    assert_eq!(
        (durations(&meeting, &late), counted(&meeting)),
        (vec![60.0], vec![(3, 3)])
    );
    assert_eq!(table.calls(), (0, 2), "refused once, then written");
}

#[tokio::test]
async fn what_was_known_long_ago_is_read_again() {
    let table = Table::default();
    let server = table.serve().await;
    let mut warm = environment(&server);
    warm.max_age = Duration::ZERO;
    let duplicate = [event("a", 4_000)];
    meet(&warm, &duplicate).await;
    // Elsewhere a bridge makes this session part of an earlier one.
    let other = environment(&server);
    meet(&other, &[event("a", 7_000)]).await;
    let bridge = meet(&other, &[event("a", 5_500)]).await;
    assert_eq!(bridge.documents[0].document.absorbed.len(), 1);
    table.calls();
    let meeting = meet(&warm, &duplicate).await;
    assert_eq!(table.calls(), (1, 0));
    assert_eq!(
        counted(&meeting)[0].0,
        3,
        "the document that is gone is not put again"
    );
}

#[tokio::test]
async fn many_writers_of_one_session_lose_nothing() {
    let table = Table::default();
    let server = table.serve().await;
    let writers: Vec<Sessions> = (0..12).map(|_| environment(&server)).collect();
    let batches = writers.iter().enumerate().map(|(n, writer)| {
        let batch: Vec<SessionEvent> = (0..5).map(|m| event("a", (n * 5 + m) as i64)).collect();
        async move { meet(writer, &batch).await }
    });
    for meeting in futures::future::join_all(batches).await {
        assert!(!meeting.met.contains(&Met::Unknown));
    }
    let last = meet(&environment(&server), &[event("a", 0)]).await;
    assert_eq!(counted(&last), [(60, 12)]);
}

#[tokio::test]
async fn an_odd_item_costs_its_own_events_only() {
    let table = Table::default();
    let server = table.serve().await;
    let sessions = environment(&server);
    meet(&sessions, &[event("a", 60), event("b", 60)]).await;
    let odd = SessionKey::new("shop", "a").as_str().to_owned();
    table.items.lock().unwrap().get_mut(&odd).unwrap()["sessions"]["S"] =
        json!(r#"{"v":7,"sessions":[]}"#);
    let batch = [event("a", 10), event("b", 10)];
    let cold = environment(&server);
    for _ in 0..2 {
        let meeting = meet(&cold, &batch).await;
        assert_eq!(
            durations(&meeting, &batch),
            [-2.0, 50.0],
            "and the table is not left alone"
        );
    }
}

#[tokio::test]
async fn a_table_that_is_down_is_left_alone_and_comes_back() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(500))
        .mount(&server)
        .await;
    let sessions = environment(&server);
    let batch = [event("a", 60), event("b", 60), event("c", 9 * 86_400)];
    for _ in 0..3 {
        let meeting = meet(&sessions, &batch).await;
        assert_eq!(durations(&meeting, &batch), [-2.0, -2.0, -1.0]);
        assert!(meeting.documents.is_empty());
    }
    assert_eq!(
        server.received_requests().await.unwrap().len(),
        1,
        "asked once"
    );
    assert_eq!(sessions.rest().last, REST.0);
    // The rest is over, and the table still down: a longer one.
    sessions.rest().until = Some(Instant::now());
    meet(&sessions, &batch).await;
    assert_eq!(sessions.rest().last, REST.0 * 2);

    server.reset().await;
    let table = Table::default();
    sessions.rest().until = Some(Instant::now());
    let back = table.serve().await;
    let recovered = Sessions {
        table: environment(&back).table,
        ..sessions
    };
    let meeting = meet(&recovered, &batch).await;
    assert_eq!(durations(&meeting, &batch), [0.0, 0.0, -1.0]);
    assert_eq!(recovered.rest().last, Duration::ZERO);
}
