//! Events whose clients name no session, from the stream to the index.

use crate::handler::Handler;
use crate::sessions::tests::{Table, environment};
use crate::tests::{batch, servers_with};
use freshet_events::wire;
use freshet_sessions::SessionKey;
use freshet_telemetry::stages::Enrich;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use wiremock::MockServer;

/// One for all, so that events are whole minutes apart.
static NOW_MS: LazyLock<i64> = LazyLock::new(|| freshet_edge::now().as_millis());

/// A server's event of `user`, so many minutes before now: it has no page.
fn event(id: &str, user: &str, minutes_ago: i64) -> Value {
    let at = *NOW_MS - minutes_ago * 60_000;
    json!({
        "event_id": id, "source": "shop", "user_id": user, "event_type": "order_completed",
        "timestamp": at, "received_at": at, "metadata": {},
    })
}

async fn handle(handler: &Handler, events: &[Value]) -> Enrich {
    let mut packer = wire::Packer::new();
    events
        .iter()
        .for_each(|event| packer.push(event.to_string().as_bytes()));
    let mut line = Enrich::default();
    let deadline = SystemTime::now() + Duration::from_secs(12);
    let payload = batch(&[packer.finish()]);
    let answer = handler.handle(&payload, deadline, &mut line).await;
    assert_eq!(answer.unwrap().from_record(), None);
    line
}

/// The documents put by requests to `path`: by event, or by their `_id`.
async fn documents(server: &MockServer, path: &str) -> BTreeMap<String, Value> {
    let requests = server.received_requests().await.unwrap();
    let bulks = requests.iter().filter(|r| r.url.path() == path);
    let lines: Vec<Value> = bulks
        .flat_map(|r| std::str::from_utf8(&r.body).unwrap().lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pairs = lines.chunks(2).map(|pair| {
        let action = pair[0].as_object().unwrap().values().next().unwrap();
        let name = pair[1]["event_id"].as_str().or(action["_id"].as_str());
        (name.unwrap().to_owned(), pair[1].clone())
    });
    pairs.collect()
}

#[tokio::test]
async fn a_derived_session_has_one_name_until_a_pause_ends_it() {
    let dynamodb = Table::default().serve().await;
    let (server, handler) = servers_with(200, Some(environment(&dynamodb))).await;
    let mut given = event("given", "u", 3);
    given["session_id"] = json!("s");
    let before = [event("a", "u", 65), event("other", "v", 34), given];
    handle(&handler, &before).await;
    // Another environment, and one event comes again.
    let (other_server, other) = servers_with(200, Some(environment(&dynamodb))).await;
    let after = [
        event("b", "u", 34),
        event("c", "u", 3),
        event("d", "u", 1),
        event("a", "u", 65),
    ];
    let line = handle(&other, &after).await;
    assert_eq!(line.events_without_session.get(), 0);
    // 65 minutes ago, and 34: 31 lie between.
    let mut events = documents(&server, "/c-1/_bulk").await;
    let first = events["a"]["session_id"].clone();
    let again = documents(&other_server, "/c-1/_bulk").await;
    assert_eq!(again["a"]["session_id"], first);
    events.extend(again);
    let of = |id: &str| events[id]["session_id"].as_str().unwrap().to_owned();
    assert_ne!(of("a"), of("b"));
    assert_ne!(of("b"), of("c"), "31 minutes again");
    assert_eq!(of("c"), of("d"));
    assert_eq!(events["d"]["session_duration"].as_f64(), Some(120.0));
    assert_ne!(of("other"), of("b"), "another user's");
    assert_eq!(
        (of("given"), events["given"].get("session_derived")),
        ("s".to_owned(), None)
    );
    for id in ["a", "b", "c", "d", "other"] {
        assert_eq!(events[id]["session_derived"], json!(true), "{id}");
        assert_eq!(events[id].get("url_path"), None);
    }
    // Each is the session whose document has that `_id`.
    let mut sessions = documents(&server, "/_bulk").await;
    sessions.extend(documents(&other_server, "/_bulk").await);
    assert_eq!(sessions.len(), 5);
    for (id, events) in [("a", 1), ("b", 1), ("c", 2), ("other", 1)] {
        let session = &sessions[&of(id)];
        assert_eq!(
            (&session["session_id"], &session["events"]),
            (&json!(of(id)), &json!(events)),
            "{id}"
        );
    }
}

#[tokio::test]
async fn an_event_of_no_session_has_the_key_of_its_user() {
    let key = SessionKey::of_user("shop", "u");
    let mut synthetic = event("synthetic", "u", 1);
    synthetic["synthetic"] = json!(true);
    let events = [
        event("new", "u", 1),
        event("old", "u", 9 * 24 * 60),
        synthetic,
    ];
    let down = MockServer::start().await; // it answers 404 to everything
    for table in [None, Some(environment(&down))] {
        let expected = u64::from(table.is_some());
        let (server, handler) = servers_with(200, table).await;
        let line = handle(&handler, &events).await;
        assert_eq!(line.events_without_session.get(), expected);
        let indexed = documents(&server, "/c-1/_bulk").await;
        assert_eq!(indexed.len(), 3);
        for (id, document) in indexed {
            assert_eq!(
                (&document["session_id"], &document["session_derived"]),
                (&json!(key.as_str()), &json!(true)),
                "{id}"
            );
            assert_eq!(document.get("session_duration"), None, "{id}");
        }
    }
    // Beside a table that answers, only what belongs to a session has its id.
    let dynamodb = Table::default().serve().await;
    let (server, handler) = servers_with(200, Some(environment(&dynamodb))).await;
    handle(&handler, &events).await;
    let indexed = documents(&server, "/c-1/_bulk").await;
    let is_key = |id: &str| indexed[id]["session_id"] == key.as_str();
    assert_eq!(["new", "old", "synthetic"].map(is_key), [false, true, true]);
}
