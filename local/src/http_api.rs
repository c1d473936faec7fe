//! An HTTP API in front of functions, payload format 2.0. Source: API Gateway
//! Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs" and
//! "Configure CORS for HTTP APIs".

mod routing;

use crate::function::Function;
use crate::mapping::now_ms;
use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use routing::{Parameters, RouteKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The largest request body.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// So much of a larger one is read all the same: who is still sending when the
/// connection is closed may not see the answer.
const MAX_READ_BYTES: usize = 4 * MAX_BODY_BYTES;
/// The largest payload of an invocation.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// The longest that an HTTP API waits for an integration, and its default.
pub const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

/// `CorsConfiguration` of the API.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub struct Cors {
    /// `*` or origins.
    pub allow_origins: Vec<String>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Headers, or `*`.
    pub allow_headers: Vec<String>,
    /// Headers that a page may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight counts, in seconds.
    pub max_age: Option<i64>,
    /// Whether cookies may be sent.
    pub allow_credentials: bool,
}

/// One route of the API.
#[derive(Clone)]
pub struct Route {
    /// `POST /v1/events`, `GET /v1/things/{name}`, `ANY /{proxy+}`, or `$default`.
    pub key: String,
    /// Who answers.
    pub function: Arc<Function>,
    /// Who may ask.
    pub authorization: Authorization,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Anyone.
    #[default]
    None,
    /// `AWS_IAM`: whoever signs the request. Here a request without a header
    /// `Authorization: AWS4-HMAC-SHA256 …` is forbidden, but the signature is
    /// **not** verified, and no policy is asked: any key signs.
    Iam,
}

impl Authorization {
    fn allows(self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION);
        let signed = value.is_some_and(|v| v.as_bytes().starts_with(b"AWS4-HMAC-SHA256 "));
        self == Self::None || signed
    }
}

/// What an API is made of.
#[derive(Clone)]
pub struct ApiConfig {
    /// The routes.
    pub routes: Vec<Route>,
    /// Without it, no CORS header is ever set.
    pub cors: Option<Cors>,
    /// Take the caller's address from `X-Forwarded-For`. AWS never does; here
    /// it lets local traffic come from somewhere on the map.
    pub trust_forwarded_for: bool,
    /// How long a function is waited for; it may go on after that.
    pub integration_timeout: Duration,
}

struct Api {
    config: ApiConfig,
    /// In the order of the routes.
    keys: Vec<RouteKey>,
}

/// A listening API; dropping it stops it.
pub struct HttpApi {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    server: JoinHandle<()>,
}

impl Drop for HttpApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A port that an API will listen on.
pub struct BoundPort {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    listener: TcpListener,
}

impl BoundPort {
    /// Takes a loopback port; 0 chooses a free one.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn take(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .with_context(|| format!("port {port}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { url, listener })
    }
}

impl HttpApi {
    /// Listens on a loopback port; 0 chooses a free one.
    ///
    /// # Errors
    /// If the port is taken, or a route's key is none.
    pub async fn start(config: ApiConfig, port: u16) -> anyhow::Result<Self> {
        Self::serve(config, BoundPort::take(port).await?)
    }

    /// Answers at a port that is taken.
    ///
    /// # Errors
    /// If a route's key is none.
    pub fn serve(config: ApiConfig, port: BoundPort) -> anyhow::Result<Self> {
        let parsed = config.routes.iter().map(|route| {
            RouteKey::parse(&route.key).with_context(|| format!("the route {}", route.key))
        });
        let keys = parsed.collect::<anyhow::Result<_>>()?;
        let api = Arc::new(Api { config, keys });
        let app = Router::new().fallback(answer).with_state(api);
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let BoundPort { url, listener } = port;
        let server = tokio::spawn(async move { drop(axum::serve(listener, service).await) });
        Ok(Self { url, server })
    }
}

async fn answer(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let origin = request
        .headers()
        .get(header::ORIGIN)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &api.config.cors {
        Some(_) if preflight => StatusCode::NO_CONTENT.into_response(),
        _ => route(&api, peer, request).await,
    };
    if let Some(cors) = &api.config.cors {
        set_cors(cors, origin.as_deref(), preflight, response.headers_mut());
    }
    response
}

