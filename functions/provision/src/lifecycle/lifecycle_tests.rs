//! Against a stand-in that answers as a real ISM plugin was seen to.

use super::*;
use crate::settings::Tiers;
use freshet_search::{Auth, Search};
use wiremock::matchers::{body_partial_json, method, path, path_regex, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const POLICY: &str = "/_plugins/_ism/policies/freshet-clickstream";

fn recorded(name: &str) -> Value {
    let text = match name {
        "get_missing" => include_str!("../../tests/ism/get_missing.json"),
        "conflicting" => include_str!("../../tests/ism/put_conflicting_template.json"),
        "existing" => include_str!("../../tests/ism/put_existing_noseq.json"),
        "bad" => include_str!("../../tests/ism/put_bad.json"),
        _ => include_str!("../../tests/ism/add.json"),
    };
    serde_json::from_str(text).unwrap()
}

/// A policy as the server gives it back: with what it adds.
fn stored(tiers: Tiers) -> Value {
    let mut policy = policy::render(Kind::Events, "clickstream", tiers).unwrap()["policy"].clone();
    policy["policy_id"] = json!("freshet-clickstream");
    policy["last_updated_time"] = json!(1_795_435_355_025_u64);
    policy["schema_version"] = json!(24);
    policy["error_notification"] = Value::Null;
    policy["ism_template"][0]["last_updated_time"] = json!(1);
    policy["states"][0]["actions"][1]["rollover"]["copy_alias"] = json!(false);
    json!({"_id": "freshet-clickstream", "_version": 3, "_seq_no": 7, "_primary_term": 2, "policy": policy})
}

async fn answers(server: &MockServer, with: &str, at: &str, status: u16, body: Value) {
    Mock::given(method(with))
        .and(path_regex(at))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

async fn provisioned(server: &MockServer, settings: &Settings) -> Result<Report, ProvisionError> {
    let search = Search::connect(&server.uri(), Auth::None).unwrap();
    let cluster = Cluster::new(&search, settings.dry_run);
    let api = probe(&cluster, settings).await?;
    let mut report = Report::default();
    provision(&cluster, settings, &api, &mut report).await?;
    Ok(report)
}

/// What was sent that changes something.
async fn changes(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    let changes = requests.iter().filter(|r| r.method.as_str() != "GET");
    changes
        .map(|r: &Request| {
            let query = r.url.query().map(|q| format!("?{q}")).unwrap_or_default();
            format!("{} {}{query}", r.method, r.url.path())
        })
        .collect()
}

fn managed_by(policy: Option<&str>) -> Value {
    json!({"index.plugins.index_state_management.policy_id": policy, "enabled": policy.map(|_| true)})
}

#[tokio::test]
async fn missing_policies_are_put_and_attached() {
    let server = MockServer::start().await;
    answers(&server, "GET", "/policies/", 404, recorded("get_missing")).await;
    let explained = json!({"clickstream-1": managed_by(None), "clickstream-2": managed_by(None), "total_managed_indices": 0});
    answers(&server, "GET", "/explain/clickstream-", 200, explained).await;
    answers(
        &server,
        "GET",
        "/explain/",
        404,
        json!({"error": {"root_cause": [], "type": "index_not_found_exception"}}),
    )
    .await;
    answers(&server, "PUT", "/policies/", 201, json!({})).await;
    // One was attached by the template meanwhile.
    let mut added = recorded("add");
    added["updated_indices"] = json!(1);
    answers(&server, "POST", "/add/", 200, added).await;
    let report = provisioned(&server, &Settings::default()).await.unwrap();
    assert_eq!(
        report.outcome("policy freshet-clickstream"),
        Some(&Outcome::Created)
    );
    let attached = Outcome::Updated("attached to 1".to_owned());
    assert_eq!(
        report.outcome("indices under policy freshet-clickstream"),
        Some(&attached)
    );
    let expected = [
        "PUT /_plugins/_ism/policies/freshet-clickstream",
        "POST /_plugins/_ism/add/clickstream-1,clickstream-2",
        "PUT /_plugins/_ism/policies/freshet-clickstream_sessions",
        "PUT /_plugins/_ism/policies/freshet-clickstream_rejections",
    ];
    assert_eq!(changes(&server).await, expected);
}

#[tokio::test]
async fn the_same_policy_is_left_alone() {
    let server = MockServer::start().await;
    answers(
        &server,
        "GET",
        &format!("{POLICY}$"),
        200,
        stored(Tiers::None),
    )
    .await;
    for kind in [Kind::Sessions, Kind::Rejections] {
        let name = kind.resource_name("clickstream");
        let policy = policy::render(kind, "clickstream", Tiers::None).unwrap();
        answers(&server, "GET", &format!("/policies/{name}$"), 200, policy).await;
    }
    let explained = json!({"clickstream-1": managed_by(Some("freshet-clickstream")), "total_managed_indices": 1});
    answers(&server, "GET", "/explain/clickstream-", 200, explained).await;
    answers(
        &server,
        "GET",
        "/explain/",
        200,
        json!({"total_managed_indices": 0}),
    )
    .await;
    let report = provisioned(&server, &Settings::default()).await.unwrap();
    assert!(
        report
            .steps
            .iter()
            .all(|step| step.outcome == Outcome::Unchanged),
        "{report}"
    );
    assert_eq!(changes(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_policy_is_put_on_its_version_and_told_to_its_indices() {
    let server = MockServer::start().await;
    answers(
        &server,
        "GET",
        &format!("{POLICY}$"),
        200,
        stored(Tiers::None),
    )
    .await;
    answers(&server, "GET", "/policies/", 404, recorded("get_missing")).await;
    let explained = json!({
        "clickstream-1": managed_by(Some("freshet-clickstream")),
        "clickstream-2": managed_by(Some("somebody-else's")),
        "total_managed_indices": 2,
    });
    answers(&server, "GET", "/explain/clickstream-", 200, explained).await;
    answers(&server, "GET", "/explain/", 200, json!({})).await;
    Mock::given(method("PUT"))
        .and(path(POLICY))
        .and(query_param("if_seq_no", "7"))
        .and(query_param("if_primary_term", "2"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .expect(1)
        .mount(&server)
        .await;
    answers(&server, "PUT", "_(sessions|rejections)$", 201, json!({})).await;
    let failed = json!({"updated_indices": 0, "failures": true, "failed_indices": [{"index_name": "clickstream-1", "reason": "it is busy"}]});
    Mock::given(method("POST"))
        .and(path("/_plugins/_ism/change_policy/clickstream-*"))
        .and(body_partial_json(
            json!({"policy_id": "freshet-clickstream"}),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(failed))
        .expect(1)
        .mount(&server)
        .await;
    let settings = Settings {
        tiers: Tiers::UltraWarm,
        ..Settings::default()
    };
    let report = provisioned(&server, &settings).await.unwrap();
    let told =
        "changed for 0, not clickstream-1: it is busy; left under other policies: clickstream-2";
    let outcome = report.outcome("indices under policy freshet-clickstream");
    assert_eq!(outcome, Some(&Outcome::Updated(told.to_owned())));
}

#[tokio::test]
async fn whoever_was_faster_with_the_same_policy_is_no_failure() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(POLICY))
        .respond_with(ResponseTemplate::new(404).set_body_json(recorded("get_missing")))
        .up_to_n_times(2) // the probe, and the first comparison
        .mount(&server)
        .await;
    answers(
        &server,
        "GET",
        &format!("{POLICY}$"),
        200,
        stored(Tiers::None),
    )
    .await;
    answers(&server, "GET", "/policies/", 404, recorded("get_missing")).await;
    answers(&server, "GET", "/explain/", 200, json!({})).await;
    answers(
        &server,
        "PUT",
        &format!("{POLICY}$"),
        409,
        recorded("existing"),
    )
    .await;
    answers(&server, "PUT", "/policies/", 201, json!({})).await;
    let report = provisioned(&server, &Settings::default()).await.unwrap();
    assert_eq!(
        report.outcome("policy freshet-clickstream"),
        Some(&Outcome::Unchanged)
    );
}

#[tokio::test]
async fn a_clash_with_another_policy_is_said_in_words() {
    let server = MockServer::start().await;
    answers(&server, "GET", "/policies/", 404, recorded("get_missing")).await;
    answers(&server, "PUT", "/policies/", 400, recorded("conflicting")).await;
    let error = provisioned(&server, &Settings::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "policy_clash");
    let text = error.to_string();
    assert!(
        text.contains("policy freshet-clickstream: another policy's ism_template")
            && text.contains("[log-*]"),
        "{text}"
    );
    // Any other refusal is a failure with the server's words.
    let server = MockServer::start().await;
    answers(&server, "GET", "/policies/", 404, recorded("get_missing")).await;
    answers(&server, "PUT", "/policies/", 400, recorded("bad")).await;
    let text = provisioned(&server, &Settings::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("Invalid field: [bogus]"), "{text}");
}

#[tokio::test]
async fn without_the_api_it_is_skipped_or_fails_by_parameter() {
    let refusals = [
        (
            400,
            json!({"error": "no handler found for uri [/_plugins/_ism/policies/x] and method [GET]"}),
            "no Index State Management",
        ),
        (405, json!({}), "no Index State Management"),
        (
            403,
            json!({"error": "no permissions for [cluster:admin/opendistro/ism/policy/get]"}),
            "no permissions",
        ),
    ];
    for (status, body, reason) in refusals {
        let server = MockServer::start().await;
        answers(&server, "GET", "/policies/", status, body).await;
        let error = provisioned(&server, &Settings::default())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "provision_missing", "{error}");
        let skip = Settings {
            on_missing: OnMissing::Skip,
            ..Settings::default()
        };
        let report = provisioned(&server, &skip).await.unwrap();
        assert_eq!(report.steps.len(), 3);
        for step in &report.steps {
            assert!(
                matches!(&step.outcome, Outcome::Skipped(why) if why.contains(reason)),
                "{report}"
            );
        }
        assert_eq!(changes(&server).await, Vec::<String>::new());
    }
    // A server that fails is no server without the API.
    let server = MockServer::start().await;
    answers(&server, "GET", "/policies/", 503, json!({})).await;
    assert_eq!(
        provisioned(&server, &Settings::default())
            .await
            .unwrap_err()
            .code(),
        "search_status"
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_sends_nothing() {
    let server = MockServer::start().await;
    answers(&server, "GET", "/policies/", 404, recorded("get_missing")).await;
    answers(
        &server,
        "GET",
        "/explain/clickstream-",
        200,
        json!({"clickstream-1": managed_by(None)}),
    )
    .await;
    answers(&server, "GET", "/explain/", 200, json!({})).await;
    let settings = Settings {
        dry_run: true,
        ..Settings::default()
    };
    let report = provisioned(&server, &settings).await.unwrap();
    assert_eq!(
        report.outcome("policy freshet-clickstream"),
        Some(&Outcome::Created)
    );
    let attached = Outcome::Updated("attached to 1".to_owned());
    assert_eq!(
        report.outcome("indices under policy freshet-clickstream"),
        Some(&attached)
    );
    assert_eq!(changes(&server).await, Vec::<String>::new());
}
