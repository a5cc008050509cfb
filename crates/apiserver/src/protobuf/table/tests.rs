//! The table of messages against the types that JSON is decoded into.

use std::collections::BTreeMap;

use api::types;

use super::*;

/// Fields behind feature gates that are off in upstream's release.
const GATED: [&str; 4] = [
    "core.v1.PodSpec.schedulingGroup",
    "core.v1.PodStatus.nodeAllocatableResourceClaimStatuses",
    "core.v1.ResourceHealth.message",
    "core.v1.VolumeMountStatus.volumeStatus",
];

fn json_type(name: &str) -> Option<&'static types::Type> {
    let full = match name.strip_prefix("meta.v1.") {
        Some(name) => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"),
        None => format!("io.k8s.api.{name}"),
    };
    types::by_name(&full)
}

/// The fields as JSON has them: those of inline messages are their parent's.
fn flat<'a>(message: &Message<'a>, into: &mut BTreeMap<&'a str, &'a Field>) {
    for field in message.fields() {
        match (field.shape, field.kind) {
            (Shape::Inline, Type::Message(place)) => flat(&message.other(place).unwrap(), into),
            _ => assert!(into.insert(&field.name, field).is_none(), "{} twice", field.name),
        }
    }
}

fn agrees(table: &Table, field: &Field, shape: &types::Shape) -> bool {
    use types::Shape as Json;
    let item = match (field.shape, shape) {
        (Shape::List, Json::List(item)) | (Shape::Map, Json::Map(item)) => item,
        (Shape::One { .. }, shape) => shape,
        _ => return false,
    };
    match (field.kind, item) {
        (Type::Message(place), Json::Object(name)) => {
            json_type(table.name(place)).is_none_or(|kind| kind.name == *name)
        }
        (Type::Int, Json::Int32 | Json::Int64)
        | (Type::Bool, Json::Bool)
        | (Type::String, Json::String)
        | (Type::Bytes, Json::Bytes)
        | (Type::Time | Type::MicroTime, Json::Time)
        | (Type::Quantity, Json::Quantity)
        | (Type::IntOrString, Json::IntOrString)
        | (Type::Json, Json::Any) => true,
        _ => false,
    }
}

#[test]
fn every_kind_has_a_message() {
    for kind in api::kinds::kinds() {
        let version = kind.api_version();
        assert!(Table::upstream().kind(&version, kind.kind).is_some(), "{kind:?}");
    }
    assert!(Table::upstream().kind("apps/v1", "DeleteOptions").is_some());
    assert!(Table::upstream().kind("storage.k8s.io/v1", "CSIDriver").is_none());
}

/// Every field that JSON has is in the table with the same type, and no other.
#[test]
fn fields_are_those_of_json() {
    let table = Table::upstream();
    let mut compared = 0;
    for name in table.places.keys() {
        let Some(json) = json_type(name) else { continue };
        let mut fields = BTreeMap::new();
        flat(&table.message(name).unwrap(), &mut fields);
        for (field, shape) in &json.fields {
            let path = format!("{name}.{field}");
            match fields.remove(field.as_str()) {
                Some(found) => assert!(agrees(table, found, shape), "{path}: {found:?} is {shape:?}"),
                None => assert!(
                    matches!(field.as_str(), "apiVersion" | "kind") || GATED.contains(&path.as_str()),
                    "{path} is missing"
                ),
            }
        }
        assert!(fields.is_empty(), "{name} has no {fields:?}");
        compared += 1;
    }
    assert!(compared > 290, "{compared}");
}

#[test]
fn lines_that_are_not_fields() {
    assert!(Table::parse("a.v1.A\n1 x int\n").is_some());
    for text in [
        "1 x int\n",
        "a.v1.A\n1 x\n",
        "a.v1.A\n1 x a.v1.B\n",
        "a.v1.A\n1 x map\n",
    ] {
        assert!(Table::parse(text).is_none(), "{text}");
    }
}

impl Table {
    fn name(&self, wanted: usize) -> &str {
        let mut places = self.places.iter();
        places.find(|(_, place)| **place == wanted).unwrap().0
    }
}
