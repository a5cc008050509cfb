//! The database file: its schema, and everything that is read from or written to it.
//!
//! Flows in: groups of changes. Flows out: the memory, once, when opening. The file is a log of changes, one row a
//! revision, after kine's idea: the state is what the log leads to, and compaction deletes the rows that no longer
//! matter for it. It can be read with the `sqlite3` shell while the store is open. Never decides anything.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::OpenError;
use super::load::load;
use crate::memory::Memory;
use crate::{Event, Revision};

/// Marks an SQLite file as ours: `Cora`.
pub(super) const APPLICATION_ID: i64 = 0x436f_7261;
/// The newest format that this version reads, and the one it writes.
const FORMAT: i64 = 1;
/// How long a commit waits for a lock that somebody else, an `sqlite3` shell that writes, holds.
const BUSY: Duration = Duration::from_secs(1);

const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('format', 1), ('compacted', 0);
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        created INTEGER NOT NULL, -- revision of the write that created the key
        value BLOB                -- NULL: the key was deleted
    ) STRICT;
";

/// journal_mode=WAL: a commit appends to one file and syncs it once, and readers do not block it.
/// synchronous=FULL: a commit returns after that sync (NORMAL would sync only at checkpoints and lose acknowledged
/// writes with the power). wal_autocheckpoint: pages (4 KiB) after which the journal is folded into the main file;
/// journal_size_limit: bytes to which it is cut then. cache_size: KiB; nothing is read again after opening.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -512;
";

/// The open file.
pub(super) struct File {
    connection: Connection,
    /// Held as long as the file is open: memory is the database, so a second writer must not exist.
    _lock: fs::File,
}

impl File {
    /// Opens or makes the file and reads it.
    pub fn open(path: &Path) -> Result<(Self, Memory), OpenError> {
        let lock = lock(path)?;
        let connection = connect(path)?;
        let memory = load(&connection, path)?;
        Ok((
            Self {
                connection,
                _lock: lock,
            },
            memory,
        ))
    }

    /// Makes changes durable, all or none.
    pub fn append(&mut self, events: &[Event]) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO log (revision, key, created, value) VALUES (?1, ?2, ?3, ?4)")?;
            for event in events {
                let entry = event.entry();
                let value = match event {
                    Event::Put { entry, .. } => Some(&entry.value[..]),
                    Event::Delete { .. } => None,
                };
                insert.execute((
                    signed(event.revision()),
                    &*entry.key,
                    signed(entry.created),
                    value,
                ))?;
            }
        }
        transaction.commit()
    }

    /// Drops what these changes, the oldest, made superfluous: the versions that they replaced, and deletions.
    pub fn compact(&mut self, oldest: &[Event]) -> rusqlite::Result<()> {
        let Some(last) = oldest.last() else { return Ok(()) };
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut delete = transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
            for event in oldest {
                if let Some(previous) = event.previous() {
                    delete.execute([signed(previous.modified)])?;
                }
                if let Event::Delete { revision, .. } = event {
                    delete.execute([signed(*revision)])?;
                }
            }
            transaction
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'compacted'")?
                .execute([signed(last.revision())])?;
        }
        transaction.commit()
    }
}

/// Makes the folder and the file if they are missing, for the owner only, and takes the lock.
fn lock(path: &Path) -> Result<fs::File, OpenError> {
    let refused = |error: std::io::Error| OpenError::unreachable(path, &error);
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(refused)?;
    }
    let private = |path: &Path| {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(refused)
    };
    // Not the database file itself: closing a descriptor of that would drop SQLite's own locks on it.
    let lock = private(&path.with_extension("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            return Err(OpenError::Locked {
                path: path.to_owned(),
            });
        }
        Err(fs::TryLockError::Error(error)) => return Err(refused(error)),
    }
    private(path)?;
    // What names them is on disk, too, before anything in them is acknowledged.
    for folder in path.ancestors().skip(1).take(2).filter(|folder| folder.is_dir()) {
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(refused)?;
    }
    Ok(lock)
}

/// Connects, and changes nothing in the file before it is known to be ours.
fn connect(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let integer =
        |connection: &Connection, sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = integer(&connection, "SELECT count(*) FROM sqlite_schema").map_err(failed)?;
    if tables == 0 {
        connection.execute_batch(PRAGMAS).map_err(failed)?;
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(SCHEMA).map_err(failed)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    } else {
        if integer(&connection, "PRAGMA application_id").map_err(failed)? != APPLICATION_ID {
            return Err(OpenError::corrupt(path, "it is a database of another program"));
        }
        let format = "SELECT value FROM meta WHERE name = 'format'";
        let found = integer(&connection, format).map_err(failed)?;
        if found > FORMAT {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        connection.execute_batch(PRAGMAS).map_err(failed)?;
    }
    // A file system without shared memory refuses WAL without an error.
    let mode: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::unreachable(
            path,
            &"its file system does not support SQLite's write-ahead log",
        ));
    }
    Ok(connection)
}

/// SQLite's integers are signed. A store that makes a million revisions a second gets there in 290,000 years.
fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        for _ in ["made", "opened again"] {
            let (file, _) = File::open(&path).unwrap();
            let ask = |pragma: &str| {
                let value = file
                    .connection
                    .pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0));
                value.unwrap()
            };
            assert_eq!(ask("journal_mode"), "wal".to_owned().into());
            assert_eq!(ask("synchronous"), 2.into(), "FULL");
            assert_eq!(ask("journal_size_limit"), 4_194_304.into());
            assert_eq!(ask("cache_size"), (-512).into());
            assert_eq!(ask("application_id"), APPLICATION_ID.into());
        }
    }
}
