use super::*;
use crate::client::Auth;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const NOW_MS: i64 = 1_795_456_800_000;

/// A cluster with one index, whose `_bulk` answers as `respond` says.
async fn cluster(
    respond: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, Indexer) {
    let server = MockServer::start().await;
    let view = json!({"c-1": {"aliases": {"c": {"is_write_index": true}}, "settings": {"index": {"creation_date": "0"}}}});
    Mock::given(method("GET"))
        .and(path("/c"))
        .respond_with(ResponseTemplate::new(200).set_body_json(view))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path_regex("_bulk$"))
        .respond_with(respond)
        .mount(&server)
        .await;
    let search = Search::connect(&server.uri(), Auth::None).unwrap();
    (
        server,
        Indexer::new(
            search,
            "c",
            BulkLimits {
                max_documents: 4,
                max_bytes: 1_000,
            },
        ),
    )
}

fn ids_of(request: &Request) -> Vec<String> {
    let body = std::str::from_utf8(&request.body).unwrap();
    let actions = body
        .lines()
        .step_by(2)
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions
        .map(|action| action["create"]["_id"].as_str().unwrap().to_owned())
        .collect()
}

fn answer(items: &[(String, u16)]) -> ResponseTemplate {
    let items: Vec<Value> = items
        .iter()
        .map(|(id, status)| json!({"create": {"_id": id, "status": status}}))
        .collect();
    ResponseTemplate::new(200).set_body_json(json!({"items": items}))
}

async fn index(indexer: &Indexer, count: usize, bytes: usize, seconds: u64) -> Vec<ItemOutcome> {
    let ids: Vec<DocumentId> = (0..count)
        .map(|n| DocumentId::new("s", &n.to_string()))
        .collect();
    let json = vec![b' '; bytes];
    let not_before = Timestamp::from_millis(NOW_MS).unwrap();
    let requests: Vec<_> = ids
        .iter()
        .map(|id| IndexRequest {
            id,
            json: &json,
            not_before,
        })
        .collect();
    indexer
        .index(&requests, Instant::now() + Duration::from_secs(seconds))
        .await
}

async fn bulk_sizes(server: &MockServer) -> Vec<usize> {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .filter(|r| r.url.path().ends_with("_bulk"))
        .map(|r| ids_of(r).len())
        .collect()
}

#[tokio::test]
async fn requests_stay_within_both_limits() {
    let (server, indexer) = cluster(|r| {
        answer(
            &ids_of(r)
                .into_iter()
                .map(|id| (id, 201))
                .collect::<Vec<_>>(),
        )
    })
    .await;
    assert_eq!(
        index(&indexer, 9, 10, 9).await,
        vec![ItemOutcome::Indexed; 9]
    );
    assert_eq!(
        index(&indexer, 3, 400, 9).await,
        vec![ItemOutcome::Indexed; 3]
    );
    assert_eq!(bulk_sizes(&server).await, [4, 4, 1, 2, 1]);
}

#[tokio::test]
async fn only_what_may_still_get_in_is_sent_again() {
    let calls = AtomicUsize::new(0);
    let (server, indexer) = cluster(move |r| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        let status = |n: usize| match n {
            0 => 201,
            1 => 409,
            2 if first => 429,
            _ if first => 400,
            _ => 201,
        };
        answer(
            &ids_of(r)
                .into_iter()
                .enumerate()
                .map(|(n, id)| (id, status(n)))
                .collect::<Vec<_>>(),
        )
    })
    .await;
    let outcomes = index(&indexer, 4, 10, 9).await;
    assert_eq!(
        outcomes[..3],
        [
            ItemOutcome::Indexed,
            ItemOutcome::Duplicate,
            ItemOutcome::Indexed
        ]
    );
    assert!(matches!(outcomes[3], ItemOutcome::Rejected(_)));
    assert_eq!(bulk_sizes(&server).await, [4, 1]);
}

#[tokio::test]
async fn odd_answers_count_for_nothing_and_are_retried() {
    for body in [
        "<html>busy</html>",
        "{\"items\":[]}",
        "{\"items\":[{\"create\":{\"_id\":\"x\",\"status\":201}}]}",
    ] {
        let (_server, indexer) =
            cluster(move |_| ResponseTemplate::new(200).set_body_string(body)).await;
        assert_eq!(
            index(&indexer, 1, 10, 1).await,
            [ItemOutcome::retry("search_answer")],
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_until_its_cause_is_alone() {
    let large = DocumentId::new("s", "2").to_string();
    let (server, indexer) = cluster(move |r| {
        let ids = ids_of(r);
        if ids.contains(&large) {
            ResponseTemplate::new(413)
        } else {
            answer(&ids.into_iter().map(|id| (id, 201)).collect::<Vec<_>>())
        }
    })
    .await;
    let outcomes = index(&indexer, 4, 10, 9).await;
    assert!(matches!(&outcomes[2], ItemOutcome::Rejected(r) if r.code == "request_refused"));
    assert_eq!(
        outcomes
            .iter()
            .filter(|o| **o == ItemOutcome::Indexed)
            .count(),
        3
    );
    assert_eq!(bulk_sizes(&server).await, [4, 2, 2, 1, 1]);
}

#[tokio::test]
async fn a_cluster_that_is_down_leaves_everything_to_be_retried() {
    let search = Search::connect("http://127.0.0.1:1", Auth::None).unwrap();
    let indexer = Indexer::new(search, "c", BulkLimits::default());
    assert_eq!(
        index(&indexer, 2, 10, 1).await,
        vec![ItemOutcome::retry("search_unreachable"); 2]
    );
    let (server, indexer) = cluster(|_| ResponseTemplate::new(503)).await;
    assert_eq!(
        index(&indexer, 1, 10, 1).await,
        [ItemOutcome::retry("search_status")]
    );
    drop(server);
}

#[tokio::test]
async fn an_alias_that_is_missing_is_a_reason_to_retry() {
    let server = MockServer::start().await; // answers 404 to everything
    let indexer = Indexer::new(
        Search::connect(&server.uri(), Auth::None).unwrap(),
        "c",
        BulkLimits::default(),
    );
    assert_eq!(
        index(&indexer, 1, 10, 1).await,
        [ItemOutcome::retry("no_write_index")]
    );
}
