//! Why a store could not be opened.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a store could not be opened: each message says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store {} is in use by another process: stop that one first, or choose another data folder", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged, or was never a store.
    #[error("the store {} cannot be read ({reason}): put a backup in its place, or move the file away to start empty", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of this program has written it.
    #[error("the store {} has format {found}, and this version knows none above {known}: use the version that wrote it, or a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// The process may have no more files open.
    #[error("the store {} cannot be opened: the limit of open files is reached; raise it (ulimit -n)", path.display())]
    TooManyFiles {
        /// The file.
        path: PathBuf,
    },
    /// The machine refuses: permissions, a missing folder, a full disk.
    #[error("the store {} cannot be opened ({reason}): check the folder's permissions and free space, or choose another data folder", path.display())]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        reason: String,
    },
}

impl OpenError {
    pub(super) fn unreachable(path: &Path, reason: &dyn Display) -> Self {
        if no_file_can_be_opened() {
            return Self::TooManyFiles {
                path: path.to_owned(),
            };
        }
        Self::Unreachable {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked {
                path: path.to_owned(),
            },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::corrupt(path, error.to_string())
            }
            // Not an error of the machine but of the content: a column that is not what the schema says.
            None => Self::corrupt(path, error.to_string()),
            Some(_) => Self::unreachable(path, error),
        }
    }
}

/// Whether descriptors are what is lacking, which SQLite does not tell.
fn no_file_can_be_opened() -> bool {
    // ENFILE and EMFILE, which have no `ErrorKind`.
    std::fs::File::open("/").is_err_and(|error| matches!(error.raw_os_error(), Some(23 | 24)))
}
