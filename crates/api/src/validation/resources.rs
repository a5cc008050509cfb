//! Rules for requests and limits, and for the names of resources.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Errors, Path, names};
use crate::quantity::Amount;

/// Resources that come in whole pieces.
const COUNTED: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
/// Other resources that a quota can be for.
const MEASURED: [&str; 10] = [
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
];
const PAGES: &str = "hugepages-";

/// Checks the resources of a container of a pod.
pub fn container(
    resources: &ResourceRequirements,
    spec: Option<&PodSpec>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let empty = BTreeMap::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    let (limits_path, requests_path) = (path.field("limits"), path.field("requests"));
    for (path, amounts) in [(&limits_path, limits), (&requests_path, requests)] {
        for (name, quantity) in amounts {
            container_name(name, &path.key(name), errors);
            amount(name, quantity, &path.key(name), errors);
            pages(name, quantity, &path.key(name), errors);
        }
    }
    for (name, request) in requests {
        match limits.get(name) {
            Some(limit) => compare(name, request, limit, &requests_path, errors),
            None if may_overcommit(name) => {}
            None => errors.required(&limits_path, "Limit must be set for non overcommitable resources"),
        }
    }
    let all = || limits.keys().chain(requests.keys());
    if all().any(|name| name.starts_with(PAGES)) && !all().any(|name| matches!(&**name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    claims(
        resources.claims.as_deref().unwrap_or_default(),
        spec,
        &path.field("claims"),
        errors,
    );
}

/// Checks what a pod costs besides its containers. Upstream looks at it as at the limits of a container.
pub fn overhead(amounts: &BTreeMap<String, Quantity>, path: &Path<'_>, errors: &mut Errors) {
    let resources = ResourceRequirements {
        limits: Some(amounts.clone()),
        ..ResourceRequirements::default()
    };
    container(&resources, None, path, errors);
}

fn compare(name: &str, request: &Quantity, limit: &Quantity, path: &Path<'_>, errors: &mut Errors) {
    let (Some(wanted), Some(most)) = (parse(request), parse(limit)) else {
        return;
    };
    if wanted != most && !may_overcommit(name) {
        let detail = format!("must be equal to {name} limit of {}", limit.0);
        errors.invalid(path, &request.0, &detail);
    } else if wanted > most {
        let detail = format!("must be less than or equal to {name} limit of {}", limit.0);
        errors.invalid(path, &request.0, &detail);
    }
}

/// Checks the name of any resource: well known, or somebody's.
pub fn name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let problems = names::qualified_name(name);
    errors.problems(path, name, &problems);
    if problems.is_empty() && !name.contains('/') && name != "storage" && !is_of_quotas(name) {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
}

/// Checks the name of a resource that a container can have.
pub fn container_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    self::name(name, path, errors);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with(PAGES) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// Checks the name of a resource that a quota can be for.
pub fn quota_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    self::name(name, path, errors);
    if !name.contains('/') && !is_of_quotas(name) {
        errors.invalid(path, name, "must be a standard resource for quota");
    }
}

/// Checks an amount of the resource.
pub fn amount(name: &str, quantity: &Quantity, path: &Path<'_>, errors: &mut Errors) {
    let Some(amount) = parse(quantity) else {
        return errors.invalid(path, &quantity.0, crate::quantity::WRONG_FORM);
    };
    if amount.is_negative() {
        errors.invalid(path, &quantity.0, "must be greater than or equal to 0");
    }
    if (COUNTED.contains(&name) || is_extended(name)) && !amount.is_whole() {
        errors.invalid(path, &quantity.0, "must be an integer");
    }
}

/// Huge pages come in whole ones.
fn pages(name: &str, quantity: &Quantity, path: &Path<'_>, errors: &mut Errors) {
    let Some(page) = name.strip_prefix(PAGES) else {
        return;
    };
    let page = page
        .parse()
        .ok()
        .filter(|page: &Amount| page.is_positive() && page.is_whole());
    let is_whole = |amount: Amount| page.is_some_and(|page| amount.value() % page.value() == 0);
    if !parse(quantity).is_some_and(is_whole) {
        let detail = format!("{} is not positive integer multiple of {name}", quantity.0);
        errors.invalid(path, &quantity.0, &detail);
    }
}

fn claims(claims: &[ResourceClaim], spec: Option<&PodSpec>, path: &Path<'_>, errors: &mut Errors) {
    let known = spec.iter().flat_map(|spec| spec.resource_claims.iter().flatten());
    let known: BTreeSet<_> = known.map(|claim| claim.name.as_str()).collect();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let request = claim.request.as_deref().filter(|request| !request.is_empty());
        if let Some(request) = request {
            errors.problems(&path.field("request"), request, &names::label(request));
        }
        let overlaps = |other: &&ResourceClaim| {
            let both = request.is_some() && other.request.is_some();
            other.name == claim.name && (!both || other.request == claim.request)
        };
        if claims[..index].iter().any(|other| overlaps(&other)) {
            errors.duplicate(&path, &claim.name);
        }
        if !known.contains(claim.name.as_str()) {
            let which = match known.iter().copied().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => " which is empty".to_owned(),
                some => format!(": {some}"),
            };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{which}");
            errors.not_found_because(&path, &claim.name, &detail);
        }
    }
}

fn parse(quantity: &Quantity) -> Option<Amount> {
    quantity.0.parse().ok()
}

/// Whether a quota can be for a resource without a domain.
#[must_use]
pub fn is_of_quotas(name: &str) -> bool {
    let is_pages = name.strip_prefix("requests.").unwrap_or(name).starts_with(PAGES);
    is_pages || COUNTED.contains(&name) || MEASURED.contains(&name)
}

/// Names without a domain are Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// What a device plugin can offer; a quota for it has a longer name.
fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether a container may get more than it asked for.
fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with(PAGES)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(resources: Value) -> Vec<String> {
        let resources = serde_json::from_value(resources).unwrap();
        let mut errors = Errors::default();
        container(&resources, None, &Path::ROOT.field("r"), &mut errors);
        let causes = errors.into_verdict().causes;
        let said = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message));
        said.collect()
    }

    #[test]
    fn names_of_resources() {
        assert_eq!(
            refused(json!({ "limits": { "apples": "1", "pods": "1", "requests.a/b": "1" } })),
            [
                "r.limits[apples]: Invalid value: \"apples\": must be a standard resource type or fully qualified",
                "r.limits[apples]: Invalid value: \"apples\": must be a standard resource for containers",
                "r.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
                "r.limits[requests.a/b]: Invalid value: \"requests.a/b\": doesn't follow extended resource name standard",
            ]
        );
    }

    #[test]
    fn what_cannot_be_shared_needs_a_limit() {
        assert_eq!(
            refused(json!({ "requests": { "a.io/gpu": "1", "cpu": "1" } })),
            ["r.limits: Required value: Limit must be set for non overcommitable resources"]
        );
        assert_eq!(
            refused(
                json!({ "limits": { "a.io/gpu": "2", "cpu": "1" }, "requests": { "a.io/gpu": "1", "cpu": "2" } })
            ),
            [
                "r.requests: Invalid value: \"1\": must be equal to a.io/gpu limit of 2",
                "r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ]
        );
        assert_eq!(
            refused(json!({ "limits": { "hugepages-2Mi": "3Mi" }, "claims": [{ "name": "c" }] })),
            [
                "r.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "r: Forbidden: HugePages require cpu or memory",
                "r.claims[0]: Not found: \"c\": must be one of the names in pod.spec.resourceClaims which is empty",
            ]
        );
    }
}