async fn route(api: &Api, peer: SocketAddr, request: Request) -> Response {
    let config = &api.config;
    let chosen = routing::choose(api.keys.iter(), request.method(), request.uri().path());
    let Some((index, parameters)) = chosen else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let route = &config.routes[index];
    if !route.authorization.allows(request.headers()) {
        return message(StatusCode::FORBIDDEN, "Forbidden");
    }
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, MAX_READ_BYTES).await {
        Ok(body) if body.len() <= MAX_BODY_BYTES => body,
        _ => return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
    };
    let source_ip = forwarded_for(config, &parts.headers).unwrap_or_else(|| peer.ip());
    let payload = event(&route.key, &parameters, &parts, &body, source_ip).to_string();
    if payload.len() > MAX_PAYLOAD_BYTES {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    }
    let invocation = route.function.invoke(Bytes::from(payload));
    match timeout(config.integration_timeout, invocation).await {
        Ok(Ok(answer)) => response(&answer),
        // Also a function that timed out: to the API it answered with an error.
        Ok(Err(_)) => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        // The guide does not name the status; this is what HTTP APIs are seen to answer.
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

fn forwarded_for(config: &ApiConfig, headers: &HeaderMap) -> Option<IpAddr> {
    let value = headers
        .get("x-forwarded-for")
        .filter(|_| config.trust_forwarded_for)?;
    value.to_str().ok()?.split(',').next()?.trim().parse().ok()
}

/// The request as payload 2.0.
fn event(
    route_key: &str,
    parameters: &Parameters,
    parts: &axum::http::request::Parts,
    body: &Bytes,
    source_ip: IpAddr,
) -> Value {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == header::COOKIE {
            cookies.extend(text.split("; ").map(str::to_owned));
            continue;
        }
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(&text);
            })
            .or_insert(text);
    }
    // The gateway says how it was asked, whatever the client says; here, by http.
    headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    let user_agent = headers.get("user-agent").cloned().unwrap_or_default();
    let domain = headers.get("host").cloned().unwrap_or_default();
    let path = parts.uri.path();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": crate::ACCOUNT,
            "apiId": "local",
            "domainName": domain,
            "http": {
                "method": parts.method.as_str(), "path": path, "protocol": "HTTP/1.1",
                "sourceIp": source_ip, "userAgent": user_agent,
            },
            "requestId": uuid::Uuid::now_v7().to_string(),
            "routeKey": route_key,
            "stage": "$default",
            "timeEpoch": now_ms(),
        },
        "isBase64Encoded": false,
    });
    let query = routing::query_parameters(parts.uri.query().unwrap_or_default());
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query);
    }
    if !parameters.is_empty() {
        event["pathParameters"] = json!(parameters);
    }
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !body.is_empty() {
        let text = std::str::from_utf8(body)
            .ok()
            .filter(|_| travels_as_text(&parts.headers));
        event["isBase64Encoded"] = json!(text.is_none());
        event["body"] = text.map_or_else(|| json!(STANDARD.encode(body)), |text| json!(text));
    }
    event
}

/// Text types travel as they are, everything else (and anything encoded) as base64.
fn travels_as_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let text = [
        "text/",
        "application/json",
        "application/javascript",
        "application/xml",
    ];
    text.iter().any(|start| content_type.starts_with(start))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: Option<u16>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// A function's answer as HTTP. Without a status code it is the body itself.
fn response(answer: &[u8]) -> Response {
    let Ok(value) = serde_json::from_slice::<Value>(answer) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let structured = value.get("statusCode").is_some();
    if !structured {
        return (
            [(header::CONTENT_TYPE, "application/json")],
            answer.to_vec(),
        )
            .into_response();
    }
    let Ok(answer) = serde_json::from_value::<Answer>(value) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded {
        STANDARD.decode(&body).unwrap_or_default()
    } else {
        body.into_bytes()
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = answer
        .status_code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::OK);
    let headers = answer.headers.iter().map(|(name, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    });
    let cookies = answer
        .cookies
        .iter()
        .map(|cookie| ("set-cookie".to_owned(), cookie.clone()));
    for (name, value) in headers.chain(cookies) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn message(status: StatusCode, text: &str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        json!({"message": text}).to_string(),
    )
        .into_response()
}

