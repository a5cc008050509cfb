//! The thread: its epoll loop and its sessions.
//!
//! Level-triggered: whatever is left after a turn is reported again, so that no client can keep the others waiting.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recvfrom};
use slab::Slab;

use super::super::backend::{End, Lease};
use super::super::shared::Shared;
use super::super::table::Route;
use super::super::timers::Timers;
use super::session::{Passed, Session};
use super::{Command, Entries, Listener};

/// No datagram is longer.
const SCRATCH: usize = 64 * 1024;
/// Events that are taken at once.
const EVENTS: usize = 256;
/// Datagrams that are taken from one socket at once.
const TURN: usize = 64;
/// Set in tokens of listening sockets.
const LISTENER: u64 = 1 << 63;
/// The token of the eventfd.
const WAKE: u64 = u64::MAX;

/// The state of the thread.
pub struct Worker {
    shared: Arc<Shared>,
    number: usize,
    /// Sessions that there may be at once.
    most: usize,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    commands: Receiver<Command>,
    acknowledge: Box<dyn Fn(u64) + Send>,
    routes: HashMap<u32, (Arc<Listener>, Arc<Route>)>,
    sessions: Slab<Session>,
    /// Each client's session, by listener.
    current: HashMap<(u32, SocketAddr), u32>,
    timers: Timers,
    turn: usize,
    generation: u32,
    now: u64,
}

