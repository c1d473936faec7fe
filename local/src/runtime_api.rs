//! Lambda's Runtime API, as one execution environment sees it. Source: AWS
//! Lambda Developer Guide, "Using the Lambda runtime API".

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

/// The largest response a function may give.
pub(crate) const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024;

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
            .layer(DefaultBodyLimit::max(MAX_RESPONSE_BYTES + 1))
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
    body: Bytes,
) -> StatusCode {
    reply(&environment, &id, Ok(body))
}

async fn error(
    State(environment): State<Arc<Environment>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    reply(&environment, &id, Err(body))
}

async fn init_error(body: Bytes) -> StatusCode {
    tracing::error!(error = %String::from_utf8_lossy(&body), "a function failed to initialise");
    StatusCode::ACCEPTED
}
