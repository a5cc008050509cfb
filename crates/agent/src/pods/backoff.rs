//! How long a container that ended waits until it is started again.

use jiff::{SignedDuration, Timestamp};

/// The first wait.
const FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait.
const LONGEST: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long begins anew.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);

/// Delay before a restart, or before an image is looked for again: none at first, then 10 s, doubled up to 300 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    delay: SignedDuration,
    last: Timestamp,
}

impl Backoff {
    /// As it must have been after this many restarts, the last one at `last`.
    pub fn after(restarts: u32, last: Timestamp) -> Self {
        let mut backoff = Self {
            last,
            ..Self::default()
        };
        // Six doublings reach the longest wait.
        (0..restarts.min(6)).for_each(|_| backoff.again(last));
        backoff
    }

    /// The wait for something that ended at `ended`.
    pub fn delay(&self, ended: Timestamp) -> SignedDuration {
        if ended.duration_since(self.last) > FORGOTTEN {
            SignedDuration::ZERO
        } else {
            self.delay
        }
    }

    /// When it may be tried again.
    pub fn due(&self, ended: Timestamp) -> Timestamp {
        ended.checked_add(self.delay(ended)).unwrap_or(ended)
    }

    /// It is tried again now.
    pub fn again(&mut self, now: Timestamp) {
        let delay = self.delay(now);
        self.delay = if delay.is_zero() {
            FIRST
        } else {
            (delay * 2).min(LONGEST)
        };
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_the_longest_and_are_forgotten() {
        let mut now = Timestamp::from_second(1_000_000).unwrap();
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(backoff.delay(now).as_secs());
            now = backoff.due(now);
            backoff.again(now);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(Backoff::after(3, now).delay(now).as_secs(), 40);
        assert_eq!(backoff.delay(now + SignedDuration::from_secs(601)).as_secs(), 0);
    }
}
