//! The one thread that writes.
//!
//! Flows in: requests. Flows out: commits to the file, then changes to memory, then answers. What waits is committed as
//! one group with one fsync, so the more there is to write, the less each write costs. Never answers before the disk has.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use rusqlite::ErrorCode;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::file::File;
use crate::log::History;
use crate::memory::Memory;
use crate::{Entry, Error, Event, Expect, Revision};

/// Requests in one commit at most.
const GROUP: usize = 256;

/// A change that somebody asks for.
pub(super) enum Change {
    Put { value: Bytes, expect: Expect },
    Delete { expect: Revision },
}

pub(super) struct Request {
    pub key: Arc<str>,
    pub change: Change,
    pub reply: oneshot::Sender<Result<Event, Error>>,
}

pub(super) struct Writer {
    file: File,
    memory: Arc<RwLock<Memory>>,
    history: History,
    /// The last commit failed.
    failing: bool,
}

impl Writer {
    pub fn new(file: File, memory: Arc<RwLock<Memory>>, history: History) -> Self {
        Self {
            file,
            memory,
            history,
            failing: false,
        }
    }

    /// Works until the channel is closed and empty.
    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::new();
        while requests.blocking_recv_many(&mut group, GROUP) > 0 {
            self.write(&mut group);
            self.compact();
        }
    }

    /// Commits a group. If the disk refuses it, each request is tried alone: one that is too large must not fail the
    /// others. Not so if somebody else holds the file: each try would wait for it in vain.
    fn write(&mut self, group: &mut Vec<Request>) {
        let decisions = self.decide(group);
        match self.commit(&decisions) {
            Ok(()) => answer(group.drain(..), decisions),
            Err(failure) if group.len() == 1 || is_held(&failure) => {
                let refusals = group
                    .iter()
                    .map(|_| Err(Error::Unwritable(failure.to_string())))
                    .collect();
                answer(group.drain(..), refusals);
            }
            Err(_) => {
                for request in group.drain(..) {
                    self.write(&mut vec![request]);
                }
            }
        }
    }

    /// What each request leads to, each as if those before it were committed.
    fn decide(&self, group: &[Request]) -> Vec<Result<Event, Error>> {
        let memory = self.memory.read();
        let mut revision = memory.revision();
        let mut pending: HashMap<&str, Option<Arc<Entry>>> = HashMap::new();
        group
            .iter()
            .map(|request| {
                let latest = match pending.get(&*request.key) {
                    Some(pending) => pending.clone(),
                    None => memory.get(&request.key).cloned(),
                };
                let event = decide(request, latest, revision + 1)?;
                revision += 1;
                let after = match &event {
                    Event::Put { entry, .. } => Some(entry.clone()),
                    Event::Delete { .. } => None,
                };
                pending.insert(&request.key, after);
                Ok(event)
            })
            .collect()
    }

    /// Makes the changes durable, then visible.
    fn commit(&mut self, decisions: &[Result<Event, Error>]) -> rusqlite::Result<()> {
        let events: Vec<Event> = decisions.iter().flatten().cloned().collect();
        if events.is_empty() {
            return Ok(());
        }
        if let Err(failure) = self.file.append(&events) {
            if !std::mem::replace(&mut self.failing, true) {
                error!(error = %failure, "the store cannot write: changes are refused until it can");
            }
            return Err(failure);
        }
        if std::mem::replace(&mut self.failing, false) {
            info!("the store can write again");
        }
        self.memory.write().publish(events);
        Ok(())
    }

    /// Drops the oldest history if there is more than there should be: on disk first, so that a watch that was possible
    /// before a restart is possible after it.
    fn compact(&mut self) {
        let excess = self.memory.read().log.excess(&self.history);
        let Some(last) = excess.last() else { return };
        match self.file.compact(&excess) {
            Ok(()) => self.memory.write().log.compact(last.revision()),
            Err(error) => warn!(%error, "cannot drop old revisions: trying again after the next write"),
        }
    }
}

fn is_held(failure: &rusqlite::Error) -> bool {
    matches!(
        failure.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// What a request leads to if `latest` is what is there.
fn decide(request: &Request, latest: Option<Arc<Entry>>, revision: Revision) -> Result<Event, Error> {
    let found = latest.as_ref().map(|latest| latest.modified);
    let wanted = match &request.change {
        Change::Put {
            expect: Expect::Absent,
            ..
        } => None,
        Change::Put {
            expect: Expect::Revision(expect),
            ..
        }
        | Change::Delete { expect } => Some(*expect),
    };
    if found != wanted {
        return Err(Error::Conflict { latest });
    }
    match (&request.change, latest) {
        (Change::Put { value, .. }, previous) => {
            // Versions share their key's one allocation.
            let key = previous
                .as_ref()
                .map_or(&request.key, |previous| &previous.key)
                .clone();
            let created = previous.as_ref().map_or(revision, |previous| previous.created);
            let entry = Arc::new(Entry::new(key, value.clone(), created, revision));
            Ok(Event::Put { entry, previous })
        }
        (Change::Delete { .. }, Some(previous)) => Ok(Event::Delete { previous, revision }),
        (Change::Delete { .. }, None) => Err(Error::Conflict { latest: None }),
    }
}

/// A caller that has gone away is no error: its change is made all the same.
fn answer(group: impl Iterator<Item = Request>, decisions: Vec<Result<Event, Error>>) {
    for (request, decision) in group.zip(decisions) {
        let _ = request.reply.send(decision);
    }
}
