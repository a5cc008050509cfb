//! Which keys want work: the bookkeeping of the queue, after client-go's `workqueue`.
//!
//! Three sets do it. `queue` has the keys that a worker may take, in order. `dirty` has every key that wants a reconcile;
//! a key that is added twice is in it once. `processing` has the keys that a worker holds; a key that becomes dirty
//! meanwhile waits until that worker is done, and is then queued again. Time is a parameter; never waits.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Pause after the first failure; doubled with each further one (client-go: 5 ms, up to 1000 s).
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// The longest pause between two tries.
const LAST_RETRY: Duration = Duration::from_secs(16);

/// The keys of one queue.
pub(crate) struct Pending<T> {
    queue: VecDeque<T>,
    dirty: HashSet<T>,
    processing: HashSet<T>,
    /// Keys for later, by time; the number makes keys of one instant distinct.
    later: BTreeMap<(Instant, u64), T>,
    /// Where each key of `later` is.
    when: HashMap<T, (Instant, u64)>,
    next_number: u64,
    /// Failures in a row.
    failures: HashMap<T, u32>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            later: BTreeMap::new(),
            when: HashMap::new(),
            next_number: 0,
            failures: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Pending<T> {
    /// Wants a reconcile of the key now.
    pub fn add(&mut self, key: T) {
        if self.dirty.insert(key.clone()) && !self.processing.contains(&key) {
            self.queue.push_back(key);
        }
    }

    /// Wants a reconcile of the key at `at`, unless one is wanted earlier already.
    pub fn add_at(&mut self, key: T, at: Instant) {
        match self.when.get(&key) {
            Some(known) if known.0 <= at => return,
            Some(known) => {
                self.later.remove(known);
            }
            None => {}
        }
        let place = (at, self.next_number);
        self.next_number += 1;
        self.later.insert(place, key.clone());
        self.when.insert(key, place);
    }

    /// Moves what is due into the queue; says when the next key is due.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                return Some(first.key().0);
            }
            let key = first.remove();
            self.when.remove(&key);
            self.add(key);
        }
        None
    }

    /// Takes the next key and how often it has failed in a row. The caller works on it and then calls [`Self::done`].
    pub fn take(&mut self) -> Option<(T, u32)> {
        let key = self.queue.pop_front()?;
        self.dirty.remove(&key);
        self.processing.insert(key.clone());
        let failures = self.failures.get(&key).copied().unwrap_or(0);
        Some((key, failures))
    }

    /// The work on a key that was taken is over.
    pub fn done(&mut self, key: &T) {
        self.processing.remove(key);
        if self.dirty.contains(key) {
            self.queue.push_back(key.clone());
        }
    }

    /// The work went well: the next failure is a first one.
    pub fn forget(&mut self, key: &T) {
        self.failures.remove(key);
    }

    /// The work failed: counts it, and says how often it has failed in a row and how long to wait.
    pub fn failed(&mut self, key: T) -> (u32, Duration) {
        let failures = self.failures.entry(key).or_insert(0);
        let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*failures));
        *failures = failures.saturating_add(1);
        (*failures, pause.min(LAST_RETRY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_queued_once() {
        let mut pending = Pending::default();
        pending.add("a");
        pending.add("b");
        pending.add("a");
        assert_eq!(pending.take(), Some(("a", 0)));
        assert_eq!(pending.take(), Some(("b", 0)));
        assert_eq!(pending.take(), None);
    }

    #[test]
    fn a_key_added_while_worked_on_comes_back_once() {
        let mut pending = Pending::default();
        pending.add("a");
        pending.take();
        pending.add("a");
        pending.add("a");
        assert_eq!(pending.take(), None, "one worker a key");
        pending.done(&"a");
        assert_eq!(pending.take(), Some(("a", 0)));
        pending.done(&"a");
        assert_eq!(pending.take(), None);
    }

    #[test]
    fn the_earliest_of_several_times_counts() {
        let mut pending = Pending::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        pending.add_at("a", after(10));
        pending.add_at("a", after(5));
        pending.add_at("a", after(7));
        assert_eq!(pending.tick(start), Some(after(5)));
        assert_eq!(pending.take(), None);
        assert_eq!(
            pending.tick(after(5)),
            None,
            "the later requests are the same request"
        );
        assert_eq!(pending.take(), Some(("a", 0)));
    }

    #[test]
    fn pauses_double_up_to_the_last_and_start_over_after_success() {
        let mut pending = Pending::default();
        let pauses: Vec<_> = (0..14).map(|_| pending.failed("a").1.as_millis()).collect();
        let doubling = [
            5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 16000, 16000,
        ];
        assert_eq!(pauses, doubling);
        pending.forget(&"a");
        assert_eq!(pending.failed("a"), (1, FIRST_RETRY));
    }
}
