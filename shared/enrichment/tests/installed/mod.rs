//! Where the installed lookups are. A test that cannot have them fails.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../infra/lookups/install.sh"
    );
    // The installer alone knows the rule by which the folder is found.
    let output = Command::new(script)
        .arg("--where")
        .output()
        .expect("the installer starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let folder = PathBuf::from(
        String::from_utf8(output.stdout)
            .expect("a path in UTF-8")
            .trim(),
    );
    assert!(
        folder.join(".complete").exists(),
        "no lookups in {}: run infra/lookups/install.sh",
        folder.display()
    );
    folder
});

/// The path of an installed file.
pub(crate) fn file(name: &str) -> PathBuf {
    FOLDER.join(name)
}
