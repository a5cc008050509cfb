//! Copying a store out, and back in.
//!
//! Flows in: the file of a store, open or not, and other small files that belong with it. Flows out: one SQLite file with
//! all of it, as of one instant. Never changes the store that it copies, and never writes over anything.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::file::APPLICATION_ID;
use super::{OpenError, Sqlite};

const TABLE: &str =
    "CREATE TABLE attachment (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID";

/// A file that goes with a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What it is called in the backup.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Why a backup could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is ever written over.
    #[error("{} exists already: choose another name, or move it away", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Folders are not made: a mistyped one would be.
    #[error("there is no folder {}: make it first, or choose another name", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The file to be restored is none, or is damaged.
    #[error("{} is no backup of a cluster ({reason})", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// How it is known.
        reason: String,
    },
    /// The machine refuses: permissions, a missing folder, a full disk.
    #[error("cannot write {} ({reason}): check the folder's permissions and free space", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        reason: String,
    },
    /// The store to be copied, or the one that was restored, cannot be read.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// Copies the store in the file `store`, which may be in use, and the attachments into the new file `to`, for the owner
/// only. When this returns, the copy is on disk; when it fails, there is none.
///
/// # Errors
/// See [`BackupError`].
pub fn backup(store: &Path, attachments: &[Attachment], to: &Path) -> Result<(), BackupError> {
    let source = read_only(store).map_err(|error| OpenError::sqlite(store, &error))?;
    let folder = create(to)?;
    let write = || {
        copy(&source, to)?;
        attach(to, attachments).map_err(|error| error.to_string())?;
        let sync = |path: &Path| fs::File::open(path).and_then(|file| file.sync_all());
        sync(to)
            .and_then(|()| sync(&folder))
            .map_err(|error| error.to_string())
    };
    write().map_err(|reason| {
        // What is there is ours and good for nothing.
        let _ = fs::remove_file(to);
        unwritable(to, &reason)
    })
}

/// Makes the file `store`, which must not exist, from the backup `from`, and returns the attachments.
///
/// # Errors
/// See [`BackupError`].
pub fn restore(from: &Path, store: &Path) -> Result<Vec<Attachment>, BackupError> {
    let not_a_backup = |error: rusqlite::Error| BackupError::NotABackup {
        path: from.to_owned(),
        reason: error.to_string(),
    };
    let source = read_only(from).map_err(not_a_backup)?;
    let attachments = attachments(&source).map_err(not_a_backup)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder_of(store))
        .map_err(|error| unwritable(store, &error))?;
    create(store)?;
    let fill = || {
        copy(&source, store).map_err(|reason| unwritable(store, &reason))?;
        Connection::open(store)
            .and_then(|copy| copy.execute_batch("DROP TABLE attachment"))
            .map_err(|error| unwritable(store, &error))?;
        // It reads every row: what cannot be read now could not be read at the next start.
        Sqlite::open(store)?;
        Ok(attachments)
    };
    fill().inspect_err(|_: &BackupError| {
        let _ = fs::remove_file(store);
    })
}

fn unwritable(path: &Path, reason: &dyn Display) -> BackupError {
    BackupError::Unwritable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application == APPLICATION_ID {
        Ok(connection)
    } else {
        Err(wrong("it is a database of another program"))
    }
}

/// What is wrong with the content, in the words that SQLite's own errors have.
fn wrong(reason: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
    rusqlite::Error::SqliteFailure(code, Some(reason.to_owned()))
}

/// Makes an empty file for the owner only, where there is none, and returns the folder that it is in.
fn create(path: &Path) -> Result<PathBuf, BackupError> {
    let folder = folder_of(path);
    if !folder.exists() {
        return Err(BackupError::NoFolder { folder });
    }
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => Ok(folder),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(BackupError::Exists {
            path: path.to_owned(),
        }),
        Err(error) => Err(unwritable(path, &error)),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Copies a database as of now into an empty file, whatever others write meanwhile.
fn copy(source: &Connection, to: &Path) -> Result<(), String> {
    let to = to.to_str().ok_or("its name is not UTF-8")?;
    let copied = source.execute("VACUUM INTO ?1", [to]);
    copied.map(|_| ()).map_err(|error| error.to_string())
}

fn attach(file: &Path, attachments: &[Attachment]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(file)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLE)?;
    for Attachment { name, content } in attachments {
        transaction.execute("INSERT INTO attachment VALUES (?1, ?2)", (name, content))?;
    }
    transaction.commit()
}

fn attachments(source: &Connection) -> rusqlite::Result<Vec<Attachment>> {
    let check: String = source.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(wrong(&check));
    }
    let mut select = source.prepare("SELECT name, content FROM attachment ORDER BY name")?;
    let rows = select.query_map([], |row| {
        Ok(Attachment {
            name: row.get(0)?,
            content: row.get(1)?,
        })
    })?;
    rows.collect()
}
