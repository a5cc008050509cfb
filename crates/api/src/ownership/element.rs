//! The elements of a path: `f:name` a field, `k:{...}` the item of a list with these keys, `v:...` the item of a set,
//! `i:0` the item at an index.
//!
//! Flows in: names and list items. Flows out: elements as FieldsV1 writes them, and as people read them.

use serde_json::{Map, Value};

/// A field of a struct or the key of a map.
pub(super) fn field(name: &str) -> String {
    ["f:", name].concat()
}

/// The item of a list that is a set of scalars.
pub(super) fn member(item: &Value) -> String {
    format!("v:{item}")
}

/// The item of a list whose items are told apart by `keys`. A key that has a default may be left out.
pub(super) fn keyed(item: &Value, keys: &[&str]) -> String {
    let keys: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), key_of(item, key).unwrap_or_default()))
        .collect();
    format!("k:{}", Value::Object(keys))
}

/// The value of a key of a list item, or its default.
pub(super) fn key_of(item: &Value, key: &str) -> Option<Value> {
    match item.get(key) {
        None | Some(Value::Null) if key == "protocol" => Some("TCP".into()),
        None | Some(Value::Null) => None,
        Some(value) => Some(value.clone()),
    }
}

/// An element as it is printed in paths: `.name`, `[name="web"]`, `[="a"]`, `[0]`.
pub(super) fn display(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("i", index)) => format!("[{index}]"),
        _ => element.to_owned(),
    }
}
