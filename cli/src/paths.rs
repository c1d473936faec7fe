//! Where things are: the checkout, the cache and the state of one stack.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The three folders that everything else is found in.
#[derive(Clone, Debug)]
pub struct Paths {
    checkout: PathBuf,
    cache: PathBuf,
    state: PathBuf,
}

impl Paths {
    /// The folders of a stack whose state is in `state`, by default `.local`
    /// in the checkout.
    ///
    /// # Errors
    /// If a folder cannot be made or resolved.
    pub fn new(state: Option<&Path>) -> std::io::Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        let cache = cache_dir(|name| std::env::var(name).ok(), running_as_root());
        let state = state.map_or_else(|| checkout.join(".local"), Path::to_path_buf);
        std::fs::create_dir_all(&cache)?;
        std::fs::create_dir_all(state.join("logs"))?;
        Ok(Self {
            checkout,
            cache: cache.canonicalize()?,
            state: state.canonicalize()?,
        })
    }

    /// The checkout that this command was built from.
    #[must_use]
    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// Downloads and build output, shared by every checkout and stack.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// What belongs to one stack: data, logs, process ids, addresses.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The log file of one process of the stack.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    /// Where OpenSearch keeps its data and configuration.
    ///
    /// It refuses to run as root. The unprivileged user that then runs it must
    /// be able to enter every folder on the way, and a checkout under `/root`
    /// is private: so for root this is under the cache, named after the state.
    #[must_use]
    pub fn opensearch_run(&self) -> PathBuf {
        if running_as_root() {
            let key = short_hash(self.state.as_os_str().as_encoded_bytes());
            self.cache.join("run").join(format!("opensearch-{key}"))
        } else {
            self.state.join("opensearch")
        }
    }
}

/// Whether this process may do anything.
#[must_use]
pub fn running_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The first 12 hexadecimal digits of the SHA-256 of `bytes`: names a folder.
#[must_use]
pub fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(6)
        .fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
}

/// The same rule as `tests/env.sh`.
fn cache_dir(var: impl Fn(&str) -> Option<String>, root: bool) -> PathBuf {
    let set = |name| var(name).filter(|value| !value.is_empty());
    if let Some(cache) = set("FRESHET_CACHE") {
        return cache.into();
    }
    if root {
        return "/var/cache/freshet".into();
    }
    let base = set("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(set("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    base.join("freshet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_outside_the_checkout() {
        let home = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
        assert_eq!(
            cache_dir(home, false),
            Path::new("/home/ada/.cache/freshet")
        );
        assert_eq!(cache_dir(home, true), Path::new("/var/cache/freshet"));
        let xdg = |name: &str| (name == "XDG_CACHE_HOME").then(|| "/c".to_owned());
        assert_eq!(cache_dir(xdg, false), Path::new("/c/freshet"));
        let named = |name: &str| (name == "FRESHET_CACHE").then(|| "/mine".to_owned());
        assert_eq!(cache_dir(named, true), Path::new("/mine"));
    }

    #[test]
    fn a_short_hash_is_twelve_digits_and_stays() {
        assert_eq!(short_hash(b"abc"), "ba7816bf8f01");
    }
}
