//! What the connections of one thread share.
//!
//! Flows in: tables, and the time of each round. Flows out: routes, timers and registrations with epoll for whichever
//! connection is being run; never used by two at once.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::table::Route;
use super::timers::Timers;

/// What one thread's connections use in turns.
pub struct Core {
    pub epoll: OwnedFd,
    pub timers: Timers,
    /// Routes by listener.
    pub routes: HashMap<u32, Arc<Route>>,
    /// Milliseconds on the datapath's clock, as of this round of events.
    pub now: u64,
    /// The same in microseconds.
    pub micros: u64,
    /// The thread's number.
    pub thread: usize,
    /// Where the next choice among equal backends starts.
    pub turn: usize,
    /// Tells registrations with epoll apart.
    generation: u32,
    pub times: Times,
}

/// How long things may take, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Waiting for a backend, before the client is refused.
    pub hold: u64,
    /// From the first byte of an HTTP head to its end, before the connection becomes opaque.
    pub head: u64,
    /// Connecting to one backend, before another is tried.
    pub connect: u64,
    /// Between attempts while all backends refuse.
    pub retry: u64,
    /// A backend connection idle for longer gets no request.
    pub fresh: u64,
    /// A backend connection idle for longer is asked for news before it gets a request.
    pub peek: u64,
    /// Reading on after the last response, so that a reset does not destroy it.
    pub linger: u64,
    /// A client that has ended its stream, and is owed something still, is left alone.
    pub ended: u64,
    /// A backend that refused a connection, or broke one without a word, is avoided.
    pub suspect: u64,
}

impl Core {
    /// A number for the next registration with epoll.
    pub fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// The state of a thread that has no connection yet.
    pub fn new(epoll: OwnedFd, times: Times, thread: usize) -> Self {
        Self {
            epoll,
            timers: Timers::default(),
            routes: HashMap::new(),
            now: 1,
            micros: 1,
            thread,
            turn: 0,
            generation: 0,
            times,
        }
    }
}

impl Times {
    /// The usual times, and these for waiting for a backend and for a head.
    pub fn with(hold: Duration, head: Duration) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        Self {
            hold: millis(hold),
            head: millis(head),
            connect: 2000,
            retry: 50,
            fresh: 500,
            peek: 5,
            linger: 2000,
            ended: 2000,
            suspect: 1000,
        }
    }
}
