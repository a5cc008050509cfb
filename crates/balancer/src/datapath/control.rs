//! The control side of the datapath.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::affinity::{Affinity, Pins};
use super::backend::{Backend, BackendState, BackendStatus};
use super::core::Times;
use super::ledger::{Ledger, RouteCounts};
use super::limits;
use super::listener::{BindError, Listener, ListenerStatus};
use super::shared::{Command, Shared};
use super::table::{Endpoint, Offer, Protocol, Route, RouteSpec, Table};
use super::udp::Udp;
use super::worker::Worker;

/// UDP sessions there may be at once, at one descriptor each.
const MOST_SESSIONS: usize = 16_384;

/// What can be chosen about a datapath.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads; 0: one a core.
    pub threads: usize,
    /// How long a client waits for a backend before it is refused.
    pub hold: Duration,
    /// How long the head of an HTTP request may take before the connection is treated as any TCP.
    pub head: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 0,
            hold: Duration::from_secs(5),
            head: Duration::from_secs(10),
        }
    }
}

/// The system would not give what a thread of the datapath needs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No epoll instance or eventfd.
    #[error("cannot watch sockets")]
    Epoll(#[source] Errno),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// A running datapath. Stops, with all its connections, when dropped.
pub struct Datapath {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) listeners: BTreeMap<SocketAddr, Arc<Listener>>,
    /// Listening sockets of another process, until a table has been applied.
    pub(super) inherited: BTreeMap<SocketAddr, Arc<Listener>>,
    /// What was asked for in vain, and why.
    failed: BTreeMap<(SocketAddr, Arc<str>), BindError>,
    routes: HashMap<SocketAddr, Arc<Route>>,
    udp: Udp,
    pub(super) backends: HashMap<Endpoint, Known>,
    pub(super) ledger: Ledger,
    /// What is remembered of clients, of routes with affinity.
    pins: HashMap<Arc<str>, Arc<Pins>>,
    version: u64,
    pub(super) next_listener: u32,
}

/// One thread's life. Should it ever panic, the whole process ends and is started anew: with a thread missing no table
/// would be acknowledged, no backend drained, and nobody would know.
fn run(worker: Worker) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run())).is_err() {
        std::process::abort();
    }
}

/// A backend that is in the table, or was and has not been forgotten.
pub struct Known {
    pub(super) backend: Arc<Backend>,
    /// The first table without it, if the newest one is without it.
    pub(super) absent_since: Option<u64>,
}

