//! Lambda's Runtime API, as one execution environment sees it. Source: AWS
//! Lambda Developer Guide, "Using the Lambda runtime API".

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

/// The largest response a function may give: "6 MB" in the guide, and so many
/// bytes in the error that Lambda answers to a larger one.
const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024 + 100;

/// What an invocation's bootstrap answered: a response, or an error's JSON.
pub(crate) type Reply = Result<Bytes, Bytes>;

/// One invocation on its way to the bootstrap.
pub(crate) struct Job {
    pub(crate) payload: Bytes,
    pub(crate) timeout: Duration,
    pub(crate) reply: oneshot::Sender<Reply>,
}

struct Environment {
    function_arn: String,
    jobs: AsyncMutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<(String, oneshot::Sender<Reply>)>>,
}

/// A listener for one environment; dropping it ends the bootstrap's polling.
pub(crate) struct RuntimeApi {
    pub(crate) address: String,
    pub(crate) jobs: mpsc::Sender<Job>,
    server: JoinHandle<()>,
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl RuntimeApi {
    pub(crate) async fn start(function_arn: String) -> std::io::Result<Self> {
        let (jobs, receiver) = mpsc::channel(1);
        let environment = Arc::new(Environment {
            function_arn,
            jobs: AsyncMutex::new(receiver),
            current: Mutex::default(),
        });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(environment);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let listener =
            axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self {
            address,
            jobs,
            server,
        })
    }
}

async fn next(State(environment): State<Arc<Environment>>) -> Response {
    let Some(job) = environment.jobs.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let id = uuid::Uuid::now_v7().to_string();
    let deadline = SystemTime::now() + job.timeout;
    let deadline_ms = deadline
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis())
        .to_string();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("lambda-runtime-aws-request-id", id.as_str()),
        ("lambda-runtime-deadline-ms", &deadline_ms),
        (
            "lambda-runtime-invoked-function-arn",
            &environment.function_arn,
        ),
        ("content-type", "application/json"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    *environment
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some((id, job.reply));
    (StatusCode::OK, headers, job.payload).into_response()
}

fn reply(environment: &Environment, id: &str, reply: Reply) -> StatusCode {
    let mut current = environment
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match current.take() {
        Some((expected, sender)) if expected == id => {
            drop(sender.send(reply));
            StatusCode::ACCEPTED
        }
        other => {
            *current = other;
            StatusCode::BAD_REQUEST
        }
    }
}

async fn response(
    State(environment): State<Arc<Environment>>,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    take(&environment, &id, body, Ok).await
}

async fn error(
    State(environment): State<Arc<Environment>>,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    take(&environment, &id, body, Err).await
}

/// Takes what the bootstrap says of its invocation. What is too large ends the
/// invocation with Lambda's error, and is refused to the bootstrap.
async fn take(
    environment: &Environment,
    id: &str,
    body: Body,
    outcome: fn(Bytes) -> Reply,
) -> Response {
    match read(body).await {
        Ok(Some(bytes)) => reply(environment, id, outcome(bytes)).into_response(),
        Ok(None) => {
            let message = format!(
                "Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
            );
            let invocations = fault("Function.ResponseSizeTooLarge", &message);
            match reply(environment, id, Err(Bytes::from(invocations))) {
                StatusCode::ACCEPTED => {
                    let bootstraps = fault("RequestEntityTooLarge", &message);
                    (StatusCode::PAYLOAD_TOO_LARGE, bootstraps).into_response()
                }
                refused => refused.into_response(),
            }
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// A body, or nothing if it is too large. It is read to its end in any case: a
/// bootstrap that is still writing would not see the answer.
async fn read(mut body: Body) -> Result<Option<Bytes>, axum::Error> {
    let (mut bytes, mut too_large) = (Vec::new(), false);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        too_large |= bytes.len() + data.len() > MAX_RESPONSE_BYTES;
        if !too_large {
            bytes.extend_from_slice(&data);
        }
    }
    Ok((!too_large).then(|| Bytes::from(bytes)))
}

fn fault(error_type: &str, message: &str) -> String {
    json!({ "errorType": error_type, "errorMessage": message }).to_string()
}

async fn init_error(body: Bytes) -> StatusCode {
    tracing::error!(error = %String::from_utf8_lossy(&body), "a function failed to initialise");
    StatusCode::ACCEPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered_with(bytes: usize) -> (StatusCode, Reply) {
        let api = RuntimeApi::start("arn:f".into()).await.unwrap();
        let (reply, outcome) = oneshot::channel();
        let job = Job {
            payload: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(60),
            reply,
        };
        assert!(api.jobs.send(job).await.is_ok());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let invocation = format!("http://{}/2018-06-01/runtime/invocation", api.address);
        let next = http.get(format!("{invocation}/next")).send().await.unwrap();
        let id = next.headers()["lambda-runtime-aws-request-id"]
            .to_str()
            .unwrap();
        let answer = http
            .post(format!("{invocation}/{id}/response"))
            .body(vec![b'x'; bytes])
            .send()
            .await
            .unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(30), outcome);
        let outcome = outcome.await.expect("the invocation did not end in 30 s");
        (answer.status(), outcome.unwrap())
    }

    #[tokio::test]
    async fn a_response_over_six_megabytes_is_lambdas_error_at_once() {
        let (status, outcome) = answered_with(MAX_RESPONSE_BYTES).await;
        assert_eq!(
            (status, outcome.map(|bytes| bytes.len())),
            (StatusCode::ACCEPTED, Ok(MAX_RESPONSE_BYTES))
        );
        for bytes in [MAX_RESPONSE_BYTES + 1, 3 * MAX_RESPONSE_BYTES] {
            let (status, outcome) = answered_with(bytes).await;
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
            let error: serde_json::Value = serde_json::from_slice(&outcome.unwrap_err()).unwrap();
            assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
            assert_eq!(
                error["errorMessage"],
                "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
            );
        }
    }
}
