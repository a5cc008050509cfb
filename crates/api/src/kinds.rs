//! The table of kinds. Adding a kind is adding a module that implements `Served` and a row here.

pub mod config_map;
pub mod controller_revision;
pub mod cron_job;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod ingress_class;
pub mod job;
pub mod lease;
pub mod limit_range;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod pod_disruption_budget;
pub mod pod_template;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod replication_controller;
pub mod resource_quota;
pub mod runtime_class;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod stateful_set;
pub mod storage_class;
mod volume_claims;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;

use crate::Kind;

static KINDS: [Kind; 38] = [
    Kind::of::<ConfigMap>(),
    Kind::of::<Endpoints>(),
    Kind::of::<Event>(),
    Kind::of::<LimitRange>(),
    Kind::of::<Namespace>(),
    Kind::of::<Node>(),
    Kind::of::<PersistentVolume>(),
    Kind::of::<PersistentVolumeClaim>(),
    Kind::of::<Pod>(),
    Kind::of::<PodTemplate>(),
    Kind::of::<ReplicationController>(),
    Kind::of::<ResourceQuota>(),
    Kind::of::<Secret>(),
    Kind::of::<ServiceAccount>(),
    Kind::of::<Service>(),
    Kind::of::<ControllerRevision>(),
    Kind::of::<DaemonSet>(),
    Kind::of::<Deployment>(),
    Kind::of::<ReplicaSet>(),
    Kind::of::<StatefulSet>(),
    Kind::of::<autoscaling::v2::HorizontalPodAutoscaler>(),
    Kind::of::<autoscaling::v1::HorizontalPodAutoscaler>(),
    Kind::of::<CronJob>(),
    Kind::of::<Job>(),
    Kind::of::<Lease>(),
    Kind::of::<EndpointSlice>(),
    Kind::of::<events::v1::Event>(),
    Kind::of::<Ingress>(),
    Kind::of::<IngressClass>(),
    Kind::of::<NetworkPolicy>(),
    Kind::of::<RuntimeClass>(),
    Kind::of::<PodDisruptionBudget>(),
    Kind::of::<ClusterRole>(),
    Kind::of::<ClusterRoleBinding>(),
    Kind::of::<Role>(),
    Kind::of::<RoleBinding>(),
    Kind::of::<PriorityClass>(),
    Kind::of::<StorageClass>(),
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
#[path = "kinds_rules_tests/mod.rs"]
mod rules_tests;

#[cfg(test)]
#[path = "kinds_properties.rs"]
mod properties;
