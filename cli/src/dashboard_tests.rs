use super::*;
use crate::shop::Shop;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The page's server before a search server of ours.
async fn page_before(opensearch_url: &str) -> Shop {
    page_between(opensearch_url, "http://127.0.0.1:1").await
}

/// And before a query API of ours.
async fn page_between(opensearch_url: &str, query_url: &str) -> Shop {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let routes = routes(
        &checkout,
        Path::new("/nowhere/echarts.min.js"),
        opensearch_url,
        query_url,
    )
    .unwrap();
    Shop::start(&checkout, &checkout, 0, "", "", routes)
        .await
        .unwrap()
}

async fn get_json(shop: &Shop, path: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client
        .get(format!("{}{path}", shop.url))
        .send()
        .await
        .unwrap();
    (
        response.status().as_u16(),
        response.json().await.unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn a_panels_answer_is_that_of_its_own_query() {
    let search = MockServer::start().await;
    let answer = json!({"hits": {"total": {"value": 7}}, "aggregations": {}});
    Mock::given(method("POST"))
        .and(path("/clickstream-*/_search"))
        .and(body_partial_json(
            json!({"aggs": {"2": {"terms": {"field": "url_path"}}}}),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(&answer))
        .expect(1)
        .mount(&search)
        .await;
    let shop = page_before(&search.uri()).await;
    let (status, body) = get_json(&shop, "/dashboard/data/freshet-top-pages?range=1h").await;
    assert_eq!((status, &body["answer"]), (200, &answer));
    let minutes = (body["to"].as_i64().unwrap() - body["from"].as_i64().unwrap()) / 60_000;
    assert_eq!(minutes, 60);
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    let search = MockServer::start().await;
    let refusal = json!({"error": {"reason": "all shards failed"}});
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503).set_body_json(&refusal))
        .mount(&search)
        .await;
    let shop = page_before(&search.uri()).await;
    let (status, body) = get_json(&shop, "/dashboard/data/freshet-events").await;
    assert_eq!(status, 502);
    assert_eq!(body["error"], "OpenSearch answered 503: all shards failed");
    assert_eq!(
        get_json(&shop, "/dashboard/data/freshet-nothing").await.0,
        404
    );
    assert_eq!(
        get_json(&shop, "/dashboard/data/freshet-events?range=9y")
            .await
            .0,
        400
    );
    assert_eq!(get_json(&shop, "/dashboard/secret.js").await.0, 404);

    // Nobody listens on port 1.
    let alone = page_before("http://127.0.0.1:1").await;
    let (status, body) = get_json(&alone, "/dashboard/data/freshet-events").await;
    assert_eq!(status, 502);
    assert_eq!(body["error"], "OpenSearch does not answer");
}

#[tokio::test]
async fn the_page_gets_every_panel_once_and_its_files() {
    let shop = page_before("http://127.0.0.1:1").await;
    let (status, layout) = get_json(&shop, "/dashboard/panels.json").await;
    assert_eq!(status, 200);
    let objects = SavedObjects::parse(SAVED_OBJECTS).unwrap();
    let panels: Vec<&Value> = layout["dashboards"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|board| board["panels"].as_array().unwrap())
        .collect();
    let mut ids: Vec<&str> = panels
        .iter()
        .map(|panel| panel["id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    assert!(ids.iter().eq(objects.panels.keys()));
    assert!(
        panels
            .iter()
            .all(|panel| panel["aggs"].is_array() && panel["grid"]["w"].is_u64())
    );
    assert_eq!(
        get_json(&shop, "/dashboard/world.json").await.1["type"],
        "Topology"
    );
    for file in [
        "",
        "/",
        "/dashboard.js",
        "/live.js",
        "/panels.js",
        "/world.js",
        "/dashboard.css",
    ] {
        assert_eq!(
            get_json(&shop, &format!("/dashboard{file}")).await.0,
            200,
            "{file}"
        );
    }
    // The shop's own pages are still there.
    assert_eq!(get_json(&shop, "/cart").await.0, 200);
}

#[tokio::test]
async fn the_live_funnel_is_passed_on_with_its_tag() {
    let api = MockServer::start().await;
    let at = || path("/v1/aggregations/conversion_funnel");
    Mock::given(header("if-none-match", "\"t1\""))
        .and(at())
        .respond_with(ResponseTemplate::new(304))
        .with_priority(1)
        .expect(1)
        .mount(&api)
        .await;
    let found = json!({"name": "conversion_funnel"});
    Mock::given(at())
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("etag", "\"t1\"")
                .set_body_json(&found),
        )
        .expect(1)
        .mount(&api)
        .await;
    Mock::given(path("/v1/aggregations/page_view"))
        .respond_with(ResponseTemplate::new(404).set_body_json(json!({"code": "no_result"})))
        .mount(&api)
        .await;
    let shop = page_between("http://127.0.0.1:1", &api.uri()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |name: &str, tag: &str| {
        let url = format!("{}/dashboard/live/{name}", shop.url);
        let asked = client.get(url).header("if-none-match", tag);
        asked.send().await.unwrap()
    };
    let first = get("conversion_funnel", "\"t0\"").await;
    assert_eq!(
        (first.status().as_u16(), &first.headers()["etag"]),
        (200, &"\"t1\"".parse().unwrap())
    );
    assert_eq!(first.json::<Value>().await.unwrap(), found);
    assert_eq!(get("conversion_funnel", "\"t1\"").await.status(), 304);
    assert_eq!(get("page_view", "").await.status(), 204);
    let unknown = get("nothing", "").await;
    assert_eq!(unknown.status(), 502);
    let error = unknown.json::<Value>().await.unwrap()["error"].to_string();
    assert!(error.contains("answered 404"), "{error}");
}
