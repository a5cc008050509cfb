//! The control loops: each makes one kind of wish come true.
//!
//! Flows in: shared caches of the API's objects. Flows out: writes to the API, and Events that tell the user. Loops know
//! nothing of each other: each watches the API and writes the API. Decisions are pure functions over what the caches show, in
//! modules of their own; every loop looks at the whole state and may lose or repeat any step. Never knows HTTP, the store or processes.

mod autoscaler;
mod context;
mod deployment;
mod disruption;
mod endpointslice;
mod error;
mod garbage;
mod loadbalancer;
mod metadata;
mod namespace;
mod node;
mod owner;
mod replicaset;
mod serviceaccount;

use std::time::Duration;

use informer::Informer;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use context::Context;
use error::RequestError;
pub use loadbalancer::Block;
use metadata::Metadata;

/// The caches that the loops share. Indexes needed: pods and ReplicaSets by `owner/<uid of the controller>`, pods by
/// `node/<node>`, EndpointSlices by `service/<namespace>/<service>`.
#[derive(Clone)]
pub struct Caches {
    /// All Deployments.
    pub deployments: Informer<Deployment>,
    /// All ReplicaSets.
    pub replica_sets: Informer<ReplicaSet>,
    /// All Pods.
    pub pods: Informer<Pod>,
    /// All Services.
    pub services: Informer<Service>,
    /// All EndpointSlices.
    pub endpoint_slices: Informer<EndpointSlice>,
    /// All Endpoints.
    pub endpoints: Informer<Endpoints>,
    /// All Nodes.
    pub nodes: Informer<Node>,
    /// All Leases.
    pub leases: Informer<Lease>,
    /// All Namespaces.
    pub namespaces: Informer<Namespace>,
}

impl Caches {
    async fn synced(&self) {
        tokio::join!(
            self.deployments.synced(),
            self.replica_sets.synced(),
            self.pods.synced(),
            self.services.synced(),
            self.endpoint_slices.synced(),
            self.endpoints.synced(),
            self.nodes.synced(),
            self.leases.synced(),
            self.namespaces.synced(),
        );
    }
}

/// What the loops know of the cluster that no object says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the addresses of Services of type LoadBalancer come from.
    pub load_balancers: Block,
    /// The API server's CA certificate, in PEM: what every namespace is told.
    pub authority: String,
    /// How long a node's agent may be silent before the node is not ready; upstream's `--node-monitor-grace-period`.
    pub node_monitor_grace_period: Duration,
}

/// Runs all loops until `stop`; begins once the caches are complete.
pub async fn run(client: Client, caches: Caches, settings: Settings, stop: CancellationToken) {
    let caches_of_metadata = TaskTracker::new();
    let metadata = Metadata::start(&client, &caches_of_metadata, &stop);
    let context = Context {
        client,
        caches,
        metadata,
        stop,
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(context.caches.synced(), context.metadata.synced()) } => {}
        () = context.stop.cancelled() => {}
    }
    let mut loops = JoinSet::new();
    loops.spawn(autoscaler::run(context.clone()));
    loops.spawn(deployment::run(context.clone()));
    loops.spawn(replicaset::run(context.clone()));
    loops.spawn(disruption::run(context.clone()));
    loops.spawn(endpointslice::run(context.clone()));
    loops.spawn(endpointslice::run_endpoints(context.clone()));
    loops.spawn(endpointslice::run_mirror(context.clone()));
    loops.spawn(loadbalancer::run(context.clone(), settings.load_balancers));
    loops.spawn(garbage::run(context.clone()));
    loops.spawn(namespace::run(context.clone()));
    loops.spawn(node::run(context.clone(), settings.node_monitor_grace_period));
    loops.spawn(serviceaccount::run(context, settings.authority));
    while let Some(ended) = loops.join_next().await {
        if let Err(failure) = ended
            && failure.is_panic()
        {
            // Half a controller manager is worse than none: the caller sees all of it end, and why.
            std::panic::resume_unwind(failure.into_panic());
        }
    }
    caches_of_metadata.close();
    caches_of_metadata.wait().await;
}
