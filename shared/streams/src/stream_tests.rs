use super::*;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use serde::Deserialize;
use std::sync::Mutex;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Answers as Kinesis would, entry by entry.
type Script = Box<dyn Fn(usize, &[String]) -> ResponseTemplate + Send + Sync>;

struct FakeKinesis {
    calls: Mutex<usize>,
    script: Script,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Records")]
    records: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "PartitionKey")]
    partition_key: String,
}

impl Respond for FakeKinesis {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Body = serde_json::from_slice(&request.body).unwrap();
        let keys: Vec<String> = body.records.into_iter().map(|r| r.partition_key).collect();
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        (self.script)(*calls, &keys)
    }
}

/// An answer in which the keys that `refuse` names are throttled.
fn answer(keys: &[String], refuse: impl Fn(&str) -> bool) -> ResponseTemplate {
    let records: Vec<_> = keys
        .iter()
        .map(|key| {
            if refuse(key) {
                serde_json::json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
            } else {
                serde_json::json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
            }
        })
        .collect();
    ResponseTemplate::new(200)
        .set_body_json(serde_json::json!({"FailedRecordCount": 0, "Records": records}))
}

async fn fake(
    script: impl Fn(usize, &[String]) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, Stream) {
    let server = MockServer::start().await;
    let fake = FakeKinesis {
        calls: Mutex::new(0),
        script: Box::new(script),
    };
    Mock::given(method("POST"))
        .respond_with(fake)
        .mount(&server)
        .await;
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(server.uri())
        .build();
    let stream = Stream::new(Client::from_conf(config), "events");
    (server, stream)
}

fn records(count: usize, bytes: usize) -> Vec<Record> {
    (0..count)
        .map(|n| Record {
            partition_key: format!("k{n}"),
            data: vec![0; bytes],
        })
        .collect()
}

async fn put(
    count: usize,
    bytes: usize,
    script: impl Fn(usize, &[String]) -> ResponseTemplate + Send + Sync + 'static,
) -> (Vec<PutOutcome>, Vec<Request>) {
    let (server, stream) = fake(script).await;
    let outcomes = stream
        .put(
            &records(count, bytes),
            Instant::now() + Duration::from_secs(20),
        )
        .await;
    (outcomes, server.received_requests().await.unwrap())
}