/// The API's own CORS headers, in place of what a function may have set.
fn set_cors(cors: &Cors, origin: Option<&str>, preflight: bool, headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
    let any = cors.allow_origins.iter().any(|allowed| allowed == "*");
    let Some(origin) =
        origin.filter(|origin| any || cors.allow_origins.iter().any(|allowed| allowed == origin))
    else {
        return;
    };
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        if any { "*" } else { origin },
    );
    if cors.allow_credentials {
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    if preflight {
        set(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            &cors.allow_methods.join(","),
        );
        set(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            &cors.allow_headers.join(","),
        );
        if let Some(seconds) = cors.max_age {
            set(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
    } else if !cors.expose_headers.is_empty() {
        set(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            &cors.expose_headers.join(","),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::tests::{Setup, setup};

    fn parts(headers: &[(&str, &str)]) -> axum::http::request::Parts {
        let mut request = Request::builder().method("POST").uri("/v1/events?a=1&b");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn event_of(headers: &[(&str, &str)], body: &'static [u8]) -> Value {
        event(
            "POST /v1/events",
            &Parameters::new(),
            &parts(headers),
            &Bytes::from_static(body),
            "192.0.2.1".parse().unwrap(),
        )
    }

    #[test]
    fn requests_become_payload_2_0() {
        let event = event_of(
            &[
                ("Content-Type", "application/json"),
                ("X-A", "1"),
                ("x-a", "2"),
                ("cookie", "c=1; d=2"),
                ("x-forwarded-proto", "gopher"),
            ],
            b"{}",
        );
        assert_eq!(event["headers"]["x-forwarded-proto"], "http");
        assert_eq!(
            (&event["version"], &event["body"], &event["isBase64Encoded"]),
            (&json!("2.0"), &json!("{}"), &json!(false))
        );
        assert_eq!(
            (&event["headers"]["x-a"], &event["cookies"]),
            (&json!("1,2"), &json!(["c=1", "d=2"]))
        );
        assert_eq!(event["rawQueryString"], "a=1&b");
        assert_eq!(event["queryStringParameters"], json!({"a": "1", "b": ""}));
        assert_eq!(event["requestContext"]["http"]["sourceIp"], "192.0.2.1");
        assert_eq!(event.get("headers").and_then(|h| h.get("cookie")), None);
        assert_eq!(event.get("pathParameters"), None);
    }

    #[test]
    fn what_is_not_plain_text_travels_as_base64() {
        for headers in [
            &[("content-type", "application/x-ndjson")][..],
            &[("content-type", "text/plain"), ("content-encoding", "gzip")],
            &[],
        ] {
            assert_eq!(event_of(headers, b"{}")["body"], "e30=");
        }
        assert_eq!(
            event_of(&[("content-type", "text/plain")], b"\xff")["isBase64Encoded"],
            true
        );
        assert_eq!(event_of(&[], b"").get("body"), None);
    }

    #[tokio::test]
    async fn answers_become_http() {
        let full = response(br#"{"statusCode":201,"headers":{"x-a":"1","n":5},"cookies":["c=1"],"body":"aGk=","isBase64Encoded":true}"#);
        assert_eq!(
            (full.status(), full.headers()["n"].as_bytes()),
            (StatusCode::CREATED, b"5".as_slice())
        );
        assert_eq!(full.headers()["set-cookie"], "c=1");
        assert_eq!(to_bytes(full.into_body(), 99).await.unwrap(), "hi");
        let inferred = response(br#"{"hello":1}"#);
        assert_eq!(
            (
                inferred.status(),
                inferred.headers()["content-type"].as_bytes()
            ),
            (StatusCode::OK, b"application/json".as_slice())
        );
        assert_eq!(
            response(b"no json").status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }

    #[test]
    fn cors_is_the_gateways() {
        let cors = Cors {
            allow_origins: vec!["https://a.example".into()],
            allow_methods: vec!["POST".into()],
            expose_headers: vec!["retry-after".into()],
            ..Cors::default()
        };
        let headers = |origin, preflight| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("set-by-function"),
            );
            set_cors(&cors, origin, preflight, &mut headers);
            headers
        };
        let own = headers(Some("https://a.example"), true);
        assert_eq!(
            (
                &own["access-control-allow-origin"],
                &own["access-control-allow-methods"]
            ),
            (
                &HeaderValue::from_static("https://a.example"),
                &HeaderValue::from_static("POST")
            )
        );
        assert_eq!(
            headers(Some("https://a.example"), false)["access-control-expose-headers"],
            "retry-after"
        );
        assert!(headers(Some("https://b.example"), true).is_empty());
        assert!(headers(None, false).is_empty());
    }

    async fn api(setup: &Setup, key: &str, integration_timeout: Duration) -> HttpApi {
        let route = |key: &str| Route {
            key: key.to_owned(),
            function: Arc::clone(&setup.function),
            authorization: Authorization::None,
        };
        let config = ApiConfig {
            routes: vec![route("$default"), route(key)],
            cors: None,
            trust_forwarded_for: false,
            integration_timeout,
        };
        HttpApi::start(config, 0).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_takes_its_route_with_the_paths_variables() {
        let setup = setup("route", Duration::from_secs(60), 1);
        let api = api(&setup, "GET /v1/x/{name}", INTEGRATION_TIMEOUT).await;
        let url = format!("{}/v1/x/top%20pages?a=1", api.url);
        let request = tokio::spawn(setup.http.get(url).send());
        let (invocation, payload) = setup.given_with_payload(0).await;
        let event: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            (&event["routeKey"], &event["requestContext"]["routeKey"]),
            (&json!("GET /v1/x/{name}"), &json!("GET /v1/x/{name}"))
        );
        assert_eq!(event["pathParameters"], json!({"name": "top pages"}));
        setup.respond(&invocation, "{\"statusCode\":201}").await;
        assert_eq!(request.await.unwrap().unwrap().status(), 201);
        setup.function.shutdown().await;
    }

    #[tokio::test]
    async fn a_function_that_times_out_is_an_error_and_one_that_takes_too_long_is_unavailable() {
        for (name, function_s, api_s, status, text) in [
            ("times-out", 1, 60, 500, "Internal Server Error"),
            ("takes-long", 60, 1, 503, "Service Unavailable"),
        ] {
            let setup = setup(name, Duration::from_secs(function_s), 1);
            let api = api(&setup, "GET /x", Duration::from_secs(api_s)).await;
            let answer = setup.http.get(format!("{}/x", api.url)).send();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status, "{name}");
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!(body, json!({"message": text}));
            setup.function.shutdown().await;
        }
    }

    #[tokio::test]
    async fn a_route_with_iam_takes_signed_requests_only_and_preflights_still() {
        let setup = setup("iam", Duration::from_secs(60), 1);
        let config = ApiConfig {
            routes: vec![Route {
                key: "GET /x".into(),
                function: Arc::clone(&setup.function),
                authorization: Authorization::Iam,
            }],
            cors: Some(Cors {
                allow_origins: vec!["*".into()],
                ..Cors::default()
            }),
            trust_forwarded_for: false,
            integration_timeout: INTEGRATION_TIMEOUT,
        };
        let api = HttpApi::start(config, 0).await.unwrap();
        let url = format!("{}/x", api.url);
        for headers in [None, Some("Basic YTpi"), Some("AWS4-HMAC-SHA256")] {
            let mut request = setup.http.get(&url).header("origin", "https://a.example");
            if let Some(value) = headers {
                request = request.header("authorization", value);
            }
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), headers), (403, headers));
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
            assert_eq!(answer.text().await.unwrap(), r#"{"message":"Forbidden"}"#);
        }
        let preflight = setup.http.request(Method::OPTIONS, &url);
        let preflight = preflight.header("origin", "https://a.example");
        let preflight = preflight.header("access-control-request-method", "GET");
        assert_eq!(preflight.send().await.unwrap().status(), 204);
        let signed = "AWS4-HMAC-SHA256 Credential=k/20261125/us-east-1/execute-api/aws4_request";
        let request = setup.http.get(&url).header("authorization", signed);
        let request = tokio::spawn(request.send());
        let (invocation, _) = setup.given_with_payload(0).await;
        setup.respond(&invocation, "{\"statusCode\":201}").await;
        assert_eq!(request.await.unwrap().unwrap().status(), 201);
        setup.function.shutdown().await;
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_refused() {
        let setup = setup("key", Duration::from_secs(1), 1);
        let config = ApiConfig {
            routes: vec![Route {
                key: "GET /{a+}/b".into(),
                function: Arc::clone(&setup.function),
                authorization: Authorization::None,
            }],
            cors: None,
            trust_forwarded_for: false,
            integration_timeout: INTEGRATION_TIMEOUT,
        };
        assert!(HttpApi::start(config, 0).await.is_err());
    }
}
