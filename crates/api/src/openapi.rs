//! OpenAPI v3 schemas of the served kinds, as upstream publishes them.
//!
//! Flows in: a group and version. Flows out: `components.schemas` of its document: the kinds, their lists and every type
//! they refer to. `kubectl apply` reads merge keys from them, `kubectl explain` the descriptions. Paths are the caller's.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::kinds::kinds;
use crate::merge_keys::{self, ListType};
use crate::types::{self, PREFIX};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// `components.schemas` for one group and version; the core group is empty.
#[must_use]
pub fn schemas(group: &str, version: &str) -> Map<String, Value> {
    let served: Vec<_> = kinds()
        .iter()
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    let mut wanted: Vec<String> = [LIST_META, STATUS, DELETE_OPTIONS, SCALE]
        .map(str::to_owned)
        .to_vec();
    wanted.extend(served.iter().map(|kind| (kind.type_name)().into_owned()));
    let mut published = with_references(wanted);
    for kind in served {
        let name = (kind.type_name)().into_owned();
        if let Some(schema) = published.get_mut(&name) {
            identify(schema, kind, kind.kind);
        }
        published.insert(format!("{name}List"), list_of(kind, &name));
    }
    identify_shared(&mut published);
    published
}

/// Completes schemas that are no kind's with those of the types that they refer to.
pub fn complete(schemas: &mut Map<String, Value>) {
    let mut wanted = Vec::new();
    schemas
        .values()
        .for_each(|schema| references(schema, &mut wanted));
    for (name, schema) in with_references(wanted) {
        schemas.entry(name).or_insert(schema);
    }
}

/// The schemas of these types and of all that they refer to.
fn with_references(mut wanted: Vec<String>) -> Map<String, Value> {
    let all = types::schemas();
    let mut published = Map::new();
    while let Some(name) = wanted.pop() {
        let Some(schema) = all.get(&name).filter(|_| !published.contains_key(&name)) else {
            continue;
        };
        references(schema, &mut wanted);
        published.insert(name.clone(), publish(&name, schema.clone()));
    }
    published
}

/// Adds the names of the types that a schema refers to.
fn references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|name| name.strip_prefix(PREFIX))
            {
                names.push(name.to_owned());
            }
            fields.values().for_each(|value| references(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// A generated schema in upstream's form.
fn publish(name: &str, mut schema: Value) -> Value {
    match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => {
            return any_of(&schema, &["string", "number"], None);
        }
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => {
            return any_of(&schema, &["integer", "string"], Some("int-or-string"));
        }
        _ => {}
    }
    let required: BTreeSet<String> = schema.get("required").map(names_in).unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (field, property) in properties.iter_mut() {
            wrap_reference(property, required.contains(field));
            extend(property, name, field);
        }
    }
    // Upstream's kinds do without metadata, as far as the schema goes.
    if schema.pointer("/properties/kind").is_some()
        && let Some(fields) = schema.as_object_mut()
    {
        let others: Vec<_> = required.into_iter().filter(|field| field != "metadata").collect();
        fields.remove("required");
        if !others.is_empty() {
            fields.insert("required".to_owned(), json!(others));
        }
    }
    schema
}

