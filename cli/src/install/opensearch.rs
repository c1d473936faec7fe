//! OpenSearch, assembled from Maven Central by `local/opensearch/install.sh`.

use crate::paths::Paths;
use crate::progress::Progress;
use crate::task::{self, Sign};
use anyhow::Result;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const VERSIONS: &str = include_str!("../../../local/opensearch/versions.env");

/// The version that is pinned.
#[must_use]
pub fn version() -> &'static str {
    VERSIONS
        .lines()
        .find_map(|line| line.strip_prefix("OPENSEARCH_VERSION="))
        .unwrap_or("unknown")
}

pub(super) fn folder(paths: &Paths) -> PathBuf {
    paths.cache().join(format!("opensearch-{}", version()))
}

pub(super) async fn install(paths: &Paths, folder: &Path, progress: &Progress) -> Result<()> {
    progress.expect_one_more();
    let step = progress.step("OpenSearch");
    step.note("81 MB from Maven Central");
    super::lay_out(folder, async |staging| {
        let mut script = Command::new(paths.checkout().join("local/opensearch/install.sh"));
        script.arg(staging);
        let mut modules = (0, 1);
        let mut files = 0_u32;
        task::run(script, &paths.log("install-opensearch"), &step, |line| {
            if let Some((at, of)) = reactor_position(line) {
                modules = (at - 1, of);
            }
            if line.contains("Downloaded from") {
                files += 1;
            }
            let what = match files {
                0 => "modules, from Maven's own cache".to_owned(),
                files => format!("modules, {files} files downloaded"),
            };
            Some(Sign::Parts(modules.0, modules.1, what))
        })
        .await
        .map(drop)
    })
    .await?;
    step.done(&format!("{} installed", version()));
    Ok(())
}

/// `[INFO] Building server 1   [2/17]`: which of how many projects it builds.
fn reactor_position(line: &str) -> Option<(u64, u64)> {
    let (_, position) = line
        .strip_prefix("[INFO] Building ")?
        .strip_suffix(']')?
        .rsplit_once('[')?;
    let (at, of) = position.split_once('/')?;
    Some((at.parse().ok().filter(|&at| at > 0)?, of.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mavens_position() {
        let line = "[INFO] Building module-geo 1                                      [5/17]";
        assert_eq!(reactor_position(line), Some((5, 17)));
        assert_eq!(reactor_position("[INFO] BUILD SUCCESS"), None);
    }

    #[test]
    fn the_version_is_pinned() {
        assert!(version().starts_with("3."), "{}", version());
    }
}
