//! The three-way merge of `apply`: what to send so that the live object becomes what the manifest says, without touching
//! what others have set.
//!
//! Flows in: the manifest applied last, the manifest now, the live object, and the schema of the kind. Flows out: a
//! strategic merge patch; without a schema a JSON merge patch. Pure.

use serde_json::{Map, Value, json};

use super::schema::Schema;

type Object = Map<String, Value>;

/// The patch that makes `live` what `modified` says and removes what `original` had said before. Empty: nothing to do.
pub fn patch(original: &Value, modified: &Value, live: &Value, schema: Option<Schema<'_>>) -> Value {
    match (modified, live) {
        (Value::Object(modified), Value::Object(live)) => {
            Value::Object(objects(original.as_object(), modified, live, schema))
        }
        _ => modified.clone(),
    }
}

fn objects(
    original: Option<&Object>,
    modified: &Object,
    live: &Object,
    schema: Option<Schema<'_>>,
) -> Object {
    let mut patch = Object::new();
    for (key, wanted) in modified {
        match live.get(key) {
            None if wanted.is_null() => {}
            None => {
                patch.insert(key.clone(), wanted.clone());
            }
            Some(found) => {
                let before = original.and_then(|original| original.get(key));
                let schema = schema.and_then(|schema| schema.field(key));
                field(&mut patch, key, before, wanted, found, schema);
            }
        }
    }
    let dropped = original
        .into_iter()
        .flat_map(Map::keys)
        .filter(|key| !modified.contains_key(*key));
    for key in dropped.filter(|key| live.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// Adds to `patch` what turns the field `key` from `found` into `wanted`.
fn field(
    patch: &mut Object,
    key: &str,
    before: Option<&Value>,
    wanted: &Value,
    found: &Value,
    schema: Option<Schema<'_>>,
) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let mut nested = objects(before.and_then(Value::as_object), wanted, found, schema);
            if !nested.is_empty() {
                retain_keys(&mut nested, wanted, schema);
                patch.insert(key.to_owned(), Value::Object(nested));
            }
        }
        (Value::Array(wanted), Value::Array(found)) => {
            let before = before
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default();
            list(patch, key, before, wanted, found, schema);
        }
        _ if wanted != found => {
            patch.insert(key.to_owned(), wanted.clone());
        }
        _ => {}
    }
}

fn list(
    patch: &mut Object,
    key: &str,
    before: &[Value],
    wanted: &[Value],
    found: &[Value],
    schema: Option<Schema<'_>>,
) {
    let merging = schema.filter(|schema| schema.merges());
    match merging.map(|schema| (schema, schema.merge_key())) {
        Some((schema, Some(merge_key))) if wanted.iter().all(|item| item.get(merge_key).is_some()) => {
            let items = keyed(merge_key, before, wanted, found, schema);
            if !items.is_empty() {
                let order = wanted
                    .iter()
                    .map(|item| json!({merge_key: item[merge_key]}))
                    .collect();
                patch.insert(key.to_owned(), Value::Array(items));
                patch.insert(format!("$setElementOrder/{key}"), Value::Array(order));
            }
        }
        Some((_, None)) => set(patch, key, before, wanted, found),
        _ if wanted != found => {
            patch.insert(key.to_owned(), Value::Array(wanted.to_vec()));
        }
        _ => {}
    }
}

/// Changed, new and removed items of a list whose items are told apart by `key`.
fn keyed(key: &str, before: &[Value], wanted: &[Value], found: &[Value], schema: Schema<'_>) -> Vec<Value> {
    let same =
        |list: &'_ [Value], item: &Value| list.iter().position(|other| other.get(key) == item.get(key));
    let mut items = Vec::new();
    for item in wanted {
        let Some((wanted, live)) = item
            .as_object()
            .zip(same(found, item).and_then(|index| found[index].as_object()))
        else {
            items.push(item.clone());
            continue;
        };
        let before = same(before, item).and_then(|index| before[index].as_object());
        let mut nested = objects(before, wanted, live, schema.item());
        if !nested.is_empty() {
            retain_keys(&mut nested, wanted, Some(schema));
            nested.insert(key.to_owned(), item[key].clone());
            items.push(Value::Object(nested));
        }
    }
    let dropped = before
        .iter()
        .filter(|item| same(wanted, item).is_none() && same(found, item).is_some());
    items.extend(dropped.map(|item| json!({"$patch": "delete", key: item[key]})));
    items
}

/// A list of plain values that is merged as a set.
fn set(patch: &mut Object, key: &str, before: &[Value], wanted: &[Value], found: &[Value]) {
    let added: Vec<Value> = wanted
        .iter()
        .filter(|item| !found.contains(item))
        .cloned()
        .collect();
    let dropped: Vec<Value> = before
        .iter()
        .filter(|item| !wanted.contains(item) && found.contains(item))
        .cloned()
        .collect();
    if !added.is_empty() {
        patch.insert(key.to_owned(), Value::Array(added));
        patch.insert(format!("$setElementOrder/{key}"), Value::Array(wanted.to_vec()));
    }
    if !dropped.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), Value::Array(dropped));
    }
}

