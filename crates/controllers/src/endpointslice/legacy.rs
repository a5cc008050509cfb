//! The Endpoints object of a Service: what older clients read instead of EndpointSlices. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::backends::{Backend, Groups, Port};
use super::labels;

/// Label of the Endpoints that this controller writes.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// What to write, if anything.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A new object.
    Create(Endpoints),
    /// A changed object; carries the version that was read.
    Replace(Endpoints),
}

/// What to write so that the Service's Endpoints show `groups`. Pods on their way out are not in them.
pub fn plan(service: &Service, groups: &Groups, existing: Option<&Endpoints>) -> Option<Action> {
    let publish = service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true);
    let subsets: Vec<_> = groups
        .iter()
        .filter_map(|(ports, backends)| subset(ports, backends, publish))
        .collect();
    let mut labels = labels::copied(service);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let Some(existing) = existing else {
        return Some(Action::Create(Endpoints {
            metadata: ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            subsets: (!subsets.is_empty()).then_some(subsets),
        }));
    };
    let is_same = existing.subsets.as_deref().unwrap_or_default() == subsets
        && existing.metadata.labels.as_ref() == Some(&labels);
    if is_same {
        return None;
    }
    let mut changed = existing.clone();
    changed.subsets = (!subsets.is_empty()).then_some(subsets);
    changed.metadata.labels = Some(labels);
    Some(Action::Replace(changed))
}

/// Whether an Endpoints object is this controller's.
pub fn is_managed(endpoints: &Endpoints) -> bool {
    let labels: Option<&BTreeMap<_, _>> = endpoints.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|manager| manager == MANAGER)
}

fn subset(ports: &[Port], backends: &[Backend], publish_not_ready: bool) -> Option<EndpointSubset> {
    let staying = backends.iter().filter(|backend| !backend.is_terminating);
    let (ready, not_ready): (Vec<_>, Vec<_>) =
        staying.partition(|backend| publish_not_ready || backend.is_serving);
    if ready.is_empty() && not_ready.is_empty() {
        return None;
    }
    let ports: Vec<_> = ports.iter().map(endpoint_port).collect();
    Some(EndpointSubset {
        addresses: addresses(&ready),
        not_ready_addresses: addresses(&not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    })
}

fn addresses(backends: &[&Backend]) -> Option<Vec<EndpointAddress>> {
    let address = |backend: &&Backend| EndpointAddress {
        ip: backend.address.clone(),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(backend.target.clone()),
    };
    let mut addresses: Vec<_> = backends.iter().map(address).collect();
    addresses.sort_by(|a, b| a.ip.len().cmp(&b.ip.len()).then_with(|| a.ip.cmp(&b.ip)));
    (!addresses.is_empty()).then_some(addresses)
}

fn endpoint_port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: (!port.name.is_empty()).then(|| port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: port.number.into(),
        app_protocol: port.app_protocol.clone(),
    }
}
