//! The metadata that only the server sets.
//!
//! Flows in: objects as clients sent them. Flows out: the same with name, uid and timestamps. Never validates: the kind
//! does.

use api::random;
use rand::Rng;
use serde_json::{Map, Value};

use crate::object::{meta_str, metadata_mut};

/// Fields of the metadata that an update takes from the object as it is.
const KEPT: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// The time as Kubernetes writes it, in whole seconds.
pub(crate) fn now() -> String {
    time_of(jiff::Timestamp::now())
}

/// A time as Kubernetes writes it, in whole seconds.
pub(crate) fn time_of(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sets what a new object has: namespace, uid, creation time; drops what it may not have.
pub(crate) fn prepare_new(object: &mut Value, namespace: Option<&str>) {
    let metadata = metadata_mut(object);
    for field in [
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.remove(field);
    }
    match namespace {
        Some(namespace) => drop(metadata.insert("namespace".to_owned(), namespace.into())),
        None => drop(metadata.remove("namespace")),
    }
    drop_empty(metadata);
    metadata.insert("uid".to_owned(), uid().into());
    metadata.insert("creationTimestamp".to_owned(), now().into());
}

/// Gives a nameless object a name made from its `generateName`, a different one at each call.
pub(crate) fn generate_name(object: &mut Value) {
    let prefix = meta_str(object, "generateName").to_owned();
    let name = random::generated_name(&prefix, rand::rng().random());
    metadata_mut(object).insert("name".to_owned(), name.into());
}

/// Keeps in a changed object what no writer may change.
pub(crate) fn prepare_changed(object: &mut Value, old: &Value) {
    let metadata = metadata_mut(object);
    for field in ["resourceVersion", "selfLink"] {
        metadata.remove(field);
    }
    for field in KEPT.into_iter().chain(["name", "namespace"]) {
        match old["metadata"].get(field) {
            Some(value) => drop(metadata.insert(field.to_owned(), value.clone())),
            None => drop(metadata.remove(field)),
        }
    }
    drop_empty(metadata);
}

/// An empty list or map says nothing: upstream's encoder leaves them out.
fn drop_empty(metadata: &mut Map<String, Value>) {
    for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
        let is_empty = match metadata.get(field) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            _ => false,
        };
        if is_empty {
            metadata.remove(field);
        }
    }
}

/// A random (version 4) UUID.
pub(crate) fn uid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_keeps_what_is_the_servers() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "creationTimestamp": "t"}});
        let mut new = json!({"metadata": {
            "name": "b", "uid": "2", "resourceVersion": "7", "labels": {"x": "y"}, "annotations": {}, "finalizers": [],
        }});
        prepare_changed(&mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "uid": "1", "creationTimestamp": "t", "labels": {"x": "y"}}})
        );
    }

    #[test]
    fn uids_look_like_uids() {
        let uid = uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
    }
}
