//! The lists of a strategic merge patch: merging by key and keeping order.
//!
//! Flows in: a list as it is and a patch list. Flows out: the merged list, ordered as upstream orders it: what the patch
//! names in the patch's order, the rest where it was.

use api::types::{self, Shape};
use serde_json::Value;

use super::{PATCH, PatchError, Printed, merge_map, without_directives_list};

/// Merges a patch list into a list whose items are found by `key`, or by themselves if there is none.
pub(crate) fn merge(
    list: Vec<Value>,
    patch: &mut [Value],
    shape: Option<&Shape>,
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if list.is_empty() && patch.is_empty() {
        return Ok(list);
    }
    let maps = list.iter().chain(&*patch).filter(|item| item.is_object()).count();
    if maps == 0 {
        let mut merged = list.clone();
        for item in &*patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(sort(merged, patch, &list, None));
    }
    if maps < list.len() + patch.len() {
        return Err(PatchError::MixedList(shown(patch)));
    }
    let Some(key) = key else {
        return Err(PatchError::NoMergeKey {
            item: shown(patch),
            key: String::new(),
        });
    };
    merge_by_key(list, patch, shape, key)
}

fn merge_by_key(
    list: Vec<Value>,
    patch: &mut [Value],
    shape: Option<&Shape>,
    key: &str,
) -> Result<Vec<Value>, PatchError> {
    let item_shape = shape.and_then(|shape| types::step(shape, "0"));
    let mut merged = obey_directives(list.clone(), patch, key)?;
    let mut named = Vec::with_capacity(patch.len());
    for item in patch.iter_mut().filter(|item| item.get(PATCH).is_none()) {
        let id = id_of(item, key)?.clone();
        named.push(item.clone());
        let old = merged.iter_mut().find(|old| old.get(key) == Some(&id));
        match (old, item) {
            (Some(old), Value::Object(fields)) => {
                let old_fields = old.as_object().cloned().unwrap_or_default();
                *old = Value::Object(merge_map(old_fields, fields, item_shape)?);
            }
            (_, item) => merged.extend(without_directives_list(vec![item.clone()])),
        }
    }
    Ok(sort(merged, &named, &list, Some(key)))
}

/// Items with `$patch` say what to do with the list: delete one item, or replace all of them by the rest of the patch.
fn obey_directives(mut list: Vec<Value>, patch: &[Value], key: &str) -> Result<Vec<Value>, PatchError> {
    for item in patch {
        match item.get(PATCH).map(Value::as_str) {
            None => {}
            Some(Some("delete")) => {
                let gone = id_of(item, key)?;
                list.retain(|old| old.get(key) != Some(gone));
            }
            Some(Some("replace")) => list.clear(),
            Some(Some("merge")) => return Err(PatchError::MergeOfList),
            Some(_) => return Err(PatchError::directive(item)),
        }
    }
    Ok(list)
}

fn id_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    item.get(key).ok_or_else(|| PatchError::NoMergeKey {
        item: Printed(item).to_string(),
        key: key.to_owned(),
    })
}

fn shown(list: &[Value]) -> String {
    Printed(&Value::Array(list.to_vec())).to_string()
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
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let at = position(order, item, key);
        if at.is_none() || at < last {
            return Err(PatchError::Order {
                list: shown(patch),
                order: shown(order),
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