fn names_in(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn any_of(schema: &Value, kinds: &[&str], format: Option<&str>) -> Value {
    let one_of: Vec<_> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    let mut published = json!({"description": schema.get("description"), "oneOf": one_of});
    if let Some(format) = format {
        published["format"] = json!(format);
    }
    published
}

/// A reference with company becomes an `allOf`, for in OpenAPI v3.0 a reference stands alone.
fn wrap_reference(schema: &mut Value, is_required: bool) {
    if let Some(item) = schema.get_mut("items") {
        wrap_reference(item, true);
    }
    if let Some(value) = schema.get_mut("additionalProperties") {
        wrap_reference(value, false);
    }
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    let Some(reference) = fields.remove("$ref") else {
        return;
    };
    if fields.is_empty() && !is_required {
        fields.insert("$ref".to_owned(), reference);
        return;
    }
    let is_struct = reference
        .as_str()
        .and_then(|name| name.strip_prefix(PREFIX))
        .is_some_and(|name| types::by_name(name).is_some());
    fields.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    if is_required && is_struct {
        fields.insert("default".to_owned(), json!({}));
    }
}

/// Says how a field merges.
fn extend(property: &mut Value, type_name: &str, field: &str) {
    let (Some(rule), Some(fields)) = (merge_keys::rule(type_name, field), property.as_object_mut()) else {
        return;
    };
    let mut say = |name: &str, value: Value| fields.insert(format!("x-kubernetes-{name}"), value);
    if let Some(patch) = rule.patch {
        say("patch-strategy", json!(patch.name()));
        if let Some(key) = patch.key {
            say("patch-merge-key", json!(key));
        }
    }
    match rule.list {
        Some(ListType::Set) => drop(say("list-type", json!("set"))),
        Some(ListType::Map(keys)) => {
            say("list-type", json!("map"));
            say("list-map-keys", json!(keys));
        }
        None => {}
    }
}

/// Says which kind a schema is.
fn identify(schema: &mut Value, kind: &Kind, name: &str) {
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": kind.group, "version": kind.version, "kind": name}]);
}

/// Kinds that belong to every group, or to one that has no document.
fn identify_shared(published: &mut Map<String, Value>) {
    if let Some(schema) = published.get_mut(STATUS) {
        schema["x-kubernetes-group-version-kind"] = json!([{"group": "", "version": "v1", "kind": "Status"}]);
    }
    if let Some(schema) = published.get_mut(SCALE) {
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": "autoscaling", "version": "v1", "kind": "Scale"}]);
    }
    let groups: BTreeSet<_> = kinds().iter().map(|kind| (kind.group, kind.version)).collect();
    if let Some(schema) = published.get_mut(DELETE_OPTIONS) {
        let of = |(group, version): &(&str, &str)| json!({"group": group, "version": version, "kind": "DeleteOptions"});
        schema["x-kubernetes-group-version-kind"] = groups.iter().map(of).collect();
    }
}

/// The schema of a list of a kind.
fn list_of(kind: &Kind, name: &str) -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    let refer = |name: &str| json!([{"$ref": format!("{PREFIX}{name}")}]);
    let mut schema = json!({
        "description": format!("{0}List is a list of {0} objects.", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("The version of the API this representation follows."),
            "kind": text("The kind of this object."),
            "metadata": {"allOf": refer(LIST_META), "default": {}, "description": "Standard list metadata."},
            "items": {
                "description": "The objects.",
                "type": "array",
                "items": {"allOf": refer(name), "default": {}},
            },
        },
    });
    identify(&mut schema, kind, &format!("{}List", kind.kind));
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_lists_merge() {
        let schemas = schemas("apps", "v1");
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        let item =
            json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}], "default": {}});
        assert_eq!(containers["items"], item);
    }

    #[test]
    fn names_kinds_and_lists() {
        let schemas = schemas("apps", "v1");
        let gvk = |name: &str| schemas[name]["x-kubernetes-group-version-kind"][0]["kind"].clone();
        assert_eq!(gvk("io.k8s.api.apps.v1.Deployment"), "Deployment");
        assert_eq!(gvk("io.k8s.api.apps.v1.DeploymentList"), "DeploymentList");
        assert_eq!(schemas["io.k8s.api.apps.v1.Deployment"].get("required"), None);
        assert!(!schemas.contains_key("io.k8s.api.core.v1.ConfigMap"));
    }

    #[test]
    fn numbers_with_units_are_text_or_numbers() {
        let schemas = schemas("apps", "v1");
        let either = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
        assert_eq!(either["oneOf"], json!([{"type": "integer"}, {"type": "string"}]));
        assert_eq!(either["format"], "int-or-string");
        let surge = &schemas["io.k8s.api.apps.v1.RollingUpdateDeployment"]["properties"]["maxSurge"];
        assert!(surge["allOf"].is_array() && surge["description"].is_string());
    }

    #[test]
    fn every_reference_is_in_the_document() {
        for (group, version) in [
            ("", "v1"),
            ("apps", "v1"),
            ("discovery.k8s.io", "v1"),
            ("events.k8s.io", "v1"),
        ] {
            let schemas = schemas(group, version);
            let mut names = Vec::new();
            schemas.values().for_each(|schema| references(schema, &mut names));
            assert!(
                names.iter().all(|name| schemas.contains_key(name)),
                "{group}/{version}"
            );
        }
    }
}
