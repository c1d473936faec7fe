//! Apache `ECharts`, which draws the dashboard page: one script out of its npm package.

use crate::paths::Paths;
use crate::progress::Progress;
use crate::task::{self, Sign};
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The version that is pinned.
const VERSION: &str = "6.1.0";
/// The script's SHA-256: npm only compares the archive with what the registry says today.
const SHA_256: &str = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0";
/// Its name in the folder.
pub(super) const SCRIPT: &str = "echarts.min.js";
/// What is kept of the package, below the folder that it unpacks into.
const KEPT: [(&str, &str); 3] = [
    ("dist/echarts.min.js", SCRIPT),
    ("LICENSE", "LICENSE"),
    ("NOTICE", "NOTICE"),
];

pub(super) fn folder(paths: &Paths) -> PathBuf {
    paths.cache().join(format!("echarts-{VERSION}"))
}

pub(super) async fn install(paths: &Paths, folder: &Path, progress: &Progress) -> Result<()> {
    progress.expect_one_more();
    let step = progress.step("charts");
    step.note("Apache ECharts (12 MB)");
    super::lay_out(folder, async |staging| {
        let unpacked = staging.join("package");
        std::fs::create_dir_all(&unpacked)?;
        let mut npm = Command::new("npm");
        npm.args(["pack", "--loglevel=error", &format!("echarts@{VERSION}")])
            .current_dir(staging);
        let archive = task::run(npm, &paths.log("install-charts"), &step, |_| None).await?;
        let mut tar = Command::new("tar");
        tar.args(["xzf", archive.trim()])
            .args(KEPT.map(|(file, _)| format!("package/{file}")))
            .current_dir(staging);
        task::run(tar, &paths.log("unpack-charts"), &step, |line| {
            Some(Sign::Doing(line.to_owned()))
        })
        .await?;
        for (file, name) in KEPT {
            std::fs::rename(unpacked.join(file), staging.join(name))
                .with_context(|| format!("the package of ECharts has no {file}"))?;
        }
        std::fs::remove_dir_all(unpacked)?;
        std::fs::remove_file(staging.join(archive.trim()))?;
        verify(&std::fs::read(staging.join(SCRIPT))?)
    })
    .await?;
    step.done(&format!("Apache ECharts {VERSION} installed"));
    Ok(())
}

fn verify(script: &[u8]) -> Result<()> {
    let digest = Sha256::digest(script)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    anyhow::ensure!(
        digest == SHA_256,
        "ECharts {VERSION} is not what it was: SHA-256 {digest}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_script_is_refused() {
        let error = verify(b"alert(1)").unwrap_err().to_string();
        assert!(error.contains("is not what it was"), "{error}");
    }
}
