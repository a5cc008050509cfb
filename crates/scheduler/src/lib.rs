//! Places pods on nodes: filter, score, bind, as upstream's default profile does.
//!
//! Flows in: pods and nodes, from shared informers. Flows out: bindings, the condition `PodScheduled` of pods that fit
//! nowhere, and the events `Scheduled` and `FailedScheduling`. Every decision is a pure function over a [`Cluster`]; the
//! loop in `run` only feeds it and carries out what it says. Knows no process and no port of the machine.
//!
//! In reading order: [`cluster`] (what is known), [`wanted`] (what a pod asks for), [`filter`] and [`score`] (the plugins in
//! two lists, each plugin a plain function in a module of its own), [`pick`] (the decision), `run` (the loop).
//! Upstream's `pkg/scheduler/framework/plugins` defines what the plugins do. Not here: preemption, volumes, images'
//! locality and preferred (anti-)affinity between pods.

mod affinity;
pub mod cluster;
pub mod filter;
mod fit;
mod host_ports;
mod neighbours;
pub mod pick;
mod requests;
mod retry;
mod run;
pub mod score;
mod spread;
mod taints;
pub mod wanted;

pub use cluster::Cluster;
pub use pick::{NoFit, pick};
pub use run::run;
pub use wanted::Wanted;

/// The name by which pods ask for this scheduler, and its events are signed.
pub const NAME: &str = "default-scheduler";
