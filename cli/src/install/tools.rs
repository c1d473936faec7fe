//! What the machine must bring: found, or named with the package that has it.

use crate::paths::running_as_root;
use crate::servers::opensearch::UNPRIVILEGED_ID;
use anyhow::Result;
use std::fmt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const JAVA_AT_LEAST: u32 = 21;
const PYTHON_AT_LEAST: (u32, u32) = (3, 11);

/// What decides whether a tool is needed at all.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// OpenSearch is not installed yet.
    pub opensearch_install: bool,
}

/// The tools whose place or version matters.
#[derive(Clone, Debug)]
pub struct Tools {
    /// A Java runtime of version 21 or newer.
    pub java: PathBuf,
    /// Its version.
    pub java_version: u32,
    /// A Python of version 3.11 or newer that can make environments.
    pub python: PathBuf,
    /// Its version.
    pub python_version: (u32, u32),
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.python_version;
        write!(f, "Java {}, Python {major}.{minor}", self.java_version)
    }
}

struct Missing {
    what: String,
    remedy: &'static str,
}

/// Finds them all.
///
/// # Errors
/// Names everything that is missing, each with a remedy.
pub async fn find(needs: Needs) -> Result<Tools> {
    let mut missing = Vec::new();
    let java = find_java().await;
    if java.is_none() {
        missing.push(Missing {
            what: format!("a Java {JAVA_AT_LEAST} or newer (in PATH, JAVA_HOME or /usr/lib/jvm)"),
            remedy: "apt install openjdk-21-jdk-headless (Debian 13), or Temurin 21 or newer",
        });
    }
    let python = find_python().await;
    if python.is_none() {
        let (major, minor) = PYTHON_AT_LEAST;
        missing.push(Missing {
            what: format!("a Python {major}.{minor} or newer with its venv module"),
            remedy: "apt install python3 python3-venv",
        });
    }
    let mut commands = vec![
        ("node", "apt install nodejs"),
        ("npm", "apt install npm"),
        ("strip", "apt install binutils"),
    ];
    if needs.opensearch_install {
        commands.extend([("mvn", "apt install maven"), ("unzip", "apt install unzip")]);
    }
    for (command, remedy) in commands {
        if in_path(command).is_none() {
            missing.push(Missing {
                what: command.to_owned(),
                remedy,
            });
        }
    }
    match (java, python) {
        (Some((java, java_version)), Some((python, python_version))) if missing.is_empty() => {
            Ok(Tools {
                java,
                java_version,
                python,
                python_version,
            })
        }
        _ => anyhow::bail!("{}", list(&missing)),
    }
}

fn list(missing: &[Missing]) -> String {
    let mut text = "this machine lacks".to_owned();
    for Missing { what, remedy } in missing {
        text.push_str(&format!("\n  {what}\n      {remedy}"));
    }
    text
}

/// The first place in `PATH` that has `command`.
#[must_use]
pub fn in_path(command: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(command))
        .find(|path| path.is_file())
}

async fn find_java() -> Option<(PathBuf, u32)> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let mut installed: Vec<PathBuf> = std::fs::read_dir("/usr/lib/jvm")
        .map(|folder| folder.flatten().map(|entry| entry.path().join("bin/java")))
        .map(Iterator::collect)
        .unwrap_or_default();
    installed.sort();
    for java in home.into_iter().chain(in_path("java")).chain(installed) {
        if java.is_file()
            && let Some(version) = java_version(&java).await
            && version >= JAVA_AT_LEAST
        {
            return Some((java, version));
        }
    }
    None
}

/// Asked as the user that will run it: a JDK under `/root` is not for others.
async fn java_version(java: &Path) -> Option<u32> {
    let mut command = Command::new(java);
    command.args(["-XshowSettings:properties", "-version"]);
    if running_as_root() {
        command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
        command.current_dir("/");
    }
    let output = command.output().await.ok()?;
    parse_java_version(&String::from_utf8_lossy(&output.stderr))
}

fn parse_java_version(settings: &str) -> Option<u32> {
    let value = settings
        .lines()
        .find_map(|line| line.trim().strip_prefix("java.specification.version = "))?;
    // Before Java 9 the version was 1.8: then the 1 will do.
    value.split('.').next()?.parse().ok()
}

async fn find_python() -> Option<(PathBuf, (u32, u32))> {
    let names = [
        "python3",
        "python3.14",
        "python3.13",
        "python3.12",
        "python3.11",
    ];
    for python in names.into_iter().filter_map(in_path) {
        // Debian ships `venv` without `ensurepip` until python3-venv is there.
        let output = Command::new(&python)
            .args([
                "-c",
                "import sys, venv, ensurepip; print(*sys.version_info[:2])",
            ])
            .output()
            .await
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut parts = text.split_whitespace().filter_map(|part| part.parse().ok());
        if let (Some(major), Some(minor)) = (parts.next(), parts.next())
            && (major, minor) >= PYTHON_AT_LEAST
        {
            return Some((python, (major, minor)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_javas_version() {
        let settings = "Property settings:\n    java.specification.version = 21\n    java.vm = x\n";
        assert_eq!(parse_java_version(settings), Some(21));
        let old = "    java.specification.version = 1.8\n";
        assert_eq!(parse_java_version(old), Some(1));
        assert_eq!(parse_java_version("not a java"), None);
    }

    #[test]
    fn everything_missing_is_named_with_its_remedy() {
        let text = list(&[
            Missing {
                what: "mvn".to_owned(),
                remedy: "apt install maven",
            },
            Missing {
                what: "unzip".to_owned(),
                remedy: "apt install unzip",
            },
        ]);
        assert_eq!(
            text,
            "this machine lacks\n  mvn\n      apt install maven\n  unzip\n      apt install unzip"
        );
    }
}
