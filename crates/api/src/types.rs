//! Every type that the served kinds are made of, with its fields: what decoding, strategic merge and OpenAPI walk along.
//!
//! Flows in: the schemas of the kinds' Rust types. Flows out: a graph of named types, built once. Types are called as in
//! OpenAPI, `io.k8s.api.core.v1.PodSpec`.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, Status};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::kinds::kinds;

/// A type with named fields.
#[derive(Debug)]
pub struct Type {
    /// `io.k8s.api.core.v1.PodSpec`
    pub name: String,
    /// What each field holds.
    pub fields: BTreeMap<String, Shape>,
    /// Times that are always there; one that nobody set is [`ZERO_TIME`].
    pub times: Vec<String>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    String,
    /// Bytes in base64.
    Bytes,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Double,
    /// `true` or `false`.
    Bool,
    /// RFC 3339.
    Time,
    /// `500m`; a number is also accepted.
    Quantity,
    /// A 32-bit integer or text.
    IntOrString,
    /// Anything at all.
    Any,
    /// A value of the named type.
    Object(String),
    /// A list.
    List(Box<Shape>),
    /// A map from text.
    Map(Box<Shape>),
}

/// What references to schemas begin with.
pub const PREFIX: &str = "#/components/schemas/";
/// Go's time that nobody set.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// The type called `name`, if a served kind uses it.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Type> {
    graph().get(name)
}

/// The shape at `path` below the type called `root`; list items and map values are stepped into by any one segment.
#[must_use]
pub fn at_path(root: &str, path: &[&str]) -> Option<Shape> {
    path.iter()
        .try_fold(Shape::Object(root.to_owned()), |shape, segment| {
            step(&shape, segment).cloned()
        })
}

/// What lies below `shape` under `segment`: a field, an item, a map's value.
#[must_use]
pub fn step<'a>(shape: &'a Shape, segment: &str) -> Option<&'a Shape> {
    match shape {
        Shape::Object(name) => by_name(name)?.fields.get(segment),
        Shape::List(item) | Shape::Map(item) => Some(item),
        _ => None,
    }
}

/// The raw schemas of all types, as generated, keyed by name: those of the kinds, and what requests to all kinds carry.
#[must_use]
pub fn schemas() -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    for kind in kinds() {
        (kind.schema)(&mut generator);
    }
    generator.subschema_for::<Binding>();
    generator.subschema_for::<DeleteOptions>();
    generator.subschema_for::<ListMeta>();
    generator.subschema_for::<Scale>();
    generator.subschema_for::<Status>();
    generator.take_definitions(false).into_iter().collect()
}

fn graph() -> &'static HashMap<String, Type> {
    static GRAPH: OnceLock<HashMap<String, Type>> = OnceLock::new();
    GRAPH.get_or_init(|| {
        let types = schemas().into_iter().filter_map(|(name, schema)| {
            let fields = schema.get("properties")?.as_object()?;
            let fields: BTreeMap<_, _> = fields
                .iter()
                .map(|(field, schema)| (field.clone(), shape(schema)))
                .collect();
            let required = schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let required = required.filter_map(Value::as_str).map(str::to_owned);
            let times = required
                .filter(|field| fields.get(field) == Some(&Shape::Time))
                .collect();
            Some((name.clone(), Type { name, fields, times }))
        });
        types.collect()
    })
}

/// The shape that a schema describes.
fn shape(schema: &Value) -> Shape {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return named(name.strip_prefix(PREFIX).unwrap_or(name));
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    match (
        kind,
        schema.get("format").and_then(Value::as_str).unwrap_or_default(),
    ) {
        ("string", "byte") => Shape::Bytes,
        ("string", "date-time") => Shape::Time,
        ("string", _) => Shape::String,
        ("integer", "int32") => Shape::Int32,
        ("integer", _) => Shape::Int64,
        ("number", _) => Shape::Double,
        ("boolean", _) => Shape::Bool,
        ("array", _) => Shape::List(Box::new(schema.get("items").map_or(Shape::Any, shape))),
        ("object", _) => schema
            .get("additionalProperties")
            .map_or(Shape::Any, |item| Shape::Map(Box::new(shape(item)))),
        _ => Shape::Any,
    }
}

/// The shape of a type that other types refer to.
fn named(name: &str) -> Shape {
    match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Shape::Quantity,
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Shape::IntOrString,
        "io.k8s.apimachinery.pkg.runtime.RawExtension" => Shape::Any,
        _ => match name.strip_prefix(META) {
            Some("Time" | "MicroTime") => Shape::Time,
            Some("FieldsV1") => Shape::Any,
            _ => Shape::Object(name.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

    #[test]
    fn walks_from_a_kind_to_a_field() {
        let walk = |path: &str| at_path(DEPLOYMENT, &path.split('.').collect::<Vec<_>>());
        assert_eq!(walk("spec.replicas"), Some(Shape::Int32));
        assert_eq!(
            walk("spec.template.spec.containers.0.ports.0.protocol"),
            Some(Shape::String)
        );
        assert_eq!(
            walk("spec.strategy.rollingUpdate.maxSurge"),
            Some(Shape::IntOrString)
        );
        assert_eq!(
            walk("spec.template.spec.containers.0.resources.limits.cpu"),
            Some(Shape::Quantity)
        );
        assert_eq!(walk("metadata.creationTimestamp"), Some(Shape::Time));
        assert_eq!(walk("metadata.managedFields.0.fieldsV1"), Some(Shape::Any));
        assert_eq!(walk("spec.foo"), None);
    }

    #[test]
    fn every_reference_leads_to_a_type() {
        for kind in graph().values() {
            for (field, shape) in &kind.fields {
                let mut shape = shape;
                while let Shape::List(item) | Shape::Map(item) = shape {
                    shape = item;
                }
                if let Shape::Object(name) = shape {
                    assert!(by_name(name).is_some(), "{}.{field} refers to {name}", kind.name);
                }
            }
        }
    }
}
