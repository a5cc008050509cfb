//! The last few looks at a container, and the rate between the first and the last of them. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::process::Used;

/// How far back the first look is at most, where there is one so old.
pub const LENGTH: Duration = Duration::from_secs(15);

/// What a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Billionths of a processor.
    pub nano_cores: u64,
    /// Bytes of memory of its own.
    pub bytes: u64,
}

/// The looks, oldest first.
#[derive(Debug, Default)]
pub struct Window {
    /// When the container started, in clock ticks since boot: one that was restarted begins anew.
    started: u64,
    looks: VecDeque<(Instant, Used)>,
}

impl Window {
    /// Adds a look.
    pub fn add(&mut self, now: Instant, started: u64, used: Used) {
        if self.started != started {
            self.started = started;
            self.looks.clear();
        }
        // One look as old as the window is kept, to have its whole length.
        while self
            .looks
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= LENGTH)
        {
            self.looks.pop_front();
        }
        self.looks.push_back((now, used));
    }

    /// The rate, once there are two looks. A child's time that nobody waited for is lost with it: never below zero.
    pub fn rate(&self) -> Option<Rate> {
        let ((from, before), (to, after)) = (self.looks.front()?, self.looks.back()?);
        let nanos = to.duration_since(*from).as_nanos();
        let spent = after.cpu.saturating_sub(before.cpu).as_nanos();
        let nano_cores = spent.checked_mul(1_000_000_000)?.checked_div(nanos)?;
        Some(Rate {
            nano_cores: u64::try_from(nano_cores).unwrap_or(u64::MAX),
            bytes: after.bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(milliseconds: u64) -> Used {
        Used {
            cpu: Duration::from_millis(milliseconds),
            bytes: milliseconds,
        }
    }

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        window.add(at(0), 1, used(0));
        assert_eq!(window.rate(), None);
        window.add(at(5), 1, used(2500));
        let half = Rate {
            nano_cores: 500_000_000,
            bytes: 2500,
        };
        assert_eq!(window.rate(), Some(half));
        for look in 2..=10 {
            window.add(at(look * 5), 1, used(2500));
        }
        assert_eq!(window.rate().map(|rate| rate.nano_cores), Some(0));
        assert!(window.looks.len() <= 5);
    }

    #[test]
    fn a_restart_begins_anew_and_nothing_is_negative() {
        let start = Instant::now();
        let mut window = Window::default();
        window.add(start, 1, used(1000));
        window.add(start + Duration::from_secs(5), 1, used(500));
        assert_eq!(window.rate().map(|rate| rate.nano_cores), Some(0));
        window.add(start + Duration::from_secs(10), 2, used(9000));
        assert_eq!(window.rate(), None);
    }
}
