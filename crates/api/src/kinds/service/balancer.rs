//! Which Services may have the fields that are about load balancers.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::validation::{Errors, Path, names, values};

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
/// Says what `loadBalancerSourceRanges` says, in older manifests.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Checks a Service.
pub(super) fn validate(service: &Service, spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    source_ranges(service, spec, path, errors);
    if spec.allocate_load_balancer_node_ports.is_some() && !is_balanced(spec) {
        errors.forbidden(&path.field("allocateLoadBalancerNodePorts"), ONLY_BALANCED);
    }
    if let Some(class) = &spec.load_balancer_class {
        let path = path.field("loadBalancerClass");
        if is_balanced(spec) {
            errors.problems(&path, class, &names::qualified_name(class));
        } else {
            errors.forbidden(&path, ONLY_BALANCED);
        }
    }
    if let Some(port) = spec.health_check_node_port {
        let path = path.field("healthCheckNodePort");
        if needs_health_check(spec) {
            errors.problems(&path, &port, &names::port_number(port.into()));
        } else {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&path, &port, detail);
        }
    }
}

/// Checks a change.
pub(super) fn update(spec: &ServiceSpec, old: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let (new_class, old_class) = (&spec.load_balancer_class, &old.load_balancer_class);
    if is_balanced(spec) && is_balanced(old) && new_class != old_class {
        errors.invalid(
            &path.field("loadBalancerClass"),
            new_class,
            "may not change once set",
        );
    }
    let (new_port, old_port) = (spec.health_check_node_port, old.health_check_node_port);
    if needs_health_check(spec) && needs_health_check(old) && old_port.is_some() && new_port != old_port {
        errors.forbidden(&path.field("healthCheckNodePort"), "field is immutable");
    }
}

fn is_balanced(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
}

fn needs_health_check(spec: &ServiceSpec) -> bool {
    is_balanced(spec) && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Upstream begins the field's name with a capital letter.
fn source_ranges(service: &Service, spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let annotations = service.metadata.annotations.as_ref();
    if !ranges.is_empty() {
        let path = path.field("LoadBalancerSourceRanges");
        if !is_balanced(spec) {
            errors.forbidden(&path, ONLY_BALANCED);
        }
        for (index, range) in ranges.iter().map(|range| range.trim()).enumerate() {
            errors.problems(&path.index(index), range, &values::cidr(range));
        }
    } else if let Some(ranges) = annotations.and_then(|all| all.get(SOURCE_RANGES)) {
        let path = Path::ROOT.field("metadata.annotations");
        let path = path.key(SOURCE_RANGES);
        if !is_balanced(spec) {
            errors.forbidden(&path, ONLY_BALANCED);
        }
        let ranges = Some(ranges.trim()).filter(|ranges| !ranges.is_empty());
        for range in ranges.into_iter().flat_map(|ranges| ranges.split(',')) {
            let range = range.trim();
            errors.problems(&path, range, &values::cidr(range));
        }
    }
}