impl Datapath {
    /// Starts the threads. `notify` is called, from any thread and often, when a table has been acknowledged or a
    /// draining backend has lost its last connection: a reason to look at [`Self::backends`] again.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(settings: &Settings, notify: impl Fn() + Send + Sync + 'static) -> Result<Self, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if settings.threads == 0 {
            cores
        } else {
            settings.threads
        };
        let (mut queues, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (sender, receiver) = channel();
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            let wake = Arc::new(eventfd(0, flags).map_err(StartError::Epoll)?);
            queues.push((sender, wake.clone()));
            receivers.push((receiver, wake));
        }
        let shared = Arc::new(Shared {
            times: Times::with(settings.hold, settings.head),
            load: (0..count).map(|_| AtomicU32::new(0)).collect(),
            acknowledged: (0..count).map(|_| AtomicU64::new(0)).collect(),
            queues,
            most: limits::raise(),
            full: AtomicBool::new(false),
            notify: Arc::new(notify),
        });
        let mut threads = Vec::new();
        for (number, (commands, wake)) in receivers.into_iter().enumerate() {
            let worker = Worker::new(number, commands, wake, shared.clone()).map_err(StartError::Epoll)?;
            let thread = std::thread::Builder::new().name(format!("datapath-{number}"));
            threads.push(thread.spawn(move || run(worker)).map_err(StartError::Thread)?);
        }
        let sessions = usize::try_from(shared.most / 4).unwrap_or(usize::MAX);
        let udp = Udp::start(
            shared.clone(),
            count,
            sessions.min(MOST_SESSIONS),
            shared.notify.clone(),
        )?;
        Ok(Self {
            shared,
            threads,
            udp,
            listeners: BTreeMap::new(),
            inherited: BTreeMap::new(),
            failed: BTreeMap::new(),
            routes: HashMap::new(),
            backends: HashMap::new(),
            ledger: Ledger::new(count + 1),
            pins: HashMap::new(),
            version: 0,
            next_listener: 0,
        })
    }

    /// Makes these the routes, all others gone. Of two that want an address the first has it. Addresses that could not be
    /// listened on are tried again.
    pub fn apply(&mut self, specs: &[RouteSpec]) {
        let mut offered: HashMap<Endpoint, Known> = HashMap::new();
        let mut routes = Vec::with_capacity(specs.len());
        let mut pins = std::mem::take(&mut self.pins);
        for spec in specs {
            let offers = spec.endpoints.iter().map(|endpoint| {
                let known = offered
                    .entry(endpoint.clone())
                    .or_insert_with(|| self.offer(endpoint));
                Arc::new(Offer {
                    backend: known.backend.clone(),
                    series: self.ledger.endpoint(&spec.name, endpoint),
                })
            });
            let offers = offers.collect();
            let clients = self.ledger.clients(&spec.name);
            let affinity = spec.affinity.map(|timeout| {
                let kept = pins.remove(&spec.name).unwrap_or_default();
                self.pins.insert(spec.name.clone(), kept.clone());
                Affinity::new(kept, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX / 2))
            });
            routes.push((spec, Arc::new(Route::new(spec, offers, clients, affinity))));
        }
        self.version += 1;
        for known in self.backends.values_mut() {
            // Marked before any thread can see the table that makes it so.
            known.backend.set_draining(true);
            known.absent_since.get_or_insert(self.version);
        }
        self.backends.extend(offered);
        self.share_out(&routes);
    }

    /// Gives each address to the route that has it.
    fn share_out(&mut self, routes: &[(&RouteSpec, Arc<Route>)]) {
        let (mut wanted, mut datagrams) = (BTreeMap::new(), Vec::new());
        self.failed.clear();
        let first = routes
            .iter()
            .flat_map(|(spec, route)| spec.listen.iter().map(move |addr| (addr, route)));
        let then = routes
            .iter()
            .flat_map(|(spec, route)| spec.also.iter().map(move |addr| (addr, route)));
        for (addr, route) in first.chain(then) {
            if route.protocol == Protocol::Udp {
                datagrams.push((*addr, route.clone()));
            } else {
                self.want(&mut wanted, *addr, route);
            }
        }
        self.udp.apply(self.version, datagrams.into_iter());
        self.publish(wanted);
    }

    /// The backend of an endpoint, in service again if it was not.
    fn offer(&mut self, endpoint: &Endpoint) -> Known {
        let known = self.backends.remove(endpoint).map(|known| known.backend);
        let backend = known.unwrap_or_else(|| {
            Arc::new(Backend::new(
                endpoint.addr,
                endpoint.owner.clone(),
                self.shared.notify.clone(),
            ))
        });
        backend.set_draining(false);
        Known {
            backend,
            absent_since: None,
        }
    }

    /// Adds a listener to those wanted, unless another route has it.
    fn want(&mut self, wanted: &mut BTreeMap<SocketAddr, Arc<Route>>, addr: SocketAddr, route: &Arc<Route>) {
        if let Some(first) = wanted.get(&addr) {
            let taken = BindError::Taken(first.name.clone());
            self.failed.insert((addr, route.name.clone()), taken);
            return;
        }
        // The same route keeps its identity, so that threads see at a glance what has changed.
        let same = self.routes.get(&addr).filter(|before| before.same(route));
        wanted.insert(addr, same.unwrap_or(route).clone());
    }

    /// Opens and closes listeners and hands the table to the threads.
    fn publish(&mut self, wanted: BTreeMap<SocketAddr, Arc<Route>>) {
        for listener in self
            .listeners
            .extract_if(.., |addr, _| !wanted.contains_key(addr))
        {
            listener.1.stop();
        }
        let mut entries = Vec::with_capacity(wanted.len());
        for (addr, route) in &wanted {
            let listener = match self.listeners.get(addr) {
                Some(listener) => listener.clone(),
                None => match self.open(*addr) {
                    Ok(listener) => listener,
                    Err(error) => {
                        self.failed.insert((*addr, route.name.clone()), error);
                        continue;
                    }
                },
            };
            entries.push((listener, route.clone()));
        }
        for listener in std::mem::take(&mut self.inherited).into_values() {
            listener.stop();
        }
        self.routes = wanted.into_iter().collect();
        let table = Arc::new(Table {
            version: self.version,
            entries,
        });
        for thread in 0..self.threads.len() {
            self.shared.send(thread, Command::Install(table.clone()));
        }
    }

    fn open(&mut self, addr: SocketAddr) -> Result<Arc<Listener>, BindError> {
        let listener = match self.inherited.remove(&addr) {
            Some(listener) => listener,
            None => {
                self.next_listener += 1;
                Arc::new(Listener::open(self.next_listener, addr)?)
            }
        };
        self.listeners.insert(addr, listener.clone());
        Ok(listener)
    }

    /// All addresses that should be listened on.
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        let open = self.listeners.keys().map(|addr| {
            let route = self
                .routes
                .get(addr)
                .map_or_else(|| "".into(), |route| route.name.clone());
            ListenerStatus {
                addr: *addr,
                route,
                error: None,
            }
        });
        let failed = self.failed.iter().map(|((addr, route), error)| ListenerStatus {
            addr: *addr,
            route: route.clone(),
            error: Some(error.clone()),
        });
        open.chain(failed).chain(self.udp.listeners()).collect()
    }

    /// All backends, drained ones until they are forgotten. What is said to be drained is so for good, or until a later
    /// [`Self::apply`] offers it again.
    pub fn backends(&self) -> Vec<BackendStatus> {
        let acknowledged = self.acknowledged();
        self.backends
            .values()
            .map(|known| known.backend.status(known.state(acknowledged)))
            .collect()
    }

    /// The time of this owner's backends is over: what they end from now on was not over for its client, and is cut.
    pub fn set_overdue(&mut self, owner: &str) {
        for (endpoint, known) in &self.backends {
            if *endpoint.owner == *owner {
                known.backend.set_overdue();
            }
        }
    }

    /// Forgets a backend, if it is drained still.
    pub fn forget(&mut self, backend: &BackendStatus) {
        let acknowledged = self.acknowledged();
        let endpoint = Endpoint {
            addr: backend.addr,
            owner: backend.owner.clone(),
        };
        if self
            .backends
            .get(&endpoint)
            .is_some_and(|known| known.state(acknowledged) == BackendState::Drained)
        {
            self.backends.remove(&endpoint);
        }
    }

    /// Milliseconds on the datapath's clock, which is the machine's.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// What has been counted, of routes and endpoints that are not gone.
    pub fn counts(&self) -> Vec<RouteCounts> {
        self.ledger.read()
    }

    /// Forgets the counts of endpoints that are in no table and whose owner is not alive; their routes keep the sums.
    pub fn forget_counts(&mut self, is_alive: impl Fn(&str) -> bool) {
        self.ledger.sweep(is_alive);
    }

    /// Client connections now, those without a backend included, UDP sessions not.
    pub fn connections(&self) -> u32 {
        self.shared.connections()
    }

    /// Client connections that there may be at once; more wait to be accepted.
    pub fn most(&self) -> u32 {
        self.shared.most
    }

    /// The newest table that all threads have.
    fn acknowledged(&self) -> u64 {
        let versions = self
            .shared
            .acknowledged
            .iter()
            .map(|version| version.load(Ordering::SeqCst));
        versions.min().unwrap_or(0).min(self.udp.acknowledged())
    }
}

impl Known {
    fn state(&self, acknowledged: u64) -> BackendState {
        match self.absent_since {
            None => BackendState::Ready,
            // The order matters: once acknowledged, the count can only fall.
            Some(since) if acknowledged >= since && self.backend.open() == 0 => BackendState::Drained,
            Some(_) => BackendState::Draining,
        }
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        for thread in 0..self.threads.len() {
            self.shared.send(thread, Command::Stop);
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}
