//! EndpointSlices: the targets of one port of a Service.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::names::SERVICE_NAME;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// A pod, by what tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
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

/// The targets of a Service's port of this name.
pub fn targets(slices: &[Arc<EndpointSlice>], port_name: &str) -> Targets {
    let mut targets = Targets::default();
    let mut successor = false;
    for slice in slices {
        successor |= slice
            .endpoints
            .iter()
            .flatten()
            .any(|endpoint| !is_terminating(endpoint));
        let ports = slice
            .ports
            .iter()
            .flatten()
            .filter(|port| port.name.as_deref().unwrap_or_default() == port_name);
        for port in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten() {
                add(&mut targets, endpoint, port);
            }
        }
    }
    if !successor {
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

fn add(targets: &mut Targets, endpoint: &Endpoint, port: u16) {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    // What is not said counts as ready, by the API's own definition.
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready) && is_terminating(endpoint);
    let list = match (ready, serving) {
        (true, _) => &mut targets.ready,
        (false, true) => &mut targets.serving,
        (false, false) => return,
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
        if !list.contains(&target) {
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
        let found = targets(&[slice], "http");
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
        let alone = targets(&[slice(ports.clone(), json!([stopping]))], "");
        assert_eq!(alone, Targets::default());
        let apart = [
            slice(ports.clone(), json!([stopping])),
            slice(ports, json!([coming])),
        ];
        assert_eq!(targets(&apart, "").serving.len(), 1);
    }

    #[test]
    fn a_pod_is_known_by_its_uid() {
        let slice = slice(
            json!([{"name": null, "port": 80}]),
            json!([{"addresses": ["127.0.0.1"], "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "1"}}]),
        );
        let found = targets(&[slice], "");
        assert_eq!(
            found.ready[0]
                .pod
                .as_ref()
                .map(|pod| (&*pod.uid, pod.name.as_str())),
            Some(("1", "a"))
        );
    }
}
