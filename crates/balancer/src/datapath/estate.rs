//! Passing everything on to another process: listening sockets and connections, as they are.
//!
//! The threads are stopped between two of their rounds ([`Datapath::freeze`]), so that each connection is in a state that
//! can be written down: which bytes are held back, where in which message it is, which backend it has. From then on
//! nothing is accepted, read or written until they go on ([`Datapath::thaw`]) or end. Sockets are passed as they are, so
//! neither clients nor backends notice, and what arrives meanwhile waits in the system's buffers and accept queues.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize};

use super::backend::{Backend, Lease};
use super::connection::{Connection, Phase};
use super::control::{Datapath, Known};
use super::counters::Series;
use super::listener::Listener;
use super::shared::Command;
use super::table::{Endpoint, Offer};
use super::wires::{Ends, Wires, WiresEstate};
use super::worker::{Worker, index};
use crate::handover::ChannelError;

/// A connection's state, beside its sockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectionEstate {
    /// The listener that accepted it, unless that is gone.
    listener: Option<SocketAddr>,
    /// The name of its route, empty if that is gone.
    route: Arc<str>,
    phase: Phase,
    wires: WiresEstate,
}

/// Where connections are passed on to: their state, the client's socket and the backend's, if there is one.
pub type Give = Arc<dyn Fn(ConnectionEstate, &[BorrowedFd<'_>]) -> Result<(), ChannelError> + Send + Sync>;

/// A connection that was passed on, for the thread that gets it.
pub struct Inherited {
    estate: ConnectionEstate,
    client: OwnedFd,
    leg: Option<(OwnedFd, Arc<Offer>)>,
    /// The listener's number here; 0 if there is none.
    listener: u32,
    clients: Arc<Series>,
}

impl Datapath {
    /// Stops all threads but that of UDP between two of their rounds, and returns when they have.
    pub fn freeze(&self) {
        let (frozen, all) = channel::<()>();
        for thread in 0..self.threads.len() {
            self.shared.send(thread, Command::Freeze(frozen.clone()));
        }
        drop(frozen);
        // It says so by closing.
        let _ = all.recv();
    }

    /// Lets frozen threads go on.
    pub fn thaw(&self) {
        for thread in 0..self.threads.len() {
            self.shared.send(thread, Command::Thaw);
        }
    }

    /// The listening sockets, each with a number that no other one of this datapath has or had.
    pub fn listening(&self) -> impl Iterator<Item = (u32, SocketAddr, BorrowedFd<'_>)> {
        self.listeners
            .values()
            .map(|listener| (listener.id, listener.addr, listener.as_fd()))
    }

    /// Gives all connections of frozen threads. They stay here as well: either the threads end, or whoever got them must
    /// never use them.
    ///
    /// # Errors
    /// Of the first one that could not be given.
    pub fn give(&self, give: &Give) -> Result<(), ChannelError> {
        for thread in 0..self.threads.len() {
            let (done, answer) = channel();
            self.shared.send(thread, Command::Give(give.clone(), done));
            answer.recv().map_err(|_| ChannelError::Ended)??;
        }
        Ok(())
    }

    /// Takes over a listening socket, to be used when a table wants its address. Those that the next table does not want
    /// are closed.
    pub fn inherit(&mut self, addr: SocketAddr, fd: OwnedFd) {
        self.next_listener += 1;
        let listener = Listener::inherited(self.next_listener, addr, fd);
        self.inherited.insert(addr, Arc::new(listener));
    }

    /// Takes over a connection: its state, and its sockets. To be called before the first table is applied, so that when
    /// a table without its backend has been acknowledged, the connection has been counted. Without its sockets it is
    /// none.
    pub fn adopt(&mut self, estate: ConnectionEstate, files: Vec<OwnedFd>) {
        let mut files = files.into_iter();
        let Some(client) = files.next() else { return };
        let leg = match &estate.wires.leg {
            Some(leg) => {
                let endpoint = leg.endpoint.clone();
                let offer = self.offer_of(&estate.route, &endpoint);
                files.next().map(|fd| (fd, offer))
            }
            None => None,
        };
        let listener = estate.listener.and_then(|addr| self.inherited.get(&addr));
        let inherited = Inherited {
            listener: listener.map_or(0, |listener| listener.id),
            clients: self.ledger.clients(&estate.route),
            client,
            leg,
            estate,
        };
        let thread = self.shared.least_loaded();
        self.shared.load[thread].fetch_add(1, Ordering::Relaxed);
        self.shared.send(thread, Command::Inherit(Box::new(inherited)));
    }

    fn offer_of(&mut self, route: &Arc<str>, endpoint: &Endpoint) -> Arc<Offer> {
        let notify = &self.shared.notify;
        let known = self.backends.entry(endpoint.clone()).or_insert_with(|| Known {
            backend: Arc::new(Backend::new(
                endpoint.addr,
                endpoint.owner.clone(),
                notify.clone(),
            )),
            absent_since: None,
        });
        Arc::new(Offer {
            backend: known.backend.clone(),
            series: self.ledger.endpoint(route, endpoint),
        })
    }
}

impl Worker {
    /// Does nothing until told to go on; false to stop. What the other threads have sent before they stopped, too, is
    /// taken in.
    pub fn frozen(&mut self) -> bool {
        while let Ok(command) = self.commands.recv() {
            match command {
                Command::Give(give, done) => {
                    // Whoever asked waits for the answer.
                    let _ = done.send(self.give(&give));
                }
                Command::Thaw => return true,
                command => {
                    if !self.execute(command) {
                        return false;
                    }
                }
            }
        }
        false
    }

    fn give(&self, give: &Give) -> Result<(), ChannelError> {
        for (_, connection) in &self.connections {
            let listener = connection.wires.listener;
            let (wires, files) = connection.wires.estate();
            let route = self.core.routes.get(&listener);
            let estate = ConnectionEstate {
                listener: self.listeners.get(&listener).map(|listener| listener.addr),
                route: route.map_or_else(|| "".into(), |route| route.name.clone()),
                phase: connection.phase.clone(),
                wires,
            };
            give(estate, &files)?;
        }
        Ok(())
    }

    /// Makes a connection that was passed on, counted already, one of this thread.
    pub fn inherit(&mut self, inherited: Inherited) {
        let Inherited {
            estate,
            client,
            leg,
            listener,
            clients,
        } = inherited;
        let entry = self.connections.vacant_entry();
        let key = index(entry.key());
        let ends = Ends {
            client,
            leg: leg.map(|(fd, offer)| (fd, Lease::new(offer, self.number))),
        };
        let clients = clients.of(self.number).clone();
        match Wires::inherited(estate.wires, ends, (listener, clients), key, &mut self.core) {
            Ok(wires) => {
                entry.insert(Connection::inherited(wires, estate.phase));
                self.enqueue(key);
            }
            Err(error) => {
                tracing::error!(%error, "cannot watch a connection that was passed on");
                self.shared.load[self.number].fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
