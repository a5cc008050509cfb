//! What no writer may set: upstream's `PrepareForCreate` and `PrepareForUpdate`, as far as kinds share them.
//!
//! Flows in: a decoded, defaulted object and what it replaces. Flows out: the object with status, spec and generation as
//! the kind of write allows. Metadata that only the server sets (uid, resourceVersion, timestamps) is the caller's.

use serde_json::{Map, Value};

use crate::kind::{Subresource, Write};
use crate::served::Row;

/// What a status write may change of the metadata.
const STATUS_METADATA: [&str; 4] = ["labels", "annotations", "finalizers", "managedFields"];

/// Keeps the status out of main writes, and all else out of writes of a part. A new object's status is empty, but there.
pub fn shared(object: &mut Value, old: Option<&Value>, write: Write, row: &Row) {
    match (write, old) {
        (Write::Status, Some(old)) => status_only(object, old),
        (Write::EphemeralContainers, Some(old)) => ephemeral_containers_only(object, old),
        _ if !row.subresources.contains(&Subresource::Status) => {}
        (_, Some(old)) => copy(object, old, "status"),
        (_, None) if row.status_on_create => {}
        (_, None) => {
            if let Some(fields) = object.as_object_mut() {
                fields.insert("status".to_owned(), Value::Object(Map::new()));
            }
        }
    }
    if !row.generation {
        let kept = old.and_then(|old| old.pointer("/metadata/generation")).cloned();
        set_generation(object, kept);
    }
}

/// 1 at first; one more whenever anything but metadata and status changes.
pub fn generation(object: &mut Value, old: Option<&Value>, write: Write) {
    let before = old
        .and_then(|old| old.pointer("/metadata/generation"))
        .and_then(Value::as_i64);
    let generation = match old {
        None => 1,
        Some(old) if write != Write::Status && !same_intent(object, old) => before.unwrap_or(0) + 1,
        Some(_) => before.unwrap_or(1),
    };
    set_generation(object, Some(generation.into()));
}

/// Replaces a field by that of `from`, or removes it.
pub fn copy(object: &mut Value, from: &Value, field: &str) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    match from.get(field) {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    }
}

/// The map at `field`, made if there is none.
fn map<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    object
        .as_object_mut()?
        .entry(field)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
}

/// Sets a field of the map at `parent`, which is made if there is none.
pub fn set(object: &mut Value, parent: &str, field: &str, value: Value) {
    if let Some(map) = map(object, parent) {
        map.insert(field.to_owned(), value);
    }
}

fn status_only(object: &mut Value, old: &Value) {
    let written = object.take();
    *object = old.clone();
    copy(object, &written, "status");
    let (Some(metadata), Some(new)) = (object.get_mut("metadata"), written.get("metadata")) else {
        return;
    };
    for field in STATUS_METADATA {
        copy(metadata, new, field);
    }
}

fn ephemeral_containers_only(object: &mut Value, old: &Value) {
    let written = object.take();
    *object = old.clone();
    if let Some(spec) = object.get_mut("spec") {
        copy(spec, &written["spec"], "ephemeralContainers");
    }
}

fn set_generation(object: &mut Value, generation: Option<Value>) {
    let Some(metadata) = map(object, "metadata") else {
        return;
    };
    match generation {
        Some(generation) => drop(metadata.insert("generation".to_owned(), generation)),
        None => drop(metadata.remove("generation")),
    }
}

fn same_intent(a: &Value, b: &Value) -> bool {
    let intent = |value: &Value| -> Vec<(String, Value)> {
        let fields = value.as_object().into_iter().flatten();
        let fields = fields
            .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status" | "apiVersion" | "kind"));
        fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    intent(a) == intent(b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROW: Row = Row {
        subresources: &[Subresource::Status],
        generation: true,
        ..Row::NAMESPACED
    };

    #[test]
    fn keeps_status_out_of_main_writes() {
        let mut object = json!({"metadata": {}, "spec": 1, "status": 1});
        shared(&mut object, None, Write::Main, &ROW);
        assert_eq!(object, json!({"metadata": {}, "spec": 1, "status": {}}));
        let mut object = json!({"metadata": {}, "spec": 2, "status": 1});
        shared(&mut object, Some(&json!({"status": 7})), Write::Main, &ROW);
        assert_eq!(object["status"], 7);
    }

    #[test]
    fn keeps_all_else_out_of_status_writes() {
        let old =
            json!({"metadata": {"name": "a", "uid": "u", "labels": {"a": "1"}}, "spec": 1, "status": 1});
        let new =
            json!({"metadata": {"name": "a", "uid": "x", "annotations": {"b": "2"}}, "spec": 2, "status": 2});
        let mut object = new;
        shared(&mut object, Some(&old), Write::Status, &ROW);
        let metadata = json!({"name": "a", "uid": "u", "annotations": {"b": "2"}});
        assert_eq!(object, json!({"metadata": metadata, "spec": 1, "status": 2}));
    }

    #[test]
    fn counts_changes_of_the_spec() {
        let counted = |object: Value, old: Option<Value>, write| {
            let mut object = object;
            generation(&mut object, old.as_ref(), write);
            object["metadata"]["generation"].clone()
        };
        let old = json!({"metadata": {"generation": 3}, "spec": 1, "status": 1});
        assert_eq!(counted(json!({"spec": 1}), None, Write::Main), 1);
        assert_eq!(
            counted(json!({"spec": 1, "status": 9}), Some(old.clone()), Write::Main),
            3
        );
        assert_eq!(counted(json!({"spec": 2}), Some(old.clone()), Write::Main), 4);
        assert_eq!(counted(json!({"spec": 2}), Some(old), Write::Status), 3);
    }
}
