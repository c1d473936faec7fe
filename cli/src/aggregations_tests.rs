use super::*;
use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Text: a `Value` would put the steps into another order.
const FUNNEL: &str = r#"{
    "name": "conversion_funnel",
    "window": {"start": "2026-11-25T17:55:00.000Z", "end": "2026-11-25T18:00:00.000Z", "seconds": 300},
    "updated_at": "2026-11-25T17:59:58.120Z",
    "approximate": true,
    "error_bound": {"events": 0.001, "users": 0.03, "left_out": {"page": 7}},
    "result": {
        "funnel_counts": {"landing": 40, "product_view": 61, "add_to_cart": 12},
        "conversion_rates": {"landing_rate": 1.0, "product_view_rate": 0.3333333333333333},
        "total_users_in_funnel": 39
    }
}"#;

fn api(server: &MockServer) -> Aggregations {
    Aggregations::new(&server.uri(), None).unwrap()
}

#[test]
fn addresses_lead_to_the_same_place() {
    for url in [
        "https://a.example",
        "https://a.example/",
        "https://a.example/v1/aggregations",
        "https://a.example/v1/aggregations/?x#y",
    ] {
        let api = Aggregations::new(url, None).unwrap();
        assert_eq!(api.url(), "https://a.example/v1/aggregations", "{url}");
    }
    let staged = Aggregations::new("https://a.example/prod/", None).unwrap();
    assert_eq!(staged.url(), "https://a.example/prod/v1/aggregations");
    for url in ["", "a.example", "ftp://a.example", "127.0.0.1:8080"] {
        let error = Aggregations::new(url, None).unwrap_err();
        assert_eq!(error.code(), "address_invalid", "{url}");
    }
}

#[tokio::test]
async fn a_result_is_read_once_and_then_only_asked_for() {
    let server = MockServer::start().await;
    let unchanged = Mock::given(method("GET"))
        .and(header("if-none-match", "\"t1\""))
        .respond_with(ResponseTemplate::new(304));
    unchanged.with_priority(1).expect(2).mount(&server).await;
    Mock::given(path("/v1/aggregations/conversion_funnel"))
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("etag", "\"t1\"")
                .set_body_string(FUNNEL),
        )
        .expect(1)
        .mount(&server)
        .await;
    let api = api(&server);
    let mut followed = Followed::<ConversionFunnel>::new("conversion_funnel");
    for _ in 0..3 {
        followed.refresh(&api).await.unwrap();
    }
    let slot = followed.slot.unwrap();
    assert_eq!(slot.window.end_ms - slot.window.start_ms, 300_000);
    assert_eq!(slot.window.end_ms - slot.updated_ms, 1_880);
    assert!(slot.approximate);
    assert!((slot.error_bound.unwrap().users - 0.03).abs() < 1e-12);
    let steps: Vec<&str> = slot
        .result
        .funnel_counts
        .0
        .iter()
        .map(|(step, _)| step.as_str())
        .collect();
    assert_eq!(steps, ["landing", "product_view", "add_to_cart"]);
    assert_eq!(slot.result.reached("landing"), (1.0, 39));
    assert_eq!(slot.result.reached("product_view").1, 13);
    assert_eq!(slot.result.reached("add_to_cart"), (0.0, 0));
}

#[tokio::test]
async fn nothing_counted_is_no_error_and_forgets_what_was_known() {
    let server = MockServer::start().await;
    let first = Mock::given(method("GET")).respond_with(
        ResponseTemplate::new(200)
            .insert_header("etag", "\"t1\"")
            .set_body_string(FUNNEL),
    );
    first.up_to_n_times(1).with_priority(1).mount(&server).await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(404).set_body_json(json!({"code": "no_result"})))
        .mount(&server)
        .await;
    let api = api(&server);
    let mut followed = Followed::<ConversionFunnel>::new("conversion_funnel");
    followed.refresh(&api).await.unwrap();
    assert!(followed.slot.is_some());
    followed.refresh(&api).await.unwrap();
    assert!(followed.slot.is_none() && followed.tag.is_none());
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart_and_in_the_servers_words() {
    let server = MockServer::start().await;
    let answers = [
        (
            "gone",
            404,
            json!({"code": "aggregation_unknown", "detail": "no aggregation has this name"}),
        ),
        ("iam", 403, json!({"message": "Forbidden"})),
        ("odd", 502, json!("what")),
        ("list", 200, json!([1])),
    ];
    for (name, status, body) in answers {
        Mock::given(path(format!("/v1/aggregations/{name}")))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .mount(&server)
            .await;
    }
    let api = api(&server);
    let url = api.url().to_owned();
    let said = async |name| api.latest(name, None).await.unwrap_err().to_string();
    assert_eq!(
        said("gone").await,
        format!("{url}/gone answered 404: no aggregation has this name")
    );
    assert_eq!(
        said("iam").await,
        format!("{url}/iam answered 403: Forbidden")
    );
    assert_eq!(
        said("odd").await,
        format!("{url}/odd answered 502: Bad Gateway")
    );
    let mut list = Followed::<PageView>::new("list");
    let error = list.refresh(&api).await.unwrap_err();
    assert_eq!(error.code(), "result_malformed");

    // Nobody listens on port 1.
    let nobody = Aggregations::new("http://127.0.0.1:1", None).unwrap();
    let error = nobody.latest("page_view", None).await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
}

#[tokio::test]
async fn the_key_goes_along_and_not_to_where_a_redirect_points() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer k1"))
        .and(path("/v1/aggregations/page_view"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", "/elsewhere"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/elsewhere"))
        .respond_with(ResponseTemplate::new(200))
        .expect(0)
        .mount(&server)
        .await;
    let api = Aggregations::new(&server.uri(), Some("k1".to_owned())).unwrap();
    let error = api.latest("page_view", None).await.unwrap_err();
    assert_eq!(error.code(), "refused");
}
