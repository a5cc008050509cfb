//! Which Services are valid.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{addresses, balancer, warnings};
use crate::validation::{Errors, Path, metadata, names, values};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];

/// Checks a Service, and with `old` a change.
pub(super) fn validate(service: &Service, old: Option<&Service>, errors: &mut Errors) {
    let spec = service.spec.clone().unwrap_or_default();
    let path = Path::ROOT.field("spec");
    let kind = spec.type_.as_deref().unwrap_or_default();
    errors.one_of(&path.field("type"), Some(kind), &TYPES);
    if let Some(old) = old.and_then(|old| old.spec.as_ref()) {
        addresses::update(&spec, old, &path, errors);
        balancer::update(&spec, old, &path, errors);
    }
    let is_headless = addresses::is_headless(&spec);
    if spec.ports.iter().flatten().next().is_none() && !is_headless && kind != "ExternalName" {
        errors.required(&path.field("ports"), "");
    }
    by_type(&spec, kind, is_headless, &path, errors);
    ports(&spec, &path.field("ports"), errors);
    metadata::labels(spec.selector.as_ref(), &path.field("selector"), errors);
    errors.one_of(
        &path.field("sessionAffinity"),
        spec.session_affinity.as_deref(),
        &["ClientIP", "None"],
    );
    affinity_timeout(&spec, &path, errors);
    addresses::validate(&spec, &path, errors);
    let external = path.field("externalIPs");
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        errors.problems(&external.index(index), ip, &values::endpoint_ip(ip));
    }
    balancer::validate(service, &spec, &path, errors);
    policies(&spec, kind, &path, errors);
    warnings::service(service, &spec, errors);
}

fn by_type(spec: &ServiceSpec, kind: &str, is_headless: bool, path: &Path<'_>, errors: &mut Errors) {
    match kind {
        "NodePort" | "LoadBalancer" if is_headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            let field = path.field("clusterIPs");
            errors.invalid(&field.index(0), "None", &detail);
        }
        "ExternalName" => {
            let is_there = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
            for (field, is_there) in [
                ("clusterIPs", is_there(&spec.cluster_ips)),
                ("ipFamilies", is_there(&spec.ip_families)),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ] {
                if is_there {
                    errors.forbidden(&path.field(field), "may not be set for ExternalName services");
                }
            }
            match spec.external_name.as_deref().unwrap_or_default() {
                "" | "." => errors.required(&path.field("externalName"), ""),
                name => {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    errors.problems(&path.field("externalName"), name, &names::subdomain(name));
                }
            }
        }
        _ => {}
    }
}

fn ports(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut seen_names: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        self::port(port, ports.len() > 1, &mut seen_names, &path, errors);
        let kind = spec.type_.as_deref().unwrap_or_default();
        if matches!(kind, "ClusterIP" | "ExternalName") && port.node_port.is_some() {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&path.field("nodePort"), &detail.replace("ClusterIP", kind));
        }
        let is_same = |other: &&ServicePort| other.port == port.port && other.protocol == port.protocol;
        if ports[..index].iter().any(|other| is_same(&other)) {
            errors.duplicate(
                &path,
                &serde_json::json!({"protocol": port.protocol, "port": port.port}),
            );
        }
        let is_taken = |other: &ServicePort| {
            port.node_port.is_some() && other.node_port == port.node_port && other.protocol == port.protocol
        };
        if ports[..index].iter().any(is_taken) {
            errors.duplicate(&path.field("nodePort"), &port.node_port);
        }
    }
}

fn port<'a>(
    port: &'a ServicePort,
    is_name_required: bool,
    seen_names: &mut Vec<&'a str>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let name = port.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        if is_name_required {
            errors.required(&path.field("name"), "");
        }
    } else {
        errors.problems(&path.field("name"), name, &names::label(name));
        if seen_names.contains(&name) {
            errors.duplicate(&path.field("name"), name);
        }
        seen_names.push(name);
    }
    errors.problems(
        &path.field("port"),
        &port.port,
        &names::port_number(port.port.into()),
    );
    errors.one_of(
        &path.field("protocol"),
        port.protocol.as_deref(),
        &["SCTP", "TCP", "UDP"],
    );
    let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
    // An absent target port was defaulted from `port`, which has been complained about.
    if target != IntOrString::Int(port.port) {
        values::port_or_name(&target, &path.field("targetPort"), errors);
    }
    if let Some(protocol) = &port.app_protocol {
        errors.problems(
            &path.field("appProtocol"),
            protocol,
            &names::qualified_name(protocol),
        );
    }
    if let Some(node_port) = port.node_port {
        errors.problems(
            &path.field("nodePort"),
            &node_port,
            &names::port_number(node_port.into()),
        );
    }
}

fn affinity_timeout(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let config = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref());
    let Some(seconds) = config.and_then(|config| config.timeout_seconds) else {
        return;
    };
    if !(1..=86_400).contains(&seconds) {
        let path = path.field("sessionAffinityConfig.clientIP.timeoutSeconds");
        errors.invalid(&path, &seconds, "must be greater than 0 and less than 86400");
    }
}

fn policies(spec: &ServiceSpec, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let values = ["Cluster", "Local"];
    let is_external = matches!(kind, "NodePort" | "LoadBalancer");
    let external = path.field("externalTrafficPolicy");
    match spec
        .external_traffic_policy
        .as_deref()
        .filter(|policy| !policy.is_empty())
    {
        Some(policy) if !is_external => {
            errors.invalid(
                &external,
                policy,
                "may only be set for externally-accessible services",
            );
        }
        policy if is_external => errors.one_of(&external, policy, &values),
        _ => {}
    }
    if kind != "ExternalName" {
        errors.one_of(
            &path.field("internalTrafficPolicy"),
            spec.internal_traffic_policy.as_deref(),
            &values,
        );
    }
    if let Some(choice) = &spec.traffic_distribution
        && !DISTRIBUTIONS.contains(&choice.as_str())
    {
        errors.not_supported(&path.field("trafficDistribution"), choice, &DISTRIBUTIONS);
    }
}
