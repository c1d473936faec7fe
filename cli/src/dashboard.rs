//! The dashboard page: both dashboards, drawn from the same saved objects that
//! are imported into OpenSearch Dashboards, for where that is not installed.
//!
//! The page asks for the layout once and for every panel's answer again and
//! again; what is searched is [`SavedObjects::query`], so a panel that is
//! changed there is changed here. What is counted already - the funnel of the
//! last five minutes - comes from the query API.

use crate::aggregations::{Aggregations, Latest};
use crate::shop::content_type;
use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use freshet_dashboards::{DashboardError, SAVED_OBJECTS, SavedObjects, TimeRange, WORLD_OUTLINE};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A panel that takes longer would be asked again before it answers.
const PATIENCE: Duration = Duration::from_secs(4);
/// The time ranges that the page offers: name, minutes.
const RANGES: [(&str, i64); 3] = [("15m", 15), ("1h", 60), ("24h", 24 * 60)];
const FILES: [&str; 5] = [
    "dashboard.css",
    "dashboard.js",
    "live.js",
    "panels.js",
    "world.js",
];

struct Board {
    objects: SavedObjects,
    folder: PathBuf,
    charts: PathBuf,
    opensearch_url: String,
    http: reqwest::Client,
    aggregations: Aggregations,
}

/// Everything below `/dashboard`; `charts` is the chart library's script.
///
/// # Errors
/// If the saved objects are broken, `query_url` is none, or no HTTP client can
/// be made.
pub fn routes(
    checkout: &Path,
    charts: &Path,
    opensearch_url: &str,
    query_url: &str,
) -> Result<Router> {
    let board = Board {
        objects: SavedObjects::parse(SAVED_OBJECTS)?,
        folder: checkout.join("demo/dashboard"),
        charts: charts.to_owned(),
        opensearch_url: opensearch_url.to_owned(),
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?,
        aggregations: Aggregations::new(query_url, None)?,
    };
    Ok(Router::new()
        .route("/dashboard", get(page))
        .route("/dashboard/", get(page))
        .route("/dashboard/panels.json", get(panels))
        .route("/dashboard/world.json", get(world))
        .route("/dashboard/data/{id}", get(data))
        .route("/dashboard/live/{name}", get(live))
        .route("/dashboard/{file}", get(file))
        .with_state(Arc::new(board)))
}

async fn page(State(board): State<Arc<Board>>) -> Response {
    read(&board.folder.join("index.html")).await
}

