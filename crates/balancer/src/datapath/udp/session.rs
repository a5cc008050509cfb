//! One client's session with one backend.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, connect, recv, send, sendto};

use super::super::backend::{End, Lease};
use super::super::counters::{Counter, Tally};
use super::{Listener, datagram};

/// Milliseconds that a session may be idle before its backend has answered.
const UNANSWERED: u64 = 30_000;
/// Milliseconds that a session may be idle after that.
const ANSWERED: u64 = 120_000;
/// Milliseconds that answers are waited for when the backend is to be left.
const LEAVING: u64 = 2_000;
/// Longest datagram that is kept for another backend, should this one refuse it: what fits a frame of an Ethernet.
const MOST_KEPT: usize = 1500;

/// A client's session.
pub struct Session {
    pub client: SocketAddr,
    pub listener: Arc<Listener>,
    /// Tells events of this session from those of an earlier one in its place.
    pub generation: u32,
    /// The deadline that is set for it.
    pub deadline: u64,
    /// Another session has the client's next datagrams; this one waits for answers, until then.
    leaving: Option<u64>,
    socket: OwnedFd,
    lease: Lease,
    /// Where its thread counts the route's clients.
    clients: Arc<Tally>,
    /// Datagrams of the client for which no answer has come.
    unanswered: u32,
    answered: bool,
    /// When the last datagram passed, on the datapath's clock.
    last: u64,
    /// The last datagram of the client, until an answer comes.
    kept: Vec<u8>,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It went out, or was lost on the way out.
    On,
    /// There is none for now.
    Nothing,
    /// The backend's port is closed: an earlier datagram was refused.
    Refused,
}

impl Session {
    /// Opens a session; the backend has been counted already.
    ///
    /// # Errors
    /// There are no descriptors or ports left, or no way to the backend.
    pub fn open(
        listener: Arc<Listener>,
        client: SocketAddr,
        lease: Lease,
        clients: Arc<Tally>,
        generation: u32,
        now: u64,
    ) -> Result<Self, Errno> {
        let addr = lease.backend().addr();
        let socket = datagram(addr)?;
        connect(&socket, &addr)?;
        clients.add(Counter::Opened, 1);
        Ok(Self {
            client,
            listener,
            generation,
            deadline: 0,
            leaving: None,
            socket,
            lease,
            clients,
            unanswered: 0,
            answered: false,
            last: now,
            kept: Vec::new(),
        })
    }

    /// Passes on a datagram of the client.
    pub fn ask(&mut self, bytes: &[u8], now: u64) -> Passed {
        self.last = now;
        if send(&self.socket, bytes, SendFlags::empty()) == Err(Errno::CONNREFUSED) {
            return Passed::Refused;
        }
        self.lease.tally().add(Counter::Received, bytes.len() as u64);
        self.unanswered = self.unanswered.saturating_add(1);
        self.kept.clear();
        if bytes.len() <= MOST_KEPT {
            self.kept.extend_from_slice(bytes);
        }
        Passed::On
    }

    /// Passes on one datagram of the backend.
    pub fn answer(&mut self, scratch: &mut [u8], now: u64) -> Passed {
        match recv(&self.socket, &mut *scratch, RecvFlags::empty()) {
            Ok((_, count)) => {
                // A client that takes no more loses it.
                let _ = sendto(
                    &*self.listener,
                    &scratch[..count],
                    SendFlags::empty(),
                    &self.client,
                );
                self.lease.tally().add(Counter::Sent, count as u64);
                self.last = now;
                self.answered = true;
                self.unanswered = self.unanswered.saturating_sub(1);
                self.kept.clear();
                Passed::On
            }
            Err(Errno::CONNREFUSED) => Passed::Refused,
            Err(_) => Passed::Nothing,
        }
    }

    /// The route offers the backend no longer: answers under way may still come.
    pub fn leave(&mut self, now: u64) {
        self.leaving.get_or_insert(now + LEAVING);
    }

    /// When it ends, if nothing passes until then.
    pub fn ends_at(&self) -> u64 {
        match self.leaving {
            Some(_) if self.unanswered == 0 => self.last,
            Some(until) => until,
            None if self.answered => self.last + ANSWERED,
            None => self.last + UNANSWERED,
        }
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Ends it; what was kept for another backend.
    pub fn end(self, end: End) -> Vec<u8> {
        self.clients.add(Counter::Closed, 1);
        self.lease.ended(end);
        self.kept
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
