//! The nodes of this machine: one agent each, for as long as the Node object wants one.
//!
//! Flows in: Nodes, whose annotation [`NODE_AGENT`] says whether the agent is to run (`coracle node stop|start` writes it).
//! Flows out: running agents, and where the API server finds them. An agent that is stopped leaves its pods to their
//! keepers, as a kubelet that died would; the next one takes them over. Never touches a pod itself.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use agent::Agent;
use anyhow::Context as _;
use api::names::{NODE_AGENT, STOPPED};
use apiserver::{Identity, NodeDirectory, NodeService};
use informer::{Handler, Informer};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::network::Network;

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
    /// Whether the agents only pretend to run pods.
    pub fake_pods: bool,
}

/// Where the API server finds the agents that run.
#[derive(Default)]
pub struct Directory(RwLock<HashMap<String, NodeService>>);

impl NodeDirectory for Directory {
    fn node(&self, name: &str) -> Option<NodeService> {
        let agents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        agents.get(name).cloned()
    }
}

impl Directory {
    fn set(&self, name: &str, agent: Option<NodeService>) {
        let mut agents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match agent {
            Some(agent) => agents.insert(name.to_owned(), agent),
            None => agents.remove(name),
        };
    }
}

/// A node, whether its agent runs or not.
pub struct Machine {
    config: agent::Config,
    client: Client,
    pods: Informer<Pod>,
    services: Informer<Service>,
    nodes: Informer<Node>,
    /// The agent that has not run yet.
    first: Option<Agent>,
}

impl Nodes {
    /// All of them, none started: what their pods have is taken before the first agent gives anything out.
    pub fn machines(
        self,
        client: &impl Fn(Identity) -> Client,
        caches: &controllers::Caches,
    ) -> anyhow::Result<Vec<Machine>> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let ports = agent::PortAllocator::default();
        let images = agent::Images::new(&self.data_dir);
        let machine = |index| {
            let node_name = format!("node-{}", index + 1);
            let user = format!("system:node:{node_name}");
            let config = agent::Config {
                node_name,
                node_index: index,
                data_dir: self.data_dir.clone(),
                program: program.clone(),
                network: self.network.pods(),
                pod_ports: self.pod_ports,
                images: images.clone(),
                ports: ports.clone(),
                fake_pods: self.fake_pods,
            };
            let mut machine = Machine {
                config,
                client: client(Identity::new(&user, &["system:nodes"])),
                pods: caches.pods.clone(),
                services: caches.services.clone(),
                nodes: caches.nodes.clone(),
                first: None,
            };
            machine.first = Some(machine.agent());
            machine
        };
        Ok((0..self.count).map(machine).collect())
    }
}

impl Machine {
    fn agent(&self) -> Agent {
        let (pods, services) = (self.pods.clone(), self.services.clone());
        Agent::new(self.config.clone(), self.client.clone(), pods, services)
    }

    /// Runs the agent whenever it is to run, until `stop`.
    pub async fn run(mut self, directory: Arc<Directory>, stop: CancellationToken) {
        let mut wanted = self.wanted(&stop);
        let until_wanted = |wanted: &mut watch::Receiver<bool>, so: bool| {
            let mut wanted = wanted.clone();
            async move {
                // It cannot close: the informer holds the handler as long as this future is asked.
                let _ = wanted.wait_for(|wanted| *wanted == so).await;
            }
        };
        // An agent that is not wanted must not run even for a moment.
        if stop.run_until_cancelled(self.nodes.synced()).await.is_none() {
            return;
        }
        let name = self.config.node_name.clone();
        while stop
            .run_until_cancelled(until_wanted(&mut wanted, true))
            .await
            .is_some()
        {
            let agent = self.first.take().unwrap_or_else(|| self.agent());
            directory.set(&name, Some(agent.service()));
            let agent_stop = stop.child_token();
            let running = agent.run(agent_stop.clone());
            tokio::pin!(running);
            tokio::select! {
                () = &mut running => return,
                () = until_wanted(&mut wanted, false) => {}
            }
            tracing::info!(node = name, "stopping the agent");
            directory.set(&name, None);
            agent_stop.cancel();
            running.await;
        }
    }

    /// Whether the agent is to run, as the Node object says; one that is missing is the agent's to make.
    fn wanted(&self, stop: &CancellationToken) -> watch::Receiver<bool> {
        let (sender, wanted) = watch::channel(true);
        let name = self.config.node_name.clone();
        let note: Handler<Node> = Box::new(move |_, node| {
            if let Some(node) = node.filter(|node| node.metadata.name.as_ref() == Some(&name)) {
                let agent = node.annotations().get(NODE_AGENT);
                let is_wanted = agent.is_none_or(|agent| agent != STOPPED);
                sender.send_if_modified(|wanted| std::mem::replace(wanted, is_wanted) != is_wanted);
            }
        });
        self.nodes.on_change_until(stop.clone(), note);
        wanted
    }
}
