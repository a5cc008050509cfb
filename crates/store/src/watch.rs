//! Watchers: positions in the log of changes.
//!
//! Flows in: the changes of each commit. Flows out: to each watcher, those of its prefix, in order. A watcher holds no
//! changes, only a place in the log, so a slow one costs nothing; if the log has moved on past its place, it is told so.
//! A watcher is woken only by changes that are for it: a write costs each of the others one question, not a wake-up.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::memory::Memory;
use crate::{Error, Event, Interest, Revision, Watch};

/// Changes that one call of `next` returns at most.
const BATCH: usize = 1_000;

/// All open watchers.
#[derive(Default)]
pub(crate) struct Watchers {
    open: HashMap<u64, Arc<Watcher>>,
    next_id: u64,
}

/// What a watcher and the commits share. Its lock is only taken while the memory's is held.
struct Watcher {
    prefix: Box<str>,
    interest: Option<Interest>,
    place: Mutex<Place>,
    /// There is something unread.
    woken: Notify,
}

#[derive(Clone, Copy)]
struct Place {
    /// The first change for this watcher that it has not read.
    unread: Option<Revision>,
    /// The latest revision that has been looked at for this watcher.
    seen: Revision,
}

impl Watchers {
    /// Books the changes of a commit.
    pub fn tell(&self, events: &[Event]) {
        let Some(last) = events.last() else { return };
        for watcher in self.open.values() {
            let mut place = watcher.place.lock();
            place.seen = last.revision();
            if place.unread.is_none() {
                place.unread = watcher.first(events.iter());
                if place.unread.is_some() {
                    watcher.woken.notify_one();
                }
            }
        }
    }
}

impl Watcher {
    /// Whether a change is for this watcher.
    fn wants(&self, event: &Event) -> bool {
        event.key().starts_with(&*self.prefix) && self.interest.as_ref().is_none_or(|wants| wants(event))
    }

    /// Revision of the first of these changes that is for this watcher.
    fn first<'a>(&self, mut events: impl Iterator<Item = &'a Event>) -> Option<Revision> {
        events.find(|event| self.wants(event)).map(Event::revision)
    }
}

/// A watch on the memory.
pub(crate) struct MemoryWatch {
    memory: Arc<RwLock<Memory>>,
    watcher: Arc<Watcher>,
    id: u64,
}

impl MemoryWatch {
    /// Watches the changes after revision `after` to keys that start with `prefix`, if they are of interest.
    pub fn open(
        memory: &Arc<RwLock<Memory>>,
        prefix: &str,
        after: Revision,
        interest: Option<Interest>,
    ) -> Result<Self, Error> {
        let mut locked = memory.write();
        let mut watcher = Watcher {
            prefix: prefix.into(),
            interest,
            place: Mutex::new(Place {
                unread: None,
                seen: locked.revision(),
            }),
            woken: Notify::new(),
        };
        watcher.place.get_mut().unread = watcher.first(locked.log.after(after)?);
        let watcher = Arc::new(watcher);
        let id = locked.watchers.next_id;
        locked.watchers.next_id += 1;
        locked.watchers.open.insert(id, watcher.clone());
        Ok(Self {
            memory: memory.clone(),
            watcher,
            id,
        })
    }

    /// What is unread, up to a batch.
    fn read(&self) -> Result<Vec<Event>, Error> {
        let memory = self.memory.read();
        let mut place = self.watcher.place.lock();
        let Some(first) = place.unread else {
            return Ok(Vec::new());
        };
        let mut events = memory.log.after(first - 1)?;
        let ours = |event: &&Event| self.watcher.wants(event);
        let batch = events.by_ref().filter(ours).take(BATCH).cloned().collect();
        place.unread = self.watcher.first(events);
        Ok(batch)
    }
}

#[async_trait::async_trait]
impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Vec<Event>, Error> {
        loop {
            let events = self.read()?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.watcher.woken.notified().await;
        }
    }

    fn progress(&self) -> Revision {
        let place = *self.watcher.place.lock();
        place.unread.map_or(place.seen, |first| first - 1)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.memory.write().watchers.open.remove(&self.id);
    }
}
