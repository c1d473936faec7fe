//! Builds the functions' bootstraps.

use crate::deploy::{Bootstraps, FUNCTIONS};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::task::{self, Sign};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Builds every function, and returns where each bootstrap is, by logical id.
///
/// They are kept under the state: another build into the same target folder,
/// of this checkout or another, then changes nothing while this stack runs.
///
/// # Errors
/// If one does not compile: with the end of cargo's output.
pub async fn build(paths: &Paths, progress: &Progress) -> Result<Bootstraps> {
    let step = progress.step("functions");
    step.note("cargo build");
    let target = target_folder(paths);
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(paths.checkout())
        .env("CARGO_TARGET_DIR", &target)
        // Its progress bar, though nobody sees a terminal: we read it.
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .args(["build", "--color", "never"]);
    for (_, binary) in FUNCTIONS {
        cargo.args(["--package", binary]);
    }
    task::run(cargo, &paths.log("build"), &step, cargo_progress).await?;

    let folder = paths.state().join("bin");
    std::fs::create_dir_all(&folder)?;
    let mut bootstraps = Bootstraps::new();
    for (id, binary) in FUNCTIONS {
        let kept = folder.join(binary);
        keep(&target.join("debug").join(binary), &kept)?;
        bootstraps.insert(id.to_owned(), kept);
    }
    step.done(&format!(
        "built: {}",
        FUNCTIONS.map(|(_, name)| name).join(", ")
    ));
    Ok(bootstraps)
}

/// The same rule as `tests/env.sh`.
fn target_folder(paths: &Paths) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| paths.cache().join("target"), PathBuf::from)
}

/// A link is enough: cargo replaces a binary and never writes into it.
fn keep(built: &Path, kept: &Path) -> Result<()> {
    if kept.exists() {
        std::fs::remove_file(kept)?;
    }
    std::fs::hard_link(built, kept)
        .or_else(|_| std::fs::copy(built, kept).map(drop))
        .with_context(|| built.display().to_string())
}

/// `   Building [=====>      ] 24/31: collect, enrich(bin)`
fn cargo_progress(line: &str) -> Option<Sign> {
    let line = line.trim_start();
    if line.starts_with("Blocking waiting for file lock") {
        return Some(Sign::Doing("waiting for another build".to_owned()));
    }
    let (_, position) = line.strip_prefix("Building [")?.split_once(']')?;
    let (counts, crates) = position.split_once(':').unwrap_or((position, ""));
    let (done, of) = counts.trim().split_once('/')?;
    Some(Sign::Parts(
        done.trim().parse().ok()?,
        of.trim().parse().ok()?,
        crates.trim().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cargos_progress() {
        let line = "    Building [=====>      ] 24/31: collect, enrich(bin)";
        let sign = Sign::Parts(24, 31, "collect, enrich(bin)".to_owned());
        assert_eq!(cargo_progress(line), Some(sign));
        let waiting = "    Blocking waiting for file lock on build directory";
        assert!(matches!(cargo_progress(waiting), Some(Sign::Doing(_))));
        assert_eq!(cargo_progress("   Compiling collect v0.1.0"), None);
    }
}
