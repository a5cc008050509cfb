//! Strategic merge patch: a merge patch that knows which lists are maps by a key.
//!
//! Flows in: an object, a patch, the shape of the object's type. Flows out: the patched object, and what is left of the
//! patch. Follows upstream's `strategicpatch` in its merging of patches into live objects, all directives included: `$patch`,
//! `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x`. Never adds a directive or a null to the object.

mod convert;
mod go;
mod list;

use api::merge_keys::{self, Patch};
use api::types::{self, Shape};
use serde_json::{Map, Value};

pub(crate) use convert::in_words_of_converter;
pub(crate) use go::Printed;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

/// A patch that makes no sense, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatchError {
    /// An order is not a list, or it is one of something that is not.
    #[error("expected a []interface {{}}, but received a {0}")]
    NoList(&'static str),
    /// A deletion from a list is not one.
    #[error("invalid patch format of primitive list")]
    NoDeletions,
    /// `$patch` has an unknown value.
    #[error("unknown patch type: {0} in map: {1}")]
    Directive(String, String),
    /// `$patch: merge` in a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeOfList,
    /// A list item that does not say which one it is.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item.
        item: String,
        /// The key that it should have.
        key: String,
    },
    /// A field outside of its own `$retainKeys`, or these are not a list.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// The order does not name all items, or names them in another order.
    #[error("The order in patch list:\n{list}\n doesn't match $setElementOrder list:\n{order}\n")]
    Order {
        /// The items.
        list: String,
        /// The order.
        order: String,
    },
    /// Items of a list are not all maps, or not all scalars.
    #[error("list element types are not identical: {0}")]
    MixedList(String),
}

impl PatchError {
    /// Whether upstream takes it for the client's mistake. All others it takes for its own.
    pub fn is_the_clients(&self) -> bool {
        matches!(self, Self::NoDeletions | Self::RetainKeys)
    }

    /// The map's `$patch` is unknown.
    fn directive(map: &Value) -> Self {
        Self::Directive(Printed(&map[PATCH]).to_string(), Printed(map).to_string())
    }
}

/// Applies `patch` to an object of the type called `root`. What has been dealt with before anything else is taken out of the
/// patch, as upstream does: lists that have an order, and some directives.
pub(crate) fn apply(root: &str, object: &Value, patch: &mut Map<String, Value>) -> Result<Value, PatchError> {
    let shape = Shape::Object(root.to_owned());
    let object = object.as_object().cloned().unwrap_or_default();
    Ok(Value::Object(merge_map(object, patch, Some(&shape))?))
}

/// What the type says about a field.
struct Field<'a> {
    shape: Option<&'a Shape>,
    strategy: Option<Patch>,
}

impl<'a> Field<'a> {
    fn of(owner: Option<&'a Shape>, name: &str) -> Self {
        let strategy = match owner {
            Some(Shape::Object(owner)) => merge_keys::strategy(owner, name),
            _ => None,
        };
        Self {
            shape: owner.and_then(|owner| types::step(owner, name)),
            strategy,
        }
    }

    /// Whether lists are merged item by item.
    fn merges(&self) -> bool {
        self.strategy.is_some_and(|strategy| strategy.merge)
    }

    /// Whether even a map is replaced as a whole.
    fn replaces(&self) -> bool {
        self.strategy
            .is_some_and(|strategy| !strategy.merge && !strategy.retain_keys)
    }

    fn key(&self) -> Option<&'static str> {
        self.strategy.and_then(|strategy| strategy.key)
    }
}

/// Merges a patch into a map.
pub(crate) fn merge_map(
    mut object: Map<String, Value>,
    patch: &mut Map<String, Value>,
    shape: Option<&Shape>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => {
            patch.remove(PATCH);
            return Ok(without_directives_map(patch.clone()));
        }
        Some(Some("delete")) => return Ok(Map::new()),
        Some(_) => return Err(PatchError::directive(&Value::Object(patch.clone()))),
    }
    retain_keys(&mut object, patch)?;
    merge_ordered_lists(&mut object, patch, shape)?;
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM_LIST) {
            delete_from_list(&mut object, field, value)?;
        } else if value.is_null() {
            object.remove(key);
        } else {
            merge_field(&mut object, key, value, shape)?;
        }
    }
    Ok(object)
}

