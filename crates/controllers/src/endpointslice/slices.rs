//! Which EndpointSlices to write for a Service. Pure.
//!
//! Endpoints stay in the slice they are in, and a slice is written only if it changes: during a rollout each step touches
//! the slices of the pods it concerns and no other. Upstream's `endpointslice/reconciler.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::names::SERVICE_NAME;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::backends::{Backend, Groups, Port};
use super::labels::{self, LAST_CHANGE};
use crate::owner;

/// Label of slices: the controller that writes them.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The most endpoints in a slice.
const MAX_ENDPOINTS: usize = 100;

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A new slice.
    Create(EndpointSlice),
    /// A slice that changes; carries the version that was read.
    Replace(EndpointSlice),
    /// A slice that is not needed any more.
    Delete(Arc<EndpointSlice>),
}

/// Whether a slice is this controller's.
pub fn is_managed(slice: &EndpointSlice) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(MANAGED_BY))
        .is_some_and(|manager| manager == MANAGER)
}

/// What to write so that the Service's slices show `groups`. `existing` are its slices of this controller.
pub fn plan(service: &Service, mut groups: Groups, existing: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let (mut slots, mut spare) = keep(&mut groups, existing);
    for (ports, backends) in groups.into_iter().filter(|(_, backends)| !backends.is_empty()) {
        place(&mut slots, &mut spare, ports, backends);
    }
    let (filled, emptied): (Vec<_>, Vec<_>) = slots.into_iter().partition(|slot| !slot.backends.is_empty());
    spare.extend(emptied.into_iter().filter_map(|slot| slot.slice));
    let mut wanted = filled;
    if wanted.is_empty() {
        // A Service without endpoints keeps one empty slice, to show that it has been looked at.
        wanted.push(Slot {
            slice: spare.pop(),
            ports: Vec::new(),
            backends: Vec::new(),
        });
    }
    let writes = wanted.into_iter().filter_map(|slot| slot.write(service));
    writes.chain(spare.into_iter().map(Action::Delete)).collect()
}

/// A slice as it should become.
struct Slot {
    /// The slice it is now, if there is one.
    slice: Option<Arc<EndpointSlice>>,
    ports: Vec<Port>,
    backends: Vec<Backend>,
}

/// Leaves backends where they are: takes them from `groups` into the slots of their slices. Slices of ports that nobody
/// serves any more are to spare.
fn keep(groups: &mut Groups, existing: &[Arc<EndpointSlice>]) -> (Vec<Slot>, Vec<Arc<EndpointSlice>>) {
    let mut slots = Vec::new();
    let mut spare = Vec::new();
    for slice in existing {
        let ports = ports_of(slice);
        let Some(backends) = groups.get_mut(&ports).filter(|_| slice.address_type == "IPv4") else {
            spare.push(slice.clone());
            continue;
        };
        let mut kept = Vec::new();
        for endpoint in slice.endpoints.iter().flatten() {
            let uid = endpoint
                .target_ref
                .as_ref()
                .and_then(|target| target.uid.as_deref());
            let at = backends
                .iter()
                .position(|backend| backend.target.uid.as_deref() == uid);
            kept.extend(at.map(|at| backends.remove(at)));
        }
        slots.push(Slot {
            slice: Some(slice.clone()),
            ports,
            backends: kept,
        });
    }
    (slots, spare)
}

/// Puts backends that are in no slice yet into slices with room, then into spare or new ones.
fn place(
    slots: &mut Vec<Slot>,
    spare: &mut Vec<Arc<EndpointSlice>>,
    ports: Vec<Port>,
    mut backends: Vec<Backend>,
) {
    for slot in slots.iter_mut().filter(|slot| slot.ports == ports) {
        let room = MAX_ENDPOINTS
            .saturating_sub(slot.backends.len())
            .min(backends.len());
        slot.backends.extend(backends.drain(..room));
    }
    while !backends.is_empty() {
        let rest = backends.split_off(backends.len().min(MAX_ENDPOINTS));
        slots.push(Slot {
            slice: spare.pop(),
            ports: ports.clone(),
            backends,
        });
        backends = rest;
    }
}

impl Slot {
    /// The write that makes the slice so; none if it is so.
    fn write(self, service: &Service) -> Option<Action> {
        let not_ready_too = service
            .spec
            .as_ref()
            .and_then(|spec| spec.publish_not_ready_addresses);
        let publish = not_ready_too == Some(true);
        let endpoints = self
            .backends
            .iter()
            .map(|backend| endpoint(backend, publish))
            .collect();
        let ports = self.ports.iter().map(endpoint_port).collect();
        let mut labels = labels::copied(service);
        labels.insert(
            SERVICE_NAME.to_owned(),
            service.metadata.name.clone().unwrap_or_default(),
        );
        labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        let trigger = self
            .backends
            .iter()
            .filter_map(|backend| backend.changed_at)
            .max();
        let Some(old) = self.slice else {
            return Some(Action::Create(new_slice(
                service, labels, endpoints, ports, trigger,
            )));
        };
        let is_same = old.endpoints.as_deref().unwrap_or_default() == endpoints
            && ports_of(&old) == self.ports
            && old.metadata.labels.as_ref() == Some(&labels);
        if is_same {
            return None;
        }
        let mut changed = (*old).clone();
        changed.endpoints = Some(endpoints);
        changed.ports = Some(ports);
        changed.metadata.labels = Some(labels);
        note_trigger(&mut changed.metadata, trigger);
        Some(Action::Replace(changed))
    }
}

fn new_slice(
    service: &Service,
    labels: BTreeMap<String, String>,
    endpoints: Vec<Endpoint>,
    ports: Vec<EndpointPort>,
    trigger: Option<Timestamp>,
) -> EndpointSlice {
    let mut metadata = ObjectMeta {
        generate_name: Some(format!(
            "{}-",
            service.metadata.name.as_deref().unwrap_or_default()
        )),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![owner::reference_to(service)]),
        ..ObjectMeta::default()
    };
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    note_trigger(&mut metadata, trigger.or(created));
    EndpointSlice {
        metadata,
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}

/// Notes when what made this change happened, for those who measure how long it takes to take effect.
fn note_trigger(metadata: &mut ObjectMeta, trigger: Option<Timestamp>) {
    let annotations = metadata.annotations.get_or_insert_default();
    match trigger {
        Some(trigger) => annotations.insert(LAST_CHANGE.to_owned(), trigger.to_string()),
        None => annotations.remove(LAST_CHANGE),
    };
}

fn endpoint(backend: &Backend, publish_not_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![backend.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(publish_not_ready || (backend.is_serving && !backend.is_terminating)),
            serving: Some(backend.is_serving),
            terminating: Some(backend.is_terminating),
        }),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(backend.target.clone()),
        ..Endpoint::default()
    }
}

fn endpoint_port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.number.into()),
        app_protocol: port.app_protocol.clone(),
    }
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        number: port
            .port
            .and_then(|number| u16::try_from(number).ok())
            .unwrap_or(0),
        app_protocol: port.app_protocol.clone(),
    };
    let mut ports: Vec<Port> = slice.ports.iter().flatten().map(port).collect();
    ports.sort();
    ports
}
