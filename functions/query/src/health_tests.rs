use super::*;
use crate::access::Access;
use crate::tests::{Bench, body, keeps_items, now_s, problem};
use serde_json::{Value, json};

const PATH: &str = "/v1/health";

fn report(seconds_ago: i64, status: &str) -> HealthReport {
    HealthReport {
        checked_at: Timestamp::from_millis((now_s() - seconds_ago) * 1000).unwrap(),
        status: status.to_owned(),
        body: r#"{"checks":{"search":{"status":"ok","nodes":2}},"took_ms":812}"#.to_owned(),
    }
}

async fn answered(report: &HealthReport) -> Value {
    let bench = Bench::new().await;
    keeps_items(&bench.server).await;
    bench.health.put(report).await.unwrap();
    let answer = bench.get(PATH).await;
    assert_eq!(answer.status_code, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "private, max-age=5");
    body(&answer)
}

#[tokio::test]
async fn the_last_report_is_shown_with_its_age() {
    for status in ["healthy", "degraded", "unhealthy"] {
        let report = report(40, status);
        let mut state = answered(&report).await;
        let age = state["age_seconds"].take().as_i64().unwrap();
        assert!((40..45).contains(&age), "{age}");
        assert_eq!(
            state,
            json!({
                "status": status, "checked_at": report.checked_at.to_string(), "age_seconds": null,
                "checks": {"search": {"status": "ok", "nodes": 2}}, "took_ms": 812,
            })
        );
    }
}

#[tokio::test]
async fn what_is_not_of_now_is_unknown_and_still_shown() {
    for seconds_ago in [190, 86_400, -190] {
        let state = answered(&report(seconds_ago, "healthy")).await;
        assert_eq!(state["status"], "unknown", "{seconds_ago}");
        assert_eq!(state["checks"]["search"]["nodes"], 2);
        let age = state["age_seconds"].as_i64().unwrap();
        let expected = seconds_ago.max(0);
        assert!((expected..expected + 5).contains(&age), "{age}");
    }
    // A clock that differs a little is no reason.
    let state = answered(&report(-2, "healthy")).await;
    assert_eq!(
        (&state["status"], &state["age_seconds"]),
        (&json!("healthy"), &json!(0))
    );
    assert_eq!(answered(&report(0, "splendid")).await["status"], "unknown");
}

#[test]
fn the_limit_is_a_report_that_is_just_as_old() {
    let aws = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .build();
    let health = Health::new(HealthTable::new(&aws, "aggregation"), 180);
    let at = |ms| Timestamp::from_millis(ms).unwrap();
    let report = HealthReport {
        checked_at: at(1_000_000),
        ..report(0, "healthy")
    };
    for (now_ms, status) in [
        (820_000, "healthy"),
        (819_999, "unknown"),
        (1_180_000, "healthy"),
        (1_180_001, "unknown"),
    ] {
        let state = health.state(Some(&report), at(now_ms)).unwrap();
        assert_eq!(state.status, status, "{now_ms}");
    }
}

#[tokio::test]
async fn without_a_report_nothing_is_known() {
    let bench = Bench::new().await;
    keeps_items(&bench.server).await;
    let answer = bench.get(PATH).await;
    assert_eq!(
        (answer.status_code, body(&answer)),
        (
            200,
            json!({"status": "unknown", "checked_at": null, "age_seconds": null, "checks": {}})
        )
    );
}

#[tokio::test]
async fn a_body_cannot_contradict_its_report_and_an_odd_one_is_ours_to_repair() {
    let mut claims = report(1, "unhealthy");
    claims.body = r#"{"status":"healthy","checked_at":1,"age_seconds":-9}"#.to_owned();
    let state = answered(&claims).await;
    assert_eq!(
        (&state["status"], &state["checks"]),
        (&json!("unhealthy"), &json!({}))
    );
    assert_eq!(state["checked_at"], claims.checked_at.to_string());
    for odd in ["", "[1]", "{"] {
        let bench = Bench::new().await;
        keeps_items(&bench.server).await;
        let report = HealthReport {
            body: odd.to_owned(),
            ..report(1, "healthy")
        };
        bench.health.put(&report).await.unwrap();
        let answer = bench.get(PATH).await;
        assert_eq!(problem(&answer), (500, "internal_error".to_owned()));
    }
}

#[tokio::test]
async fn head_and_entity_tags_are_as_of_other_answers() {
    let bench = Bench::with(Access::anyone()).await;
    keeps_items(&bench.server).await;
    // Without a report the answer does not change with the clock.
    let full = bench.get(PATH).await;
    assert_eq!(full.headers["cache-control"], "public, max-age=5");
    let tag = full.headers["etag"].clone();
    let known = bench
        .ask("GET", PATH, json!({"if-none-match": tag.clone()}))
        .await;
    assert_eq!((known.status_code, known.body.as_str()), (304, ""));
    let head = bench.ask("HEAD", PATH, json!({})).await;
    assert_eq!(
        (head.status_code, head.body.as_str(), &head.headers),
        (200, "", &full.headers)
    );
    bench.health.put(&report(0, "healthy")).await.unwrap();
    let changed = bench.ask("GET", PATH, json!({"if-none-match": tag})).await;
    assert_eq!(changed.status_code, 200);
}
