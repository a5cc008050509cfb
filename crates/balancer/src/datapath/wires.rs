//! A connection's two ends: the client, and at any time at most one backend.
//!
//! Flows in: bytes for either end. Flows out: the same bytes to its socket, the rest held back until the socket takes
//! them. Finds a backend, retries elsewhere as long as nothing has been sent, and waits when there is none.

mod back;
mod ended;
mod estate;
mod leg;

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::epoll;
use rustix::io::Errno;

use super::backend::{Backend, End, Lease};
use super::core::Core;
use super::counters::{Counter, Tally};
use super::held::Held;
use super::socket::{INTEREST, Socket};
use super::table::Route;
use super::worker::{Side, token};

pub use estate::{Ends, WiresEstate};
pub use leg::Leg;

/// The two ends.
pub struct Wires {
    pub client: Socket,
    pub leg: Option<Leg>,
    /// Client's bytes that the backend's socket has not taken.
    pub to_backend: Held,
    /// Backend's bytes that the client's socket has not taken.
    pub to_client: Held,
    /// The route no longer offers the backend, or it is not to be trusted: leave it at the next boundary.
    pub leave: bool,
    pub listener: u32,
    pub generation: u32,
    key: u32,
    /// When to give up waiting for a backend that takes something; 0 when not waiting.
    give_up: u64,
    /// Until when backends that lately refused are not asked again.
    not_before: u64,
    /// The timer that is set.
    deadline: u64,
    /// When a client that has ended its stream is to be asked whether it is there; 0: it has not.
    ask_client: u64,
    /// A request has begun of which no backend has taken a byte.
    asking: bool,
    /// The backend that has broken the request under way, which is to be sent again.
    breaker: Option<Arc<Backend>>,
    /// Where its thread counts the route's clients.
    clients: Arc<Tally>,
}

/// The backend's connection broke while bytes of a message were under way.
pub struct Broken;

impl Wires {
    /// A client's connection, which is counted from now on.
    pub fn new(client: Socket, listener: u32, key: u32, generation: u32, clients: Arc<Tally>) -> Self {
        clients.add(Counter::Opened, 1);
        Self {
            client,
            leg: None,
            to_backend: Held::default(),
            to_client: Held::default(),
            leave: false,
            listener,
            generation,
            key,
            give_up: 0,
            not_before: 0,
            deadline: 0,
            ask_client: 0,
            asking: false,
            breaker: None,
            clients,
        }
    }

    /// Sees to it that there is a backend connection, be it one that is still being opened. False: there is none yet;
    /// the connection is woken when it is worth another try.
    pub fn supply(&mut self, core: &mut Core) -> bool {
        self.check_leg(core);
        if self.leg.is_some() {
            return true;
        }
        if self.give_up == 0 {
            self.give_up = core.now + core.times.hold;
        }
        if self.connect(core) {
            return true;
        }
        if !self.is_hopeful(core) {
            self.give_up = core.now;
        }
        self.not_before = self.not_before.max(core.now + core.times.retry);
        self.wake_at(core, self.not_before.min(self.give_up));
        false
    }

    /// Whether there is a backend, or one is to be expected.
    pub fn is_hopeful(&self, core: &Core) -> bool {
        let route = core.routes.get(&self.listener);
        route.is_some_and(|route| route.is_hopeful())
    }

    /// Whether waiting for a backend has lasted too long, or none is to be expected.
    pub fn given_up(&self, core: &Core) -> bool {
        self.leg.is_none() && self.give_up != 0 && core.now >= self.give_up
    }

    /// Counts the client as refused, if that is why it is about to be cut off.
    pub fn count_refusal(&self, core: &Core) {
        if self.given_up(core) {
            self.clients.add(Counter::Failed, 1);
        }
    }

    /// Whether it waits for a backend.
    pub fn is_waiting(&self) -> bool {
        self.leg.is_none() && self.give_up != 0
    }

