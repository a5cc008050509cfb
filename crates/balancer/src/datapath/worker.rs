//! One thread of the datapath: its epoll loop.
//!
//! Flows in: epoll's events, and commands of the control side by a queue and an eventfd. Each round first takes note of
//! all events, then runs each connection that has one, once: so a backend's close that came in the same round as the
//! client's next request is known before the request is sent.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use slab::Slab;

use super::connection::{Connection, Verdict};
use super::core::Core;
use super::listener::Listener;
use super::shared::{Command, Shared};
use super::socket::Socket;
use super::table::{Route, Table};
use super::wires::Wires;

/// Bytes that are read at once. The more of a large body, the fewer wake-ups on both sides; memory that no read has
/// reached yet is none.
const SCRATCH: usize = 1024 * 1024;
/// Events that are taken at once.
const EVENTS: usize = 256;
/// Connections that are accepted from one listener at once.
const ACCEPTS: usize = 16;
/// A thread keeps what it accepts as long as it has at most this many connections more than the least loaded one.
const IMBALANCE: u32 = 4;
/// Milliseconds without accepting, when there are as many connections as descriptors allow.
const PAUSE: u64 = 50;
/// Set in tokens that are not a connection's.
const NO_CONNECTION: u64 = 1 << 63;
/// The token of the eventfd.
const WAKE: u64 = u64::MAX;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's socket.
    Client,
    /// The backend's socket.
    Backend,
}

/// What epoll gives back for a connection's socket: key, side, and 30 bits of a generation, by which an event for a
/// socket that has been closed meanwhile is known.
pub fn token(key: u32, side: Side, generation: u32) -> EventData {
    let side = if side == Side::Backend { 1 << 32 } else { 0 };
    EventData::new_u64(u64::from(key) | side | (u64::from(generation & 0x3fff_ffff) << 33))
}

/// The state of one thread.
pub struct Worker {
    pub(super) number: usize,
    pub(super) core: Core,
    wake: Arc<OwnedFd>,
    pub(super) commands: Receiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) connections: Slab<Connection>,
    pub(super) listeners: HashMap<u32, Arc<Listener>>,
    /// The table that is installed.
    version: u64,
    /// Connections to be run in this round.
    queue: Vec<u32>,
    /// The queue of the round before: memory to be used again.
    spare: Vec<u32>,
    /// Until when nothing is accepted; 0 when accepting.
    paused_until: u64,
}

