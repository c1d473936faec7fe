//! Environments, with the test itself in the bootstrap's place: the process
//! only tells where its Runtime API is.

use super::*;
use reqwest::StatusCode;
use std::os::unix::fs::PermissionsExt as _;

pub(crate) struct Setup {
    pub(crate) function: Arc<Function>,
    folder: PathBuf,
    pub(crate) http: reqwest::Client,
}

impl Drop for Setup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn setup(name: &str, timeout: Duration, max_concurrency: usize) -> Setup {
    let folder =
        std::env::temp_dir().join(format!("freshet-function-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let bootstrap = folder.join("bootstrap");
    let script = "#!/bin/sh\necho \"$AWS_LAMBDA_RUNTIME_API\" >> \"$ADDRESSES\"\nexec sleep 600\n";
    std::fs::write(&bootstrap, script).unwrap();
    std::fs::set_permissions(&bootstrap, std::fs::Permissions::from_mode(0o755)).unwrap();
    let addresses = folder.join("addresses").display().to_string();
    let config = FunctionConfig {
        name: name.to_owned(),
        bootstrap,
        environment: BTreeMap::from([("ADDRESSES".to_owned(), addresses)]),
        timeout,
        memory_mb: 128,
        max_concurrency,
        log_file: folder.join("log"),
    };
    Setup {
        function: Arc::new(Function::new(config, broadcast::channel(16).0)),
        folder,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not in 30 s");
}

impl Setup {
    fn addresses(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("addresses")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        whole.lines().map(str::to_owned).collect()
    }

    fn invoke(&self) -> tokio::task::JoinHandle<Result<Bytes, InvokeError>> {
        let function = Arc::clone(&self.function);
        tokio::spawn(async move { function.invoke(Bytes::from_static(b"{}")).await })
    }

    /// The invocation that the `n`-th environment is given.
    async fn given(&self, n: usize) -> String {
        self.given_with_payload(n).await.0
    }

    pub(crate) async fn given_with_payload(&self, n: usize) -> (String, Bytes) {
        until("an environment", || self.addresses().len() > n).await;
        let invocation = format!(
            "http://{}/2018-06-01/runtime/invocation",
            self.addresses()[n]
        );
        let next = self.http.get(format!("{invocation}/next"));
        let next = tokio::time::timeout(Duration::from_secs(30), next.send());
        let next = next.await.expect("no invocation in 30 s").unwrap();
        let id = next.headers()["lambda-runtime-aws-request-id"].clone();
        let payload = next.bytes().await.unwrap();
        (format!("{invocation}/{}", id.to_str().unwrap()), payload)
    }

    pub(crate) async fn respond(&self, invocation: &str, body: &'static str) -> StatusCode {
        let response = self
            .http
            .post(format!("{invocation}/response"))
            .body(body)
            .send();
        response.await.unwrap().status()
    }
}

#[tokio::test]
async fn an_environment_whose_caller_went_away_serves_again_when_it_answers() {
    let setup = setup("gone", Duration::from_secs(60), 1);
    let caller = setup.invoke();
    let first = setup.given(0).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    // It still counts as one that runs.
    let second = setup.invoke();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(setup.addresses().len(), 1);
    assert_eq!(setup.respond(&first, "1").await, StatusCode::ACCEPTED);
    let invocation = setup.given(0).await;
    assert_eq!(setup.respond(&invocation, "2").await, StatusCode::ACCEPTED);
    assert_eq!(second.await.unwrap(), Ok(Bytes::from_static(b"2")));
    assert_eq!(
        (setup.addresses().len(), setup.function.pids().len()),
        (1, 1)
    );
    setup.function.shutdown().await;
}

#[tokio::test]
async fn a_timeout_ends_an_environment_also_when_nobody_waits() {
    let setup = setup("late", Duration::from_secs(2), 1);
    let caller = setup.invoke();
    until("an environment", || !setup.function.pids().is_empty()).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    until("its end", || setup.function.pids().is_empty()).await;
}

#[tokio::test]
async fn nothing_starts_after_the_shutdown() {
    let setup = setup("shutdown", Duration::from_secs(60), 4);
    let waiting = setup.invoke();
    until("an environment", || !setup.function.pids().is_empty()).await;
    setup.function.shutdown().await;
    assert_eq!(waiting.await.unwrap(), Err(InvokeError::Exited));
    assert_eq!(setup.invoke().await.unwrap(), Err(InvokeError::Exited));
    assert!(setup.function.pids().is_empty());
}

#[tokio::test]
async fn every_line_is_read_whatever_is_in_it_and_metrics_are_taken() {
    let setup = setup("lines", Duration::from_secs(60), 1);
    let config = setup.function.pool.config.clone();
    let (logs, mut lines) = broadcast::channel(16);
    let metrics = Metrics::default();
    let now = now_ms();
    let directive = r#"{"Namespace":"N","Dimensions":[[]],"Metrics":[{"Name":"m"}]}"#;
    let emf =
        format!(r#"{{"_aws":{{"Timestamp":{now},"CloudWatchMetrics":[{directive}]}},"m":3}}"#);
    let output = [b"\xff\xfe no text\r\n\n", emf.as_bytes(), b"\nlast"].concat();
    copy_lines(&output[..], (config, logs, metrics.clone())).await;
    let mut read = Vec::new();
    while let Ok(line) = lines.try_recv() {
        read.push(line.text);
    }
    assert_eq!(read, ["\u{fffd}\u{fffd} no text", "", emf.as_str(), "last"]);
    let (data, _) = metrics.since(0);
    assert_eq!(
        (data.len(), data[0].name.as_str(), data[0].values[0]),
        (1, "m", 3.0)
    );
    let written = std::fs::read_to_string(setup.folder.join("log")).unwrap();
    assert_eq!(written.lines().count(), 4);
}
