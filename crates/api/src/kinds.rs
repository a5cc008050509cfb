//! The table of kinds. Adding a kind is adding a module that implements `Served` and a row here.

pub mod config_map;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod replica_set;
pub mod secret;
pub mod service;
pub mod service_account;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events;

use crate::Kind;

static KINDS: [Kind; 14] = [
    Kind::of::<ConfigMap>(),
    Kind::of::<Endpoints>(),
    Kind::of::<Event>(),
    Kind::of::<Namespace>(),
    Kind::of::<Node>(),
    Kind::of::<Pod>(),
    Kind::of::<Secret>(),
    Kind::of::<ServiceAccount>(),
    Kind::of::<Service>(),
    Kind::of::<Deployment>(),
    Kind::of::<ReplicaSet>(),
    Kind::of::<Lease>(),
    Kind::of::<EndpointSlice>(),
    Kind::of::<events::v1::Event>(),
];

/// Every kind that is served.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// The kind at `/apis/GROUP/VERSION/PLURAL`; the core group is empty.
#[must_use]
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
}

/// The kind that an object says it is: `apps/v1` and `Deployment`.
#[must_use]
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KINDS
        .iter()
        .find(|row| row.kind == kind && row.group == group && row.version == version)
}

#[cfg(test)]
#[path = "kinds_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "kinds_properties.rs"]
mod properties;