/// Puts records `k0` and so on with a rider `r`; the keys of each request.
async fn put_with_rider(
    count: usize,
    script: impl Fn(usize, &[String]) -> ResponseTemplate + Send + Sync + 'static,
) -> (Vec<PutOutcome>, PutOutcome, Vec<Vec<String>>) {
    let (server, stream) = fake(script).await;
    let rider = Record {
        partition_key: "r".to_owned(),
        data: vec![3],
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    let (outcomes, rider) = stream.put_with(records(count, 10), rider, deadline).await;
    let requests = server.received_requests().await.unwrap();
    let keys = requests.iter().map(|request| {
        let body: Body = serde_json::from_slice(&request.body).unwrap();
        body.records.into_iter().map(|r| r.partition_key).collect()
    });
    (outcomes, rider, keys.collect())
}

fn refused(outcomes: &[PutOutcome]) -> Vec<usize> {
    (0..outcomes.len())
        .filter(|n| outcomes[*n] != PutOutcome::Held)
        .collect()
}

#[tokio::test]
async fn partial_failures_keep_their_index_and_only_they_are_sent_again() {
    let (outcomes, requests) = put(5, 10, |call, keys| {
        answer(keys, |key| (call == 1 && key == "k3") || key == "k1")
    })
    .await;
    assert_eq!(refused(&outcomes), [1]);
    let sizes: Vec<usize> = requests
        .iter()
        .map(|r| {
            serde_json::from_slice::<Body>(&r.body)
                .unwrap()
                .records
                .len()
        })
        .collect();
    assert_eq!(sizes, [5, 2, 1, 1]); // three retries, of the failed ones only
}

#[tokio::test]
async fn a_refused_request_is_tried_again_whole() {
    let (outcomes, requests) = put(3, 10, |call, keys| {
        if call < 3 {
            ResponseTemplate::new(500)
        } else {
            answer(keys, |_| false)
        }
    })
    .await;
    assert_eq!((refused(&outcomes), requests.len()), (vec![], 3));
}

#[tokio::test]
async fn all_refused_stays_refused_with_its_code() {
    let (outcomes, requests) = put(2, 10, |_, keys| answer(keys, |_| true)).await;
    let code = "ProvisionedThroughputExceededException".to_owned();
    assert_eq!(outcomes, vec![PutOutcome::Refused { code }; 2]);
    assert_eq!(requests.len(), 4);
}

#[tokio::test]
async fn an_answer_of_another_length_counts_for_nothing() {
    let (outcomes, _) = put(3, 10, |_, keys| answer(&keys[1..], |_| false)).await;
    assert_eq!(refused(&outcomes), [0, 1, 2]);
}

#[tokio::test]
async fn requests_stay_within_both_limits() {
    let (outcomes, requests) = put(1_001, 10, |_, keys| answer(keys, |_| false)).await;
    assert_eq!((refused(&outcomes), requests.len()), (vec![], 3));
    let (outcomes, requests) = put(6, 1_000_000, |_, keys| answer(keys, |_| false)).await;
    assert_eq!((refused(&outcomes), requests.len()), (vec![], 2));
}

#[tokio::test]
async fn a_rider_goes_last_and_is_never_waited_for() {
    // Alone: one try, whatever becomes of it.
    let (outcomes, rider, keys) = put_with_rider(0, |_, keys| answer(keys, |_| true)).await;
    assert!(outcomes.is_empty() && rider != PutOutcome::Held);
    assert_eq!(keys, [["r"]]);
    // The others are held: it is not tried again.
    let (outcomes, rider, keys) = put_with_rider(2, |_, keys| answer(keys, |k| k == "r")).await;
    assert_eq!((refused(&outcomes), outcomes.len()), (vec![], 2));
    assert!(rider != PutOutcome::Held);
    assert_eq!(keys, [["k0", "k1", "r"]]);
}

#[tokio::test]
async fn a_rider_goes_along_where_others_are_tried_again() {
    let (outcomes, rider, keys) =
        put_with_rider(2, |call, keys| answer(keys, |key| call == 1 && key != "k0")).await;
    assert_eq!((refused(&outcomes), rider), (vec![], PutOutcome::Held));
    assert_eq!(keys, [vec!["k0", "k1", "r"], vec!["k1", "r"]]);
    // Held at once, it is not put twice.
    let (outcomes, rider, keys) =
        put_with_rider(1, |call, keys| answer(keys, |key| call == 1 && key == "k0")).await;
    assert_eq!((refused(&outcomes), rider), (vec![], PutOutcome::Held));
    assert_eq!(keys, [vec!["k0", "r"], vec!["k0"]]);
}

#[test]
fn cuts_exactly_at_the_limits() {
    let records = vec![
        Record {
            partition_key: "k".into(),
            data: vec![0; 1_048_575]
        };
        6
    ];
    let all: Vec<usize> = (0..6).collect();
    assert_eq!(requests(&all, &records), [0..5, 5..6]);
    assert_eq!(requests(&[], &records), Vec::<Range<usize>>::new());
    let small = vec![
        Record {
            partition_key: "k".into(),
            data: vec![]
        };
        500
    ];
    let all: Vec<usize> = (0..500).collect();
    assert_eq!(requests(&all, &small), std::slice::from_ref(&(0..500)));
}

#[tokio::test]
async fn the_deadline_ends_it() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    Mock::given(method("POST"))
        .respond_with(slow)
        .mount(&server)
        .await;
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(server.uri())
        .build();
    let stream = Stream::new(Client::from_conf(config), "events");
    let record = Record {
        partition_key: "k".into(),
        data: vec![1],
    };
    let outcomes = stream
        .put(&[record], Instant::now() + Duration::from_millis(200))
        .await;
    assert_eq!(
        outcomes,
        [PutOutcome::Refused {
            code: "timeout".into()
        }]
    );
}
