//! DynamoDB Local: AWS's own, in memory, for tests.

use super::GRACE;
use crate::install::DynamoDbFiles;
use crate::paths::Paths;
use crate::process::ServerProcess;
use anyhow::{Context as _, Result};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(90);

/// A running server. What it holds is in memory and ends with it.
#[derive(Debug)]
pub struct DynamoDb {
    url: String,
    process: ServerProcess,
}

impl DynamoDb {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// If it ends or does not become ready: with the end of its log.
    pub async fn start(paths: &Paths, files: &DynamoDbFiles, port: u16) -> Result<Self> {
        // It looks for its library under a name without the version.
        let native = paths.state().join("dynamodb");
        std::fs::create_dir_all(&native)?;
        std::fs::copy(
            files.jars.join("libsqlite4java-linux-amd64-1.0.392.so"),
            native.join("libsqlite4java-linux-amd64.so"),
        )
        .context("the library of SQLite")?;
        let mut command = Command::new(&files.java);
        command
            .args(["-Xmx256m", "--enable-native-access=ALL-UNNAMED"])
            .arg(format!("-Dsqlite4java.library.path={}", native.display()))
            .arg("-cp")
            .arg(files.jars.join("*"))
            .arg(paths.checkout().join("local/dynamodb/Loopback.java"))
            .arg(port.to_string())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &native)
            .env("LANG", "C.UTF-8")
            .env("DDB_LOCAL_TELEMETRY", "0")
            .current_dir(&native);
        let mut process = ServerProcess::start("DynamoDB Local", command, &paths.log("dynamodb"))?;
        process
            .wait_until_ready(PATIENCE, async || {
                TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            process,
        })
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn stop(self) -> Result<()> {
        self.process.stop(GRACE).await
    }
}
