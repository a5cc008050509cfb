//! OpenAPI v2: what kubectl up to 1.28 reads, and generators of clients.
//!
//! Flows in: the schemas and paths of all v3 documents. Flows out: one document, as JSON or as gnostic's protobuf, each
//! built when first asked for. It says nothing that v3 does not say.

use api::types::PREFIX;
use serde_json::{Map, Value, json};

use super::{Content, documents, measured};
use crate::resource::Registry;

/// The document as JSON.
pub(super) fn build(registry: &Registry, version: &str) -> Value {
    let mut content = Content::default();
    documents(registry)
        .values()
        .for_each(|resources| content.add(resources));
    measured::add(&mut content);
    let paths = content.paths.into_iter();
    let paths: Map<String, Value> = paths.map(|(name, item)| (name, path(&item))).collect();
    let schemas = content.schemas.into_iter();
    let definitions: Map<String, Value> = schemas
        .map(|(name, schema)| (name, definition(&schema)))
        .collect();
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": version },
        "paths": paths,
        "definitions": definitions,
    })
}

/// A schema of v3 in the form of v2.
fn definition(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else {
        return schema.clone();
    };
    let mut out = Map::new();
    for (name, value) in fields {
        match name.as_str() {
            "$ref" => drop(out.insert(name.clone(), reference(value))),
            "allOf" => drop(out.insert("$ref".to_owned(), reference(&value[0]["$ref"]))),
            // Numbers with units, and ports: as text, which is how most are written.
            "oneOf" => drop(out.insert("type".to_owned(), "string".into())),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let properties = properties.map(|(name, schema)| (name.clone(), definition(schema)));
                out.insert(name.clone(), Value::Object(properties.collect()));
            }
            "items" | "additionalProperties" => drop(out.insert(name.clone(), definition(value))),
            "nullable" => {}
            _ => drop(out.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(out)
}

fn reference(value: &Value) -> Value {
    let name = value.as_str().unwrap_or_default();
    format!("#/definitions/{}", name.strip_prefix(PREFIX).unwrap_or(name)).into()
}

/// A path of v3 in the form of v2.
fn path(item: &Value) -> Value {
    let mut out = Map::new();
    for (method, operation) in item.as_object().into_iter().flatten() {
        if method == "parameters" {
            out.insert(method.clone(), parameters(operation));
            continue;
        }
        let mut operation = operation.clone();
        let schema = operation["responses"]["200"]["content"]["application/json"]["schema"].take();
        operation["responses"] = json!({ "200": { "description": "OK", "schema": definition(&schema) } });
        let mut list = match operation.get("parameters") {
            Some(list) => parameters(list),
            None => json!([]),
        };
        if let Some(fields) = operation.as_object_mut()
            && let Some(body) = fields.remove("requestBody")
        {
            let content = body["content"]
                .as_object()
                .and_then(|content| content.values().next());
            let schema = content.map(|content| definition(&content["schema"]));
            let body = json!({ "name": "body", "in": "body", "required": true, "schema": schema });
            if let Some(list) = list.as_array_mut() {
                list.push(body);
            }
        }
        operation["parameters"] = list;
        out.insert(method.clone(), operation);
    }
    Value::Object(out)
}

fn parameters(list: &Value) -> Value {
    let list = list.as_array().into_iter().flatten().cloned();
    list.map(|mut parameter| {
        let fields = parameter.as_object_mut();
        fields.map(|fields| fields.remove("schema"));
        parameter["type"] = "string".into();
        parameter["uniqueItems"] = true.into();
        parameter
    })
    .collect()
}