fn retain_keys(nested: &mut Object, wanted: &Object, schema: Option<Schema<'_>>) {
    if schema.is_some_and(Schema::retains_keys) {
        nested.insert("$retainKeys".to_owned(), wanted.keys().cloned().collect());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::schema::tests::{deployment, document};
    use super::*;

    fn strategic(original: &Value, modified: &Value, live: &Value) -> Value {
        let document = document();
        patch(original, modified, live, document.of(&deployment()))
    }

    fn containers(image: &str) -> Value {
        json!({"spec": {"containers": [{"name": "nginx", "image": image, "ports": [{"containerPort": 80}]}]}})
    }

    fn live() -> Value {
        json!({"spec": {"replicas": 1, "containers": [
            {"name": "nginx", "image": "nginx:1.7.9", "ports": [{"containerPort": 80, "protocol": "TCP"}],
             "env": [{"name": "SET_BY_OTHERS"}]}]}})
    }

    #[test]
    fn what_the_server_filled_in_is_no_difference() {
        let manifest = containers("nginx:1.7.9");
        assert_eq!(strategic(&manifest, &manifest, &live()), json!({}));
    }

    #[test]
    fn a_new_image_touches_nothing_else() {
        assert_eq!(
            strategic(&containers("nginx:1.7.9"), &containers("nginx:1.8"), &live()),
            json!({"spec": {"containers": [{"name": "nginx", "image": "nginx:1.8"}],
                            "$setElementOrder/containers": [{"name": "nginx"}]}})
        );
    }

    #[test]
    fn what_the_manifest_dropped_is_removed_and_what_others_set_stays() {
        let original = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 4}});
        let modified = json!({"metadata": {"labels": {"a": "1"}}, "spec": {}});
        let live = json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}, "spec": {"replicas": 7}});
        assert_eq!(
            strategic(&original, &modified, &live),
            json!({"metadata": {"labels": {"b": null}}, "spec": {"replicas": null}})
        );
    }

    #[test]
    fn a_container_that_the_manifest_dropped_is_deleted_by_its_key() {
        let mut original = containers("nginx:1.7.9");
        original["spec"]["containers"]
            .as_array_mut()
            .expect("list")
            .push(json!({"name": "side", "image": "x"}));
        let mut live = live();
        live["spec"]["containers"]
            .as_array_mut()
            .expect("list")
            .push(json!({"name": "side", "image": "x"}));
        assert_eq!(
            strategic(&original, &containers("nginx:1.7.9"), &live),
            json!({"spec": {"containers": [{"$patch": "delete", "name": "side"}],
                            "$setElementOrder/containers": [{"name": "nginx"}]}})
        );
    }

    #[test]
    fn a_strategy_says_which_keys_remain() {
        let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let modified = json!({"spec": {"strategy": {"type": "Recreate"}}});
        assert_eq!(
            strategic(&json!({}), &modified, &live),
            json!({"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}})
        );
    }

    #[test]
    fn sets_lose_and_gain_single_values() {
        let with = |values: &[&str]| json!({"metadata": {"finalizers": values}});
        assert_eq!(
            strategic(
                &with(&["a", "b"]),
                &with(&["b", "c"]),
                &with(&["a", "b", "other"])
            ),
            json!({"metadata": {"finalizers": ["c"], "$setElementOrder/finalizers": ["b", "c"],
                                "$deleteFromPrimitiveList/finalizers": ["a"]}})
        );
    }

    #[test]
    fn without_a_schema_lists_are_replaced_whole() {
        let modified = containers("nginx:1.8");
        assert_eq!(patch(&json!({}), &modified, &live(), None), modified);
    }

    #[test]
    fn atomic_lists_and_changed_types_are_replaced() {
        let modified = json!({"spec": {"containers": [{"name": "nginx", "args": ["b"]}], "replicas": "4"}});
        let live = json!({"spec": {"containers": [{"name": "nginx", "args": ["a", "b"]}], "replicas": 4}});
        assert_eq!(
            strategic(&json!({}), &modified, &live)["spec"]["containers"][0]["args"],
            json!(["b"])
        );
        assert_eq!(
            strategic(&json!({}), &modified, &live)["spec"]["replicas"],
            json!("4")
        );
    }
    /// RFC 7386, as the server does it.
    fn apply(patch: &Value, target: &mut Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let Some(target) = target.as_object_mut() else {
            return;
        };
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                apply(value, target.entry(key.clone()).or_insert(Value::Null));
            }
        }
    }

    /// Objects that often have keys in common.
    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3).prop_map(Value::from)];
        let tree = leaf.prop_recursive(3, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-d]", tree, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    fn holds(object: &Value, part: &Value) -> bool {
        match (object, part) {
            (Value::Object(object), Value::Object(part)) => part
                .iter()
                .all(|(key, part)| object.get(key).is_some_and(|object| holds(object, part))),
            _ => object == part,
        }
    }

    proptest! {
        #[test]
        fn a_patched_object_is_as_the_manifest_says_and_needs_no_second_patch(
            original in object(), modified in object(), mut live in object()
        ) {
            let before = live.clone();
            apply(&patch(&original, &modified, &live, None), &mut live);
            prop_assert!(holds(&live, &modified), "{live} lacks some of {modified}");
            prop_assert_eq!(patch(&original, &modified, &live, None), json!({}));
            // Keys that no manifest has ever named belong to others.
            for (key, value) in before.as_object().into_iter().flatten() {
                if original.get(key).is_none() && modified.get(key).is_none() {
                    prop_assert_eq!(live.get(key), Some(value));
                }
            }
        }
    }
}