fn merge_field(
    object: &mut Map<String, Value>,
    key: &str,
    value: &mut Value,
    shape: Option<&Shape>,
) -> Result<(), PatchError> {
    let field = Field::of(shape, key);
    let merged = match (object.remove(key), value) {
        (Some(Value::Object(_)), Value::Object(patch)) if field.replaces() => {
            Some(Value::Object(without_directives_map(patch.clone())))
        }
        (Some(Value::Object(old)), Value::Object(patch)) => {
            Some(Value::Object(merge_map(old, patch, field.shape)?))
        }
        (Some(Value::Array(old)), Value::Array(patch)) if field.merges() => {
            Some(Value::Array(list::merge(old, patch, field.shape, field.key())?))
        }
        (_, value) => without_directives(value.clone()),
    };
    if let Some(merged) = merged {
        object.insert(key.to_owned(), merged);
    }
    Ok(())
}

/// `$retainKeys`: of the map, only these keys stay.
fn retain_keys(object: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(retain) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let retain = retain.as_array().ok_or(PatchError::RetainKeys)?;
    let is_kept = |key: &str| retain.iter().any(|kept| kept == key);
    let is_stray =
        |(key, value): (&String, &Value)| !key.starts_with('$') && !value.is_null() && !is_kept(key);
    if patch.iter().any(is_stray) {
        return Err(PatchError::RetainKeys);
    }
    object.retain(|key, _| is_kept(key));
    Ok(())
}

/// `$setElementOrder/x`: merges list `x` and puts it in the order that the client sees.
fn merge_ordered_lists(
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    shape: Option<&Shape>,
) -> Result<(), PatchError> {
    let orders: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for key in orders {
        let Some(order) = patch.remove(&key) else { continue };
        let Value::Array(order) = order else {
            return Err(PatchError::NoList(go::type_name(&order)));
        };
        let name = &key[ELEMENT_ORDER.len()..];
        let field = Field::of(shape, name);
        let merge_key = field.key();
        let list_of = |value: Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(PatchError::NoList(go::type_name(&other))),
        };
        let added = list_of(patch.remove(name))?;
        // A deletion from a list of scalars comes with the order of the rest.
        if let Some(deletions) = patch.remove(&format!("{DELETE_FROM_LIST}{name}")) {
            delete_from_list(object, name, &deletions)?;
        }
        let old = list_of(object.get(name).cloned())?;
        if let Some(added) = &added {
            list::check_order(added, &order, merge_key)?;
        }
        let merged = match (&old, added) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(added)) => without_directives_list(added),
            (Some(old), Some(mut added)) if field.merges() => {
                list::merge(old.clone(), &mut added, field.shape, merge_key)?
            }
            (Some(_), Some(added)) => without_directives_list(added),
        };
        let sorted = list::sort(merged, &order, &old.unwrap_or_default(), merge_key);
        object.insert(name.to_owned(), Value::Array(sorted));
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/x`: takes scalars out of list `x`.
fn delete_from_list(object: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<(), PatchError> {
    let Some(gone) = gone.as_array() else {
        return Err(PatchError::NoDeletions);
    };
    if let Some(Value::Array(list)) = object.get_mut(field) {
        list.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// A value as it enters the object: without directives, without nulls in maps. `None`: it asks for its own deletion.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.get(PATCH).is_some_and(|directive| directive == "delete") => None,
        Value::Object(map) => Some(Value::Object(without_directives_map(map))),
        Value::Array(list) => Some(Value::Array(without_directives_list(list))),
        value => Some(value),
    }
}

fn without_directives_map(map: Map<String, Value>) -> Map<String, Value> {
    let is_directive = |key: &str| {
        key == PATCH
            || key == RETAIN_KEYS
            || key.starts_with(ELEMENT_ORDER)
            || key.starts_with(DELETE_FROM_LIST)
    };
    let fields = map
        .into_iter()
        .filter(|(key, value)| !is_directive(key) && !value.is_null());
    fields
        .filter_map(|(key, value)| Some((key, without_directives(value)?)))
        .collect()
}

/// List items without directives; those that ask for their deletion are left out.
pub(crate) fn without_directives_list(list: Vec<Value>) -> Vec<Value> {
    list.into_iter().filter_map(without_directives).collect()
}

#[cfg(test)]
mod tests;
