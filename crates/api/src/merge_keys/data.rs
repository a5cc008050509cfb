//! The rules themselves, sorted by type and field. Types are named without their tree's prefix.

use super::{ListType, Patch, Rule};

/// A strategic merge that merges items by `key`, and a server-side apply that tells them apart by `list`.
const fn by(key: &'static str, list: &'static [&'static str]) -> Rule {
    Rule {
        patch: Some(patch(true, false, Some(key))),
        list: Some(ListType::Map(list)),
    }
}

const fn patch(merge: bool, retain_keys: bool, key: Option<&'static str>) -> Patch {
    Patch {
        merge,
        retain_keys,
        key,
    }
}

/// Only strategic merge knows.
const fn only(patch: Patch) -> Rule {
    Rule {
        patch: Some(patch),
        list: None,
    }
}

/// Only server-side apply knows.
const fn apply(list: ListType) -> Rule {
    Rule {
        patch: None,
        list: Some(list),
    }
}

const fn both(patch: Patch, list: ListType) -> Rule {
    Rule {
        patch: Some(patch),
        list: Some(list),
    }
}

/// Type, field, rule.
#[rustfmt::skip]
pub(super) static RULES: &[(&str, &str, Rule)] = &[
    ("admissionregistration.v1.MutatingAdmissionPolicySpec", "matchConditions", only(patch(true, false, Some("name")))),
    ("admissionregistration.v1.MutatingWebhook", "matchConditions", only(patch(true, false, Some("name")))),
    ("admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", only(patch(true, false, Some("name")))),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", "matchConditions", only(patch(true, false, Some("name")))),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", "variables", only(patch(true, false, Some("name")))),
    ("admissionregistration.v1.ValidatingWebhook", "matchConditions", only(patch(true, false, Some("name")))),
    ("admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", only(patch(true, false, Some("name")))),
    ("apps.v1.DaemonSetStatus", "conditions", by("type", &["type"])),
    ("apps.v1.DeploymentSpec", "strategy", only(patch(false, true, None))),
    ("apps.v1.DeploymentStatus", "conditions", by("type", &["type"])),
    ("apps.v1.ReplicaSetStatus", "conditions", by("type", &["type"])),
    ("apps.v1.StatefulSetStatus", "conditions", by("type", &["type"])),
    ("autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", by("type", &["type"])),
    ("batch.v1.JobStatus", "conditions", only(patch(true, false, Some("type")))),
    ("batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", apply(ListType::Set)),
    ("batch.v1.UncountedTerminatedPods", "failed", apply(ListType::Set)),
    ("batch.v1.UncountedTerminatedPods", "succeeded", apply(ListType::Set)),
    ("core.v1.ComponentStatus", "conditions", by("type", &["type"])),
    ("core.v1.Container", "env", by("name", &["name"])),
    ("core.v1.Container", "ports", by("containerPort", &["containerPort", "protocol"])),
    ("core.v1.Container", "volumeDevices", by("devicePath", &["devicePath"])),
    ("core.v1.Container", "volumeMounts", by("mountPath", &["mountPath"])),
    ("core.v1.ContainerRestartRuleOnExitCodes", "values", apply(ListType::Set)),
    ("core.v1.ContainerStatus", "allocatedResourcesStatus", by("name", &["name"])),
    ("core.v1.ContainerStatus", "volumeMounts", by("mountPath", &["mountPath"])),
    ("core.v1.EphemeralContainer", "env", by("name", &["name"])),
    ("core.v1.EphemeralContainer", "ports", by("containerPort", &["containerPort", "protocol"])),
    ("core.v1.EphemeralContainer", "volumeDevices", by("devicePath", &["devicePath"])),
    ("core.v1.EphemeralContainer", "volumeMounts", by("mountPath", &["mountPath"])),
    ("core.v1.NamespaceStatus", "conditions", by("type", &["type"])),
    ("core.v1.NodeAllocatableResourceClaimStatus", "containers", apply(ListType::Set)),
    ("core.v1.NodeSpec", "podCIDRs", both(patch(true, false, None), ListType::Set)),
    ("core.v1.NodeStatus", "addresses", by("type", &["type"])),
    ("core.v1.NodeStatus", "conditions", by("type", &["type"])),
    ("core.v1.PersistentVolumeClaimStatus", "conditions", by("type", &["type"])),
    ("core.v1.PodSpec", "containers", by("name", &["name"])),
    ("core.v1.PodSpec", "ephemeralContainers", by("name", &["name"])),
    ("core.v1.PodSpec", "hostAliases", by("ip", &["ip"])),
    ("core.v1.PodSpec", "imagePullSecrets", by("name", &["name"])),
    ("core.v1.PodSpec", "initContainers", by("name", &["name"])),
    ("core.v1.PodSpec", "resourceClaims", both(patch(true, true, Some("name")), ListType::Map(&["name"]))),
    ("core.v1.PodSpec", "schedulingGates", by("name", &["name"])),
    ("core.v1.PodSpec", "topologySpreadConstraints", by("topologyKey", &["topologyKey", "whenUnsatisfiable"])),
    ("core.v1.PodSpec", "volumes", both(patch(true, true, Some("name")), ListType::Map(&["name"]))),
    ("core.v1.PodStatus", "conditions", by("type", &["type"])),
    ("core.v1.PodStatus", "hostIPs", only(patch(true, false, Some("ip")))),
    ("core.v1.PodStatus", "podIPs", by("ip", &["ip"])),
    ("core.v1.PodStatus", "resourceClaimStatuses", both(patch(true, true, Some("name")), ListType::Map(&["name"]))),
    ("core.v1.ReplicationControllerStatus", "conditions", by("type", &["type"])),
    ("core.v1.ResourceRequirements", "claims", apply(ListType::Map(&["name"]))),
    ("core.v1.ResourceStatus", "resources", apply(ListType::Map(&["resourceID"]))),
    ("core.v1.ServiceAccount", "secrets", by("name", &["name"])),
    ("core.v1.ServiceSpec", "ports", by("port", &["port", "protocol"])),
    ("core.v1.ServiceStatus", "conditions", by("type", &["type"])),
    ("discovery.v1.Endpoint", "addresses", apply(ListType::Set)),
    ("flowcontrol.v1.FlowSchemaStatus", "conditions", only(patch(true, false, Some("type")))),
    ("flowcontrol.v1.PriorityLevelConfigurationStatus", "conditions", only(patch(true, false, Some("type")))),
    ("meta.v1.ObjectMeta", "finalizers", both(patch(true, false, None), ListType::Set)),
    ("meta.v1.ObjectMeta", "ownerReferences", by("uid", &["uid"])),
    ("networking.v1.ServiceCIDRStatus", "conditions", by("type", &["type"])),
    ("policy.v1.PodDisruptionBudgetSpec", "selector", only(patch(false, false, None))),
    ("policy.v1.PodDisruptionBudgetStatus", "conditions", by("type", &["type"])),
];

/// Types that server-side apply owns as a whole (`x-kubernetes-map-type: atomic`), sorted.
pub(super) static ATOMIC_TYPES: &[&str] = &[
    "admissionregistration.v1.MatchResources",
    "admissionregistration.v1.NamedRuleWithOperations",
    "admissionregistration.v1.ParamKind",
    "admissionregistration.v1.ParamRef",
    "autoscaling.v1.CrossVersionObjectReference",
    "autoscaling.v2.CrossVersionObjectReference",
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "discovery.v1.EndpointPort",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "networking.v1.ServiceBackendPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Fields with maps that server-side apply owns as a whole, sorted.
pub(super) static ATOMIC_FIELDS: &[(&str, &str)] = &[
    ("core.v1.PodSpec", "nodeSelector"),
    ("core.v1.ReplicationControllerSpec", "selector"),
    ("core.v1.ServiceSpec", "selector"),
    ("node.v1.Scheduling", "nodeSelector"),
];
