//! What all parts of an agent share.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use informer::{Informer, Recorder};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;

use crate::images::Images;
use crate::network::{AddressPool, Network};
use crate::ports::PortAllocator;
use crate::sandbox::{self, Place};

/// Pods of a node unless told otherwise, as upstream.
pub const DEFAULT_MAX_PODS: u32 = 110;

/// Which ports pods listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPorts {
    /// Each declared port gets a real one that no other pod of the machine has.
    #[default]
    Distinct,
    /// Pods listen on their own address at the declared port.
    Declared,
}

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node_name: String,
    /// The node's number, from 0: decides its addresses.
    pub node_index: u16,
    /// The cluster's folder; absolute.
    pub data_dir: PathBuf,
    /// This program's own file: it is also the keeper and the stand-in web server.
    pub program: PathBuf,
    /// First address of the cluster's block of pod addresses, a /16.
    pub network: Ipv4Addr,
    /// Which ports pods listen on.
    pub pod_ports: PodPorts,
    /// The image catalogue.
    pub images: Images,
    /// Gives out real ports; shared by all agents of the process.
    pub ports: PortAllocator,
    /// Only pretend to run pods.
    pub fake_pods: bool,
}

/// The node as its parts know it.
pub struct Node {
    /// What the agent was started with.
    pub config: Config,
    /// A client with the node's identity.
    pub client: Client,
    /// The pods of all nodes.
    pub pods: Informer<Pod>,
    /// The Services of all namespaces: containers are told of theirs.
    pub services: Informer<Service>,
    /// Records the agent's events.
    pub recorder: Recorder,
    /// How addresses are divided.
    pub network: Network,
    /// The addresses of this node's pods.
    pub addresses: AddressPool,
    /// The node's own address.
    pub ip: Ipv4Addr,
    /// The machine's processors and bytes of memory.
    pub machine: (u64, u64),
}

impl Node {
    /// The folder of the node's pods.
    pub fn pods_dir(&self) -> PathBuf {
        sandbox::pods_dir(&self.config.data_dir, &self.config.node_name)
    }

    /// Gives back what a pod was given.
    pub fn give_back(&self, place: &Place) {
        if !place.host_network {
            self.addresses.give_back(place.ip);
        }
        place
            .ports
            .values()
            .for_each(|&port| self.config.ports.give_back(port));
    }
}
