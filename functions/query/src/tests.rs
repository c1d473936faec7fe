use crate::access::Access;
use crate::answer::Response;
use crate::config::Windows;
use crate::handler::Handler;
use crate::health::Health;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_secretsmanager::config::{Credentials, SharedCredentialsProvider};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_events::Timestamp;
use freshet_keys::Keys;
use freshet_tables::{HealthTable, ResultTable, SlotResult};
use freshet_telemetry::Metrics;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wiremock::matchers::{any, header};
use wiremock::{Mock, MockServer, ResponseTemplate};

const WINDOWS: Windows = Windows {
    window_s: 300,
    slide_s: 60,
};

fn aws(server: &MockServer) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(server.uri())
        .retry_config(RetryConfig::disabled())
        .build()
}

/// A server in DynamoDB's place that keeps items: puts, gets, and queries from
/// the newest on.
pub(crate) async fn keeps_items(server: &MockServer) {
    type Items = BTreeMap<(String, String), Value>;
    let items: Arc<Mutex<Items>> = Arc::default();
    Mock::given(any())
        .respond_with(move |request: &wiremock::Request| {
            let mut items = items.lock().unwrap();
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let key = |of: &Value| {
                let part = |name: &str| of[name]["S"].as_str().unwrap().to_owned();
                (part("pk"), part("sk"))
            };
            let target = request.headers["x-amz-target"].to_str().unwrap();
            let answer = match target.rsplit('.').next().unwrap() {
                "PutItem" => {
                    items.insert(key(&body["Item"]), body["Item"].clone());
                    json!({})
                }
                "GetItem" => match items.get(&key(&body["Key"])) {
                    Some(item) => json!({"Item": item}),
                    None => json!({}),
                },
                "Query" => {
                    let values = &body["ExpressionAttributeValues"];
                    let text = |name: &str| values[name]["S"].as_str().unwrap().to_owned();
                    let bounds = (text(":pk"), text(":from"))..=(text(":pk"), text(":to"));
                    let limit = body["Limit"].as_u64().unwrap() as usize;
                    let found: Vec<&Value> = items
                        .range(bounds)
                        .rev()
                        .map(|(_, item)| item)
                        .take(limit)
                        .collect();
                    json!({"Items": found})
                }
                other => panic!("{other}"),
            };
            ResponseTemplate::new(200).set_body_json(answer)
        })
        .mount(server)
        .await;
}

pub(crate) fn now_s() -> i64 {
    freshet_edge::now().as_millis() / 1000
}

/// The slot that ends so many minutes after this one began.
fn slot(minutes: i64, body: &Value) -> SlotResult {
    let window_end = (now_s() / 60 + minutes) * 60;
    SlotResult {
        window_start: window_end - 300,
        window_end,
        updated_at: Timestamp::from_millis(1_795_456_800_250).unwrap(),
        approximate: false,
        body: body.to_string().into_bytes(),
        expires_at: window_end + 600,
    }
}

fn iso(seconds: i64) -> String {
    Timestamp::from_millis(seconds * 1000).unwrap().to_string()
}

pub(crate) struct Bench {
    pub(crate) server: MockServer,
    pub(crate) handler: Handler,
    pub(crate) health: HealthTable,
    table: ResultTable,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Access::Iam).await
    }

    pub(crate) async fn with(access: Access) -> Self {
        let server = MockServer::start().await;
        let table = ResultTable::new(&aws(&server), "aggregation");
        let aggregations = vec![("page_view", "pages"), ("conversion_funnel", "steps")];
        let health = HealthTable::new(&aws(&server), "aggregation");
        let stored = Health::new(health.clone(), 180);
        let handler = Handler::new(table.clone(), stored, access, WINDOWS, aggregations);
        Self {
            server,
            handler,
            health,
            table,
        }
    }

    /// Stores slots; the last one is the latest.
    async fn counted(self, slots: &[SlotResult]) -> Self {
        keeps_items(&self.server).await;
        for slot in slots {
            self.table
                .put_slot("page_view", slot, "hash", None)
                .await
                .unwrap();
            let put = self.table.put_latest(
                "page_view",
                slot.window_end,
                slot.expires_at,
                freshet_edge::now(),
            );
            put.await.unwrap();
        }
        self
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: Value) -> Response {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let payload = json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers,
            "requestContext": {"stage": "$default", "http": {"method": method, "path": path}},
            "isBase64Encoded": false,
        });
        let deadline = SystemTime::now() + Duration::from_secs(10);
        self.handler.handle(&payload.to_string(), deadline).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, json!({})).await
    }
}

pub(crate) fn body(response: &Response) -> Value {
    assert!(!response.is_base64_encoded);
    serde_json::from_str(&response.body).unwrap()
}