impl Worker {
    /// A thread's state before its first round.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn new(
        number: usize,
        commands: Receiver<Command>,
        wake: Arc<OwnedFd>,
        shared: Arc<Shared>,
    ) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let core = Core::new(epoll, shared.times, number);
        Ok(Self {
            number,
            core,
            wake,
            commands,
            shared,
            connections: Slab::new(),
            listeners: HashMap::new(),
            version: 0,
            queue: Vec::new(),
            spare: Vec::new(),
            paused_until: 0,
        })
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let mut scratch = vec![0; SCRATCH];
        let mut events = Vec::with_capacity(EVENTS);
        let mut accepting = Vec::new();
        loop {
            self.wait(&mut events);
            self.core.micros = self.shared.micros();
            self.core.now = self.core.micros / 1000;
            let mut woken = false;
            for event in events.drain(..) {
                let (flags, data) = (event.flags, event.data.u64());
                match data {
                    WAKE => woken = true,
                    _ if data & NO_CONNECTION != 0 => accepting.push(low(data)),
                    _ => self.note(data, flags),
                }
            }
            if woken && !self.obey() {
                return;
            }
            for listener in accepting.drain(..) {
                self.accept(listener);
            }
            if self.paused_until != 0 && self.core.now >= self.paused_until {
                self.resume();
            }
            while let Some(key) = self.core.timers.expired(self.core.now) {
                self.enqueue(key);
            }
            // Without a table an inherited connection would find no backend, and give up.
            if self.version != 0 {
                self.run_queue(&mut scratch);
            }
        }
    }

    fn wait(&self, events: &mut Vec<epoll::Event>) {
        let paused = (self.paused_until != 0).then_some(self.paused_until);
        let next = [self.core.timers.next(), paused].into_iter().flatten().min();
        let wait = if self.queue.is_empty() || self.version == 0 {
            next.map(|at| at.saturating_sub(self.shared.now()))
        } else {
            Some(0)
        };
        let timeout = wait.map(|milliseconds| Timespec {
            tv_sec: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(milliseconds % 1000 * 1_000_000).unwrap_or(0),
        });
        // Only EINTR is possible here, after which another round is right as well.
        let _ = epoll::wait(
            &self.core.epoll,
            rustix::buffer::spare_capacity(events),
            timeout.as_ref(),
        );
    }

    /// Takes note of an event of a connection's socket.
    fn note(&mut self, data: u64, flags: EventFlags) {
        let key = low(data);
        let generation = low(data >> 33) & 0x3fff_ffff;
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        let wires = &mut connection.wires;
        if data & (1 << 32) == 0 {
            if wires.generation & 0x3fff_ffff != generation {
                return;
            }
            wires.client.reported(flags);
        } else {
            match &mut wires.leg {
                Some(leg) if leg.generation & 0x3fff_ffff == generation => leg.socket.reported(flags),
                _ => return,
            }
        }
        self.enqueue(key);
    }

    pub(super) fn enqueue(&mut self, key: u32) {
        if let Some(connection) = self.connections.get_mut(key as usize)
            && !connection.queued
        {
            connection.queued = true;
            self.queue.push(key);
        }
    }

    fn run_queue(&mut self, scratch: &mut [u8]) {
        let mut queue = std::mem::replace(&mut self.queue, std::mem::take(&mut self.spare));
        for key in queue.drain(..) {
            let Some(connection) = self.connections.get_mut(key as usize) else {
                continue;
            };
            connection.queued = false;
            match connection.run(&mut self.core, scratch) {
                Verdict::Keep => {}
                Verdict::Again => self.enqueue(key),
                Verdict::Over => {
                    self.connections.remove(key as usize);
                    self.shared.load[self.number].fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        self.spare = queue;
    }

    /// Does what the control side has asked for; false to stop.
    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        while let Ok(command) = self.commands.try_recv() {
            if !self.execute(command) {
                return false;
            }
        }
        true
    }

    /// Does one thing that the control side, or another thread, has asked for; false to stop.
    pub(super) fn execute(&mut self, command: Command) -> bool {
        match command {
            Command::Install(table) => self.install(&table),
            Command::Adopt(fd, listener) => self.adopt(fd, listener),
            Command::Inherit(inherited) => self.inherit(*inherited),
            Command::Freeze(frozen) => {
                drop(frozen);
                return self.frozen();
            }
            Command::Stop => return false,
            // They mean nothing to a thread that runs.
            Command::Give(..) | Command::Thaw => {}
        }
        true
    }

    /// Takes over a new table, looks after the connections that it concerns, and acknowledges it.
    fn install(&mut self, table: &Table) {
        let mut old = std::mem::take(&mut self.core.routes);
        let mut gone = std::mem::take(&mut self.listeners);
        let mut changed: HashMap<u32, Option<Arc<Route>>> = HashMap::new();
        for (listener, route) in &table.entries {
            if !old
                .remove(&listener.id)
                .is_some_and(|before| Arc::ptr_eq(&before, route))
            {
                changed.insert(listener.id, Some(route.clone()));
            }
            self.core.routes.insert(listener.id, route.clone());
            if gone.remove(&listener.id).is_none() && self.paused_until == 0 {
                self.watch(listener);
            }
            self.listeners.insert(listener.id, listener.clone());
        }
        changed.extend(old.into_keys().map(|id| (id, None)));
        for listener in gone.into_values() {
            // Closing is not enough: the other threads have it open.
            let _ = epoll::delete(&self.core.epoll, listener.as_fd());
        }
        for (key, connection) in &mut self.connections {
            if let Some(route) = changed.get(&connection.wires.listener)
                && connection.wires.rerouted(route.as_deref())
                && !connection.queued
            {
                connection.queued = true;
                self.queue.push(index(key));
            }
        }
        self.version = table.version;
        self.shared.acknowledge(self.number, table.version);
    }

    fn watch(&self, listener: &Listener) {
        let data = EventData::new_u64(NO_CONNECTION | u64::from(listener.id));
        if let Err(error) = epoll::add(
            &self.core.epoll,
            listener.as_fd(),
            data,
            EventFlags::IN | EventFlags::EXCLUSIVE,
        ) {
            tracing::error!(addr = %listener.addr, %error, "cannot watch a listening socket");
        }
    }

    /// Accepts what waits at a listener and gives it to the thread with the fewest connections, if that is much less
    /// loaded than this one.
    fn accept(&mut self, id: u32) {
        let Some(listener) = self.listeners.get(&id).cloned() else {
            return;
        };
        for _ in 0..ACCEPTS {
            if self.shared.is_full() {
                return self.pause();
            }
            let fd = match listener.accept() {
                Ok(fd) => fd,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return self.pause(),
                // Nothing waits, or what waited has gone.
                Err(_) => return,
            };
            let least = self.shared.least_loaded();
            let mine = self.shared.load[self.number].load(Ordering::Relaxed);
            let uneven = mine > self.shared.load[least].load(Ordering::Relaxed) + IMBALANCE;
            // A thread that has not heard of the listener yet would not know what to do with its connection.
            if uneven && self.shared.has_installed(least, self.version) {
                self.shared.load[least].fetch_add(1, Ordering::Relaxed);
                self.shared.send(least, Command::Adopt(fd, id));
            } else {
                self.shared.load[self.number].fetch_add(1, Ordering::Relaxed);
                self.adopt(fd, id);
            }
        }
    }

    /// Makes an accepted socket, counted already, a connection of this thread.
    fn adopt(&mut self, fd: OwnedFd, listener: u32) {
        let entry = self.connections.vacant_entry();
        let key = index(entry.key());
        let generation = self.core.next_generation();
        let route = self.core.routes.get(&listener);
        let registered = epoll::add(
            &self.core.epoll,
            &fd,
            token(key, Side::Client, generation),
            super::socket::INTEREST,
        );
        if let (Some(route), Ok(())) = (route, registered) {
            let clients = route.clients.of(self.number).clone();
            let wires = Wires::new(Socket::accepted(fd), listener, key, generation, clients);
            entry.insert(Connection::new(wires, route.protocol));
            self.enqueue(key);
        } else {
            self.shared.load[self.number].fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Stops accepting for a while: there are as many connections as descriptors allow. Waiting ones wait on.
    fn pause(&mut self) {
        if self.paused_until == 0 {
            for listener in self.listeners.values() {
                let _ = epoll::delete(&self.core.epoll, listener.as_fd());
            }
            self.shared.warn_full();
        }
        self.paused_until = self.core.now + PAUSE;
    }

    fn resume(&mut self) {
        self.paused_until = 0;
        for listener in self.listeners.values() {
            self.watch(listener);
        }
    }
}

fn low(data: u64) -> u32 {
    u32::try_from(data & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

pub fn index(key: usize) -> u32 {
    // A thread has fewer connections than the process has descriptors.
    u32::try_from(key).unwrap_or(u32::MAX)
}
