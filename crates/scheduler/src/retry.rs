//! The pods that fit nowhere yet: when each may be tried again.

use std::collections::HashMap;
use std::time::Duration;

use informer::Key;
use tokio::time::Instant;

/// Back-off after the first failed attempt; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest back-off.
const LONGEST: Duration = Duration::from_secs(10);

struct Waiting {
    attempts: u32,
    not_before: Instant,
    /// Other pods' comings and goings may help it.
    minds_pods: bool,
}

/// The pods that fit nowhere yet.
#[derive(Default)]
pub(crate) struct Unschedulable(HashMap<Key, Waiting>);

impl Unschedulable {
    /// An attempt failed now.
    pub fn failed(&mut self, key: Key, minds_pods: bool, now: Instant) {
        let waiting = self.0.entry(key).or_insert(Waiting {
            attempts: 0,
            not_before: now,
            minds_pods,
        });
        let back_off = FIRST.saturating_mul(1 << waiting.attempts.min(8)).min(LONGEST);
        waiting.attempts += 1;
        waiting.not_before = now + back_off;
        waiting.minds_pods = minds_pods;
    }

    /// The pod was placed, is gone or has changed itself.
    pub fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Something changed that may help pods: each with how long it still has to wait.
    pub fn retry(&self, only_those_that_mind_pods: bool, now: Instant) -> Vec<(Key, Duration)> {
        let concerned = self
            .0
            .iter()
            .filter(|(_, waiting)| waiting.minds_pods || !only_those_that_mind_pods);
        concerned
            .map(|(key, waiting)| (key.clone(), waiting.not_before.saturating_duration_since(now)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_from_one_to_ten_seconds() {
        let mut waiting = Unschedulable::default();
        let now = Instant::now();
        let key = Key::new("default", "a");
        let back_offs: Vec<u64> = (0..6)
            .map(|_| {
                waiting.failed(key.clone(), false, now);
                waiting.retry(false, now)[0].1.as_secs()
            })
            .collect();
        assert_eq!(back_offs, [1, 2, 4, 8, 10, 10]);
        assert!(waiting.retry(true, now).is_empty());
        waiting.forget(&key);
        assert!(waiting.retry(false, now).is_empty());
    }
}
