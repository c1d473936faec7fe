//! A function: its bootstrap, run in as many environments as are needed.

use crate::mapping::now_ms;
use crate::metrics::Metrics;
use crate::runtime_api::{Job, RuntimeApi};
use crate::{ACCOUNT, REGION};
use axum::body::Bytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, Semaphore, broadcast, oneshot};

/// Why an invocation gave no response.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvokeError {
    /// The function answered with an error.
    #[error("unhandled: {0}")]
    Unhandled(String),
    /// It did not answer in time; its environment was ended.
    #[error("task timed out after {0} seconds")]
    TimedOut(u64),
    /// Its process ended before it answered.
    #[error("Runtime.ExitError: the runtime exited")]
    Exited,
    /// Its process could not be started.
    #[error("the bootstrap cannot be started: {0}")]
    Start(String),
}

/// What a function is made of.
#[derive(Clone, Debug)]
pub struct FunctionConfig {
    /// Its name.
    pub name: String,
    /// The unmodified bootstrap.
    pub bootstrap: PathBuf,
    /// Its environment variables; it inherits none.
    pub environment: BTreeMap<String, String>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// In MiB; only told to the function.
    pub memory_mb: u32,
    /// How many environments may run at once.
    pub max_concurrency: usize,
    /// Where its output is written.
    pub log_file: PathBuf,
}

/// A line that a function wrote.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// The function.
    pub function: String,
    /// The line.
    pub text: String,
}

/// A function that can be invoked.
pub struct Function {
    pool: Arc<Pool>,
}

/// A function's environments. Invocations share it, as they may outlive their callers.
struct Pool {
    config: FunctionConfig,
    concurrency: Arc<Semaphore>,
    idle: Mutex<Vec<Arc<Environment>>>,
    all: Mutex<Vec<Arc<Environment>>>,
    logs: broadcast::Sender<LogLine>,
    metrics: Metrics,
}

struct Environment {
    api: RuntimeApi,
    pid: u32,
    alive: AtomicBool,
    kill: Notify,
    gone: Notify,
}

impl Function {
    /// A function without environments yet. Its lines go to `logs` too.
    #[must_use]
    pub fn new(config: FunctionConfig, logs: broadcast::Sender<LogLine>) -> Self {
        Self::measured(config, logs, Metrics::default())
    }

    /// Like [`new`](Self::new); the metrics that it writes, and those of its
    /// invocations, go to `metrics`.
    #[must_use]
    pub fn measured(
        config: FunctionConfig,
        logs: broadcast::Sender<LogLine>,
        metrics: Metrics,
    ) -> Self {
        let concurrency = Arc::new(Semaphore::new(config.max_concurrency));
        Self {
            pool: Arc::new(Pool {
                config,
                concurrency,
                idle: Mutex::default(),
                all: Mutex::default(),
                logs,
                metrics,
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.pool.config.name
    }

    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        self.pool.arn()
    }

    /// Takes the age of the last record of a batch that it is invoked with.
    pub(crate) fn iterator_age(&self, age_ms: i64) {
        self.pool.metrics.iterator_age(self.name(), age_ms);
    }

    /// Invokes it and waits for the response. One environment handles one
    /// invocation at a time; one that fails to answer is ended.
    ///
    /// An invocation that has begun goes on when its caller stops waiting, as
    /// it does on AWS; its environment is free again when it answers.
    ///
    /// # Errors
    /// [`InvokeError`] if there is no response.
    pub async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let Ok(permit) = Arc::clone(&self.pool.concurrency).acquire_owned().await else {
            return Err(InvokeError::Exited);
        };
        let pool = Arc::clone(&self.pool);
        let invocation = tokio::spawn(async move {
            let (began_ms, began) = (now_ms(), Instant::now());
            let outcome = pool.invoke(payload).await;
            drop(permit);
            let (took, failed) = (began.elapsed(), outcome.is_err());
            let name = &pool.config.name;
            pool.metrics.invoked(name, began_ms, took, failed);
            outcome
        });
        invocation.await.unwrap_or(Err(InvokeError::Exited))
    }

    /// The processes of its environments.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let all = lock(&self.pool.all);
        all.iter()
            .filter(|e| e.alive.load(Ordering::Acquire))
            .map(|e| e.pid)
            .collect()
    }

    /// Ends every environment, whatever it is doing.
    pub fn kill_environments(&self) {
        lock(&self.pool.idle).clear();
        for environment in lock(&self.pool.all).iter() {
            environment.kill.notify_one();
        }
    }

