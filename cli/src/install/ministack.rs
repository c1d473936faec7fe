//! MiniStack, in a Python environment of its own.

use crate::paths::{Paths, short_hash};
use crate::progress::Progress;
use crate::task::{self, Sign};
use anyhow::Result;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const REQUIREMENTS: &str = include_str!("../../../local/ministack/requirements.txt");

/// The version that is pinned.
pub const VERSION: &str = "1.5.33";

/// Named after the requirements, so that changed pins are another folder.
pub(super) fn folder(paths: &Paths) -> PathBuf {
    let pins = short_hash(REQUIREMENTS.as_bytes());
    paths.cache().join(format!("ministack-{VERSION}-{pins}"))
}

pub(super) async fn install(
    paths: &Paths,
    folder: &Path,
    python: &Path,
    progress: &Progress,
) -> Result<()> {
    progress.expect_one_more();
    let step = progress.step("MiniStack");
    step.note("a Python environment");
    super::lay_out(folder, async |staging| {
        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(staging);
        task::run(venv, &paths.log("install-python"), &step, |_| None).await?;
        let mut pip = Command::new(staging.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
            .args(["--no-input", "--progress-bar", "off", "--requirement"])
            .arg(paths.checkout().join("local/ministack/requirements.txt"));
        let packages = pinned().count() as u64;
        let mut found = 0;
        task::run(pip, &paths.log("install-ministack"), &step, |line| {
            if line.starts_with("Installing collected packages") {
                return Some(Sign::Parts(packages, packages, "unpacking".to_owned()));
            }
            let name = line
                .strip_prefix("Collecting ")?
                .split_whitespace()
                .next()?;
            found = packages.min(found + 1);
            Some(Sign::Parts(found - 1, packages, name.to_owned()))
        })
        .await
        .map(drop)
    })
    .await?;
    step.done(&format!("{VERSION} installed"));
    Ok(())
}

fn pinned() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.lines().filter(|line| line.contains("=="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_corrects_the_pinned_version() {
        let launcher = include_str!("../../../local/ministack/launch.py");
        assert!(pinned().any(|pin| pin == format!("ministack=={VERSION}")));
        assert!(launcher.contains(&format!("VERSION = \"{VERSION}\"")));
    }
}
