//! OpenAPI of `metrics.k8s.io`: its kinds are measured, never stored, and have no Rust type that a schema could be
//! taken from.
//!
//! Flows in: the table of measured kinds. Flows out: their paths and schemas, in the words of upstream's metrics server.

use serde_json::{Value, json};

use super::{Content, Published, add_paths};
use crate::metrics::{ALL, GROUP, Measured, VERSION};

const TYPES: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// The document's name.
pub(super) fn document() -> String {
    format!("apis/{GROUP}/{VERSION}")
}

/// Adds what is said of the measured kinds.
pub(super) fn add(content: &mut Content) {
    let schemas = &mut content.schemas;
    for measured in &ALL {
        let kind = Published {
            root: document(),
            group: GROUP,
            version: VERSION,
            kind: measured.kind,
            plural: measured.plural,
            namespaced: measured.namespaced,
            type_name: format!("{TYPES}.{}", measured.kind),
            one_by_one: false,
            parts: None,
        };
        add_paths(&mut content.paths, &kind);
        schemas.insert(format!("{}List", kind.type_name), list(measured));
        schemas.insert(kind.type_name, object(measured));
    }
    schemas.insert(format!("{TYPES}.ContainerMetrics"), container());
    schemas.insert(format!("{META}.Duration"), duration());
    api::openapi::complete(schemas);
}

fn object(measured: &Measured) -> Value {
    let of = measured.kind.trim_end_matches("Metrics").to_lowercase();
    let interval = "The following fields define time interval from which metrics were collected from the interval [Timestamp-Window, Timestamp].";
    let mut properties = json!({
        "metadata": described(META, "ObjectMeta", "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"),
        "timestamp": described(META, "Time", interval),
        "window": { "$ref": reference(META, "Duration") },
    });
    let measure = if measured.namespaced {
        properties["containers"] = json!({
            "description": "Metrics for all containers are collected within the same time window.",
            "type": "array",
            "items": { "allOf": [{ "$ref": reference(TYPES, "ContainerMetrics") }], "default": {} },
        });
        "containers"
    } else {
        properties["usage"] = usage();
        "usage"
    };
    kind(
        measured.kind,
        &format!("{} sets resource usage metrics of a {of}.", measured.kind),
        properties,
        &["timestamp", "window", measure],
    )
}

fn list(measured: &Measured) -> Value {
    let item = json!({ "allOf": [{ "$ref": reference(TYPES, measured.kind) }], "default": {} });
    let of = measured.kind.trim_end_matches("Metrics").to_lowercase();
    let properties = json!({
        "metadata": described(META, "ListMeta", "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"),
        "items": { "description": format!("List of {of} metrics."), "type": "array", "items": item },
    });
    kind(
        &format!("{}List", measured.kind),
        &format!("{0}List is a list of {0}.", measured.kind),
        properties,
        &["items"],
    )
}

/// What every kind has, besides fields of its own.
fn kind(name: &str, description: &str, mut properties: Value, required: &[&str]) -> Value {
    properties["apiVersion"] = json!({ "type": "string", "description": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources" });
    properties["kind"] = json!({ "type": "string", "description": "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds" });
    json!({
        "description": description,
        "type": "object",
        "required": required,
        "properties": properties,
        "x-kubernetes-group-version-kind": [{ "group": GROUP, "version": VERSION, "kind": name }],
    })
}

fn container() -> Value {
    json!({
        "description": "ContainerMetrics sets resource usage metrics of a container.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": {
            "name": { "description": "Container name corresponding to the one from pod.spec.containers.", "type": "string", "default": "" },
            "usage": usage(),
        },
    })
}

fn usage() -> Value {
    json!({
        "description": "The memory usage is the memory working set.",
        "type": "object",
        "additionalProperties": { "$ref": format!("{}{QUANTITY}", api::types::PREFIX) },
    })
}

fn duration() -> Value {
    json!({
        "description": "Duration is a wrapper around time.Duration which supports correct marshaling to YAML and JSON. In particular, it marshals into strings, which can be used as map keys in json.",
        "type": "string",
    })
}

fn described(package: &str, name: &str, description: &str) -> Value {
    json!({ "allOf": [{ "$ref": reference(package, name) }], "description": description })
}

fn reference(package: &str, name: &str) -> String {
    format!("{}{package}.{name}", api::types::PREFIX)
}
