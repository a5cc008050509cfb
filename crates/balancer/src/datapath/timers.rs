//! Deadlines of one thread's connections.

use std::collections::BTreeSet;

/// At most one deadline a connection. Times are milliseconds on the datapath's clock; 0 means none.
#[derive(Debug, Default)]
pub struct Timers(BTreeSet<(u64, u32)>);

impl Timers {
    /// Replaces a connection's deadline.
    pub fn set(&mut self, key: u32, old: u64, new: u64) {
        if old == new {
            return;
        }
        if old != 0 {
            self.0.remove(&(old, key));
        }
        if new != 0 {
            self.0.insert((new, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<u64> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out one connection whose deadline has come.
    pub fn expired(&mut self, now: u64) -> Option<u32> {
        let (at, _) = *self.0.first()?;
        if at > now {
            None
        } else {
            self.0.pop_first().map(|(_, key)| key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_can_be_taken_back() {
        let mut timers = Timers::default();
        timers.set(1, 0, 30);
        timers.set(2, 0, 10);
        timers.set(3, 0, 20);
        timers.set(3, 20, 0);
        timers.set(1, 30, 5);
        assert_eq!(timers.next(), Some(5));
        assert_eq!(timers.expired(4), None);
        assert_eq!(
            (timers.expired(10), timers.expired(10), timers.expired(99)),
            (Some(1), Some(2), None)
        );
    }
}
