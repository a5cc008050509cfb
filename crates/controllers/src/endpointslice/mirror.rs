//! EndpointSlices of Endpoints that somebody else has written, for Services without selector. Pure.
//!
//! Upstream's controller `endpointslicemirroring`: whoever still writes Endpoints by hand is served like those who write
//! slices.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::names::SERVICE_NAME;
use k8s_openapi::api::core::v1::{self, EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::labels::LAST_CHANGE;
use super::slices::{Action, MANAGED_BY};
use super::{backends, legacy};
use crate::owner;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label: the Endpoints are not to be mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation: the Endpoints are no addresses but a lock.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The most addresses of a subset that are mirrored.
const MAX_ADDRESSES: usize = 1000;

/// Whether a slice is this controller's.
pub fn is_managed(slice: &EndpointSlice) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|manager| manager == MANAGER)
}

/// What to write so that the slices show these Endpoints. `existing` are the Service's slices of this controller.
pub fn plan(
    service: Option<&Service>,
    endpoints: Option<&Endpoints>,
    existing: &[Arc<EndpointSlice>],
) -> Vec<Action> {
    let mirrored = endpoints.filter(|endpoints| is_mirrored(service, endpoints));
    let mut spare = existing.to_vec();
    let mut actions = Vec::new();
    for wanted in mirrored.into_iter().flat_map(slices) {
        let like =
            |old: &Arc<EndpointSlice>| old.ports == wanted.ports && old.address_type == wanted.address_type;
        let Some(at) = spare.iter().position(like) else {
            actions.push(Action::Create(wanted));
            continue;
        };
        let old = spare.swap_remove(at);
        let same = old.endpoints == wanted.endpoints && old.metadata.labels == wanted.metadata.labels;
        if !same {
            let mut changed = (*old).clone();
            changed.endpoints = wanted.endpoints;
            changed.metadata.labels = wanted.metadata.labels;
            changed.metadata.annotations = wanted.metadata.annotations;
            actions.push(Action::Replace(changed));
        }
    }
    actions.extend(spare.into_iter().map(Action::Delete));
    actions
}

fn is_mirrored(service: Option<&Service>, endpoints: &Endpoints) -> bool {
    let is = |map: &Option<BTreeMap<String, String>>, name: &str| {
        map.as_ref().and_then(|map| map.get(name)).cloned()
    };
    let meta = &endpoints.metadata;
    service.is_some_and(|service| backends::selector(service).is_none())
        && meta.deletion_timestamp.is_none()
        && is(&meta.labels, SKIP).as_deref() != Some("true")
        && is(&meta.annotations, LEADER).is_none()
        && !legacy::is_managed(endpoints)
}

/// A slice for each subset, and each family of addresses in it.
fn slices(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let subsets = endpoints.subsets.iter().flatten();
    let families = subsets.flat_map(|subset| ["IPv4", "IPv6"].map(|family| (subset, family)));
    families
        .map(|(subset, family)| (subset, family, addresses(subset, family)))
        .filter(|(.., addresses)| !addresses.is_empty())
        .map(|(subset, family, addresses)| EndpointSlice {
            metadata: metadata(endpoints),
            address_type: family.to_owned(),
            endpoints: Some(addresses),
            ports: Some(subset.ports.iter().flatten().map(port).collect()),
        })
        .collect()
}

fn addresses(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let not_ready = subset.not_ready_addresses.iter().flatten();
    let all = ready.chain(not_ready.map(|address| (address, false)));
    let of_family = all.filter(|(address, _)| match address.ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    });
    let taken = of_family.take(MAX_ADDRESSES);
    taken.map(|(address, ready)| endpoint(address, ready)).collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn port(port: &v1::EndpointPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: port.protocol.clone().or_else(|| Some("TCP".to_owned())),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    }
}

fn metadata(endpoints: &Endpoints) -> ObjectMeta {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.remove(LAST_CHANGE);
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: endpoints.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![owner::reference_to(endpoints)]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "d"}, "spec": spec})).unwrap()
    }

    fn endpoints(labels: Value, subsets: Value) -> Endpoints {
        let metadata = json!({"name": "s", "namespace": "d", "uid": "e", "labels": labels});
        serde_json::from_value(json!({"metadata": metadata, "subsets": subsets})).unwrap()
    }

    fn subset(ip: &str, port: u16) -> Value {
        json!({"addresses": [{"ip": ip}], "notReadyAddresses": [{"ip": "127.0.0.9"}], "ports": [{"port": port}]})
    }

    /// What is stored after these actions.
    fn stored(actions: Vec<Action>) -> Vec<Arc<EndpointSlice>> {
        let slices = actions.into_iter().map(|action| match action {
            Action::Create(slice) => Arc::new(slice),
            other => panic!("{other:?}"),
        });
        slices.collect()
    }

    #[test]
    fn each_subset_becomes_a_slice_for_each_family() {
        let service = service(json!({"ports": [{"port": 80}]}));
        let of = endpoints(
            json!({"team": "a"}),
            json!([subset("127.0.0.5", 80), subset("::1", 81)]),
        );
        let slices = stored(plan(Some(&service), Some(&of), &[]));
        let shown: Vec<_> = slices
            .iter()
            .map(|slice| {
                (
                    slice.address_type.as_str(),
                    slice.endpoints.as_ref().map_or(0, Vec::len),
                )
            })
            .collect();
        assert_eq!(shown, [("IPv4", 2), ("IPv4", 1), ("IPv6", 1)]);
        let first = slices[0].endpoints.as_ref().unwrap();
        let ready = |at: usize| {
            first[at]
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
        };
        assert_eq!((ready(0), ready(1)), (Some(true), Some(false)));
        let labels = slices[0].metadata.labels.as_ref().unwrap();
        assert_eq!(
            (labels[SERVICE_NAME].as_str(), labels["team"].as_str()),
            ("s", "a")
        );
        assert!(is_managed(&slices[0]));
        assert_eq!(plan(Some(&service), Some(&of), &slices), [], "nothing to do");
    }

    #[test]
    fn changes_are_followed_and_what_is_gone_is_deleted() {
        let service = service(json!({"ports": [{"port": 80}]}));
        let before = endpoints(
            json!({}),
            json!([subset("127.0.0.5", 80), subset("127.0.0.6", 81)]),
        );
        let slices = stored(plan(Some(&service), Some(&before), &[]));
        let after = endpoints(json!({}), json!([subset("127.0.0.7", 80)]));
        let actions = plan(Some(&service), Some(&after), &slices);
        assert!(
            matches!(&actions[..], [Action::Replace(_), Action::Delete(_)]),
            "{actions:?}"
        );
        for gone in [
            plan(Some(&service), None, &slices),
            plan(None, Some(&before), &slices),
        ] {
            assert!(gone.len() == 2 && gone.iter().all(|action| matches!(action, Action::Delete(_))));
        }
    }

    #[test]
    fn endpoints_of_services_with_selector_and_of_others_are_not_mirrored() {
        let subsets = json!([subset("127.0.0.5", 80)]);
        let plain = service(json!({}));
        for (service, labels) in [
            (service(json!({"selector": {"app": "a"}})), json!({})),
            (plain.clone(), json!({SKIP: "true"})),
            (
                plain,
                json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"}),
            ),
        ] {
            let of = endpoints(labels, subsets.clone());
            assert_eq!(plan(Some(&service), Some(&of), &[]), []);
        }
    }
}
