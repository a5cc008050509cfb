//! EndpointSlices: the targets of one port of a Service.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::names::SERVICE_NAME;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde::{Deserialize, Serialize};

/// A pod, by what tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodId {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PodId {
    /// The pod, as events refer to it.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        }
    }
}

/// A place that a port's connections can go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its address.
    pub addr: SocketAddr,
    /// The pod that has it; endpoints made by hand have none.
    pub pod: Option<PodId>,
}

/// A port's targets, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Those that are ready.
    pub ready: Vec<Target>,
    /// Those that are about to stop but still answer: for when none is ready and another is on its way. With nobody to
    /// take over there is nothing to wait for: they may stop at once, and new connections are held or refused.
    pub serving: Vec<Target>,
    /// An endpoint is listed that is not ready yet.
    pub coming: bool,
}

/// The index of EndpointSlices: `service/<namespace>/<name>`.
pub fn index(slice: &EndpointSlice) -> Vec<String> {
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let labels = slice.metadata.labels.iter();
    labels
        .filter_map(|labels| labels.get(SERVICE_NAME))
        .map(|name| format!("service/{namespace}/{name}"))
        .collect()
}

/// The targets of a Service's port of this name and protocol.
pub fn targets(slices: &[Arc<EndpointSlice>], port_name: &str, protocol: &str) -> Targets {
    let mut targets = Targets::default();
    let mut seen = HashSet::new();
    for slice in slices {
        targets.coming |= slice.endpoints.iter().flatten().any(is_coming);
        let ports = slice.ports.iter().flatten().filter(|port| {
            port.name.as_deref().unwrap_or_default() == port_name
                && port.protocol.as_deref().unwrap_or("TCP") == protocol
        });
        for port in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten() {
                add(&mut targets, &mut seen, endpoint, port);
            }
        }
    }
    if targets.ready.is_empty() && !targets.coming {
        targets.serving.clear();
    }
    targets
}

fn is_terminating(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.terminating)
        .unwrap_or(false)
}

fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    // What is not said counts as ready, by the API's own definition.
    conditions.and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn is_serving(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions
        .and_then(|conditions| conditions.serving)
        .unwrap_or_else(|| is_ready(endpoint))
}

fn is_coming(endpoint: &Endpoint) -> bool {
    !is_ready(endpoint) && !is_terminating(endpoint)
}

fn add(targets: &mut Targets, seen: &mut HashSet<Target>, endpoint: &Endpoint, port: u16) {
    // A Service that publishes addresses which are not ready says "ready" of those that stop, too: they must drain all
    // the same.
    let list = match is_terminating(endpoint) {
        false if is_ready(endpoint) => &mut targets.ready,
        true if is_serving(endpoint) => &mut targets.serving,
        _ => return,
    };
    for ip in endpoint
        .addresses
        .iter()
        .filter_map(|address| address.parse::<IpAddr>().ok())
    {
        let target = Target {
            addr: SocketAddr::new(ip, port),
            pod: pod(endpoint),
        };
        if seen.insert(target.clone()) {
            list.push(target);
        }
    }
}

fn pod(endpoint: &Endpoint) -> Option<PodId> {
    let reference = endpoint
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"))?;
    Some(PodId {
        uid: reference.uid.as_deref()?.into(),
        namespace: reference.namespace.clone()?,
        name: reference.name.clone()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(ports: serde_json::Value, endpoints: serde_json::Value) -> Arc<EndpointSlice> {
        let slice = json!({
            "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    #[test]
    fn slices_are_found_by_their_service() {
        assert_eq!(index(&slice(json!([]), json!([]))), ["service/default/web"]);
        assert!(index(&EndpointSlice::default()).is_empty());
    }

    #[test]
    fn conditions_sort_targets() {
        let slice = slice(
            json!([{"name": "http", "port": 20001}, {"name": "other", "port": 1}]),
            json!([
                {"addresses": ["127.10.1.2"], "conditions": {"ready": true}},
                {"addresses": ["127.10.1.3"]},
                {"addresses": ["127.10.1.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["127.10.1.5"], "conditions": {"ready": false, "serving": false, "terminating": true}},
                {"addresses": ["127.10.1.6"], "conditions": {"ready": false, "serving": false}},
                {"addresses": ["127.10.1.2"], "conditions": {"ready": true}},
            ]),
        );
        let found = targets(&[slice], "http", "TCP");
        let addrs = |targets: &[Target]| {
            targets
                .iter()
                .map(|target| target.addr.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(addrs(&found.ready), ["127.10.1.2:20001", "127.10.1.3:20001"]);
        assert_eq!(addrs(&found.serving), ["127.10.1.4:20001"]);
    }

    #[test]
    fn pods_that_stop_serve_on_only_until_a_successor_is_there() {
        let stopping = json!({"addresses": ["127.10.1.4"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let coming = json!({"addresses": ["127.10.1.6"], "conditions": {"ready": false, "serving": false}});
        let ports = json!([{"name": null, "port": 20001}]);
        let alone = targets(&[slice(ports.clone(), json!([stopping]))], "", "TCP");
        assert_eq!(alone, Targets::default());
        let apart = [
            slice(ports.clone(), json!([stopping])),
            slice(ports, json!([coming])),
        ];
        assert_eq!(targets(&apart, "", "TCP").serving.len(), 1);
    }

    #[test]
    fn a_pod_is_known_by_its_uid() {
        let slice = slice(
            json!([{"name": null, "port": 80}]),
            json!([{"addresses": ["127.0.0.1"], "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "1"}}]),
        );
        let found = targets(&[slice], "", "TCP");
        assert_eq!(
            found.ready[0]
                .pod
                .as_ref()
                .map(|pod| (&*pod.uid, pod.name.as_str())),
            Some(("1", "a"))
        );
    }

    #[test]
    fn published_addresses_get_connections_before_they_are_ready_and_drain_like_others() {
        let published = |serving: bool, terminating: bool| {
            let conditions = json!({"ready": true, "serving": serving, "terminating": terminating});
            json!({"addresses": ["127.10.1.4"], "conditions": conditions})
        };
        let found = |endpoints: serde_json::Value| {
            let found = targets(&[slice(json!([{"name": "", "port": 1}]), endpoints)], "", "TCP");
            (found.ready.len(), found.serving.len())
        };
        assert_eq!(found(json!([published(false, false)])), (1, 0));
        let other = json!({"addresses": ["127.10.1.9"]});
        assert_eq!(found(json!([published(true, true), other])), (1, 1));
        assert_eq!(found(json!([published(false, true), other])), (1, 0));
    }

    #[test]
    fn ports_of_one_name_are_told_apart_by_protocol() {
        let ports = json!([{"name": "dns", "port": 1, "protocol": "TCP"}, {"name": "dns", "port": 2, "protocol": "UDP"}]);
        let slice = slice(ports, json!([{"addresses": ["127.10.1.2"]}]));
        for (protocol, port) in [("TCP", 1), ("UDP", 2)] {
            let found = targets(std::slice::from_ref(&slice), "dns", protocol);
            assert_eq!((found.ready.len(), found.ready[0].addr.port()), (1, port));
        }
    }
}
