//! The fields that an object has: what its applier comes to own.
//!
//! Flows in: a value and its type. Flows out: the set of its leaves, with all items of lists and all keys of maps.

use serde_json::Value;

use super::element;
use super::grain::Grain;
use super::set::FieldSet;

/// The fields of a value.
pub(super) fn fields(grain: Grain, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (grain, value) {
        (Grain::Fields(_) | Grain::Entries(_), Value::Object(map)) => {
            for (name, value) in map {
                let mut child = fields(grain.below(name), value);
                let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                child.member |= empty || matches!(grain, Grain::Entries(_));
                set.put(element::field(name), child);
            }
        }
        (Grain::Keyed(keys, _), Value::Array(items)) => {
            for item in items {
                let mut child = fields(grain.below(""), item);
                child.member = true;
                set.put(element::keyed(item, keys), child);
            }
        }
        (Grain::Set, Value::Array(items)) => {
            for item in items {
                set.insert(&[element::member(item)]);
            }
        }
        (Grain::Leaf, _) => set.member = true,
        _ => {}
    }
    set
}

/// The same set, with every field of a struct in it that something of the set lies below.
pub(super) fn with_parents(grain: Grain, set: &FieldSet) -> FieldSet {
    let mut whole = FieldSet {
        member: set.member,
        ..FieldSet::default()
    };
    for (key, child) in &set.children {
        let name = key.strip_prefix("f:");
        let mut child = with_parents(grain.below(name.unwrap_or_default()), child);
        if let (Grain::Fields(owner), Some(name)) = (grain, name) {
            child.member |= owner.fields.contains_key(name);
        }
        whole.put(key.clone(), child);
    }
    whole
}
