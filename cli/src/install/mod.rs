//! Installs what a stack needs into the cache: once for all checkouts, at
//! pinned versions. What the machine itself must bring is in [`tools`].

mod charts;
mod dynamodb;
mod ministack;
mod opensearch;
pub mod tools;

use crate::paths::Paths;
use crate::progress::Progress;
use crate::task::{self, Sign};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use tokio::process::Command;

pub use dynamodb::{DynamoDbFiles, install_dynamodb};
pub use ministack::VERSION as MINISTACK_VERSION;
pub use opensearch::version as opensearch_version;

/// Where everything is, once it is installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// A `java` of version 21 or newer.
    pub java: PathBuf,
    /// The server's folder, with `lib` and `modules`.
    pub opensearch: PathBuf,
    /// The Python of the environment that has MiniStack.
    pub python: PathBuf,
    /// The folder that a function sees as `/opt/lookups`.
    pub lookups: PathBuf,
    /// The chart library of the dashboard page, one script.
    pub charts: PathBuf,
}

/// Installs what is not there yet.
///
/// # Errors
/// If the machine lacks something (all of it is named), or a download fails.
pub async fn install(paths: &Paths, progress: &Progress) -> Result<Installed> {
    let opensearch = opensearch::folder(paths);
    let ministack = ministack::folder(paths);
    let needs = tools::Needs {
        opensearch_install: !is_complete(&opensearch),
    };
    let step = progress.step("tools");
    let tools = tools::find(needs).await?;
    step.done(&tools.to_string());

    if !is_complete(&opensearch) {
        opensearch::install(paths, &opensearch, progress).await?;
    }
    if !is_complete(&ministack) {
        ministack::install(paths, &ministack, &tools.python, progress).await?;
    }
    let lookups = install_lookups(paths, progress).await?;
    let charts = charts::folder(paths);
    if !is_complete(&charts) {
        charts::install(paths, &charts, progress).await?;
    }
    link_cache(paths)?;
    Ok(Installed {
        java: tools.java,
        opensearch,
        python: ministack.join("bin/python"),
        lookups,
        charts: charts.join(charts::SCRIPT),
    })
}

/// The lookups have an installer of their own, which the layer uses too.
async fn install_lookups(paths: &Paths, progress: &Progress) -> Result<PathBuf> {
    let script = paths.checkout().join("infra/lookups/install.sh");
    let where_ = Command::new(&script)
        .arg("--where")
        .output()
        .await
        .with_context(|| script.display().to_string())?;
    anyhow::ensure!(
        where_.status.success(),
        "{}: {}",
        script.display(),
        String::from_utf8_lossy(&where_.stderr)
    );
    let folder = PathBuf::from(String::from_utf8_lossy(&where_.stdout).trim());
    if !is_complete(&folder) {
        progress.expect_one_more();
        let step = progress.step("lookups");
        step.note("user agents and places (DB-IP City Lite, 130 MB)");
        task::run(
            Command::new(script),
            &paths.log("install-lookups"),
            &step,
            |line| Some(Sign::Doing(line.to_owned())),
        )
        .await?;
        step.done("user agents by uap-core, places by DB-IP City Lite");
    }
    Ok(folder)
}

/// Every installation ends with this mark.
fn is_complete(folder: &Path) -> bool {
    folder.join(".complete").is_file()
}

/// Lays `folder` out under another name and renames it once it is whole: a
/// second installation at the same time does no harm, nor does one cut short.
async fn lay_out(folder: &Path, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = folder.file_name().context("a folder has a name")?;
    let mut staged = std::ffi::OsString::from(".");
    staged.push(name);
    staged.push(format!("-{}", std::process::id()));
    let staging = folder.with_file_name(staged);
    let result = async {
        fill(&staging).await?;
        std::fs::write(staging.join(".complete"), "")?;
        match std::fs::rename(&staging, folder) {
            Err(_) if is_complete(folder) => Ok(()),
            Err(error) => Err(error).with_context(|| folder.display().to_string()),
            Ok(()) => Ok(()),
        }
    }
    .await;
    if staging.exists() {
        std::fs::remove_dir_all(&staging)?;
    }
    result
}

/// `.local/cache` leads a curious reader to the downloads.
fn link_cache(paths: &Paths) -> Result<()> {
    let link = paths.state().join("cache");
    if std::fs::read_link(&link).ok().as_deref() != Some(paths.cache()) {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(paths.cache(), &link)
            .with_context(|| link.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_installation_is_there_whole_or_not_at_all() {
        let base = std::env::temp_dir().join(format!("freshet-lay-out-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let folder = base.join("server-1");
        let failed = lay_out(&folder, async |staging| {
            std::fs::create_dir(staging)?;
            anyhow::bail!("the download broke off")
        });
        assert!(failed.await.is_err());
        assert!(std::fs::read_dir(&base).unwrap().next().is_none());

        for _ in 0..2 {
            lay_out(&folder, async |staging| {
                std::fs::create_dir(staging)?;
                Ok(std::fs::write(staging.join("jar"), "x")?)
            })
            .await
            .unwrap();
        }
        assert!(is_complete(&folder) && folder.join("jar").is_file());
        assert_eq!(std::fs::read_dir(&base).unwrap().count(), 1);
        std::fs::remove_dir_all(base).unwrap();
    }
}
