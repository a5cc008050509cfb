//! The database as readers see it: the latest state, the log of changes, and who watches.
//!
//! Flows in: changes that are durable. Flows out: entries and pages, at the latest revision or one in the log. Never does
//! I/O and never waits.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use crate::log::Log;
use crate::watch::Watchers;
use crate::{Entry, Error, Event, Page, Revision};

/// The whole state at the latest revision, and the way to older ones.
#[derive(Default)]
pub(crate) struct Memory {
    latest: BTreeMap<Arc<str>, Arc<Entry>>,
    pub log: Log,
    pub watchers: Watchers,
}

impl Memory {
    /// The state at revision `compacted`, before the changes in the log.
    pub fn new(latest: BTreeMap<Arc<str>, Arc<Entry>>, compacted: Revision) -> Self {
        Self {
            latest,
            log: Log::new(compacted),
            watchers: Watchers::default(),
        }
    }

    pub fn revision(&self) -> Revision {
        self.log.revision()
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.latest.get(key)
    }

    /// Takes in changes, and wakes those who watch them.
    pub fn publish(&mut self, events: Vec<Event>) {
        self.watchers.tell(&events);
        for event in events {
            self.apply(event);
        }
    }

    /// Takes in one change.
    pub fn apply(&mut self, event: Event) {
        match &event {
            Event::Put { entry, .. } => {
                self.latest.insert(entry.key.clone(), entry.clone());
            }
            Event::Delete { previous, .. } => {
                self.latest.remove(&previous.key);
            }
        }
        self.log.push(event);
    }

    /// A page of keys as of `at`.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error> {
        let current = self.revision();
        let revision = at.unwrap_or(current);
        let live = self.range(prefix, after);
        let (entries, remaining) = if revision == current {
            page(live, limit)
        } else {
            let undone = self.undone(prefix, after, revision)?;
            let untouched = live.filter(|entry| !undone.contains_key(&*entry.key));
            page(merge(untouched, undone.values().copied().flatten()), limit)
        };
        Ok(Page {
            entries,
            revision,
            remaining,
        })
    }

    /// The latest entries of a prefix after a key, in key order.
    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Entry>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.latest
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }

    /// The keys that changed after `revision`, each with what it was then (`None`: it did not exist).
    fn undone(
        &self,
        prefix: &str,
        after: Option<&str>,
        revision: Revision,
    ) -> Result<BTreeMap<&str, Option<&Arc<Entry>>>, Error> {
        let mut undone = BTreeMap::new();
        for event in self.log.after(revision)? {
            let key: &str = event.key();
            if key.starts_with(prefix) && after.is_none_or(|after| key > after) {
                // The first change after the revision knows what was there at the revision.
                undone.entry(key).or_insert_with(|| event.previous());
            }
        }
        Ok(undone)
    }
}

/// The first `limit` entries (0: all), and how many come after them.
fn page<'a>(mut entries: impl Iterator<Item = &'a Arc<Entry>>, limit: usize) -> (Vec<Arc<Entry>>, usize) {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let taken = entries.by_ref().take(limit).cloned().collect();
    (taken, entries.count())
}

/// Two sequences in key order, without a key in common, as one.
fn merge<'a>(
    a: impl Iterator<Item = &'a Arc<Entry>>,
    b: impl Iterator<Item = &'a Arc<Entry>>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || {
        if precedes(&mut a, &mut b) {
            a.next()
        } else {
            b.next()
        }
    })
}

fn precedes<'a>(
    a: &mut Peekable<impl Iterator<Item = &'a Arc<Entry>>>,
    b: &mut Peekable<impl Iterator<Item = &'a Arc<Entry>>>,
) -> bool {
    match (a.peek(), b.peek()) {
        (Some(a), Some(b)) => a.key < b.key,
        (first, _) => first.is_some(),
    }
}
