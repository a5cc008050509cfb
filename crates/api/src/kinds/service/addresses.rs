//! Which addresses a Service may have. This cluster has IPv4 alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use crate::validation::{Errors, Path, values};

/// More than one address are one of each family.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// Whether the Service is to have no address.
pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ips.as_deref() == Some(&["None".to_owned()])
}

/// Checks `clusterIP`, `clusterIPs` and their families.
pub(super) fn validate(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    if spec.type_.as_deref() == Some("ExternalName") {
        return;
    }
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    let list_path = path.field("clusterIPs");
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    match list.first() {
        Some(_) if ip.is_empty() => {
            errors.invalid(
                &list_path,
                list,
                "must be empty when `clusterIP` is not specified",
            );
        }
        Some(first) if first != ip => {
            errors.invalid(&list_path, list, "first value must match `clusterIP`");
        }
        _ => {}
    }
    families(spec, path, errors);
    cluster_ips(list, is_allocated(spec), &list_path, errors);
}

/// Of a headless Service without a selector nothing is allocated; upstream lets it have both families anywhere.
fn is_allocated(spec: &ServiceSpec) -> bool {
    !is_headless(spec) || !spec.selector.as_ref().is_none_or(BTreeMap::is_empty)
}

fn families(spec: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(policy) = spec.ip_family_policy.as_deref() {
        let path = path.field("ipFamilyPolicy");
        let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        errors.one_of(&path, Some(policy), &policies);
        if policy == "RequireDualStack" && is_allocated(spec) {
            errors.invalid(
                &path,
                policy,
                "this cluster is not configured for dual-stack services",
            );
        }
    }
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let path = path.field("ipFamilies");
    for (index, family) in families.iter().enumerate() {
        let path = path.index(index);
        if !FAMILIES.contains(&family.as_str()) {
            errors.not_supported(&path, family, &FAMILIES);
        } else if family == "IPv6" && is_allocated(spec) {
            errors.invalid(&path, family, "not configured on this cluster");
        }
        if families[..index].contains(family) {
            errors.duplicate(&path, family);
        }
    }
}

fn cluster_ips(list: &[String], is_allocated: bool, path: &Path<'_>, errors: &mut Errors) {
    let mut addresses = Vec::new();
    for (index, ip) in list.iter().enumerate() {
        if index == 0 && ip == "None" {
            if list.len() > 1 {
                errors.invalid(path, list, "'None' must be the first and only value");
            }
            continue;
        }
        errors.problems(&path.index(index), ip, &values::ip(ip));
        addresses.extend(ip.parse::<IpAddr>());
    }
    if list.len() > 2 {
        errors.invalid(path, list, "may only hold up to 2 values");
    }
    if addresses.len() < list.len() {
        return;
    }
    let of_v6: Vec<_> = addresses.iter().map(IpAddr::is_ipv6).collect();
    let is_mixed = of_v6.contains(&true) && of_v6.contains(&false);
    if list.len() > 1 && !is_mixed {
        errors.invalid(path, list, "may specify no more than one IP for each IP family");
    }
    if list.len() > 2 || (list.len() > 1 && !is_mixed) {
        return;
    }
    if let Some(index) = of_v6.iter().position(|is_v6| *is_v6 && is_allocated) {
        errors.invalid(&path.index(index), list, "IPv6 is not configured on this cluster");
    }
}

/// An address stays for as long as the Service has one.
pub(super) fn update(spec: &ServiceSpec, old: &ServiceSpec, path: &Path<'_>, errors: &mut Errors) {
    let is_name = |spec: &ServiceSpec| spec.type_.as_deref() == Some("ExternalName");
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = old.cluster_ips.as_ref().and_then(|list| list.first());
    if !is_name(spec) && !is_name(old) && first.is_some() && addresses.first() != first {
        let field = path.field("clusterIPs");
        errors.invalid(&field.index(0), addresses, "may not change once set");
    }
}