impl Worker {
    /// The thread's state before its first round.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn new(
        shared: Arc<Shared>,
        number: usize,
        most: usize,
        wake: Arc<OwnedFd>,
        commands: Receiver<Command>,
        acknowledge: impl Fn(u64) + Send + 'static,
    ) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            now: shared.now(),
            shared,
            number,
            most,
            epoll,
            wake,
            commands,
            acknowledge: Box::new(acknowledge),
            routes: HashMap::new(),
            sessions: Slab::new(),
            current: HashMap::new(),
            timers: Timers::default(),
            turn: 0,
            generation: 0,
        })
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let mut scratch = vec![0; SCRATCH];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.wait(&mut events);
            self.now = self.shared.now();
            for event in events.drain(..) {
                match event.data.u64() {
                    WAKE => {
                        if !self.obey() {
                            return;
                        }
                    }
                    data if data & LISTENER != 0 => self.listen(low(data), &mut scratch),
                    data => self.hear(low(data), low(data >> 32), &mut scratch),
                }
            }
            while let Some(key) = self.timers.expired(self.now) {
                self.look_after(key, true);
            }
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) {
        let wait = self.timers.next().map(|at| at.saturating_sub(self.shared.now()));
        let timeout = wait.map(|milliseconds| Timespec {
            tv_sec: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(milliseconds % 1000 * 1_000_000).unwrap_or(0),
        });
        // Only EINTR is possible here, after which another round is right as well.
        let _ = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(events),
            timeout.as_ref(),
        );
    }

    /// Does what the control side has asked for; false to stop.
    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Install(version, entries) => {
                    self.install(entries);
                    (self.acknowledge)(version);
                }
                Command::Stop => return false,
            }
        }
        true
    }

    /// Takes over new routes; sessions whose backend is offered no longer, or whose listener is gone, leave.
    fn install(&mut self, entries: Entries) {
        let mut before = std::mem::take(&mut self.routes);
        for (listener, route) in entries {
            if before.remove(&listener.id).is_none() {
                let data = EventData::new_u64(LISTENER | u64::from(listener.id));
                if let Err(error) = epoll::add(&self.epoll, &*listener, data, EventFlags::IN) {
                    tracing::error!(addr = %listener.addr, %error, "cannot watch a listening socket");
                }
            }
            self.routes.insert(listener.id, (listener, route));
        }
        for (listener, _) in before.into_values() {
            let _ = epoll::delete(&self.epoll, listener.as_fd());
        }
        let mut leaving = Vec::new();
        for (key, session) in &mut self.sessions {
            let id = session.listener.id;
            let offered = self
                .routes
                .get(&id)
                .is_some_and(|(_, route)| route.offers(session.lease().backend()));
            if !offered && !session.is_leaving() {
                session.leave(self.now);
                self.current.remove(&(id, session.client));
                leaving.push(index(key));
            }
        }
        for key in leaving {
            self.look_after(key, false);
        }
    }

    /// Takes what clients have sent to a listening socket.
    fn listen(&mut self, id: u32, scratch: &mut [u8]) {
        let Some((listener, route)) = self.routes.get(&id).cloned() else {
            return;
        };
        for _ in 0..TURN {
            match recvfrom(&*listener, &mut *scratch, RecvFlags::empty()) {
                Ok((_, count, Some(client))) => {
                    if let Ok(client) = SocketAddr::try_from(client) {
                        self.said(&listener, &route, client, &scratch[..count]);
                    }
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// A client has sent a datagram.
    fn said(&mut self, listener: &Arc<Listener>, route: &Route, client: SocketAddr, bytes: &[u8]) {
        let mut before = Vec::new();
        // Each round ends with a backend that takes it, or one more that is known to refuse.
        for _ in 0..=route.len() {
            let key = self.current.get(&(listener.id, client)).copied();
            let Some(key) = key.or_else(|| self.open(listener, route, client)) else {
                return;
            };
            let Some(session) = self.sessions.get_mut(key as usize) else {
                return;
            };
            if !before.is_empty() && session.ask(&before, self.now) == Passed::On {
                before.clear();
            }
            if session.ask(bytes, self.now) == Passed::On {
                return;
            }
            // It is an earlier datagram that was refused.
            let refused = self.refused(key);
            if before.is_empty() {
                before = refused;
            }
        }
    }

    /// A session for a client that has none.
    fn open(&mut self, listener: &Arc<Listener>, route: &Route, client: SocketAddr) -> Option<u32> {
        if self.sessions.len() >= self.most {
            // The one that would end first makes room.
            let first = self.timers.expired(u64::MAX)?;
            self.end(first, End::Finished);
        }
        self.turn = self.turn.wrapping_add(1);
        let offer = route.choose(self.turn, self.now, || Some(client.ip()))?;
        // Counted before it is opened: see the module `datapath`.
        let lease = Lease::new(offer.clone(), self.number);
        let clients = route.clients.of(self.number).clone();
        self.generation = self.generation.wrapping_add(1) & 0x7fff_ffff;
        let opened = Session::open(
            listener.clone(),
            client,
            lease,
            clients,
            self.generation,
            self.now,
        );
        let session = match opened {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%client, %error, "cannot open a session");
                return None;
            }
        };
        let key = index(self.sessions.vacant_key());
        let data = EventData::new_u64(u64::from(key) | u64::from(self.generation) << 32);
        let registered = epoll::add(&self.epoll, session.as_fd(), data, EventFlags::IN);
        if registered.is_err() {
            session.end(End::Finished);
            return None;
        }
        self.sessions.insert(session);
        self.current.insert((listener.id, client), key);
        self.look_after(key, false);
        Some(key)
    }

    /// Takes what a backend has sent to a session.
    fn hear(&mut self, key: u32, generation: u32, scratch: &mut [u8]) {
        for _ in 0..TURN {
            let session = self.sessions.get_mut(key as usize);
            let Some(session) = session.filter(|session| session.generation == generation) else {
                return;
            };
            match session.answer(scratch, self.now) {
                Passed::On => {}
                Passed::Nothing => break,
                Passed::Refused => return self.elsewhere(key),
            }
        }
        self.look_after(key, false);
    }

    /// A backend has refused a datagram: another gets it, if there is one that is not known to refuse.
    fn elsewhere(&mut self, key: u32) {
        let Some(session) = self.sessions.get(key as usize) else {
            return;
        };
        let (listener, client, leaving) = (session.listener.clone(), session.client, session.is_leaving());
        let kept = self.refused(key);
        let Some((_, route)) = self.routes.get(&listener.id).cloned() else {
            return;
        };
        if kept.is_empty() || leaving {
            return;
        }
        let offer = route.choose(self.turn, self.now, || Some(client.ip()));
        if offer.is_some_and(|offer| !offer.backend.is_suspect(self.now)) {
            self.said(&listener, &route, client, &kept);
        }
    }

    /// Ends a session whose backend refuses; the datagram that was refused.
    fn refused(&mut self, key: u32) -> Vec<u8> {
        if let Some(session) = self.sessions.get(key as usize) {
            let until = self.now + self.shared.times.suspect;
            session.lease().backend().suspect(until);
        }
        self.end(key, End::Refused)
    }

    /// Ends a session whose time has come; else sets its deadline, if it has none that is near enough.
    fn look_after(&mut self, key: u32, expired: bool) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let at = session.ends_at();
        if at <= self.now && (expired || session.is_leaving()) {
            let end = if session.is_leaving() {
                End::Moved
            } else {
                End::Finished
            };
            if !expired {
                self.timers.set(key, session.deadline, 0);
            }
            session.deadline = 0;
            self.end(key, end);
            return;
        }
        // A deadline that is too early costs one more look; moving it with each datagram would cost more.
        if expired || session.deadline == 0 || at < session.deadline {
            let old = if expired { 0 } else { session.deadline };
            self.timers.set(key, old, at.max(1));
            session.deadline = at.max(1);
        }
    }

    fn end(&mut self, key: u32, end: End) -> Vec<u8> {
        let Some(session) = self.sessions.try_remove(key as usize) else {
            return Vec::new();
        };
        self.timers.set(key, session.deadline, 0);
        let client = (session.listener.id, session.client);
        if self.current.get(&client) == Some(&key) {
            self.current.remove(&client);
        }
        session.end(end)
    }
}

fn low(data: u64) -> u32 {
    u32::try_from(data & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn index(key: usize) -> u32 {
    // There are fewer sessions than the process has descriptors.
    u32::try_from(key).unwrap_or(u32::MAX)
}