    /// Ends every environment and waits until its process is gone.
    pub async fn shutdown(&self) {
        self.pool.concurrency.close();
        self.kill_environments();
        for _ in 0..200 {
            if self.pids().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Pool {
    fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}",
            self.config.name
        )
    }

    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let environment = match self.take_idle() {
            Some(environment) => environment,
            None => self.start_environment().await?,
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            payload,
            timeout: self.config.timeout,
            reply,
        };
        if environment.api.jobs.send(job).await.is_err() {
            return Err(InvokeError::Exited);
        }
        let outcome = tokio::select! {
            answer = answer => answer.map_err(|_| InvokeError::Exited),
            () = environment.gone.notified() => Err(InvokeError::Exited),
            () = tokio::time::sleep(self.config.timeout) => {
                environment.kill.notify_one();
                return Err(InvokeError::TimedOut(self.config.timeout.as_secs()));
            }
        };
        if environment.alive.load(Ordering::Acquire) {
            lock(&self.idle).push(environment);
        }
        match outcome? {
            Ok(response) => Ok(response),
            Err(error) => Err(InvokeError::Unhandled(
                String::from_utf8_lossy(&error).into_owned(),
            )),
        }
    }

    fn take_idle(&self) -> Option<Arc<Environment>> {
        let mut idle = lock(&self.idle);
        while let Some(environment) = idle.pop() {
            if environment.alive.load(Ordering::Acquire) {
                return Some(environment);
            }
        }
        None
    }

    async fn start_environment(&self) -> Result<Arc<Environment>, InvokeError> {
        let start = |error: std::io::Error| InvokeError::Start(error.to_string());
        let api = RuntimeApi::start(self.arn()).await.map_err(start)?;
        // Under the lock, so that a shutdown sees it, or it the shutdown.
        let mut all = lock(&self.all);
        if self.concurrency.is_closed() {
            return Err(InvokeError::Exited);
        }
        let mut child = self.command(&api.address).spawn().map_err(start)?;
        let pid = child.id().unwrap_or(0);
        self.collect_output(&mut child);
        let environment = Arc::new(Environment {
            api,
            pid,
            alive: AtomicBool::new(true),
            kill: Notify::new(),
            gone: Notify::new(),
        });
        all.retain(|e| e.alive.load(Ordering::Acquire));
        all.push(Arc::clone(&environment));
        drop(all);
        tokio::spawn(watch(child, Arc::clone(&environment)));
        Ok(environment)
    }

    fn command(&self, runtime_api: &str) -> Command {
        let config = &self.config;
        let mut command = Command::new(&config.bootstrap);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", &config.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env(
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                config.memory_mb.to_string(),
            )
            .env(
                "AWS_LAMBDA_LOG_GROUP_NAME",
                format!("/aws/lambda/{}", config.name),
            )
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("_HANDLER", "bootstrap")
            .env(
                "LAMBDA_TASK_ROOT",
                config.bootstrap.parent().unwrap_or(&config.bootstrap),
            )
            .envs(&config.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn collect_output(&self, child: &mut Child) {
        let sinks = || (self.config.clone(), self.logs.clone(), self.metrics.clone());
        if let Some(output) = child.stdout.take() {
            tokio::spawn(copy_lines(output, sinks()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(copy_lines(output, sinks()));
        }
    }
}

/// Notes the end of an environment's process, whoever brought it about.
async fn watch(mut child: Child, environment: Arc<Environment>) {
    tokio::select! {
        _ = child.wait() => {}
        () = environment.kill.notified() => drop(child.kill().await),
    }
    environment.alive.store(false, Ordering::Release);
    environment.gone.notify_one();
}

async fn copy_lines(
    output: impl AsyncRead + Unpin,
    (config, logs, metrics): (FunctionConfig, broadcast::Sender<LogLine>, Metrics),
) {
    let opened = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&config.log_file)
        .await;
    let Ok(mut file) = opened else { return };
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    // Bytes, not text: a line that is no UTF-8 must not end the reading, or the
    // function would wait for ever on a full pipe.
    while lines
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        line.clear();
        drop(file.write_all(format!("{text}\n").as_bytes()).await);
        metrics.read_line(&config.name, &text);
        drop(logs.send(LogLine {
            function: config.name.clone(),
            text,
        }));
    }
    drop(file.flush().await);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "function_tests.rs"]
pub(crate) mod tests;
