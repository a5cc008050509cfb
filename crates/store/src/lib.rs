//! The revisioned key-value store with watch: the trait, and the embedded engine (memory is the database, SQLite is the
//! durability).
//!
//! Flows in: keys and bytes. Flows out: entries, revisions and watch events in revision order. Never knows a Kubernetes
//! kind. The trait asks for nothing that etcd could not serve as well.

mod log;
mod memory;
mod sqlite;
mod watch;

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

pub use log::History;
pub use sqlite::{Attachment, BackupError, OpenError, Sqlite, backup, restore};

/// A point in the store's history. Every successful write makes the next one; the first write makes 1.
pub type Revision = u64;

/// One version of one key. Shared, never copied: the map, the log of changes and every watcher hold the same `Arc`.
pub struct Entry {
    /// `/deployments/default/web`
    pub key: Arc<str>,
    /// The bytes as they were written.
    pub value: Bytes,
    /// Revision of the write that created the key.
    pub created: Revision,
    /// Revision of the write that made this version.
    pub modified: Revision,
    memo: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Entry {
    /// An entry as read from an engine.
    pub fn new(key: Arc<str>, value: Bytes, created: Revision, modified: Revision) -> Self {
        Self {
            key,
            value,
            created,
            modified,
            memo: OnceLock::new(),
        }
    }

    /// What a reader worked out from the bytes, worked out once for all readers of this version.
    ///
    /// There is one memo an entry: all callers must ask for the same `T`.
    ///
    /// # Panics
    /// If two callers ask for different types.
    pub fn memo<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> &T {
        self.memo
            .get_or_init(|| Box::new(make(self)))
            .downcast_ref()
            .expect("one memo type per store")
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.key, self.modified)
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key's latest version is this one.
    Revision(Revision),
}

/// A change, as watchers see it.
#[derive(Clone, Debug)]
pub enum Event {
    /// The key was created or changed; `previous` is the version before.
    Put {
        /// The new version.
        entry: Arc<Entry>,
        /// The version before, if the key existed.
        previous: Option<Arc<Entry>>,
    },
    /// The key was deleted at `revision`; `previous` is its last version.
    Delete {
        /// The last version.
        previous: Arc<Entry>,
        /// Revision of the deletion.
        revision: Revision,
    },
}

impl Event {
    /// The revision that the change made.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { entry, .. } => entry.modified,
            Self::Delete { revision, .. } => *revision,
        }
    }

    /// The key that was changed.
    pub fn key(&self) -> &Arc<str> {
        &self.entry().key
    }

    /// The new version, or the last one of a deleted key.
    pub fn entry(&self) -> &Arc<Entry> {
        match self {
            Self::Put { entry, .. } | Self::Delete { previous: entry, .. } => entry,
        }
    }

    /// The version before the change, if the key existed.
    pub fn previous(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Put { previous, .. } => previous.as_ref(),
            Self::Delete { previous, .. } => Some(previous),
        }
    }
}

/// A page of keys, all as of one revision.
#[derive(Debug)]
pub struct Page {
    /// In key order.
    pub entries: Vec<Arc<Entry>>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// How many keys of the prefix come after the page.
    pub remaining: usize,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::error_impl_error, reason = "it is `store::Error` wherever it is used")]
pub enum Error {
    /// The write's [`Expect`] does not hold; `latest` is what is there instead.
    #[error("the key has changed")]
    Conflict {
        /// The version that is there, if any.
        latest: Option<Arc<Entry>>,
    },
    /// The revision has been compacted away.
    #[error("too old resource version: {asked} ({oldest})")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// The revision has not been reached yet.
    #[error("Too large resource version: {asked}, current: {current}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The latest revision.
        current: Revision,
    },
    /// The disk refused a write: nothing was changed.
    #[error("the store cannot write: {0}")]
    Unwritable(String),
}

/// The store. Reads see every acknowledged write; a write is acknowledged when it is on disk.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// The latest revision.
    fn revision(&self) -> Revision;
    /// The latest version of a key.
    async fn get(&self, key: &str) -> Result<Option<Arc<Entry>>, Error>;
    /// The keys that start with `prefix` and come after `after`, at most `limit` (0: all), as of revision `at`
    /// (`None`: the latest).
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error>;
    /// Creates or replaces a key. Returns the new version.
    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Arc<Entry>, Error>;
    /// Deletes a key whose latest version is `expect`. Returns the deletion's revision.
    async fn delete(&self, key: &str, expect: Revision) -> Result<Revision, Error>;
    /// Every change to keys that start with `prefix` after revision `after`, in order, none missing, but those in which
    /// the watcher has no interest.
    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
        interest: Option<Interest>,
    ) -> Result<Box<dyn Watch>, Error>;
}

/// Whether a watcher wants to know of a change: the others do not wake it. It is asked while a commit waits, so it must be
/// quick, and must not ask the store.
pub type Interest = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// A stream of changes.
#[async_trait::async_trait]
pub trait Watch: Send {
    /// The next changes, at least one, in revision order. `Err(Compacted)` when this watcher has fallen too far behind.
    /// Cancel-safe: a dropped call loses nothing.
    async fn next(&mut self) -> Result<Vec<Event>, Error>;
    /// Every change up to this revision has been returned by `next` or is not for this watcher: what a bookmark may say.
    fn progress(&self) -> Revision;
}
