//! A single OpenSearch node.

use super::{GRACE, answers};
use crate::install::Installed;
use crate::paths::{Paths, running_as_root};
use crate::process::{ProcessId, ServerProcess};
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// `nobody` and its group. OpenSearch refuses to run as root; root runs it as
/// this user, which every Linux has and which needs no account to be made.
pub const UNPRIVILEGED_ID: u32 = 65_534;

/// Enough for the events of a demonstration and of the tests.
const HEAP: &str = "512m";
/// A first start on a busy machine unpacks and compiles a lot.
const PATIENCE: Duration = Duration::from_secs(180);

/// A node, running or stopped; its data and port stay the same.
#[derive(Debug)]
pub struct OpenSearch {
    java: PathBuf,
    home: PathBuf,
    run: PathBuf,
    log: PathBuf,
    checkout: PathBuf,
    port: u16,
    url: String,
    process: Option<ServerProcess>,
}

impl OpenSearch {
    /// A node that has not been started. With `fresh`, its data is thrown away.
    ///
    /// # Errors
    /// If the data cannot be thrown away.
    pub fn new(paths: &Paths, installed: &Installed, port: u16, fresh: bool) -> Result<Self> {
        let run = paths.opensearch_run();
        if fresh && run.join("data").exists() {
            fs::remove_dir_all(run.join("data")).with_context(|| run.display().to_string())?;
        }
        Ok(Self {
            java: installed.java.clone(),
            home: installed.opensearch.clone(),
            run,
            log: paths.log("opensearch"),
            checkout: paths.checkout().to_path_buf(),
            port,
            url: format!("http://127.0.0.1:{port}"),
            process: None,
        })
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Which process it is, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<ProcessId> {
        self.process.as_ref().map(ServerProcess::id)
    }

    /// Starts it and waits until it can hold an index. Does nothing if it runs.
    ///
    /// # Errors
    /// If it ends or does not become ready: with the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        if self.process_id().is_some_and(|id| id.is_running()) {
            return Ok(());
        }
        self.lay_out_run()
            .with_context(|| self.run.display().to_string())?;
        let mut process = ServerProcess::start("OpenSearch", self.command(), &self.log)?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let health = format!(
            "{}/_cluster/health?wait_for_status=yellow&timeout=1s",
            self.url
        );
        process
            .wait_until_ready(PATIENCE, async || answers(&client, &health).await)
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Asks it to end and waits for that. Does nothing if it does not run.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop(GRACE).await,
            None => Ok(()),
        }
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Its folders and configuration, owned by the user that will run it.
    fn lay_out_run(&self) -> std::io::Result<()> {
        let config = self.run.join("config");
        for folder in ["config", "data", "logs", "tmp"] {
            fs::create_dir_all(self.run.join(folder))?;
        }
        for file in ["opensearch.yml", "log4j2.properties"] {
            let from = self.checkout.join("local/opensearch").join(file);
            fs::copy(from, config.join(file))?;
        }
        fs::set_permissions(&self.run, fs::Permissions::from_mode(0o700))?;
        if running_as_root() {
            give_away(&self.run)?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let run = self.run.display();
        let mut command = Command::new(&self.java);
        command
            .args([format!("-Xms{HEAP}"), format!("-Xmx{HEAP}")])
            // What the distribution's own jvm.options says.
            .args(["-XX:+UseG1GC", "-Xss1m", "-XX:-OmitStackTraceInFastThrow"])
            .args(["-Djava.awt.headless=true", "-Dfile.encoding=UTF-8"])
            .args(["-Djna.nosys=true", "-Dio.netty.noUnsafe=true"])
            .args(["-Dio.netty.noKeySetOptimization=true"])
            .args(["-Dio.netty.recycler.maxCapacityPerThread=0"])
            .args(["-Dlog4j.shutdownHookEnabled=false"])
            .args(["-Dlog4j2.disable.jmx=true"])
            .args(["--enable-native-access=ALL-UNNAMED"])
            // Classes once loaded are kept: the second start takes half as long.
            .arg("-XX:+AutoCreateSharedArchive")
            .arg(format!("-XX:SharedArchiveFile={run}/tmp/classes.jsa"))
            .args(["-Xlog:cds=off", "-Xlog:cds+dynamic=off"])
            .arg(format!("-Djna.tmpdir={run}/tmp"))
            .arg(format!("-Djava.io.tmpdir={run}/tmp"))
            .arg(format!("-XX:ErrorFile={run}/logs/crash.log"))
            .arg(format!("-Dopensearch.path.home={}", self.home.display()))
            .arg(format!("-Dopensearch.path.conf={run}/config"))
            .arg("-Dopensearch.distribution.type=tar")
            .arg("-Dopensearch.bundled_jdk=false")
            .arg("-cp")
            .arg(self.home.join("lib/*"))
            .arg("org.opensearch.bootstrap.OpenSearch")
            // Nothing of our environment is its business.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.run)
            .env("LANG", "C.UTF-8")
            .env("HOSTNAME", "localhost")
            .env("FRESHET_RUN", &self.run)
            .env("FRESHET_NODE", "local")
            .env("FRESHET_HTTP_PORT", self.port.to_string())
            .current_dir(&self.run);
        if running_as_root() {
            command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
        }
        command
    }
}

/// Changes the owner of `path` and all it holds, following no link.
fn give_away(path: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(());
    }
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path())?;
        }
    }
    chown(path, Some(UNPRIVILEGED_ID), Some(UNPRIVILEGED_ID))
}
