//! Rules for what a pod can be told about itself, in variables and in files.

use k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};

use super::{Errors, Path, names};
use crate::quantity::Amount;

/// What a variable can hold, besides one label or annotation.
pub const OF_VARIABLES: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file can hold, besides one label or annotation.
pub const OF_FILES: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Fields of a pod that upstream knows by name, but tells nobody of.
const OTHERS: [&str; 3] = ["spec.restartPolicy", "spec.schedulerName", "status.phase"];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTES: [&str; 13] = [
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

/// Checks a reference to a field of the pod, one of those `supported`.
pub fn field(reference: &ObjectFieldSelector, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let field = reference.field_path.as_str();
    let field_path = path.field("fieldPath");
    let entry = field
        .strip_suffix("']")
        .and_then(|field| field.split_once("['"))
        .filter(|(map, _)| !map.is_empty());
    match (field, entry) {
        ("", _) => errors.required(&field_path, ""),
        (_, Some(("metadata.labels", key))) => errors.problems(path, key, &names::qualified_name(key)),
        (_, Some(("metadata.annotations", key))) => {
            let key = key.to_lowercase();
            errors.problems(path, &key, &names::qualified_name(&key));
        }
        (_, Some(_)) => {
            let why = format!("error converting fieldPath: field label does not support subscript: {field}");
            errors.invalid(&field_path, field, &why);
        }
        _ if supported.contains(&field) => {}
        _ if [&OF_VARIABLES[..], &OF_FILES, &OTHERS].concat().contains(&field) => {
            errors.not_supported(&field_path, field, supported);
        }
        _ => {
            let why = format!("error converting fieldPath: field label not supported: {field}");
            errors.invalid(&field_path, field, &why);
        }
    }
}

/// Checks a reference to a request or limit: in a file that of a container, in a variable its own.
pub fn resource(reference: &ResourceFieldSelector, is_file: bool, path: &Path<'_>, errors: &mut Errors) {
    let resource = reference.resource.as_str();
    let is_pages = ["limits.hugepages-", "requests.hugepages-"]
        .iter()
        .any(|prefix| resource.starts_with(prefix));
    if is_file && reference.container_name.as_deref().is_none_or(str::is_empty) {
        errors.required(&path.field("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.field("resource"), "");
    } else if !RESOURCES.contains(&resource) && !is_pages {
        errors.not_supported(&path.field("resource"), resource, &RESOURCES);
    }
    let divisor = reference.divisor.as_ref().map(|divisor| divisor.0.as_str());
    let Some(divisor) = divisor.filter(|text| !text.parse().is_ok_and(Amount::is_zero)) else {
        return;
    };
    let (of, supported): (&str, &[&str]) = match resource {
        "limits.cpu" | "requests.cpu" => ("cpu", &["1m", "1"]),
        "limits.memory" | "requests.memory" => ("memory", &BYTES),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => ("local ephemeral storage", &BYTES),
        _ if is_pages => ("hugepages", &BYTES),
        _ => return,
    };
    if !supported.contains(&divisor) {
        let values = if of == "cpu" {
            "1m and 1".to_owned()
        } else {
            BYTES.join(", ")
        };
        let detail = format!("only divisor's values {values} are supported with the {of} resource");
        errors.invalid(&path.field("divisor"), resource, &detail);
    }
}
