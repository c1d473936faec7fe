//! Against a stand-in that keeps roles and mappings as the security plugin does.

use super::*;
use freshet_search::{Auth, Search};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Everything below `_plugins/_security/api`, by path.
#[derive(Clone, Default)]
struct Security(Arc<Mutex<BTreeMap<String, Value>>>);

impl Respond for Security {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut kept = self.0.lock().unwrap();
        let path = request.url.path().to_owned();
        let name = path.rsplit('/').next().unwrap().to_owned();
        if request.method.as_str() == "PUT" {
            let mut body: Value = request.body_json().unwrap();
            for (key, added) in [
                ("reserved", json!(false)),
                ("hidden", json!(false)),
                ("static", json!(false)),
            ] {
                body[key] = added;
            }
            // As the plugin fills in what was left out, in an order of its own.
            for permission in body["index_permissions"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                permission["fls"] = json!([]);
                permission["masked_fields"] = json!([]);
                permission["allowed_actions"]
                    .as_array_mut()
                    .unwrap()
                    .reverse();
            }
            kept.insert(path, body);
            return ResponseTemplate::new(201).set_body_json(json!({"status": "CREATED"}));
        }
        match kept.get(&path) {
            Some(found) => ResponseTemplate::new(200).set_body_json(json!({ name: found })),
            None => ResponseTemplate::new(404).set_body_json(json!({"status": "NOT_FOUND"})),
        }
    }
}

async fn secured() -> (MockServer, Security) {
    let server = MockServer::start().await;
    let security = Security::default();
    Mock::given(path("/_plugins/_security/authinfo"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"roles": ["all_access"]})))
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with(security.clone())
        .mount(&server)
        .await;
    (server, security)
}

fn settings() -> Settings {
    Settings {
        role_arns: RoleArns {
            enrich: Some("arn:enrich".to_owned()),
            health: None,
            analysts: vec!["arn:a".to_owned(), "arn:b".to_owned()],
            provision: Some("arn:provision".to_owned()),
        },
        ..Settings::default()
    }
}

async fn provisioned(server: &MockServer) -> Report {
    let search = Search::connect(&server.uri(), Auth::None).unwrap();
    let mut report = Report::default();
    provision(&Cluster::new(&search, false), &settings(), &mut report)
        .await
        .unwrap();
    report
}

fn words(report: &Report) -> Vec<(&str, &str)> {
    let steps = report.steps.iter();
    steps
        .map(|step| (step.name.as_str(), step.outcome.word()))
        .collect()
}

#[tokio::test]
async fn roles_are_made_and_mapped_once() {
    let (server, security) = secured().await;
    let admins = "/_plugins/_security/api/rolesmapping/all_access";
    let before = json!({"backend_roles": ["admins"], "hosts": [], "users": ["freshet"], "reserved": false, "description": "kept"});
    security.0.lock().unwrap().insert(admins.to_owned(), before);

    let report = provisioned(&server).await;
    let expected = [
        ("role freshet_enrich", "created"),
        ("role mapping freshet_enrich", "created"),
        ("role freshet_health", "created"),
        ("role mapping freshet_health", "skipped"),
        ("role freshet_analyst", "created"),
        ("role mapping freshet_analyst", "created"),
        ("role mapping all_access", "updated"),
    ];
    assert_eq!(words(&report), expected);
    let of =
        |path: &str| security.0.lock().unwrap()[&format!("/_plugins/_security/api/{path}")].clone();
    // Whoever could do everything still can.
    let all = of("rolesmapping/all_access");
    assert_eq!(all["backend_roles"], json!(["admins", "arn:provision"]));
    assert_eq!(
        (&all["users"], &all["description"]),
        (&json!(["freshet"]), &json!("kept"))
    );
    assert_eq!(
        of("rolesmapping/freshet_analyst")["backend_roles"],
        json!(["arn:a", "arn:b"])
    );
    let enrich = of("roles/freshet_enrich");
    let cluster = json!(["indices:data/write/bulk*", "indices:data/read/mget*"]);
    assert_eq!(enrich["cluster_permissions"], cluster);
    assert_eq!(
        enrich["index_permissions"][0]["index_patterns"],
        json!(["clickstream*"])
    );

    // Again: as the plugin gives it back, nothing differs.
    let again = provisioned(&server).await;
    assert!(!again.changed(), "{again}");
    // An operator's own user in a mapping of ours stays.
    let path = "/_plugins/_security/api/rolesmapping/freshet_analyst".to_owned();
    security.0.lock().unwrap().get_mut(&path).unwrap()["users"] = json!(["ann"]);
    assert!(!provisioned(&server).await.changed());
    // A permission taken away comes back.
    let path = "/_plugins/_security/api/roles/freshet_enrich".to_owned();
    security.0.lock().unwrap().get_mut(&path).unwrap()["cluster_permissions"] = json!([]);
    let repaired = provisioned(&server).await;
    assert_eq!(
        repaired.outcome("role freshet_enrich").unwrap().word(),
        "updated"
    );
}

#[tokio::test]
async fn without_access_control_nothing_is_asked_for() {
    let server = MockServer::start().await;
    let absent = json!({"error": "no handler found for uri [/_plugins/_security/authinfo] and method [GET]"});
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(400).set_body_json(absent))
        .expect(1)
        .mount(&server)
        .await;
    let report = provisioned(&server).await;
    assert_eq!(words(&report), [("roles", "skipped")]);
}

#[tokio::test]
async fn a_conflict_is_compared_anew() {
    let (server, _) = secured().await;
    let busy = MockServer::start().await;
    Mock::given(path("/_plugins/_security/authinfo"))
        .respond_with(ResponseTemplate::new(403))
        .mount(&busy)
        .await;
    let search = Search::connect(&busy.uri(), Auth::None).unwrap();
    // Not signed in is a failure, not a cluster without access control.
    let error = is_controlled(&Cluster::new(&search, false))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "search_status");

    let conflicting = MockServer::start().await;
    Mock::given(method("PUT"))
        .respond_with(ResponseTemplate::new(409).set_body_json(json!({"status": "CONFLICT"})))
        .up_to_n_times(2)
        .mount(&conflicting)
        .await;
    Mock::given(any())
        .respond_with(Security::default())
        .mount(&conflicting)
        .await;
    let search = Search::connect(&conflicting.uri(), Auth::None).unwrap();
    let outcome = put_role(
        &Cluster::new(&search, false),
        "freshet_health",
        &of_health("clickstream"),
    )
    .await;
    assert_eq!(outcome.unwrap(), Outcome::Created);
    drop(server);
}