/// Status and code, of an answer that is a whole problem.
pub(crate) fn problem(response: &Response) -> (u16, String) {
    assert_eq!(response.headers["content-type"], "application/problem+json");
    assert_eq!(response.headers["cache-control"], "no-store");
    let body = body(response);
    assert_eq!(
        (&body["type"], &body["status"]),
        (&json!("about:blank"), &json!(response.status_code))
    );
    assert!(body["title"].is_string() && body["detail"].is_string());
    (
        response.status_code,
        body["code"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn the_names_say_where_results_are() {
    let bench = Bench::new().await;
    let answer = bench.get("/v1/aggregations").await;
    let name = |name: &str, description: &str| {
        json!({"name": name, "description": description, "href": format!("/v1/aggregations/{name}"),
            "window_seconds": 300, "slide_seconds": 60})
    };
    let names = [
        name("page_view", "pages"),
        name("conversion_funnel", "steps"),
    ];
    assert_eq!(
        (answer.status_code, body(&answer)),
        (200, json!({"aggregations": names}))
    );
    assert_eq!(answer.headers["cache-control"], "private, max-age=60");
    let refused = bench.get("/v1/aggregations?limit=1").await;
    assert_eq!(problem(&refused), (400, "parameter_invalid".to_owned()));
}

#[tokio::test]
async fn addresses_have_the_stage_that_was_asked() {
    let bench = Bench::new().await;
    let payload = json!({"rawPath": "/prod/v1/aggregations", "requestContext": {"stage": "prod", "http": {"method": "GET"}}});
    let deadline = SystemTime::now() + Duration::from_secs(10);
    let answer = bench.handler.handle(&payload.to_string(), deadline).await;
    assert_eq!(
        body(&answer)["aggregations"][0]["href"],
        "/prod/v1/aggregations/page_view"
    );
}

#[tokio::test]
async fn the_latest_slot_is_its_body_and_what_the_table_says() {
    let newest = slot(
        1,
        &json!({"result": {"total_page_views": 7}, "error_bound": {"unique_users": 0.01}, "name": "mine"}),
    );
    let bench = Bench::new()
        .await
        .counted(&[slot(0, &json!({"result": 1})), newest.clone()])
        .await;
    let answer = bench.get("/v1/aggregations/page_view").await;
    let expected = json!({
        "name": "page_view",
        "window": {"start": iso(newest.window_start), "end": iso(newest.window_end), "seconds": 300},
        "updated_at": "2026-11-23T18:00:00.250Z",
        "approximate": false,
        "result": {"total_page_views": 7},
        "error_bound": {"unique_users": 0.01},
    });
    assert_eq!((answer.status_code, body(&answer)), (200, expected));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "private, max-age=2");
    assert_eq!(answer.headers["vary"], "accept-encoding, origin");
    let encoded = bench.get("/v1/aggregations/page%5Fview").await;
    assert_eq!(encoded.body, answer.body);
}

#[tokio::test]
async fn who_has_it_is_told_so_and_head_has_no_body() {
    let bench = Bench::new()
        .await
        .counted(&[slot(1, &json!({"result": 1}))])
        .await;
    let path = "/v1/aggregations/page_view";
    let full = bench.get(path).await;
    let tag = full.headers["etag"].clone();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"a\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = bench
            .ask("GET", path, json!({"If-None-Match": known}))
            .await;
        assert_eq!(
            (answer.status_code, answer.body.as_str()),
            (304, ""),
            "{known}"
        );
        assert_eq!(answer.headers["etag"], tag);
        assert_eq!(
            answer.headers["cache-control"],
            full.headers["cache-control"]
        );
        assert!(!answer.headers.contains_key("content-type"));
    }
    let other = bench
        .ask("GET", path, json!({"if-none-match": "\"a\""}))
        .await;
    assert_eq!(other.body, full.body);
    let head = bench.ask("HEAD", path, json!({})).await;
    assert_eq!(
        (head.status_code, head.body.as_str(), &head.headers),
        (200, "", &full.headers)
    );
    let head = bench
        .ask("HEAD", "/v1/aggregations/nothing", json!({}))
        .await;
    assert_eq!((head.status_code, head.body.as_str()), (404, ""));
}

#[tokio::test]
async fn large_answers_are_zipped_for_those_who_ask() {
    let large = json!({"result": {"unique_pages": vec!["/product"; 500]}});
    let bench = Bench::new().await.counted(&[slot(1, &large)]).await;
    let path = "/v1/aggregations/page_view";
    let plain = bench
        .ask("GET", path, json!({"accept-encoding": "gzip;q=0"}))
        .await;
    let zipped = bench
        .ask("GET", path, json!({"accept-encoding": "br, gzip"}))
        .await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.is_base64_encoded && !plain.headers.contains_key("content-encoding"));
    assert_ne!(zipped.headers["etag"], plain.headers["etag"]);
    let bytes = STANDARD.decode(&zipped.body).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.body);
}

