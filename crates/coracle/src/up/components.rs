//! Starts the control loops and the node agents on one set of shared caches.
//!
//! Each component gets a client with its own identity whose transport is the API server itself, without a socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use apiserver::{ApiServer, Identity};
use informer::{Informer, Resource};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc;

use super::cluster::Stage;
use super::nodes::{Directory, Nodes};

/// Starts everything that is a client of the API in this process.
pub fn start(
    api: &ApiServer,
    authority: &str,
    nodes: Nodes,
    node_monitor_grace_period: Duration,
    directory: &Arc<Directory>,
    stage: &Stage,
    failed: mpsc::Sender<anyhow::Error>,
) -> anyhow::Result<()> {
    let client = |identity| Client::new(api.service(identity), "default");
    let caches = caches(
        &client(Identity::new("system:kube-controller-manager", &[])),
        stage,
    );
    let guard = Guard { stage, failed };

    let scheduler_client = client(Identity::new("system:kube-scheduler", &[]));
    let (pods, all_nodes) = (caches.pods.clone(), caches.nodes.clone());
    guard.spawn(
        "scheduler",
        scheduler::run(scheduler_client, pods, all_nodes, stage.stop.clone()),
    );

    let settings = controllers::Settings {
        load_balancers: controllers::Block(nodes.network.load_balancers()),
        authority: authority.to_owned(),
        node_monitor_grace_period,
    };
    for machine in nodes.machines(&client, &caches)? {
        guard.spawn("node agent", machine.run(directory.clone(), stage.stop.clone()));
    }

    let controllers_client = client(Identity::new("system:kube-controller-manager", &[]));
    guard.spawn(
        "controllers",
        controllers::run(controllers_client, caches, settings, stage.stop.clone()),
    );
    Ok(())
}

/// Spawns components, and reports the one that ends before its time.
struct Guard<'a> {
    stage: &'a Stage,
    failed: mpsc::Sender<anyhow::Error>,
}

impl Guard<'_> {
    fn spawn(&self, name: &'static str, component: impl Future<Output = ()> + Send + 'static) {
        let (stop, failed) = (self.stage.stop.clone(), self.failed.clone());
        let running = self.stage.tasks.spawn(component);
        self.stage.tasks.spawn(async move {
            let ended = running.await;
            if !stop.is_cancelled() {
                let why = ended
                    .err()
                    .map_or_else(|| "it ended by itself".to_owned(), |panic| panic.to_string());
                // One report is enough to stop the cluster.
                let _ = failed.try_send(anyhow!("the {name} has failed: {why}"));
            }
        });
    }
}

fn caches(client: &Client, stage: &Stage) -> controllers::Caches {
    controllers::Caches {
        deployments: informer(client, stage, no_index),
        replica_sets: informer(client, stage, by_owner::<ReplicaSet>),
        pods: informer(client, stage, by_node_and_owner),
        services: informer(client, stage, no_index),
        endpoint_slices: informer(client, stage, by_service),
        endpoints: informer(client, stage, no_index),
        nodes: informer(client, stage, no_index),
        leases: informer(client, stage, no_index),
        namespaces: informer(client, stage, no_index),
    }
}

fn informer<K: Resource>(client: &Client, stage: &Stage, index: fn(&K) -> Vec<String>) -> Informer<K> {
    Informer::start(Api::all(client.clone()), index, &stage.tasks, stage.stop.clone())
}

fn no_index<K>(_: &K) -> Vec<String> {
    Vec::new()
}

fn by_owner<K: Resource>(object: &K) -> Vec<String> {
    let owners = object.meta().owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .map(|owner| format!("owner/{}", owner.uid))
        .collect()
}

fn by_node_and_owner(pod: &Pod) -> Vec<String> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    let mut keys = by_owner(pod);
    keys.extend(node.map(|node| format!("node/{node}")));
    keys
}

fn by_service(slice: &EndpointSlice) -> Vec<String> {
    let service = slice.labels().get(api::names::SERVICE_NAME);
    service
        .map(|service| format!("service/{}/{service}", slice.namespace().unwrap_or_default()))
        .into_iter()
        .collect()
}
