//! Against a stand-in that keeps saved objects as Dashboards does.

use super::*;
use freshet_search::{Auth, Search};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wiremock::matchers::{any, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const OBJECTS: &str = concat!(
    r#"{"type":"index-pattern","id":"p","attributes":{"title":"c-*"},"references":[]}"#,
    "\n",
    r#"{"type":"visualization","id":"v","attributes":{"title":"Pages","visState":"{\"type\":\"line\",\"aggs\":[{\"id\":\"1\"}]}"},"references":[{"name":"i","type":"index-pattern","id":"p"}]}"#,
    "\n",
    r#"{"exportedCount":2,"missingRefCount":0,"missingReferences":[]}"#,
    "\n",
);

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<(String, String), Value>>>);

fn key(object: &Value) -> (String, String) {
    let text = |key: &str| object[key].as_str().unwrap().to_owned();
    (text("type"), text("id"))
}

struct BulkGet(Kept);

impl Respond for BulkGet {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked: Vec<Value> = request.body_json().unwrap();
        let kept = self.0.0.lock().unwrap();
        let found = asked.iter().map(|asked| {
            let missing = json!({"type": asked["type"], "id": asked["id"], "error": {"statusCode": 404, "error": "Not Found"}});
            kept.get(&key(asked)).cloned().unwrap_or(missing)
        });
        let found: Vec<Value> = found.collect();
        ResponseTemplate::new(200).set_body_json(json!({ "saved_objects": found }))
    }
}

struct Import(Kept);

impl Respond for Import {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let content_type = request.headers["content-type"].to_str().unwrap();
        let boundary = content_type
            .strip_prefix("multipart/form-data; boundary=")
            .unwrap();
        let body = String::from_utf8(request.body.clone()).unwrap();
        let part = body.split(&format!("--{boundary}")).nth(1).unwrap();
        let (head, file) = part.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("name=\"file\"") && head.contains(".ndjson"),
            "{head}"
        );
        let objects = file.lines().filter(|line| line.contains("\"type\""));
        let mut count = 0;
        for line in objects {
            let mut object: Value = serde_json::from_str(line).unwrap();
            // Dashboards adds its own, and writes JSON in text anew.
            object["version"] = json!("WzEsMV0=");
            object["migrationVersion"] = json!({"visualization": "7.10.0"});
            if let Some(state) = object["attributes"]["visState"].as_str() {
                let state: Value = serde_json::from_str(state).unwrap();
                object["attributes"]["visState"] = json!(format!("{state:#}"));
            }
            self.0.0.lock().unwrap().insert(key(&object), object);
            count += 1;
        }
        ResponseTemplate::new(200).set_body_json(json!({"successCount": count, "success": true}))
    }
}

async fn dashboards() -> (MockServer, Kept) {
    let (server, kept) = (MockServer::start().await, Kept::default());
    let with_headers = |endpoint: &'static str| {
        Mock::given(method("POST"))
            .and(path(endpoint))
            .and(header("osd-xsrf", "true"))
            .and(header("securitytenant", "global"))
    };
    with_headers("/_dashboards/api/saved_objects/_bulk_get")
        .respond_with(BulkGet(kept.clone()))
        .mount(&server)
        .await;
    with_headers("/_dashboards/api/saved_objects/_import")
        .and(query_param("overwrite", "true"))
        .respond_with(Import(kept.clone()))
        .mount(&server)
        .await;
    (server, kept)
}

fn search(server: &MockServer) -> Search {
    Search::connect(&format!("{}/_dashboards", server.uri()), Auth::None).unwrap()
}

async fn provisioned(
    server: &MockServer,
    on_missing: OnMissing,
) -> Result<Outcome, ProvisionError> {
    let search = search(server);
    let cluster = Cluster::new(&search, false).with_timeout(Duration::from_millis(500));
    provision(Some(cluster), OBJECTS, on_missing).await
}

async fn imports(server: &MockServer) -> usize {
    let requests = server.received_requests().await.unwrap();
    let imports = requests
        .iter()
        .filter(|r| r.url.path().ends_with("_import"));
    imports.count()
}

