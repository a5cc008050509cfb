//! How long a keeper stays when nobody needs it.
//!
//! Flows in: whether somebody does. Flows out: when it is to end. An agent that died between a keeper's start and its
//! container's, and never came back, must not leave the keeper behind for ever.

use std::time::{Duration, Instant};

/// Counts the time without a container and without an agent.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// Nobody needs it yet.
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            since: Some(now),
        }
    }

    /// Takes note of whether somebody needs it.
    pub fn note(&mut self, is_needed: bool, now: Instant) {
        self.since = if is_needed { None } else { self.since.or(Some(now)) };
    }

    /// When it is to end, as things are.
    pub fn end(&self) -> Option<Instant> {
        self.since.and_then(|since| since.checked_add(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_alone_counts() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(10), begin);
        patience.note(false, at(5));
        assert_eq!(patience.end(), Some(at(10)));
        patience.note(true, at(6));
        assert_eq!(patience.end(), None);
        patience.note(false, at(7));
        patience.note(false, at(8));
        assert_eq!(patience.end(), Some(at(17)));
    }
}
