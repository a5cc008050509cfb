//! Starts the control loops and the node agents on one set of shared caches.
//!
//! Each component gets a client with its own identity whose transport is the API server itself, without a socket.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow};
use apiserver::{ApiServer, Identity, NodeDirectory, NodeService};
use informer::{Informer, Resource};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc;

use crate::network::Network;

use super::cluster::Stage;

/// What the node agents are started with.
pub struct Nodes {
    /// How many.
    pub count: u16,
    /// The cluster's addresses.
    pub network: Network,
    /// Which ports pods listen on.
    pub pod_ports: agent::PodPorts,
    /// The cluster's folder.
    pub data_dir: PathBuf,
}

/// Where the API server finds a node's agent. Filled once, when the agents exist.
#[derive(Default)]
pub struct Directory(OnceLock<HashMap<String, NodeService>>);

impl NodeDirectory for Directory {
    fn node(&self, name: &str) -> Option<NodeService> {
        self.0.get()?.get(name).cloned()
    }
}

/// Starts everything that is a client of the API in this process.
pub fn start(
    api: &ApiServer,
    nodes: Nodes,
    directory: &Directory,
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

    let load_balancers = controllers::Block(nodes.network.load_balancers());
    let mut services = HashMap::new();
    for agent in agents(&client, nodes, &caches)? {
        services.insert(agent.node_name().to_owned(), agent.service());
        guard.spawn("node agent", agent.run(stage.stop.clone()));
    }
    directory
        .0
        .set(services)
        .map_err(|_| anyhow!("the node directory is filled once"))?;

    let controllers_client = client(Identity::new("system:kube-controller-manager", &[]));
    guard.spawn(
        "controllers",
        controllers::run(controllers_client, caches, load_balancers, stage.stop.clone()),
    );
    Ok(())
}

fn agents(
    client: &impl Fn(Identity) -> Client,
    nodes: Nodes,
    caches: &controllers::Caches,
) -> anyhow::Result<Vec<agent::Agent>> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let ports = agent::PortAllocator::default();
    let images = agent::Images::new(&nodes.data_dir);
    (0..nodes.count)
        .map(|index| {
            let node_name = format!("node-{}", index + 1);
            let user = format!("system:node:{node_name}");
            let client = client(Identity::new(&user, &["system:nodes"]));
            let config = agent::Config {
                node_name,
                node_index: index,
                data_dir: nodes.data_dir.clone(),
                program: program.clone(),
                network: nodes.network.pods(),
                pod_ports: nodes.pod_ports,
                images: images.clone(),
                ports: ports.clone(),
            };
            let (pods, services) = (caches.pods.clone(), caches.services.clone());
            Ok(agent::Agent::new(config, client, pods, services))
        })
        .collect()
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