#[tokio::test]
async fn a_range_is_read_page_by_page_newest_first() {
    let slots: Vec<SlotResult> = (-4..=1)
        .map(|minutes| slot(minutes, &json!({"result": minutes})))
        .collect();
    let bench = Bench::new().await.counted(&slots).await;
    let (mut path, mut seen) = (
        format!(
            "/v1/aggregations/page_view?from={}&limit=2",
            slots[1].window_end
        ),
        Vec::new(),
    );
    loop {
        let answer = bench.get(&path).await;
        assert_eq!(answer.headers["cache-control"], "private, max-age=2");
        let page = body(&answer);
        assert_eq!(page["name"], "page_view");
        seen.extend(
            page["slots"]
                .as_array()
                .unwrap()
                .iter()
                .map(|slot| slot["result"].as_i64().unwrap()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!(seen, [1, 0, -1, -2, -3]);
    let cursor = slots[5].window_end + 60;
    let again = body(
        &bench
            .get(&format!(
                "/v1/aggregations/page_view?%61fter={cursor}&limit=1&"
            ))
            .await,
    );
    let next = format!(
        "/v1/aggregations/page_view?limit=1&after={}",
        slots[5].window_end
    );
    assert_eq!(again["next"], next);
    let to = iso(slots[5].window_end);
    let half_open = body(
        &bench
            .get(&format!("/v1/aggregations/page_view?to={to}&limit=1"))
            .await,
    );
    assert_eq!(half_open["slots"][0]["result"], 0);
    let empty = bench.get("/v1/aggregations/page_view?to=0").await;
    assert_eq!(
        (empty.status_code, body(&empty)),
        (200, json!({"name": "page_view", "slots": [], "next": null}))
    );
}

#[tokio::test]
async fn the_walk_begins_where_results_still_live() {
    let bench = Bench::new().await;
    Mock::given(header("x-amz-target", "DynamoDB_20120810.Query"))
        .respond_with(|request: &wiremock::Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let from = body["ExpressionAttributeValues"][":from"]["S"]
                .as_str()
                .unwrap();
            let oldest: i64 = from.strip_prefix("slot#").unwrap().parse().unwrap();
            assert!((now_s() - 605..=now_s() - 600).contains(&oldest), "{from}");
            ResponseTemplate::new(200).set_body_json(json!({"Items": []}))
        })
        .mount(&bench.server)
        .await;
    for query in ["limit=1", "from=0", "from=2020-01-01"] {
        let answer = bench
            .get(&format!("/v1/aggregations/page_view?{query}"))
            .await;
        assert_eq!(answer.status_code, 200);
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_with_a_stable_code() {
    let bench = Bench::new().await.counted(&[]).await;
    for (request, status, code) in [
        ("GET /v1/aggregations/page_view", 404, "no_result"),
        (
            "GET /v1/aggregations/page_views",
            404,
            "aggregation_unknown",
        ),
        ("GET /v1/aggregations/%ff", 404, "aggregation_unknown"),
        (
            "GET /v1/aggregations/page_view?limit=x",
            400,
            "parameter_invalid",
        ),
        (
            "GET /v1/aggregations/page_view?slots=3",
            400,
            "parameter_invalid",
        ),
        ("GET /v1/aggregations/", 404, "not_found"),
        ("GET /v1/aggregations/page_view/x", 404, "not_found"),
        ("GET /v1/aggregationspage_view", 404, "not_found"),
        ("GET /", 404, "not_found"),
        ("GET /v1/health/", 404, "not_found"),
        ("GET /v1/healthy", 404, "not_found"),
        ("GET /v1/health?verbose=1", 400, "parameter_invalid"),
        ("POST /v1/health", 405, "method_not_allowed"),
        ("POST /v1/aggregations", 405, "method_not_allowed"),
        (
            "DELETE /v1/aggregations/page_view",
            405,
            "method_not_allowed",
        ),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        let answer = bench.ask(method, path, json!({})).await;
        assert_eq!(problem(&answer), (status, code.to_owned()), "{request}");
        assert_eq!(
            answer.headers.get("allow").map(String::as_str),
            (status == 405).then_some("GET, HEAD")
        );
    }
    let deadline = SystemTime::now() + Duration::from_secs(10);
    let odd = bench.handler.handle("{}", deadline).await;
    assert_eq!(problem(&odd), (400, "request_malformed".to_owned()));
}

#[tokio::test]
async fn a_table_that_fails_is_said_to_be_unavailable_and_one_that_hangs_too() {
    let bench = Bench::new().await; // it answers 404 to everything
    for path in [
        "/v1/aggregations/page_view",
        "/v1/aggregations/page_view?limit=1",
        "/v1/health",
    ] {
        let answer = bench.get(path).await;
        assert_eq!(problem(&answer), (503, "store_unavailable".to_owned()));
        assert_eq!(answer.headers["retry-after"], "1");
    }
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    Mock::given(any())
        .respond_with(slow)
        .mount(&bench.server)
        .await;
    let payload = json!({"rawPath": "/v1/aggregations/page_view", "requestContext": {"http": {"method": "GET"}}});
    let deadline = SystemTime::now() + Duration::from_millis(700);
    let answer = bench.handler.handle(&payload.to_string(), deadline).await;
    assert_eq!(problem(&answer), (503, "store_unavailable".to_owned()));
}

#[tokio::test]
async fn a_result_that_cannot_be_read_is_ours_to_repair() {
    for odd in [json!([1]), json!("text")] {
        let bench = Bench::new().await.counted(&[slot(1, &odd)]).await;
        let answer = bench.get("/v1/aggregations/page_view").await;
        assert_eq!(problem(&answer), (500, "internal_error".to_owned()));
    }
}

#[tokio::test]
async fn a_read_key_is_taken_from_either_header_and_nothing_is_read_without() {
    let secret = MockServer::start().await;
    let answer = json!({"Name": "keys", "SecretString": r#"{"k1":"app"}"#});
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&secret)
        .await;
    let client = aws_sdk_secretsmanager::Client::new(&aws(&secret));
    let keys = Keys::load(client, "keys", &[]).await.unwrap();
    let bench = Bench::with(Access::ReadKey(keys)).await;
    for good in [
        json!({"x-read-key": "k1"}),
        json!({"Authorization": "bearer k1"}),
    ] {
        let answer = bench.ask("GET", "/v1/aggregations", good).await;
        assert_eq!(
            (answer.status_code, answer.headers["cache-control"].as_str()),
            (200, "private, max-age=60")
        );
    }
    for bad in [
        json!({}),
        json!({"x-read-key": "k2"}),
        json!({"x-read-key": ""}),
        json!({"authorization": "Basic k1"}),
    ] {
        for path in [
            "/v1/aggregations",
            "/v1/aggregations/page_view",
            "/v1/aggregations/nothing?a=1",
            "/v1/health",
        ] {
            let answer = bench.ask("GET", path, bad.clone()).await;
            assert_eq!(
                problem(&answer),
                (401, "read_key_wrong".to_owned()),
                "{bad}"
            );
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert_eq!(bench.server.received_requests().await.unwrap().len(), 0);
    let open = Bench::with(Access::anyone()).await;
    assert_eq!(
        open.get("/v1/aggregations").await.headers["cache-control"],
        "public, max-age=60"
    );
}

#[tokio::test]
async fn every_invocation_writes_one_line() {
    let page_view = "/v1/aggregations/page_view";
    let bench = Bench::new().await.counted(&[slot(0, &json!({}))]).await;
    let tag = bench.get(page_view).await.headers["etag"].clone();
    let cases = [
        (page_view, json!({}), 200, vec![]),
        (
            page_view,
            json!({"if-none-match": tag}),
            304,
            vec!["NotModified"],
        ),
        ("/v1/aggregations/x", json!({}), 404, vec!["Refused"]),
        (
            "/v1/aggregations/conversion_funnel",
            json!({}),
            404,
            vec!["Refused"],
        ),
    ];
    for (path, headers, status, counted) in cases {
        let (metrics, written) = Metrics::kept("shop");
        let payload = json!({"rawPath": path, "headers": headers,
            "requestContext": {"stage": "$default", "http": {"method": "GET"}}});
        let mut context = Context::default();
        context.request_id = "r-1".to_owned();
        let deadline = SystemTime::now() + Duration::from_secs(10);
        let since = deadline.duration_since(UNIX_EPOCH).unwrap();
        context.deadline = u64::try_from(since.as_millis()).unwrap();
        let payload = RawValue::from_string(payload.to_string()).unwrap();
        let event = LambdaEvent::new(payload, context);
        let answer = bench.handler.invoke(event, &metrics).await;
        assert_eq!(answer.status_code, status, "{path}");
        let lines = written.lines();
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(
            (&line["Stage"], &line["requestId"]),
            (&json!("query"), &json!("r-1"))
        );
        assert!(line["ProcessingLatency"].as_f64().is_some());
        let names: Vec<&str> = ["NotModified", "Refused", "Failed"]
            .into_iter()
            .filter(|name| line.get(name).is_some())
            .collect();
        assert_eq!((names, &line["Requests"]), (counted, &json!(1)), "{path}");
    }
}
