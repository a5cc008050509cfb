//! The layer-4 load balancer: the data plane of Services, a process of its own.
//!
//! Flows in: Services, EndpointSlices, Pods and Nodes from the API; connections of clients. Flows out: the same
//! connections at ready pods, moved between two HTTP/1 messages when a pod is about to stop; the pod condition
//! `coracle.dev/InService`; events; its own status and counters. Never changes a byte, and never drops a connection because
//! a pod is being replaced.
//!
//! [`datapath`] moves bytes and knows no Kubernetes; [`sync`] turns Kubernetes' objects into its routing table.

pub mod datapath;
pub mod handover;
mod metrics;
pub mod status;
pub mod sync;

pub use sync::{BalancerError, Config, run};
