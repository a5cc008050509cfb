//! Ports on the node's own address: the plugin NodePorts.

use k8s_openapi::api::core::v1::{ContainerPort, Pod};

use crate::cluster::NodeState;
use crate::filter::Misfit;
use crate::wanted::Wanted;

/// A port that a pod occupies on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostPort<'a> {
    /// `0.0.0.0`: every address of the node.
    ip: &'a str,
    protocol: &'a str,
    port: i32,
}

const EVERY: &str = "0.0.0.0";

impl HostPort<'_> {
    fn conflicts(self, other: HostPort) -> bool {
        let same_ip = self.ip == other.ip || self.ip == EVERY || other.ip == EVERY;
        same_ip && self.protocol == other.protocol && self.port == other.port
    }
}

/// The ports that a pod occupies on its node: its host ports and, with `hostNetwork`, every port it declares.
pub(crate) fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort<'_>> {
    let spec = pod.spec.as_ref();
    let host_network = spec.is_some_and(|spec| spec.host_network == Some(true));
    let containers = spec.into_iter().flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(move |port| host_port(port, host_network))
}

fn host_port(port: &ContainerPort, host_network: bool) -> Option<HostPort<'_>> {
    let declared = host_network.then_some(port.container_port);
    let number = port.host_port.filter(|number| *number > 0).or(declared)?;
    let ip = port
        .host_ip
        .as_deref()
        .filter(|ip| !ip.is_empty())
        .unwrap_or(EVERY);
    Some(HostPort {
        ip,
        protocol: port.protocol.as_deref().unwrap_or("TCP"),
        port: number,
    })
}

pub(crate) fn free(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    let taken = |port: HostPort| state.host_ports().any(|other| port.conflicts(other));
    if host_ports(wanted.pod).any(taken) {
        return Err(Misfit::passing(
            "node(s) didn't have free ports for the requested pod ports",
        ));
    }
    Ok(())
}
