//! What the threads of the datapath and its control side share: how many connections there are, which table each thread
//! has, and the queues of commands to them. Nothing in here waits.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use rustix::time::{ClockId, clock_gettime};

use super::core::Times;
use super::estate::{Give, Inherited};
use super::table::Table;
use crate::handover::ChannelError;

/// What the control side asks of a thread.
pub enum Command {
    /// Take over this table and acknowledge it.
    Install(Arc<Table>),
    /// Make this accepted socket, of this listener, yours.
    Adopt(OwnedFd, u32),
    /// Make this connection of another process yours.
    Inherit(Box<Inherited>),
    /// Do nothing until told to go on; dropping this says that you do nothing.
    Freeze(Sender<()>),
    /// When frozen: give your connections, and say how it went.
    Give(Give, Sender<Result<(), ChannelError>>),
    /// When frozen: go on.
    Thaw,
    /// End, and every connection with you.
    Stop,
}

/// What the threads and the control side share.
pub struct Shared {
    pub times: Times,
    /// Connections of each thread.
    pub load: Vec<AtomicU32>,
    /// The newest table that each thread has installed.
    pub(super) acknowledged: Vec<AtomicU64>,
    pub(super) queues: Vec<(Sender<Command>, Arc<OwnedFd>)>,
    /// Connections there may be at once.
    pub(super) most: u32,
    /// Whether it has been said that there are so many.
    pub(super) full: AtomicBool,
    pub notify: Arc<dyn Fn() + Send + Sync>,
}

/// Microseconds on the datapath's clock.
pub fn micros() -> u64 {
    // The machine's clock, not one of this process: the state of a connection may be passed on to another. It runs
    // since boot, and so is never 0, which means "no time" in many places.
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}

impl Shared {
    /// Milliseconds on the datapath's clock.
    pub fn now(&self) -> u64 {
        self.micros() / 1000
    }

    /// Microseconds on the datapath's clock.
    pub fn micros(&self) -> u64 {
        micros()
    }

    /// A thread has installed a table.
    pub fn acknowledge(&self, thread: usize, version: u64) {
        self.acknowledged[thread].store(version, Ordering::SeqCst);
        (self.notify)();
    }

    /// Whether a thread has this table or a later one.
    pub fn has_installed(&self, thread: usize, version: u64) -> bool {
        self.acknowledged[thread].load(Ordering::SeqCst) >= version
    }

    /// Asks something of a thread.
    pub fn send(&self, thread: usize, command: Command) {
        let (queue, wake) = &self.queues[thread];
        // A thread that has ended needs nothing any more; an eventfd that is full has woken it already.
        let _ = queue.send(command);
        let _ = rustix::io::write(&**wake, &1u64.to_ne_bytes());
    }

    /// The thread with the fewest connections.
    pub fn least_loaded(&self) -> usize {
        (0..self.load.len())
            .min_by_key(|thread| self.load[*thread].load(Ordering::Relaxed))
            .unwrap_or(0)
    }

    /// Whether there are as many connections as descriptors allow. Threads that look at the same instant may each accept
    /// one more; the descriptors kept back for all else are many more than threads.
    pub fn is_full(&self) -> bool {
        let full = self.connections() >= self.most;
        if !full {
            self.full.store(false, Ordering::Relaxed);
        }
        full
    }

    /// Says so, once each time.
    pub fn warn_full(&self) {
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connections = self.connections(),
                "at the limit of open files: new connections wait"
            );
        }
    }

    /// Client connections now.
    pub fn connections(&self) -> u32 {
        self.load.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }
}
