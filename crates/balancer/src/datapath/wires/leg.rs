//! A connection to a backend: how far it has come, and whether it may be used again.
//!
//! Flows in: the backend's bytes. Flows out: the same, and what they say of the backend. It never decides to go elsewhere.

use crate::datapath::backend::Lease;
use crate::datapath::core::Core;
use crate::datapath::counters::Counter;
use crate::datapath::socket::{Received, Socket};

/// A connection to a backend. The socket closes before the count falls.
pub struct Leg {
    pub socket: Socket,
    pub lease: Lease,
    pub generation: u32,
    /// It is known to be established.
    pub(super) connected: bool,
    /// Bytes have passed in either direction since the last message boundary.
    pub(super) used: bool,
    /// The backend has said something on it.
    pub(super) heard: bool,
    /// Since when it is idle, on the datapath's clock.
    pub(super) idle_since: u64,
}

impl Leg {
    /// One that is being opened.
    pub(super) fn new(socket: Socket, lease: Lease, generation: u32, now: u64) -> Self {
        Self {
            socket,
            lease,
            generation,
            connected: false,
            used: false,
            heard: false,
            idle_since: now,
        }
    }

    /// Whether it may get another request, being idle between messages.
    pub(super) fn is_fresh(&self, core: &Core) -> bool {
        let idle = core.now.saturating_sub(self.idle_since);
        idle <= core.times.fresh
            && !(self.connected && (self.socket.is_readable() || self.socket.is_shut()))
            && (idle <= core.times.peek || !self.connected || !self.socket.has_news())
    }

    /// A message boundary: nothing is under way on it.
    pub(super) fn at_boundary(&mut self, now: u64) {
        self.used = false;
        self.idle_since = now;
    }

    /// Reads what the backend says.
    pub(super) fn receive(&mut self, now: u64, scratch: &mut [u8]) -> Received {
        if !self.connected {
            return Received::Nothing;
        }
        let received = self.socket.receive(scratch);
        if let Received::Bytes(count) = received {
            if !self.heard {
                self.heard = true;
                self.lease.backend().answers();
            }
            self.used = true;
            self.idle_since = now;
            self.lease.tally().add(Counter::Sent, count as u64);
        }
        received
    }
}
