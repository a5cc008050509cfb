//! Reading the file when it is opened.
//!
//! Flows in: the rows of the log. Flows out: the state and the history that they lead to, or what is wrong with them.
//! Never changes the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Row};

use super::OpenError;
use crate::memory::Memory;
use crate::{Entry, Event, Revision};

/// Reads the log: what is compacted gives the state, what is not gives the state and the history.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<Memory, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let compacted = connection
        .query_row("SELECT value FROM meta WHERE name = 'compacted'", [], |row| {
            revision(row, 0)
        })
        .map_err(failed)?;
    let mut select = connection
        .prepare("SELECT revision, key, created, value FROM log ORDER BY revision")
        .map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    let mut base = BTreeMap::new();
    let mut memory = None;
    while let Some(row) = rows.next().map_err(failed)? {
        let record = Record::read(row).map_err(failed)?;
        if record.revision <= compacted {
            let entry = record
                .entry()
                .ok_or_else(|| OpenError::corrupt(path, "a deletion is left over"))?;
            base.insert(entry.key.clone(), Arc::new(entry));
            continue;
        }
        let memory = memory.get_or_insert_with(|| Memory::new(std::mem::take(&mut base), compacted));
        if record.revision != memory.revision() + 1 {
            let missing = memory.revision() + 1;
            return Err(OpenError::corrupt(path, format!("revision {missing} is missing")));
        }
        let revision = record.revision;
        let event = record.event(memory).ok_or_else(|| {
            OpenError::corrupt(
                path,
                format!("revision {revision} deletes a key that does not exist"),
            )
        })?;
        memory.apply(event);
    }
    Ok(memory.unwrap_or_else(|| Memory::new(base, compacted)))
}

/// A row of the log.
struct Record {
    revision: Revision,
    key: Arc<str>,
    created: Revision,
    value: Option<Vec<u8>>,
}

impl Record {
    fn read(row: &Row) -> rusqlite::Result<Self> {
        let key = row.get_ref(1)?.as_str()?.into();
        Ok(Self {
            revision: revision(row, 0)?,
            key,
            created: revision(row, 2)?,
            value: row.get(3)?,
        })
    }

    /// The version that the row is; `None` for a deletion.
    fn entry(self) -> Option<Entry> {
        Some(Entry::new(
            self.key,
            Bytes::from(self.value?),
            self.created,
            self.revision,
        ))
    }

    /// The change that the row is, to this state; `None` for the deletion of a key that is not there.
    fn event(mut self, memory: &Memory) -> Option<Event> {
        let previous = memory.get(&self.key).cloned();
        if let Some(previous) = &previous {
            self.key = previous.key.clone();
        }
        let revision = self.revision;
        match (self.entry(), previous) {
            (Some(entry), previous) => Some(Event::Put {
                entry: Arc::new(entry),
                previous,
            }),
            (None, Some(previous)) => Some(Event::Delete { previous, revision }),
            (None, None) => None,
        }
    }
}

fn revision(row: &Row, column: usize) -> rusqlite::Result<Revision> {
    let value: i64 = row.get(column)?;
    Revision::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
