//! An HTTP proxy that breaks things on purpose: refuses requests, changes
//! answers, or does something between an answer and its delivery.

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as a rule sees it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The operation, from `X-Amz-Target`: `PutRecords`; empty without one.
    pub operation: &'a str,
    /// The body.
    pub body: &'a Bytes,
}

/// What a rule makes of the upstream's answer.
pub type Then = Box<dyn FnOnce(Bytes) -> Option<Bytes> + Send>;

/// What to do with a request.
pub enum Verdict {
    /// Hand it on.
    Forward,
    /// Answer in the upstream's place.
    Answer(u16, Bytes),
    /// Hand on another body, and answer what the function makes of the
    /// answer; nothing means that the connection breaks off.
    Change(Bytes, Then),
}

type Rule = Box<dyn FnMut(&Seen<'_>) -> Verdict + Send>;

struct Proxy {
    upstream: String,
    http: reqwest::Client,
    rule: Mutex<Option<Rule>>,
}

/// A running proxy; dropping it stops it.
pub struct FaultProxy {
    /// Where it listens.
    pub url: String,
    proxy: Arc<Proxy>,
    server: JoinHandle<()>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FaultProxy {
    /// A proxy in front of `upstream` that hands everything on.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(upstream: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let proxy = Arc::new(Proxy {
            upstream: upstream.trim_end_matches('/').to_owned(),
            http,
            rule: Mutex::default(),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&proxy));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, proxy, server })
    }

    /// Judges every request from now on with `rule`.
    pub fn set(&self, rule: impl FnMut(&Seen<'_>) -> Verdict + Send + 'static) {
        *self
            .proxy
            .rule
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Box::new(rule));
    }

    /// Hands everything on again.
    pub fn clear(&self) {
        *self
            .proxy
            .rule
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn pass(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 64 * 1024 * 1024).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", axum::http::uri::PathAndQuery::as_str);
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let verdict = match proxy
        .rule
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_mut()
    {
        Some(rule) => rule(&Seen {
            method: parts.method.as_str(),
            path,
            operation,
            body: &body,
        }),
        None => Verdict::Forward,
    };
    let (body, then): (Bytes, Option<Then>) = match verdict {
        Verdict::Forward => (body, None),
        Verdict::Answer(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
        Verdict::Change(body, then) => (body, Some(then)),
    };
    let mut headers: HeaderMap = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let url = format!("{}{path}", proxy.upstream);
    let answer = proxy
        .http
        .request(parts.method, url)
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = answer else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let status = answer.status();
    let content_type = answer.headers().get(header::CONTENT_TYPE).cloned();
    let Ok(mut body) = answer.bytes().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    if let Some(then) = then {
        match then(body) {
            Some(changed) => body = changed,
            None => return StatusCode::BAD_GATEWAY.into_response(),
        }
    }
    let mut response = (status, body).into_response();
    if let Some(value) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}
