//! The node agent: runs the pods of one node as local processes.
//!
//! Flows in: the pods that the scheduler bound to the node, from the shared informer. Flows out: processes (through one
//! keeper a pod, which outlives the server), the pods' status and events, the Node object and its Lease, logs, and
//! commands run in containers. It knows the API server as any client does, and never schedules, routes or scales.
//!
//! Where to read on: [`Agent`] starts everything; `pods` has a worker for each pod, whose decisions are the pure
//! functions in `pods::plan` and `status`; `start` turns a container into a command line; `sandbox` is a pod's place on
//! the machine; [`keeper`] is the process that holds a pod.

mod agent;
mod expansion;
mod fake;
mod hooks;
pub mod images;
mod inside;
pub mod keeper;
mod low_ports;
mod network;
mod nginx;
mod node;
mod node_events;
mod notes;
mod pods;
mod ports;
mod probes;
pub mod process;
mod registration;
mod sandbox;
mod server;
mod start;
mod status;
mod stop_all;
mod target;
mod usage;

pub use agent::Agent;
pub use images::Images;
pub use network::Network;
pub use node::{Config, PodPorts};
pub use ports::PortAllocator;
pub use server::{Body, BoxError, NodeService};
pub use stop_all::stop_all;
