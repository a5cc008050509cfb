//! From the port that a manifest names to the port that a process listens on.
//!
//! Flows in: a pod and a port. Flows out: a port number. Everybody who dials a pod asks here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names::POD_PORTS;

/// The port a pod's process really listens on for `container_port` with `protocol` (`TCP`, `UDP`): what its agent wrote
/// into [`POD_PORTS`], else the port itself.
#[must_use]
pub fn real_port(pod: &Pod, container_port: u16, protocol: &str) -> u16 {
    translation(pod)
        .get(&key(container_port, protocol))
        .copied()
        .unwrap_or(container_port)
}

/// All of a pod's translations: `80/TCP` to 20003. Empty where pods listen on their declared ports.
#[must_use]
pub fn translation(pod: &Pod) -> BTreeMap<String, u16> {
    let annotation = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(POD_PORTS));
    annotation
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// The key of a translation, `80/TCP`.
#[must_use]
pub fn key(container_port: u16, protocol: &str) -> String {
    format!("{container_port}/{protocol}")
}

/// The declared port of `pod` that `port` of a Service means; `None` if it has no port of that name.
#[must_use]
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    match &port.target_port {
        Some(IntOrString::Int(number)) if *number != 0 => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) if !name.is_empty() => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            named_port(pod, name, protocol).and_then(|port| u16::try_from(port.container_port).ok())
        }
        _ => u16::try_from(port.port).ok(),
    }
}

/// The container port called `name`, in containers and sidecars.
#[must_use]
pub fn named_port<'a>(pod: &'a Pod, name: &str, protocol: &str) -> Option<&'a ContainerPort> {
    serving_containers(pod)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
}

/// The containers that run while the pod serves: all but the init containers that end.
fn serving_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let sidecars = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|c| crate::pods::is_sidecar(c));
        spec.containers.iter().chain(sidecars)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"annotations": {POD_PORTS: r#"{"80/TCP":20003}"#}},
            "spec": {
                "containers": [{"name": "a", "ports": [{"name": "http", "containerPort": 80}]}],
                "initContainers": [
                    {"name": "b", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 81}]},
                    {"name": "c", "ports": [{"name": "gone", "containerPort": 82}]},
                ],
            },
        }))
        .unwrap_or_default()
    }

    #[test]
    fn translates_what_the_agent_wrote() {
        assert_eq!(real_port(&pod(), 80, "TCP"), 20003);
        assert_eq!(real_port(&pod(), 80, "UDP"), 80);
        assert_eq!(real_port(&Pod::default(), 80, "TCP"), 80);
    }

    #[test]
    fn finds_target_ports_by_number_and_name() {
        let port = |target| ServicePort {
            port: 8080,
            target_port: target,
            ..ServicePort::default()
        };
        let named = |name: &str| port(Some(IntOrString::String(name.to_owned())));
        assert_eq!(target_port(&pod(), &port(None)), Some(8080));
        assert_eq!(target_port(&pod(), &port(Some(IntOrString::Int(90)))), Some(90));
        assert_eq!(target_port(&pod(), &named("http")), Some(80));
        assert_eq!(target_port(&pod(), &named("side")), Some(81));
        assert_eq!(target_port(&pod(), &named("gone")), None);
    }
}
