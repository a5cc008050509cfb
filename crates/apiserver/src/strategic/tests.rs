//! Upstream's semantics, case by case.

use serde_json::{Value, json};

use super::*;

const POD: &str = "io.k8s.api.core.v1.PodSpec";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.DeploymentSpec";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

fn attempt(root: &str, object: &Value, mut patch: Value) -> Result<Value, PatchError> {
    apply(root, object, patch.as_object_mut().unwrap())
}

fn patched(root: &str, object: Value, patch: Value) -> Value {
    attempt(root, &object, patch).unwrap()
}

#[test]
fn maps_merge_and_nulls_delete() {
    let object = json!({"labels": {"a": "1", "b": "2"}, "name": "x"});
    let patch = json!({"labels": {"a": null, "c": "3"}, "annotations": {"k": "v", "gone": null}});
    let expected = json!({"labels": {"b": "2", "c": "3"}, "name": "x", "annotations": {"k": "v"}});
    assert_eq!(patched(META, object, patch), expected);
}

#[test]
fn lists_merge_by_key_and_new_items_come_first() {
    let object =
        json!({"containers": [{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}]});
    let patch = json!({"containers": [{"name": "c", "image": "3"}, {"name": "a", "image": "2"}]});
    let expected = json!({"containers": [
        {"name": "c", "image": "3"}, {"name": "a", "image": "2", "tty": true}, {"name": "b", "image": "1"},
    ]});
    assert_eq!(patched(POD, object, patch), expected);
}

#[test]
fn nested_lists_merge_by_their_own_keys() {
    let object =
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "command": ["x", "y"]}]});
    let patch =
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}], "command": ["z"]}]});
    let expected = json!({"containers": [
        {"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}], "command": ["z"]},
    ]});
    assert_eq!(patched(POD, object, patch), expected);
}

#[test]
fn lists_without_a_key_are_replaced() {
    let object = json!({"tolerations": [{"key": "a"}, {"key": "b"}]});
    assert_eq!(
        patched(POD, object, json!({"tolerations": [{"key": "c"}]})),
        json!({"tolerations": [{"key": "c"}]})
    );
}

#[test]
fn items_are_deleted_and_lists_replaced_by_directive() {
    let object = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let delete = json!({"containers": [{"name": "a", "$patch": "delete"}]});
    assert_eq!(
        patched(POD, object.clone(), delete),
        json!({"containers": [{"name": "b"}]})
    );
    let replace = json!({"containers": [{"$patch": "replace"}, {"name": "c"}]});
    assert_eq!(
        patched(POD, object, replace),
        json!({"containers": [{"name": "c"}]})
    );
}

#[test]
fn maps_are_replaced_and_deleted_by_directive() {
    let object = json!({"securityContext": {"runAsUser": 1, "runAsGroup": 2}, "nodeName": "n"});
    let replace = json!({"securityContext": {"$patch": "replace", "runAsUser": 3}});
    let expected = json!({"securityContext": {"runAsUser": 3}, "nodeName": "n"});
    assert_eq!(patched(POD, object.clone(), replace), expected);
    let delete = json!({"securityContext": {"$patch": "delete"}});
    let left = patched(POD, object, delete);
    assert_eq!(left, json!({"securityContext": {}, "nodeName": "n"}));
}

#[test]
fn retained_keys_drop_the_others() {
    let object = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(
        patched(DEPLOYMENT, object, patch),
        json!({"strategy": {"type": "Recreate"}})
    );
    let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    let patch =
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]});
    assert_eq!(
        patched(POD, volumes, patch),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]})
    );
    let stray = json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}});
    assert!(matches!(
        attempt(DEPLOYMENT, &json!({}), stray),
        Ok(_) | Err(PatchError::RetainKeys)
    ));
}

#[test]
fn the_order_of_elements_is_the_clients() {
    let object = json!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
        "containers": [{"name": "new"}],
    });
    let names = |value: Value| -> Vec<String> {
        let list = value["containers"].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|item| item["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    // `server` stays before `b`, which it was in front of.
    assert_eq!(
        names(patched(POD, object.clone(), patch)),
        ["server", "b", "new", "a"]
    );
    let only_order = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
    assert_eq!(
        names(patched(POD, object.clone(), only_order)),
        ["server", "b", "a"]
    );
    let wrong = json!({
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"name": "c"}],
    });
    assert!(matches!(
        attempt(POD, &object, wrong),
        Err(PatchError::Order { .. })
    ));
}

#[test]
fn scalars_are_added_once_and_deleted_by_directive() {
    let object = json!({"finalizers": ["a", "b", "c"]});
    let add = json!({"finalizers": ["c", "d"]});
    assert_eq!(
        patched(META, object.clone(), add),
        json!({"finalizers": ["a", "b", "c", "d"]})
    );
    let delete = json!({"$deleteFromPrimitiveList/finalizers": ["b"]});
    assert_eq!(
        patched(META, object.clone(), delete),
        json!({"finalizers": ["a", "c"]})
    );
    let both = json!({
        "$deleteFromPrimitiveList/finalizers": ["b"],
        "$setElementOrder/finalizers": ["c", "a"],
    });
    assert_eq!(patched(META, object, both), json!({"finalizers": ["c", "a"]}));
}

#[test]
fn what_is_wrong_is_said() {
    let object = json!({"containers": [{"name": "a"}]});
    let wrong = [
        (
            json!({"containers": [{"image": "x"}]}),
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            json!({"$patch": "explode", "a": 1}),
            "unknown patch type: explode in map: map[$patch:explode a:1]",
        ),
        (
            json!({"containers": [{"name": "a", "$patch": "merge"}]}),
            "merging lists cannot yet be specified in the patch",
        ),
        (
            json!({"$setElementOrder/containers": "a"}),
            "expected a []interface {}, but received a string",
        ),
        (
            json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "c"}]}),
            "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
        (
            json!({"containers": [{"name": "b"}, "c"]}),
            "list element types are not identical: [map[name:b] c]",
        ),
    ];
    for (patch, why) in wrong {
        let error = attempt(POD, &object, patch).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_the_clients()), (why, false));
    }
}

/// Upstream shows it so to who sent a patch with a field that there is not.
#[test]
fn ordered_lists_are_taken_out_of_the_patch() {
    let mut patch = json!({
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"name": "a", "foo": 1}],
        "volumes": [{"name": "v", "bar": 2}],
    });
    let object = json!({"containers": [{"name": "a"}]});
    apply(POD, &object, patch.as_object_mut().unwrap()).unwrap();
    assert_eq!(patch, json!({"volumes": [{"name": "v", "bar": 2}]}));
}

#[test]
fn nothing_of_a_directive_enters_the_object() {
    let patch = json!({
        "containers": [{
            "name": "a",
            "$setElementOrder/env": [{"name": "X"}],
            "env": [{"name": "X", "value": "1"}, {"name": "Y", "$patch": "delete"}],
            "$retainKeys": ["name", "env"],
            "image": null,
        }],
    });
    let expected = json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]});
    assert_eq!(patched(POD, json!({}), patch), expected);
}
