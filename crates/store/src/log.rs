//! The latest changes, one a revision, none missing.
//!
//! Flows in: every change once it is durable. Flows out: the changes after a revision, for watchers and for reads of an
//! older state. Never holds more than its [`History`] allows: what is older is compacted, and whoever asks is told.

use std::collections::VecDeque;

use crate::{Error, Event, Revision};

/// How much of the past an engine keeps: for watches that resume and for reads at older revisions.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Revisions that are always kept.
    pub least: usize,
    /// Revisions that are kept at most.
    pub most: usize,
    /// Bytes of replaced and deleted versions, above which fewer than `most` are kept.
    pub bytes: usize,
    /// How many revisions are dropped at once: so far may the limits be exceeded.
    pub batch: usize,
}

impl Default for History {
    /// Kine's floor of 1,000 revisions, and a ceiling that a watcher of an ordinary cluster does not meet.
    fn default() -> Self {
        Self {
            least: 1_000,
            most: 10_000,
            bytes: 8 << 20,
            batch: 256,
        }
    }
}

/// What a change costs beside the bytes of its version: the event, the entry, the key.
const OVERHEAD: usize = 256;

/// The changes after `compacted`.
#[derive(Default)]
pub(crate) struct Log {
    events: VecDeque<Event>,
    /// The changes up to this revision are gone; the state that they led to can still be read, and watched from.
    compacted: Revision,
    bytes: usize,
}

impl Log {
    pub fn new(compacted: Revision) -> Self {
        Self {
            compacted,
            ..Self::default()
        }
    }

    /// The revision of the latest change.
    pub fn revision(&self) -> Revision {
        self.compacted + self.events.len() as Revision
    }

    /// Takes in the change that makes the next revision.
    pub fn push(&mut self, event: Event) {
        debug_assert_eq!(event.revision(), self.revision() + 1, "the log has no gaps");
        self.bytes += cost(&event);
        self.events.push_back(event);
    }

    /// The changes after a revision, oldest first.
    pub fn after(&self, revision: Revision) -> Result<impl Iterator<Item = &Event>, Error> {
        if revision > self.revision() {
            return Err(Error::Future {
                asked: revision,
                current: self.revision(),
            });
        }
        let skip = revision.checked_sub(self.compacted).ok_or(Error::Compacted {
            asked: revision,
            oldest: self.compacted,
        })?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.events.len());
        Ok(self.events.range(skip..))
    }

    /// The changes that are to be dropped next: a whole batch, or none.
    pub fn excess(&self, history: &History) -> Vec<Event> {
        let over_count = self.events.len().saturating_sub(history.most);
        let over_bytes = if self.bytes > history.bytes {
            let mut bytes = self.bytes;
            self.events
                .iter()
                .take_while(|event| {
                    let over = bytes > history.bytes;
                    bytes -= cost(event);
                    over
                })
                .take(history.batch)
                .count()
        } else {
            0
        };
        let droppable = self.events.len().saturating_sub(history.least);
        if over_count.max(over_bytes).min(droppable) < history.batch {
            return Vec::new();
        }
        self.events.iter().take(history.batch).cloned().collect()
    }

    /// Drops the oldest changes, up to and including `revision`.
    pub fn compact(&mut self, revision: Revision) {
        while self.compacted < revision
            && let Some(event) = self.events.pop_front()
        {
            self.bytes -= cost(&event);
            self.compacted = event.revision();
        }
    }
}

/// The memory that a change keeps from being freed: the version it replaced.
fn cost(event: &Event) -> usize {
    OVERHEAD + event.previous().map_or(0, |previous| previous.value.len())
}
