//! DynamoDB Local, AWS's own, from Maven Central: what the tests hold the
//! emulator against. No stack needs it.

use super::{is_complete, lay_out, tools};
use crate::paths::{Paths, short_hash};
use crate::progress::Progress;
use crate::task::{self, Sign};
use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Every file's SHA-256, as `sha256sum` writes them: Maven only compares with
/// what the repository says today.
const FILES: &str = include_str!("../../../local/dynamodb/jars.sha256");

/// Where it is, once it is installed.
#[derive(Clone, Debug)]
pub struct DynamoDbFiles {
    /// A `java` of version 21 or newer.
    pub java: PathBuf,
    /// The folder of its jars.
    pub jars: PathBuf,
}

/// Installs it if it is not there yet: 36 MB.
///
/// # Errors
/// If the machine lacks something, a download fails or is not what it was.
pub async fn install_dynamodb(paths: &Paths, progress: &Progress) -> Result<DynamoDbFiles> {
    let folder = paths
        .cache()
        .join(format!("dynamodb-{}", short_hash(FILES.as_bytes())));
    let missing = !is_complete(&folder);
    let needs = tools::Needs {
        opensearch_install: missing, // Maven
    };
    let tools = tools::find(needs).await?;
    if missing {
        progress.expect_one_more();
        let step = progress.step("DynamoDB Local");
        step.note("36 MB from Maven Central");
        lay_out(&folder, async |staging| {
            let mut maven = Command::new("mvn");
            maven
                .args(["--batch-mode", "--color", "never", "--file"])
                .arg(paths.checkout().join("local/dynamodb/pom.xml"))
                .arg(format!("-Djars={}", staging.display()))
                .arg("package");
            task::run(maven, &paths.log("install-dynamodb"), &step, |line| {
                Some(Sign::Doing(line.to_owned()))
            })
            .await?;
            verify(staging, FILES)
        })
        .await?;
        step.done("DynamoDB Local installed");
    }
    Ok(DynamoDbFiles {
        java: tools.java,
        jars: folder,
    })
}

/// `folder` holds these files and no others.
fn verify(folder: &Path, files: &str) -> Result<()> {
    let mut expected: BTreeMap<&str, &str> = files
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name, digest))
        .collect();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let digest = expected
            .remove(&*name)
            .with_context(|| format!("{name} is not part of DynamoDB Local"))?;
        let found: String = Sha256::digest(std::fs::read(&path)?)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        ensure!(
            found == digest,
            "{name} is not what it was: SHA-256 {found}"
        );
    }
    ensure!(
        expected.is_empty(),
        "DynamoDB Local came without {:?}",
        expected.keys()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_refused_and_so_is_one_more_or_less() {
        let folder = std::env::temp_dir().join(format!("freshet-verify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.jar"), "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.jar\n";
        assert!(verify(&folder, abc).is_ok());
        let text = |files: &str| verify(&folder, files).unwrap_err().to_string();
        assert!(text(&abc.replace("ba78", "ba79")).contains("a.jar is not what it was"));
        assert!(text("").contains("a.jar is not part"));
        assert!(text(&format!("{abc}{}", abc.replace("a.jar", "b.jar"))).contains("b.jar"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_version_is_pinned() {
        assert!(FILES.contains("  DynamoDBLocal-3.1.0.jar\n"));
    }
}
