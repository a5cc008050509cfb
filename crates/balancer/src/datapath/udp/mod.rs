//! UDP: a session per client address.
//!
//! Flows in: datagrams at the listening sockets, and routes. Flows out: the same datagrams at a backend, from a socket of
//! the session's own, and what the backend says to that socket, at the client, from the address that the client knows.
//!
//! What is promised: a client's datagrams go to one backend, until its session has been idle for a while (30 s as long as
//! the backend has not answered, 120 s after: the times of Linux' connection tracking). When a route offers the backend
//! no longer, the client's next datagram goes to another; answers that are under way still arrive, for up to 2 s, and
//! the backend has drained then. A backend that refuses (its port is closed) loses the session at once, and the datagram
//! that it refused goes to another. Datagrams for which there is no backend are dropped, as are those that a socket
//! cannot take: whoever uses UDP sends again.
//!
//! One thread does all of it: a datagram costs two or three system calls, and an answer no more. It takes part
//! in the protocol by which a backend is known to have drained (see the module `datapath`) like any other thread.

mod session;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};

use super::control::StartError;
use super::listener::{BindError, ListenerStatus};
use super::shared::Shared;
use super::table::Route;
use worker::Worker;

/// Bytes that may wait at a listening socket, as far as the system allows.
const WAITING: usize = 1 << 20;

/// A listening socket.
pub struct Listener {
    /// Unique within a datapath's UDP side.
    pub id: u32,
    pub addr: SocketAddr,
    fd: OwnedFd,
}

/// What to listen on and where sessions go.
pub type Entries = Vec<(Arc<Listener>, Arc<Route>)>;

/// What the control side asks of the thread.
enum Command {
    /// Take over these routes, all others gone, and acknowledge them by this number.
    Install(u64, Entries),
    /// End, and every session with you.
    Stop,
}

/// The control side. Stops the thread when dropped.
pub struct Udp {
    queue: Sender<Command>,
    wake: Arc<OwnedFd>,
    acknowledged: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    listeners: BTreeMap<SocketAddr, (Arc<Listener>, Arc<Route>)>,
    failed: BTreeMap<(SocketAddr, Arc<str>), BindError>,
    next_listener: u32,
}

impl Udp {
    /// Starts the thread, which counts under this number and calls `notify` like the others.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        shared: Arc<Shared>,
        number: usize,
        most: usize,
        notify: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, StartError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags).map_err(StartError::Epoll)?);
        let (queue, commands) = channel();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let acknowledging = acknowledged.clone();
        let acknowledge = move |version| {
            acknowledging.store(version, Ordering::SeqCst);
            notify();
        };
        let worker = Worker::new(shared, number, most, wake.clone(), commands, acknowledge)
            .map_err(StartError::Epoll)?;
        let thread = std::thread::Builder::new()
            .name("datapath-udp".to_owned())
            .spawn(move || run(worker))
            .map_err(StartError::Thread)?;
        Ok(Self {
            queue,
            wake,
            acknowledged,
            thread: Some(thread),
            listeners: BTreeMap::new(),
            failed: BTreeMap::new(),
            next_listener: 0,
        })
    }

    /// Makes these the routes, all others gone, as table number `version`.
    pub fn apply(&mut self, version: u64, routes: impl Iterator<Item = (SocketAddr, Arc<Route>)>) {
        self.failed.clear();
        let mut before = std::mem::take(&mut self.listeners);
        for (addr, route) in routes {
            if let Some((_, first)) = self.listeners.get(&addr) {
                let taken = BindError::Taken(first.name.clone());
                self.failed.insert((addr, route.name.clone()), taken);
                continue;
            }
            let listener = match before.remove(&addr) {
                Some((listener, old)) => Ok((listener, if old.same(&route) { old } else { route.clone() })),
                None => self.open(addr).map(|listener| (listener, route.clone())),
            };
            match listener {
                Ok(entry) => drop(self.listeners.insert(addr, entry)),
                Err(error) => drop(self.failed.insert((addr, route.name.clone()), error)),
            }
        }
        self.send(Command::Install(
            version,
            self.listeners.values().cloned().collect(),
        ));
    }

    fn open(&mut self, addr: SocketAddr) -> Result<Arc<Listener>, BindError> {
        self.next_listener += 1;
        Ok(Arc::new(Listener {
            id: self.next_listener,
            addr,
            fd: open(addr)?,
        }))
    }

    /// The newest table that the thread has.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// All addresses that should be listened on.
    pub fn listeners(&self) -> impl Iterator<Item = ListenerStatus> {
        let open = self
            .listeners
            .iter()
            .map(|(addr, (_, route))| (*addr, &route.name, None));
        let failed = self.failed.iter();
        let failed = failed.map(|((addr, route), error)| (*addr, route, Some(error.clone())));
        open.chain(failed).map(|(addr, route, error)| ListenerStatus {
            addr,
            route: route.clone(),
            error,
        })
    }

    fn send(&self, command: Command) {
        // A thread that has ended needs nothing any more; an eventfd that is full has woken it already.
        let _ = self.queue.send(command);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// The thread's life. Should it ever panic, the whole process ends: see `control`.
fn run(worker: Worker) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run())).is_err() {
        std::process::abort();
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A datagram socket of the address' family.
fn datagram(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))
}

fn open(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = datagram(addr)?;
    // So that the next balancer can listen before this one has stopped. Programs of other users are kept off all the same.
    sockopt::set_socket_reuseport(&fd, true)?;
    // The system's limit may be lower.
    let _ = sockopt::set_socket_recv_buffer_size(&fd, WAITING);
    bind(&fd, &addr)?;
    Ok(fd)
}
