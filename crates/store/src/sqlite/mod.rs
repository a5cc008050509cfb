//! The embedded engine: memory is the database, SQLite is the durability.
//!
//! Flows in: writes, through a channel to the one thread that owns the database file. Flows out: reads and watches,
//! straight from memory. Never shows a write that is not on disk, and never reads the disk after opening.

mod backup;
mod file;
mod load;
mod open_error;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::log::History;
use crate::memory::Memory;
use crate::watch::MemoryWatch;
use crate::{Entry, Error, Event, Expect, Interest, Page, Revision, Store, Watch};

pub use backup::{Attachment, BackupError, backup, restore};
use file::File;
pub use open_error::OpenError;
use writer::{Change, Request, Writer};

/// Writes that may wait for the writer; more wait at the caller's.
const WAITING: usize = 1_024;

/// The store in one SQLite file. Dropping it waits until the file is closed.
pub struct Sqlite {
    memory: Arc<RwLock<Memory>>,
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Sqlite {
    /// Opens the store in this file, which is made if it does not exist. Blocks while the file is read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, History::default())
    }

    /// As [`Self::open`], keeping so much of the past.
    pub fn open_with(path: &Path, history: History) -> Result<Self, OpenError> {
        let (file, memory) = File::open(path)?;
        let memory = Arc::new(RwLock::new(memory));
        let (requests, waiting) = mpsc::channel(WAITING);
        let writer = Writer::new(file, memory.clone(), history);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(waiting))
            .map_err(|error| OpenError::unreachable(path, &error))?;
        Ok(Self {
            memory,
            requests: Some(requests),
            writer: Some(writer),
        })
    }

    /// Hands a change to the writer and waits until it is durable or refused.
    async fn write(&self, key: &str, change: Change) -> Result<Event, Error> {
        let gone = || Error::Unwritable("the writer has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        let request = Request {
            key: key.into(),
            change,
            reply,
        };
        requests.send(request).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The writer ends when the channel is closed and empty.
        self.requests = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer had panicked: this is a bug");
        }
    }
}

#[async_trait::async_trait]
impl Store for Sqlite {
    fn revision(&self) -> Revision {
        self.memory.read().revision()
    }

    async fn get(&self, key: &str) -> Result<Option<Arc<Entry>>, Error> {
        Ok(self.memory.read().get(key).cloned())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error> {
        self.memory.read().list(prefix, after, limit, at)
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Arc<Entry>, Error> {
        let event = self.write(key, Change::Put { value, expect }).await?;
        Ok(event.entry().clone())
    }

    async fn delete(&self, key: &str, expect: Revision) -> Result<Revision, Error> {
        let event = self.write(key, Change::Delete { expect }).await?;
        Ok(event.revision())
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
        interest: Option<Interest>,
    ) -> Result<Box<dyn Watch>, Error> {
        Ok(Box::new(MemoryWatch::open(
            &self.memory,
            prefix,
            after,
            interest,
        )?))
    }
}
