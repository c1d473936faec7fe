//! MiniStack: AWS's interfaces on this machine.

use super::{GRACE, answers};
use crate::install::Installed;
use crate::paths::Paths;
use crate::process::{ProcessId, ServerProcess};
use anyhow::Result;
use std::fs;
use std::time::Duration;
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. What it holds is in memory and ends with it.
#[derive(Debug)]
pub struct MiniStack {
    url: String,
    process: ServerProcess,
}

impl MiniStack {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// If it ends or does not become ready: with the end of its log.
    pub async fn start(paths: &Paths, installed: &Installed, port: u16) -> Result<Self> {
        let url = format!("http://127.0.0.1:{port}");
        // It keeps unpacked functions and a pid file in its temporary folder.
        let scratch = paths.state().join("ministack");
        fs::create_dir_all(&scratch)?;
        let mut command = Command::new(&installed.python);
        command
            .arg(paths.checkout().join("local/ministack/launch.py"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &scratch)
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", &scratch)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("BIND_HOST", "127.0.0.1")
            // In the addresses that it hands out; `localhost` may mean ::1.
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            // Handed on to the functions that it runs itself.
            .env("AWS_ENDPOINT_URL", &url)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", freshet_local::REGION)
            // It would listen on a port of its own.
            .env("IOT_MTLS_ENABLED", "0")
            .env("LOG_LEVEL", "WARNING")
            .current_dir(&scratch);
        let mut process = ServerProcess::start("MiniStack", command, &paths.log("ministack"))?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let health = format!("{url}/_ministack/health");
        process
            .wait_until_ready(PATIENCE, async || answers(&client, &health).await)
            .await?;
        Ok(Self { url, process })
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which process it is.
    #[must_use]
    pub fn process_id(&self) -> ProcessId {
        self.process.id()
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn stop(self) -> Result<()> {
        self.process.stop(GRACE).await
    }
}
