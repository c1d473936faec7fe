//! How far a replay of the bucket has come, so that an interrupted one goes on
//! where it stopped. (The queue needs none: what is done is deleted there.)

use freshet_deadletters::StoredObject;
use freshet_events::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a progress file cannot be used.
#[derive(Debug, Error)]
pub enum ProgressError {
    /// It cannot be read or written.
    #[error("the progress file {} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was written by a replay of something else.
    #[error(
        "the progress file {} belongs to another replay ({selection}): finish that one, or name another file",
        path.display()
    )]
    OtherSelection {
        /// Which.
        path: PathBuf,
        /// What that replay selected.
        selection: String,
    },
}

/// The file's first line.
#[derive(Serialize, Deserialize)]
struct Header {
    selection: String,
    since_ms: Option<i64>,
}

/// An open progress file: a header, then a line for each object done. Lines
/// are only ever appended, so that a crash tears at most the last one.
pub(super) struct Progress {
    path: PathBuf,
    file: File,
    done: HashSet<String>,
    since: Option<Timestamp>,
}

impl Progress {
    /// Opens the file, or begins one. `selection` says in words what is
    /// replayed, `since` from when on.
    ///
    /// # Errors
    /// [`ProgressError`] if it cannot be written or belongs to another
    /// selection.
    pub(super) fn open(
        path: &Path,
        selection: &str,
        since: Option<Timestamp>,
    ) -> Result<Self, ProgressError> {
        let fail = |source| ProgressError::File {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(fail)?,
        };
        // Without its newline, a line was torn by a crash: it is not believed.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        let header: Option<Header> = lines
            .next()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|error| fail(error.into()))?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(fail)?;
        let since = match header {
            Some(header) if header.selection != selection => {
                return Err(ProgressError::OtherSelection {
                    path: path.to_owned(),
                    selection: header.selection,
                });
            }
            // "The last two hours" began two hours before the first attempt.
            Some(header) => since.min(header.since_ms.and_then(Timestamp::from_millis)),
            None => {
                file.set_len(0).map_err(fail)?;
                let header = Header {
                    selection: selection.to_owned(),
                    since_ms: since.map(Timestamp::as_millis),
                };
                let line = serde_json::to_string(&header).map_err(|error| fail(error.into()))?;
                file.write_all(format!("{line}\n").as_bytes())
                    .map_err(fail)?;
                since
            }
        };
        if whole.len() < text.len() && !whole.is_empty() {
            file.set_len(whole.len() as u64).map_err(fail)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            done: lines.map(str::to_owned).collect(),
            since,
        })
    }

    /// From when on dead letters are replayed: as the first attempt said.
    pub(super) const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether this version of the object was done by an earlier attempt.
    pub(super) fn is_done(&self, object: &StoredObject) -> bool {
        self.done.contains(&line(object))
    }

    /// Notes that the stream has everything of the object.
    ///
    /// # Errors
    /// [`ProgressError::File`].
    pub(super) fn note(&mut self, object: &StoredObject) -> Result<(), ProgressError> {
        let line = format!("{}\n", line(object));
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| ProgressError::File {
                path: self.path.clone(),
                source,
            })
    }

    /// The replay came to its end: the next one starts over.
    ///
    /// # Errors
    /// [`ProgressError::File`].
    pub(super) fn finish(self) -> Result<(), ProgressError> {
        drop(self.file);
        fs::remove_file(&self.path).map_err(|source| ProgressError::File {
            path: self.path,
            source,
        })
    }
}

/// An object that was overwritten since is another one.
fn line(object: &StoredObject) -> String {
    format!("{} {}", object.modified_ms, object.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, modified_ms: i64) -> StoredObject {
        StoredObject {
            key: key.to_owned(),
            modified_ms,
        }
    }

    fn path(name: &str) -> PathBuf {
        let unique = format!("freshet-progress-{}-{name}", std::process::id());
        std::env::temp_dir().join(unique).join("deeper/progress")
    }

    #[test]
    fn goes_on_where_it_stopped_and_starts_over_when_finished() {
        let path = path("resume");
        let early = Timestamp::from_millis(1_000);
        let mut first = Progress::open(&path, "all", early).unwrap();
        first.note(&object("a", 1)).unwrap();
        drop(first);
        // A crash in the middle of a line.
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"1 b").unwrap();
        drop(torn);

        let mut second = Progress::open(&path, "all", Timestamp::from_millis(9_000)).unwrap();
        assert_eq!(second.since(), early);
        assert!(second.is_done(&object("a", 1)));
        assert!(!second.is_done(&object("a", 2)), "overwritten since");
        assert!(!second.is_done(&object("b", 1)), "its line was torn");
        second.note(&object("c", 1)).unwrap();
        drop(second);
        let third = Progress::open(&path, "all", None).unwrap();
        assert!(third.is_done(&object("c", 1)) && !third.is_done(&object("b", 1)));
        third.finish().unwrap();
        let again = Progress::open(&path, "all", None).unwrap();
        assert!(!again.is_done(&object("a", 1)));
        again.finish().unwrap();
    }

    #[test]
    fn another_selection_is_not_mixed_in() {
        let path = path("other");
        drop(Progress::open(&path, "code x", None).unwrap());
        let error = Progress::open(&path, "code y", None).err().unwrap();
        assert!(
            matches!(error, ProgressError::OtherSelection { selection, .. } if selection == "code x")
        );
        fs::write(&path, "no header\n").unwrap();
        assert!(matches!(
            Progress::open(&path, "code x", None),
            Err(ProgressError::File { .. })
        ));
        fs::remove_file(&path).unwrap();
    }
}
