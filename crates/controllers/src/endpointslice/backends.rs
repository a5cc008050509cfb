//! The pods behind a Service, and the ports they really listen on. Pure.
//!
//! Pods with distinct real ports are in groups of their own, so a group is often a single pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{pods, ports};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServiceSpec};
use kube::Resource;

/// A port of a Service as one pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Name of the Service's port; may be empty.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port that the pod's process listens on.
    pub number: u16,
    /// `appProtocol` of the Service's port.
    pub app_protocol: Option<String>,
}

/// A pod behind a Service.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The pod's address.
    pub address: String,
    /// Where it runs.
    pub node: Option<String>,
    /// Its name in DNS, if it has one below this Service.
    pub hostname: Option<String>,
    /// The pod itself.
    pub target: ObjectReference,
    /// Whether it answers.
    pub is_serving: bool,
    /// Whether it is on its way out.
    pub is_terminating: bool,
    /// When it last became ready or unready.
    pub changed_at: Option<Timestamp>,
}

/// Backends by the ports they serve, in the order of their names.
pub type Groups = BTreeMap<Vec<Port>, Vec<Backend>>;

/// The selector of a Service that has endpoints made for it.
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let is_data_only = spec.type_.as_deref() == Some("ExternalName");
    spec.selector
        .as_ref()
        .filter(|selector| !selector.is_empty() && !is_data_only)
}

/// Whether a Service selects a pod. Asked for every pod that changes, of every Service.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let label = |name: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    selector(service).is_some_and(|selector| selector.iter().all(|(name, value)| label(name) == Some(value)))
}

/// Whether a change of a pod can change any backend: most changes of a pod that starts or stops cannot, and each look at
/// a Service costs a look at all its pods.
pub fn is_relevant(old: Option<&Pod>, new: Option<&Pod>) -> bool {
    let shown = |pod: &Pod| -> bool { address(pod).is_some() && !pods::is_finished(pod) };
    match (old.filter(|pod| shown(pod)), new.filter(|pod| shown(pod))) {
        (None, None) => false,
        (Some(old), Some(new)) => {
            address(old) != address(new)
                || old.metadata.uid != new.metadata.uid
                || old.metadata.labels != new.metadata.labels
                || old.metadata.annotations != new.metadata.annotations
                || pods::is_terminating(old) != pods::is_terminating(new)
                || pods::condition(old, "Ready") != pods::condition(new, "Ready")
                || pods::node_name(old) != pods::node_name(new)
        }
        _ => true,
    }
}

/// The backends of a Service among the pods of its namespace.
pub fn groups(service: &Service, pods: &[Arc<Pod>]) -> Groups {
    let mut groups = Groups::new();
    let Some(spec) = &service.spec else { return groups };
    let name = service.metadata.name.as_deref().unwrap_or_default();
    for pod in pods
        .iter()
        .filter(|pod| selects(service, pod) && !pods::is_finished(pod))
    {
        if let Some(address) = address(pod) {
            groups
                .entry(served_ports(spec, pod))
                .or_default()
                .push(backend(name, pod, address));
        }
    }
    groups
}

fn address(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    status.pod_ip.as_deref().filter(|address| !address.is_empty())
}

/// The Service's ports that the pod has; a port named by a name that the pod does not know is left out.
fn served_ports(spec: &ServiceSpec, pod: &Pod) -> Vec<Port> {
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let declared = ports::target_port(pod, port)?;
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: protocol.to_owned(),
            number: ports::real_port(pod, declared, protocol),
            app_protocol: port.app_protocol.clone(),
        })
    };
    let mut served: Vec<Port> = spec.ports.iter().flatten().filter_map(port).collect();
    served.sort();
    served
}

fn backend(service: &str, pod: &Pod, address: &str) -> Backend {
    let spec = pod.spec.as_ref();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref());
    let hostname = spec.and_then(|spec| spec.hostname.clone());
    let ready = pods::condition(pod, "Ready");
    Backend {
        address: address.to_owned(),
        node: pods::node_name(pod).map(str::to_owned),
        hostname: hostname.filter(|_| subdomain == Some(service)),
        target: ObjectReference {
            api_version: None,
            ..pod.object_ref(&())
        },
        is_serving: pods::is_ready(pod),
        is_terminating: pods::is_terminating(pod),
        changed_at: ready
            .and_then(|ready| ready.last_transition_time.as_ref())
            .map(|time| time.0),
    }
}
