//! What the threads count, and how it is read.
//!
//! Each thread writes cells of its own ([`Tally`]), plainly: no two threads write to the same cache line, and counting is
//! a load, an addition and a store. Whoever reads adds the cells up ([`Series::total`]); what he gets is at most a moment
//! old. Nothing is ever set back.

use std::ops::{AddAssign, Index};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What is counted, of a route's clients or of one of its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections that began. At an endpoint: attempts that failed included.
    Opened,
    /// Connections that ended, so that the difference is open now.
    Closed,
    /// At an endpoint: attempts to connect that failed. Of clients: connections for which no backend was found in time.
    Failed,
    /// Requests of HTTP connections of which the endpoint has taken a byte.
    Requests,
    /// Requests that went to another endpoint because this one broke the connection before it answered.
    Replays,
    /// Connections that went on at another endpoint between two messages.
    Moved,
    /// Connections that this endpoint cut: broken in mid-message, or ended because its time was over.
    Cut,
    /// Bytes of clients that the endpoint has taken.
    Received,
    /// Bytes of the endpoint.
    Sent,
    /// Microseconds of all response times.
    Waited,
}

/// Number of [`Counter`]s.
const COUNTERS: usize = 10;

/// Upper bounds of the response times' classes, in microseconds; a last class has none.
pub const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// Number of cells: the counters, then the classes of response times.
const CELLS: usize = COUNTERS + BOUNDS.len() + 1;

/// One thread's counts; written by that thread alone.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally([AtomicU64; CELLS]);

impl Tally {
    /// Counts so many.
    pub fn add(&self, counter: Counter, many: u64) {
        self.add_to(counter as usize, many);
    }

    /// Counts a response that was waited for this long.
    pub fn responded(&self, microseconds: u64) {
        let class = BOUNDS.partition_point(|bound| *bound < microseconds);
        self.add_to(COUNTERS + class, 1);
        self.add(Counter::Waited, microseconds);
    }

    fn add_to(&self, cell: usize, many: u64) {
        // Nobody else writes here, so nothing can come between.
        let cell = &self.0[cell];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(many), Ordering::Release);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The counts of all threads of one thing. A thread's cells exist from the first time it counts.
#[derive(Debug)]
pub struct Series(Box<[OnceLock<Arc<Tally>>]>);

impl Series {
    /// Nothing counted yet.
    pub fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| OnceLock::new()).collect())
    }

    /// The cells of this thread, by its number; only it may write there.
    pub fn of(&self, thread: usize) -> &Arc<Tally> {
        self.0[thread].get_or_init(Arc::default)
    }

    /// All threads' counts together.
    pub fn total(&self) -> Total {
        let mut total = Total::default();
        // Ends first: what ends while this is read must not be missing among what has begun.
        for cell in (0..CELLS).rev() {
            for tally in self.0.iter().filter_map(OnceLock::get) {
                total.0[cell] += tally.0[cell].load(Ordering::Acquire);
            }
        }
        total
    }
}

/// Counts added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total([u64; CELLS]);

impl Total {
    /// Connections now.
    pub fn open(&self) -> u64 {
        self[Counter::Opened].saturating_sub(self[Counter::Closed])
    }

    /// Responses by time: how many in each class of [`BOUNDS`] and above the last.
    pub fn responses(&self) -> &[u64] {
        &self.0[COUNTERS..]
    }
}

impl Index<Counter> for Total {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl AddAssign<&Self> for Total {
    fn add_assign(&mut self, other: &Self) {
        for (mine, its) in self.0.iter_mut().zip(&other.0) {
            *mine += its;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_cell_of_its_own() {
        assert_eq!(Counter::Waited as usize + 1, COUNTERS);
        let series = Series::new(1);
        series.of(0).add(Counter::Waited, 7);
        assert_eq!(series.total()[Counter::Waited], 7);
        assert_eq!(series.total().responses().iter().sum::<u64>(), 0);
    }

    #[test]
    fn what_all_threads_have_counted_is_added_up() {
        let series = Series::new(3);
        series.of(0).add(Counter::Opened, 2);
        series.of(2).add(Counter::Opened, 3);
        series.of(2).add(Counter::Closed, 4);
        let total = series.total();
        assert_eq!((total[Counter::Opened], total.open()), (5, 1));
    }

    #[test]
    fn a_response_time_belongs_to_the_first_class_that_holds_it() {
        let series = Series::new(1);
        for time in [0, 100, 101, 10_000_000, 10_000_001] {
            series.of(0).responded(time);
        }
        let total = series.total();
        let classes = total.responses();
        assert_eq!((classes[0], classes[1], classes[14], classes[15]), (2, 1, 1, 1));
        assert_eq!(total[Counter::Waited], 20_000_202);
    }
}
