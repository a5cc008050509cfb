//! The agent of one node, put together.

use std::path::PathBuf;

use informer::{Informer, Recorder};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::network::{AddressPool, Network};
use crate::node::{Config, DEFAULT_MAX_PODS, Node};
use crate::sandbox::{self, Place};
use crate::server::{self, NodeService};
use crate::usage::Usage;
use crate::{fake, pods, registration};

/// The agent of one node.
pub struct Agent {
    config: Config,
    client: Client,
    pods: Informer<Pod>,
    services: Informer<Service>,
    network: Network,
    addresses: AddressPool,
    usage: Usage,
    /// Pods that ran before.
    found: Vec<(PathBuf, Place)>,
}

impl Agent {
    /// An agent that has not started yet. The addresses and ports of pods that it finds running are taken at once, so
    /// make all agents of a process before the first one runs.
    pub fn new(config: Config, client: Client, pods: Informer<Pod>, services: Informer<Service>) -> Self {
        let network = Network::new(config.network, DEFAULT_MAX_PODS);
        let addresses = network.pool(config.node_index);
        let found = sandbox::existing(&sandbox::pods_dir(&config.data_dir, &config.node_name));
        for (_, place) in &found {
            if !place.host_network {
                addresses.reserve(place.ip);
            }
            place.ports.values().for_each(|&port| config.ports.reserve(port));
        }
        Self {
            config,
            client,
            pods,
            services,
            network,
            addresses,
            usage: Usage::default(),
            found,
        }
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        &self.config.node_name
    }

    /// Answers the API server's questions about the node's containers: logs and commands.
    pub fn service(&self) -> NodeService {
        if self.config.fake_pods {
            return server::refuse("there are no processes: the cluster was started with --fake-pods");
        }
        let dir = sandbox::pods_dir(&self.config.data_dir, &self.config.node_name);
        server::service(self.pods.clone(), self.usage.clone(), dir)
    }

    /// Runs until `stop`. Pods run on after that: they belong to their keepers.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            config,
            client,
            pods,
            services,
            network,
            addresses,
            usage,
            found,
        } = self;
        let node = Arc::new(Node {
            ip: network.node_ip(config.node_index),
            machine: registration::machine(),
            recorder: Recorder::new(client.clone(), "kubelet", &config.node_name),
            config,
            client,
            pods,
            services,
            network,
            addresses,
        });
        let registered = registration::run(node.clone(), stop.clone());
        if node.config.fake_pods {
            tokio::join!(registered, fake::run(node, stop));
            return;
        }
        tokio::join!(
            registered,
            usage.run(
                node.pods.clone(),
                node.config.node_name.clone(),
                node.pods_dir(),
                stop.clone()
            ),
            pods::run(node, found, stop)
        );
    }
}
