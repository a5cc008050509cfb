//! Rules for requests and limits.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

use super::{Errors, Path, names};
use crate::quantity::Amount;

/// Checks the resources of a container.
pub fn validate(resources: &ResourceRequirements, path: &Path<'_>, errors: &mut Errors) {
    amounts(resources.limits.as_ref(), &path.field("limits"), errors);
    amounts(resources.requests.as_ref(), &path.field("requests"), errors);
    let requests_path = path.field("requests");
    for (name, request) in resources.requests.iter().flatten() {
        let Some(limit) = resources.limits.as_ref().and_then(|limits| limits.get(name)) else {
            continue;
        };
        let (Some(wanted), Some(most)) = (parse(request), parse(limit)) else {
            continue;
        };
        if wanted > most {
            let detail = format!("must be less than or equal to {name} limit of {}", limit.0);
            errors.invalid(&requests_path, &request.0, &detail);
        }
    }
}

fn amounts(amounts: Option<&BTreeMap<String, Quantity>>, path: &Path<'_>, errors: &mut Errors) {
    for (name, quantity) in amounts.into_iter().flatten() {
        let path = path.key(name);
        errors.problems(&path, name, &names::qualified_name(name));
        if !is_container_resource(name) {
            errors.invalid(&path, name, "must be a standard resource for containers");
        }
        match parse(quantity) {
            None => errors.invalid(&path, &quantity.0, crate::quantity::WRONG_FORM),
            Some(amount) if amount.is_negative() => {
                errors.invalid(&path, &quantity.0, "must be greater than or equal to 0");
            }
            Some(amount) if is_counted(name) && !amount.is_whole() => {
                errors.invalid(&path, &quantity.0, "must be an integer");
            }
            Some(_) => {}
        }
    }
}

fn parse(quantity: &Quantity) -> Option<Amount> {
    quantity.0.parse().ok()
}

/// Names without a domain are reserved for these.
fn is_container_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
        || name.starts_with("hugepages-")
        || name.contains('/')
}

/// Resources of a device plugin come in whole pieces.
fn is_counted(name: &str) -> bool {
    name.contains('/') && !name.starts_with("kubernetes.io/")
}
