//! What is valid in a Service, but without effect, or old: its writer is warned, in upstream's words.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::validation::Errors;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Warns of what is hardly meant.
pub(super) fn service(service: &Service, spec: &ServiceSpec, errors: &mut Errors) {
    let kind = spec.type_.as_deref().unwrap_or_default();
    let is_headless = kind == "ClusterIP" && spec.cluster_ip.as_deref() == Some("None");
    let is_name = kind == "ExternalName";
    let is_set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let has_external = spec.external_ips.iter().flatten().next().is_some();
    let annotations = service.metadata.annotations.as_ref();
    let warnings = [
        (
            annotations.is_some_and(|annotations| annotations.contains_key(HINTS)),
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
        ),
        (
            is_headless && is_set(&spec.load_balancer_ip),
            "spec.loadBalancerIP is ignored for headless services",
        ),
        (
            is_headless && has_external,
            "spec.externalIPs is ignored for headless services",
        ),
        (
            is_headless && spec.session_affinity.as_deref() != Some("None"),
            "spec.SessionAffinity is ignored for headless services",
        ),
        (
            has_external && !is_headless && !is_name,
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        ),
        (
            is_name && has_external,
            "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
        ),
        (
            !is_name && is_set(&spec.external_name),
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
        ),
        (
            spec.traffic_distribution.as_deref() == Some("PreferClose"),
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ),
    ];
    for (_, warning) in warnings.iter().filter(|(applies, _)| *applies) {
        errors.warn_of(warning);
    }
}
