//! An HTTP proxy that breaks things on purpose: refuses requests, changes
//! answers, or does something between an answer and its delivery. An upstream
//! that cannot be reached or breaks off looks so through it, too.

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
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
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a Bytes,
}

impl Seen<'_> {
    /// A header as text; empty without one.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
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
    /// Whether the upstream hears the address that the client asked.
    keeps_host: bool,
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
        Self::listen(upstream, false).await
    }

    /// The same, for an upstream that names itself in what it answers: it
    /// hears this proxy's address as its own.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start_as_host(upstream: &str) -> anyhow::Result<Self> {
        Self::listen(upstream, true).await
    }

    async fn listen(upstream: &str, keeps_host: bool) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let proxy = Arc::new(Proxy {
            upstream: upstream.trim_end_matches('/').to_owned(),
            keeps_host,
            http,
            rule: Mutex::default(),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&proxy));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let service = app.into_make_service_with_connect_info::<Line>();
        let listener = Breakable(listener);
        let server = tokio::spawn(async move { drop(axum::serve(listener, service).await) });
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

/// A connection's line: once it is cut, no byte of an answer gets out.
#[derive(Clone, Default)]
struct Line {
    cut: Arc<AtomicBool>,
}

impl Line {
    /// What is answered here never arrives.
    fn cut(&self) -> Response {
        self.cut.store(true, Ordering::Release);
        StatusCode::BAD_GATEWAY.into_response()
    }
}

impl Connected<IncomingStream<'_, Breakable>> for Line {
    fn connect_info(stream: IncomingStream<'_, Breakable>) -> Self {
        stream.io().line.clone()
    }
}

struct Breakable(TcpListener);

struct Connection {
    stream: TcpStream,
    line: Line,
}

impl Listener for Breakable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        let line = Line::default();
        (Connection { stream, line }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.line.cut.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn pass(
    State(proxy): State<Arc<Proxy>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
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
            headers: &parts.headers,
            body: &body,
        }),
        None => Verdict::Forward,
    };
    let (body, then): (Bytes, Option<Then>) = match verdict {
        Verdict::Forward => (body, None),
        Verdict::Answer(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let headers = [
                (header::CONTENT_TYPE, "application/json"),
                // A page may see it, as it may see what the upstream answers.
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            ];
            return (status, headers, body).into_response();
        }
        Verdict::Change(body, then) => (body, Some(then)),
    };
    let mut headers: HeaderMap = parts.headers;
    if !proxy.keeps_host {
        headers.remove(header::HOST);
    }
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
        return line.cut();
    };
    let status = answer.status();
    let mut headers = answer.headers().clone();
    for of_the_connection in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(of_the_connection);
    }
    let Ok(mut body) = answer.bytes().await else {
        return line.cut();
    };
    if let Some(then) = then {
        match then(body) {
            Some(changed) => body = changed,
            None => return line.cut(),
        }
    }
    let mut response = (status, body).into_response();
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn upstream() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(|body: Bytes| async { body });
        tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        url
    }

    #[tokio::test]
    async fn breaking_off_leaves_no_answer_and_hurts_no_other_request() {
        let proxy = FaultProxy::start(&upstream().await).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let post = |body: &'static str| http.post(&proxy.url).body(body).send();
        assert_eq!(post("1").await.unwrap().text().await.unwrap(), "1");
        proxy.set(|seen| Verdict::Change(seen.body.clone(), Box::new(|_| None)));
        let error = post("2").await.unwrap_err();
        assert!(error.is_request() && !error.is_connect(), "{error:?}");
        proxy.set(|_| Verdict::Answer(503, Bytes::from_static(b"{}")));
        assert_eq!(post("3").await.unwrap().status(), 503);
        proxy.set(|_| {
            let changed = Box::new(|answer: Bytes| Some([&answer[..], b"!"].concat().into()));
            Verdict::Change(Bytes::from_static(b"5"), changed)
        });
        assert_eq!(post("4").await.unwrap().text().await.unwrap(), "5!");
        proxy.clear();
        assert_eq!(post("6").await.unwrap().text().await.unwrap(), "6");
    }

    #[tokio::test]
    async fn headers_pass_and_the_host_where_it_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(|request: Request| async move {
            let host = request.headers()[header::HOST].clone();
            ([("x-host", host)], "the body")
        });
        tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let plain = FaultProxy::start(&url).await.unwrap();
        let kept = FaultProxy::start_as_host(&url).await.unwrap();
        for (proxy, host) in [(&plain, &url), (&kept, &kept.url)] {
            let answer = http.get(&proxy.url).send().await.unwrap();
            assert_eq!(
                format!("http://{}", answer.headers()["x-host"].to_str().unwrap()),
                *host
            );
            assert_eq!(answer.text().await.unwrap(), "the body");
        }
    }

    #[tokio::test]
    async fn an_upstream_that_is_not_there_gives_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let proxy = FaultProxy::start(&url).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let error = http.get(&proxy.url).send().await.unwrap_err();
        assert!(error.is_request() && !error.is_connect(), "{error:?}");
    }
}
