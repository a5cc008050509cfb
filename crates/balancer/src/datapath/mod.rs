//! The datapath: sockets and bytes. Knows no Kubernetes and no tokio.
//!
//! Flows in: connections at the listeners, and routing tables, each an immutable snapshot swapped whole. Flows out: the
//! same bytes at one of a route's backends, and how many connections each backend still has.
//!
//! One thread a core for TCP (and one more for [`udp`]), each with an epoll instance, a slab of connections and one scratch buffer of its own; threads share
//! nothing on the way of a byte. The control side ([`Datapath`]) sends them tables and reads counters; it never touches
//! a connection.
//!
//! # Why a count of zero is exact
//! A thread that chooses a backend counts the connection ([`Lease`]) before it connects, and chooses only from the table
//! it has installed. A backend is drained when (1) it is not in the current table, (2) every thread has acknowledged that
//! table or a later one, and (3) its count is zero. After (2) no thread can choose it, so the count can only fall; after
//! (3) it has reached its end. A thread stores its acknowledgement before it says that something changed, and likewise a
//! count that falls to zero, so whoever looks after the last of these finds all three.

mod affinity;
mod backend;
mod connection;
mod control;
mod core;
mod counters;
mod estate;
mod held;
mod http;
mod http1;
mod ledger;
mod limits;
mod listener;
mod replay;
mod shared;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod tunnel;
mod udp;
mod wires;
mod worker;

pub use backend::{Backend, BackendState, BackendStatus, Lease};
pub use control::{Datapath, Settings, StartError};
pub use counters::{BOUNDS, Counter, Total};
pub use estate::{ConnectionEstate, Give};
pub use ledger::RouteCounts;
pub use listener::{BindError, ListenerStatus};
pub use table::{Endpoint, Protocol, RouteSpec};