#[tokio::test]
async fn objects_are_imported_once_and_again_when_they_differ() {
    let (server, kept) = dashboards().await;
    let fail = OnMissing::Fail;
    assert_eq!(provisioned(&server, fail).await.unwrap(), Outcome::Created);
    assert_eq!(kept.0.lock().unwrap().len(), 2);
    assert_eq!(
        provisioned(&server, fail).await.unwrap(),
        Outcome::Unchanged
    );
    assert_eq!(imports(&server).await, 1);

    let pages = ("visualization".to_owned(), "v".to_owned());
    let changes: [fn(&mut Value); 3] = [
        |object| object["attributes"]["title"] = json!("Mine"),
        |object| object["attributes"]["visState"] = json!(r#"{"type":"area","aggs":[{"id":"1"}]}"#),
        |object| object["references"] = json!([]),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        change(kept.0.lock().unwrap().get_mut(&pages).unwrap());
        let outcome = provisioned(&server, fail).await.unwrap();
        assert_eq!(
            outcome,
            Outcome::Updated("0 were missing, 1 differed".to_owned())
        );
        assert_eq!(imports(&server).await, n + 2);
    }
    kept.0.lock().unwrap().remove(&pages);
    let outcome = provisioned(&server, fail).await.unwrap();
    assert_eq!(
        outcome,
        Outcome::Updated("1 were missing, 0 differed".to_owned())
    );
}

#[tokio::test]
async fn a_dry_run_imports_nothing() {
    let (server, kept) = dashboards().await;
    let search = search(&server);
    let outcome = provision(Some(Cluster::new(&search, true)), OBJECTS, OnMissing::Fail).await;
    assert_eq!(outcome.unwrap(), Outcome::Created);
    assert!(kept.0.lock().unwrap().is_empty() && imports(&server).await == 0);
}

/// Fails with the reason, or skips with it, by parameter.
async fn refused(server: &MockServer, reason: &str) {
    let error = provisioned(server, OnMissing::Fail).await.unwrap_err();
    assert_eq!(error.code(), "provision_missing");
    assert!(error.to_string().contains(reason), "{error}");
    let outcome = provisioned(server, OnMissing::Skip).await.unwrap();
    assert!(
        matches!(&outcome, Outcome::Skipped(why) if why.contains(reason)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_absent_or_refuses() {
    for (status, reason) in [
        (401, "answered 401"),
        (403, "answered 403"),
        (404, "there is none"),
        (503, "answered 503"),
    ] {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(status))
            .mount(&server)
            .await;
        refused(&server, reason).await;
    }
    // A cluster without Dashboards, as the local one.
    let server = MockServer::start().await;
    let body = json!({"error": "no handler found for uri [/_dashboards/api] and method [POST]"});
    Mock::given(any())
        .respond_with(ResponseTemplate::new(400).set_body_json(body))
        .mount(&server)
        .await;
    refused(&server, "there is none").await;
    // A page of something else.
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_string("<html>"))
        .mount(&server)
        .await;
    refused(&server, "cannot be read").await;
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .mount(&server)
        .await;
    refused(&server, "not a list").await;
}

#[tokio::test]
async fn an_endpoint_that_is_too_slow() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    Mock::given(any()).respond_with(slow).mount(&server).await;
    refused(&server, "does not answer").await;
}

#[tokio::test]
async fn an_import_that_says_200_and_failed() {
    let server = MockServer::start().await;
    Mock::given(path("/_dashboards/api/saved_objects/_bulk_get"))
        .respond_with(BulkGet(Kept::default()))
        .mount(&server)
        .await;
    let failed = json!({"success": false, "successCount": 0, "errors": [
        {"type": "visualization", "id": "v", "title": "Pages", "error": {"type": "missing_references", "references": []}}]});
    Mock::given(path("/_dashboards/api/saved_objects/_import"))
        .respond_with(ResponseTemplate::new(200).set_body_json(failed))
        .mount(&server)
        .await;
    refused(&server, "visualization v: missing_references").await;
}

#[tokio::test]
async fn no_address_is_no_failure() {
    let outcome = provision(None, OBJECTS, OnMissing::Fail).await.unwrap();
    assert_eq!(outcome, Outcome::Skipped("no address was given".to_owned()));
}

#[test]
fn the_file_that_is_imported_can_be_read() {
    let objects = parse(freshet_dashboards::SAVED_OBJECTS).unwrap();
    assert!(!objects.is_empty());
    for object in objects {
        assert!(
            object["type"].is_string() && object["id"].is_string(),
            "{object}"
        );
        assert!(!object.to_string().contains(BOUNDARY));
    }
}