async fn file(State(board): State<Arc<Board>>, UrlPath(name): UrlPath<String>) -> Response {
    if name == "echarts.js" {
        read(&board.charts).await
    } else if FILES.contains(&name.as_str()) {
        read(&board.folder.join(name)).await
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

async fn read(file: &Path) -> Response {
    match tokio::fs::read(file).await {
        Ok(bytes) => with_type(content_type(file), bytes),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn with_type(kind: &'static str, body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body.into()).into_response()
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, with_type("application/json", body.to_string())).into_response()
}

async fn world() -> Response {
    with_type("application/json", WORLD_OUTLINE)
}

async fn panels(State(board): State<Arc<Board>>) -> Response {
    answer(StatusCode::OK, &layout(&board.objects))
}

/// The dashboards with what the page needs of each panel: its place, its kind,
/// and the aggregations by which to read the answer.
fn layout(objects: &SavedObjects) -> Value {
    let dashboards = objects.dashboards.iter().map(|dashboard| {
        let panels = dashboard.panels.iter().filter_map(|placed| {
            let panel = objects.panels.get(&placed.panel)?;
            let pattern = panel
                .pattern
                .as_ref()
                .and_then(|id| objects.patterns.get(id));
            let params = &panel.state["params"];
            Some(json!({
                "id": panel.id,
                "title": panel.title,
                "description": panel.description,
                "kind": panel.kind(),
                "grid": {"x": placed.x, "y": placed.y, "w": placed.w, "h": placed.h},
                "aggs": panel.state["aggs"],
                "axis": params["valueAxes"][0]["title"]["text"],
                "legend": params["addLegend"],
                "formats": pattern.map(|pattern| &pattern.formats),
            }))
        });
        json!({
            "id": dashboard.id,
            "title": dashboard.title,
            "description": dashboard.description,
            "refresh_ms": dashboard.refresh_ms,
            "panels": panels.collect::<Vec<_>>(),
        })
    });
    json!({"dashboards": dashboards.collect::<Vec<_>>()})
}

async fn data(
    State(board): State<Arc<Board>>,
    UrlPath(id): UrlPath<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(minutes) = minutes(query.as_deref().unwrap_or_default()) else {
        let error = json!({"error": "the range is 15m, 1h or 24h"});
        return answer(StatusCode::BAD_REQUEST, &error);
    };
    let to_ms = jiff::Timestamp::now().as_millisecond();
    let range = TimeRange {
        from_ms: to_ms - minutes * 60_000,
        to_ms,
    };
    match board.search(&id, range).await {
        Ok(Ok(found)) => {
            let body = json!({"from": range.from_ms, "to": range.to_ms, "answer": found});
            answer(StatusCode::OK, &body)
        }
        Ok(Err(error)) => {
            let status = match error {
                DashboardError::NoSuchPanel(_) => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            answer(status, &json!({"error": error.to_string()}))
        }
        Err(error) => {
            // The cause is for the log: a reader of the page needs to know who is silent.
            tracing::warn!("dashboard: {error:#}");
            answer(
                StatusCode::BAD_GATEWAY,
                &json!({"error": error.to_string()}),
            )
        }
    }
}

/// The latest window of an aggregation, or that there is none (204), or that
/// the page has it already (304).
async fn live(
    State(board): State<Arc<Board>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|tag| tag.to_str().ok());
    match board.aggregations.latest(&name, known).await {
        Ok(Latest::Unchanged) => StatusCode::NOT_MODIFIED.into_response(),
        Ok(Latest::Nothing) => StatusCode::NO_CONTENT.into_response(),
        Ok(Latest::Changed { tag, body }) => {
            let tag = tag.map(|tag| [(header::ETAG, tag)]);
            (tag, with_type("application/json", body)).into_response()
        }
        Err(error) => {
            tracing::warn!(code = error.code(), "dashboard: {error}");
            answer(
                StatusCode::BAD_GATEWAY,
                &json!({"error": error.to_string()}),
            )
        }
    }
}

fn minutes(query: &str) -> Option<i64> {
    let asked = query
        .split('&')
        .find_map(|part| part.strip_prefix("range="));
    let asked = asked.unwrap_or(RANGES[0].0);
    let known = RANGES.iter().find(|(name, _)| *name == asked);
    known.map(|(_, minutes)| *minutes)
}

impl Board {
    async fn search(&self, id: &str, range: TimeRange) -> Result<Result<Value, DashboardError>> {
        let query = match self.objects.query(id, range) {
            Ok(query) => query,
            Err(error) => return Ok(Err(error)),
        };
        // A pattern that no index matches yet is no error: nothing was found.
        let url = format!(
            "{}/{}/_search?ignore_unavailable=true&allow_no_indices=true",
            self.opensearch_url, query.index
        );
        let sent = self.http.post(url).json(&query.body).send().await;
        let response = sent.context("OpenSearch does not answer")?;
        let status = response.status();
        let found: Value = response
            .json()
            .await
            .context("OpenSearch's answer cannot be read")?;
        anyhow::ensure!(
            status.is_success(),
            "OpenSearch answered {}: {}",
            status.as_u16(),
            found["error"]["reason"]
                .as_str()
                .unwrap_or("no reason given")
        );
        Ok(Ok(found))
    }
}

#[cfg(test)]
#[path = "dashboard_tests.rs"]
mod tests;