    /// Opens a connection to the best backend; one that refuses at once is passed over.
    fn connect(&mut self, core: &mut Core) -> bool {
        let Some(route) = core.routes.get(&self.listener).cloned() else {
            return false;
        };
        for _ in 0..route.len() {
            core.turn = core.turn.wrapping_add(1);
            let client = || self.client.peer();
            let chosen = match &self.breaker {
                Some(breaker) => route.choose_again(breaker, core.turn, core.now, client),
                None => route.choose(core.turn, core.now, client),
            };
            let Some(offer) = chosen else {
                return false;
            };
            let backend = &offer.backend;
            if backend.is_suspect(core.now) && core.now < self.not_before {
                return false;
            }
            // Counted before it is opened: see the module `datapath`.
            let lease = Lease::new(offer.clone(), core.thread);
            match self.open(core, lease) {
                Ok(()) => return true,
                // Out of descriptors or ports: not the backend's fault.
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL) => {
                    return false;
                }
                Err(_) => {
                    offer.series.of(core.thread).add(Counter::Failed, 1);
                    backend.suspect(core.now + core.times.suspect);
                }
            }
        }
        false
    }

    fn open(&mut self, core: &mut Core, lease: Lease) -> Result<(), Errno> {
        let socket = Socket::connect(lease.backend().addr())?;
        let generation = core.next_generation();
        let data = token(self.key, Side::Backend, generation);
        epoll::add(&core.epoll, socket.as_fd(), data, INTEREST)?;
        self.leave = false;
        self.wake_at(core, core.now + core.times.connect);
        self.leg = Some(Leg::new(socket, lease, generation, core.now));
        Ok(())
    }

    /// Notices that a connection under way has been established, has failed, or takes too long.
    pub fn check_leg(&mut self, core: &mut Core) {
        let Some(leg) = &mut self.leg else { return };
        if leg.connected {
            return;
        }
        if leg.socket.is_failed() || (self.deadline != 0 && core.now >= self.deadline) {
            self.refused(core);
        } else if leg.socket.is_established() {
            self.connected(core);
        }
    }

    fn connected(&mut self, core: &mut Core) {
        if let Some(leg) = &mut self.leg {
            leg.connected = true;
        }
        self.wake_at(core, 0);
    }

    /// The backend would not have the connection, or ended it before anything was said: nothing was executed, so another
    /// can have what is held for it. Unless it had been idle for long, that is a refusal, even of an accepted connection.
    pub fn refused(&mut self, core: &mut Core) {
        let Some(leg) = &self.leg else { return };
        if leg.connected && core.now.saturating_sub(leg.idle_since) > core.times.fresh {
            self.drop_leg(End::Finished);
        } else {
            leg.lease.backend().suspect(core.now + core.times.suspect);
            self.not_before = core.now + core.times.retry;
            self.drop_leg(End::Refused);
        }
        // Whoever found this out need not think of what comes next: the connection is run again.
        self.wake_at(core, core.now);
    }

    /// The backend broke the connection in the middle of a message. If it never said a word, others are preferred to it.
    pub fn broken(&mut self, core: &Core, end: End) {
        if let Some(leg) = self.leg.as_ref().filter(|leg| !leg.heard) {
            leg.lease.backend().suspect(core.now + core.times.suspect);
        }
        self.drop_leg(end);
    }

    /// Ends the backend connection, if there is one.
    pub fn drop_leg(&mut self, end: End) {
        if let Some(leg) = self.leg.take() {
            leg.lease.ended(end);
            if end != End::Refused {
                self.give_up = 0;
            }
        }
        self.leave = false;
    }

    /// Whether the backend connection, idle between messages, may get another request.
    pub fn is_fresh(&self, core: &Core) -> bool {
        !self.leave && self.leg.as_ref().is_some_and(|leg| leg.is_fresh(core))
    }

    /// A message boundary: nothing is under way on the backend connection.
    pub fn at_boundary(&mut self, core: &Core) {
        if let Some(leg) = &mut self.leg {
            leg.at_boundary(core.now);
        }
    }

    /// Leaves a backend that the route no longer offers, if nothing is under way there: between messages, or when it has
    /// taken nothing of what is held for it.
    pub fn leave_unused(&mut self) {
        if self.leave && self.is_unused() {
            self.drop_leg(End::Moved);
        }
    }

    /// Whether nothing has passed on the backend connection since the last boundary, so that another can take its place.
    pub fn is_unused(&self) -> bool {
        self.leg.as_ref().is_none_or(|leg| !leg.used)
    }

    /// Sends bytes to the backend, or holds them back. A connection that breaks before it took any is replaced.
    pub fn forward(&mut self, core: &mut Core, bytes: &[u8]) -> Result<(), Broken> {
        let mut sent = 0;
        if self.to_backend.is_empty() {
            sent = self.send(core, bytes)?;
        }
        self.to_backend.push(&bytes[sent..]);
        Ok(())
    }

    /// Sends what is held back for the backend. True if something went out.
    pub fn flush_backend(&mut self, core: &mut Core) -> Result<bool, Broken> {
        if self.to_backend.is_empty() || !self.leg.as_ref().is_some_and(|leg| leg.socket.is_writable()) {
            return Ok(false);
        }
        let held = std::mem::take(&mut self.to_backend);
        let sent = self.send(core, held.pending());
        self.to_backend = held;
        let sent = sent?;
        self.to_backend.consume(sent);
        Ok(sent > 0)
    }

    fn send(&mut self, core: &mut Core, bytes: &[u8]) -> Result<usize, Broken> {
        let Some(leg) = &mut self.leg else { return Ok(0) };
        match leg.socket.send(bytes) {
            Ok(0) => Ok(0),
            Ok(sent) => {
                leg.used = true;
                let tally = leg.lease.tally();
                tally.add(Counter::Received, sent as u64);
                if std::mem::take(&mut self.asking) {
                    tally.add(Counter::Requests, 1);
                }
                if !leg.connected {
                    self.connected(core);
                }
                Ok(sent)
            }
            Err(_) if leg.used => Err(Broken),
            // It took nothing, so nothing was executed: another can have it.
            Err(_) => {
                self.refused(core);
                Ok(0)
            }
        }
    }

    /// Passes on the end of the client's stream, once. True if it was done now.
    pub fn shut_backend(&mut self) -> bool {
        let leg = self
            .leg
            .as_mut()
            .filter(|leg| leg.connected && !leg.socket.is_shut());
        let shut = leg.map(|leg| {
            // It counts as something said: another backend would not do any more.
            leg.used = true;
            leg.socket.shut();
        });
        shut.is_some()
    }

    /// A request begins: it counts for the backend that takes its first byte.
    pub fn asking(&mut self) {
        self.asking = true;
        self.breaker = None;
    }

    /// The request is to be sent again, elsewhere: the backend has broken the connection before it answered.
    pub fn asking_again(&mut self, core: &Core) {
        self.breaker = self.backend().cloned();
        self.asking = true;
        self.broken(core, End::Replayed);
    }

    /// Its route has changed, or is gone. True if it has something to do about it.
    pub fn rerouted(&mut self, route: Option<&Route>) -> bool {
        match self.backend() {
            Some(backend) => {
                // A backend that is to be left for another reason is left all the same.
                self.leave |= !route.is_some_and(|route| route.offers(backend));
                self.leave
            }
            None => route.is_none() || self.give_up != 0,
        }
    }

    /// Whether the address that it came to is one of a route still.
    pub fn is_routed(&self, core: &Core) -> bool {
        core.routes.contains_key(&self.listener)
    }

    /// Asks to be run again at a time on the datapath's clock; 0: only when something happens.
    pub fn wake_at(&mut self, core: &mut Core, at: u64) {
        core.timers.set(self.key, self.deadline, at);
        self.deadline = at;
    }

    /// Asks to be run again at that time at the latest.
    pub fn wake_by(&mut self, core: &mut Core, at: u64) {
        if self.deadline == 0 || at < self.deadline {
            self.wake_at(core, at);
        }
    }

    /// The backend, if there is a connection to one.
    pub fn backend(&self) -> Option<&Arc<Backend>> {
        self.leg.as_ref().map(|leg| leg.lease.backend())
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.clients.add(Counter::Closed, 1);
    }
}
