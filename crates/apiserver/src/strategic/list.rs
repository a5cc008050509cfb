//! The lists of a strategic merge patch: merging by key and keeping order.
//!
//! Flows in: a list as it is and a patch list. Flows out: the merged list, ordered as upstream orders it: what the patch
//! names in the patch's order, the rest where it was.

use api::types::{self, Shape};
use serde_json::Value;

use super::{PatchError, merge_map, without_directives_list};

/// Merges a patch list into a list whose items are found by `key`, or by themselves if there is none.
pub(crate) fn merge(
    list: Vec<Value>,
    patch: Vec<Value>,
    shape: Option<&Shape>,
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if list.is_empty() && patch.is_empty() {
        return Ok(list);
    }
    let maps = list.iter().chain(&patch).filter(|item| item.is_object()).count();
    if maps == 0 {
        let mut merged = list.clone();
        for item in &patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(sort(merged, &patch, &list, None));
    }
    if maps < list.len() + patch.len() {
        return Err(PatchError::MixedList(Value::Array(patch).to_string()));
    }
    let Some(key) = key else {
        return Err(PatchError::NoMergeKey {
            item: Value::Array(patch),
            key: String::new(),
        });
    };
    merge_by_key(list, patch, shape, key)
}

fn merge_by_key(
    list: Vec<Value>,
    patch: Vec<Value>,
    shape: Option<&Shape>,
    key: &str,
) -> Result<Vec<Value>, PatchError> {
    let item_shape = shape.and_then(|shape| types::step(shape, "0"));
    let (mut merged, patch) = obey_directives(list.clone(), patch, key)?;
    for item in &patch {
        let id = id_of(item, key)?;
        let Value::Object(fields) = item.clone() else {
            continue;
        };
        match merged.iter_mut().find(|old| old.get(key) == Some(id)) {
            Some(old) => {
                let old_fields = old.as_object().cloned().unwrap_or_default();
                *old = Value::Object(merge_map(old_fields, fields, item_shape)?);
            }
            None => merged.extend(without_directives_list(vec![item.clone()])),
        }
    }
    Ok(sort(merged, &patch, &list, Some(key)))
}

/// Items with `$patch` say what to do with the list: delete one item, or replace all of them by the rest of the patch.
fn obey_directives(
    mut list: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    for item in patch {
        match item.get("$patch").map(|directive| directive.as_str()) {
            None => rest.push(item),
            Some(Some("delete")) => {
                let id = id_of(&item, key)?;
                list.retain(|old| old.get(key) != Some(id));
            }
            Some(Some("replace")) => list.clear(),
            Some(Some("merge")) => rest.push(item),
            Some(_) => return Err(PatchError::Directive(item["$patch"].clone())),
        }
    }
    Ok((list, rest))
}

fn id_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    item.get(key).ok_or_else(|| PatchError::NoMergeKey {
        item: item.clone(),
        key: key.to_owned(),
    })
}

/// What stands for an item when positions are compared.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> &'a Value {
    key.and_then(|key| item.get(key)).unwrap_or(item)
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    list.iter()
        .position(|other| identity(other, key) == identity(item, key))
}

/// The patch may not name items that its order does not, nor name them in another order.
pub(crate) fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let mut last = None;
    for item in patch.iter().filter(|item| item.get("$patch").is_none()) {
        let at = position(order, item, key);
        if at.is_none() || at < last {
            return Err(PatchError::Order {
                list: Value::Array(patch.to_vec()),
                order: Value::Array(order.to_vec()),
            });
        }
        last = at;
    }
    Ok(())
}

/// Puts the items that `order` names in that order, and the others between them where they were in `before`.
pub(crate) fn sort(merged: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let place = |item: &Value| position(order, item, key);
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(item).is_some());
    named.sort_by_key(|item| place(item));
    others.sort_by_key(|item| position(before, item, key).unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut sorted = Vec::new();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return sorted,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(named)) => {
                let (other, named) = (position(before, other, key), position(before, named, key));
                other.is_some() && named.is_some() && other < named
            }
        };
        sorted.extend(if other_first { others.next() } else { named.next() });
    }
}
