//! Merging what is applied into what is there, and taking fields out again.
//!
//! Flows in: an object, the applied configuration, sets of fields. Flows out: objects. What the configuration does not
//! name stays as it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element;
use super::grain::Grain;
use super::set::FieldSet;

/// The object with the configuration in it.
pub(super) fn merge(grain: Grain, object: Option<&Value>, config: &Value) -> Value {
    match (grain, object, config) {
        (Grain::Fields(_) | Grain::Entries(_), Some(Value::Object(object)), Value::Object(config))
            if !object.is_empty() || !config.is_empty() =>
        {
            let mut merged = object.clone();
            for (name, value) in config {
                merged.insert(name.clone(), merge(grain.below(name), object.get(name), value));
            }
            Value::Object(merged)
        }
        (Grain::Set | Grain::Keyed(..), Some(Value::Array(object)), Value::Array(config))
            if !object.is_empty() || !config.is_empty() =>
        {
            Value::Array(merge_lists(grain, object, config))
        }
        _ => config.clone(),
    }
}

/// The identity of an item.
fn identity(grain: Grain, item: &Value) -> String {
    match grain {
        Grain::Keyed(keys, _) => element::keyed(item, keys),
        _ => element::member(item),
    }
}

/// Items of both lists. Those of the configuration come in its order; the others stay before the item that they were
/// before.
fn merge_lists(grain: Grain, object: &[Value], config: &[Value]) -> Vec<Value> {
    let ids = |list: &[Value]| -> Vec<String> { list.iter().map(|item| identity(grain, item)).collect() };
    let (old_ids, new_ids) = (ids(object), ids(config));
    let position = |ids: &[String]| -> BTreeMap<String, usize> {
        ids.iter().enumerate().map(|(at, id)| (id.clone(), at)).collect()
    };
    let (old_at, new_at) = (position(&old_ids), position(&new_ids));
    let merged = |new: usize| {
        let old = old_at.get(&new_ids[new]).map(|at| &object[*at]);
        merge(grain.below(""), old, &config[new])
    };
    let mut shared = (0..new_ids.len())
        .filter(|at| old_at.contains_key(&new_ids[*at]))
        .peekable();
    let mut out = Vec::with_capacity(object.len().max(config.len()));
    let (mut old, mut new) = (0, 0);
    while old < object.len() || new < config.len() {
        if old < object.len() {
            let at = new_at.get(&old_ids[old]).copied();
            let next = shared.peek().copied().filter(|_| new < config.len());
            match at {
                None => {
                    out.push(object[old].clone());
                    old += 1;
                    continue;
                }
                // To be taken at another place of the configuration's order.
                Some(at) if at != new && next.is_some_and(|next| next != at) => {
                    old += 1;
                    continue;
                }
                // Taken now, or taken already.
                Some(at) if at <= new => old += 1,
                Some(_) => {}
            }
        }
        if new < config.len() {
            out.push(merged(new));
            if shared.peek() == Some(&new) {
                shared.next();
            }
            new += 1;
        }
    }
    out
}

/// The value without the fields of a set. What becomes empty becomes null.
pub(super) fn remove(grain: Grain, value: &Value, gone: &FieldSet) -> Value {
    let below = |element: &str, item: &Value, grain: Grain| match gone.children.get(element) {
        Some(child) if child.member => None,
        Some(child) => Some(remove(grain, item, child)),
        None => Some(item.clone()),
    };
    match (grain, value) {
        (Grain::Fields(_) | Grain::Entries(_), Value::Object(map)) => {
            let kept = map.iter().filter_map(|(name, item)| {
                let item = below(&element::field(name), item, grain.below(name))?;
                Some((name.clone(), item))
            });
            let kept: Map<String, Value> = kept.collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        (Grain::Set | Grain::Keyed(..), Value::Array(items)) => {
            let kept = items
                .iter()
                .filter_map(|item| below(&identity(grain, item), item, grain.below("")));
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() {
                Value::Null
            } else {
                Value::Array(kept)
            }
        }
        _ => value.clone(),
    }
}
