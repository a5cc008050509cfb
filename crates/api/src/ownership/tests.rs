//! Server-side apply as upstream documents it, and its laws for any configurations.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";
const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";

fn manager(name: &str, api_version: &str) -> Manager {
    Manager {
        name: name.to_owned(),
        subresource: String::new(),
        api_version: api_version.to_owned(),
    }
}

/// An object and its owners, written to by anybody.
#[derive(Clone, Debug)]
struct Thing {
    root: &'static str,
    object: Value,
    entries: Vec<Entry>,
}

impl Thing {
    fn new(root: &'static str) -> Self {
        Self {
            root,
            object: json!({}),
            entries: Vec::new(),
        }
    }

    fn apply(&mut self, name: &str, config: &Value, force: bool) -> Result<(), Conflicts> {
        let manager = manager(name, "v1");
        let yielding = if force {
            Yielding::Everybody
        } else {
            Yielding::Nobody
        };
        let applied = apply(
            &self.writing(&manager),
            &self.object,
            config,
            &self.entries,
            yielding,
        )?;
        self.object = without_nulls(applied.object);
        self.entries = applied.entries;
        Ok(())
    }

    fn update(&mut self, name: &str, new: Value) {
        let manager = manager(name, "v1");
        let entries = || self.entries.clone();
        if let Some(entries) = updated(&self.writing(&manager), &self.object, &new, entries) {
            self.entries = entries;
        }
        self.object = new;
    }

    fn writing<'a>(&self, manager: &'a Manager) -> Writing<'a> {
        Writing {
            root: self.root,
            manager,
            part: Part::Main,
            now: "2026-01-01T00:00:00Z",
        }
    }

    fn fields(&self, name: &str, applied: bool) -> Value {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.is_of(&manager(name, "v1"), applied));
        entry.map_or(Value::Null, |entry| json!(entry.fields))
    }
}

/// As decoding leaves an object: nulls are gone.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        value => value,
    }
}

fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

#[test]
fn a_creator_owns_what_it_sent() {
    let mut thing = Thing::new(DEPLOYMENT);
    thing.update("kubectl-create", deployment(1, "nginx"));
    let expected = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {},
                    "f:image": {},
                    "f:name": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                }}},
            },
        },
    });
    assert_eq!(thing.fields("kubectl-create", false), expected);
}

#[test]
fn an_applier_owns_leaves_and_items() {
    let mut thing = Thing::new(DEPLOYMENT);
    thing
        .apply("kubectl", &deployment(1, "nginx"), false)
        .expect("nobody else is there");
    let expected = json!({
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {},
                    "f:image": {},
                    "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                }}},
            },
        },
    });
    assert_eq!(thing.fields("kubectl", true), expected);
}

#[test]
fn a_conflict_is_told_and_force_takes_the_field() {
    let mut thing = Thing::new(DEPLOYMENT);
    thing
        .apply("kubectl", &deployment(1, "nginx"), false)
        .expect("nobody else is there");
    let mut scaled = thing.object.clone();
    scaled["spec"]["replicas"] = 3.into();
    thing.update("scaler", scaled);
    assert_eq!(thing.fields("kubectl", true)["f:spec"].get("f:replicas"), None);
    let refused = thing
        .apply("kubectl", &deployment(1, "nginx"), false)
        .expect_err("replicas are the scaler's");
    assert_eq!(
        refused.to_string(),
        "Apply failed with 1 conflict: conflict with \"scaler\" using v1: .spec.replicas"
    );
    assert_eq!(refused.causes()[0].message, "conflict with \"scaler\" using v1");
    thing
        .apply("kubectl", &deployment(1, "nginx"), true)
        .expect("forced");
    assert_eq!(thing.object["spec"]["replicas"], 1);
    assert_eq!(thing.fields("scaler", false), Value::Null);
}

#[test]
fn several_conflicts_are_told_by_manager() {
    let mut thing = Thing::new(DEPLOYMENT);
    thing
        .apply("one", &deployment(1, "nginx"), false)
        .expect("nobody else is there");
    let refused = thing
        .apply("two", &deployment(2, "httpd"), false)
        .expect_err("others own it");
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\n- .spec.template.spec.containers[name=\"web\"].image"
    );
}

#[test]
fn the_same_value_is_owned_together() {
    let mut thing = Thing::new(DEPLOYMENT);
    thing
        .apply("one", &deployment(1, "nginx"), false)
        .expect("nobody else is there");
    thing
        .apply("two", &deployment(1, "nginx"), false)
        .expect("the values are the same");
    let mut fewer = deployment(1, "nginx");
    fewer["spec"]
        .as_object_mut()
        .expect("is a map")
        .remove("replicas");
    thing.apply("one", &fewer, false).expect("no conflict");
    assert_eq!(thing.object["spec"]["replicas"], 1, "still the other's");
    thing.apply("two", &fewer, false).expect("no conflict");
    assert_eq!(thing.object["spec"].get("replicas"), None);
}

#[test]
fn items_that_are_not_listed_any_more_go() {
    let mut thing = Thing::new(DEPLOYMENT);
    let mut two = deployment(1, "nginx");
    let containers = &mut two["spec"]["template"]["spec"]["containers"];
    *containers = json!([
        {"name": "side", "image": "s", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "web", "image": "nginx"},
    ]);
    thing.apply("kubectl", &two, false).expect("nobody else is there");
    // Somebody else adds to an item that goes: what is not the applier's alone stays.
    let mut more = thing.object.clone();
    more["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array_mut()
        .expect("is a list")
        .push(json!({"name": "C", "value": "3"}));
    thing.update("injector", more);
    let mut fewer = two.clone();
    fewer["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "B", "value": "2"}]);
    thing.apply("kubectl", &fewer, false).expect("no conflict");
    let env = &thing.object["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(
        *env,
        json!([{"name": "B", "value": "2"}, {"name": "C", "value": "3"}])
    );
}

#[test]
fn a_status_is_not_the_main_paths() {
    let mut thing = Thing::new(DEPLOYMENT);
    let mut config = deployment(1, "nginx");
    config["status"] = json!({"replicas": 7});
    thing
        .apply("kubectl", &config, false)
        .expect("nobody else is there");
    assert_eq!(thing.fields("kubectl", true).get("f:status"), None);
}

#[test]
fn what_client_side_apply_set_and_kept_is_handed_over() {
    let applied = deployment(1, "nginx");
    let mut live = applied.clone();
    live["spec"]["replicas"] = 5.into();
    let agreed = agreed(DEPLOYMENT, &applied, &live).paths();
    assert!(agreed.contains(&".spec.template.spec.containers[name=\"web\"].image".to_owned()));
    assert!(!agreed.contains(&".spec.replicas".to_owned()));
}

#[test]
fn lists_keep_the_appliers_order() {
    let grain = Grain::of_type(DEPLOYMENT)
        .below("spec")
        .below("template")
        .below("spec");
    let list = |names: &str| -> Value {
        let items: Vec<Value> = names
            .chars()
            .map(|name| json!({"name": name.to_string()}))
            .collect();
        json!({"containers": items})
    };
    let merged = |live: &str, config: &str| -> String {
        let merged = merge::merge(grain, Some(&list(live)), &list(config));
        let items = merged["containers"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item["name"].as_str()).collect()
    };
    for (live, config, expected) in [
        ("abc", "", "abc"),
        ("", "abc", "abc"),
        ("abc", "bd", "abcd"),
        ("abc", "cb", "acb"),
        ("ab", "xa", "xab"),
        ("abc", "cab", "cab"),
        ("axb", "ab", "axb"),
    ] {
        assert_eq!(merged(live, config), expected, "{live} with {config}");
    }
}

/// Configurations of ConfigMaps, each key of `keys` or not.
fn any_config(keys: &'static str) -> impl Strategy<Value = Value> {
    let data = proptest::collection::btree_map(keys, "[xyz]", 0..4);
    let labels = proptest::collection::btree_map(keys, "[xyz]", 0..3);
    (data, labels).prop_map(|(data, labels)| {
        let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        if !data.is_empty() {
            config["data"] = json!(data);
        }
        if !labels.is_empty() {
            config["metadata"]["labels"] = json!(labels);
        }
        config
    })
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(first in any_config("[abc]"), second in any_config("[abc]")) {
        let mut thing = Thing::new(CONFIG_MAP);
        thing.apply("one", &first, false).expect("nobody else is there");
        thing.apply("two", &second, true).expect("forced");
        let once = thing.clone();
        thing.apply("two", &second, false).expect("it is the owner");
        prop_assert_eq!(&thing.object, &once.object);
        prop_assert_eq!(thing.entries, once.entries);
    }

    #[test]
    fn disjoint_appliers_come_in_any_order(one in any_config("[abc]"), two in any_config("[def]")) {
        let (mut a, mut b) = (Thing::new(CONFIG_MAP), Thing::new(CONFIG_MAP));
        a.apply("one", &one, false).expect("disjoint");
        a.apply("two", &two, false).expect("disjoint");
        b.apply("two", &two, false).expect("disjoint");
        b.apply("one", &one, false).expect("disjoint");
        prop_assert_eq!(a.object, b.object);
        prop_assert_eq!(a.entries, b.entries);
    }

    #[test]
    fn applying_and_taking_back_leaves_the_others(one in any_config("[abc]"), two in any_config("[def]")) {
        let mut thing = Thing::new(CONFIG_MAP);
        thing.apply("one", &one, false).expect("disjoint");
        let before = thing.clone();
        thing.apply("two", &two, false).expect("disjoint");
        thing.apply("two", &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}), false).expect("disjoint");
        prop_assert_eq!(&thing.object, &before.object);
        prop_assert_eq!(thing.entries, before.entries);
    }

    #[test]
    fn every_field_has_its_last_writer(writes in proptest::collection::vec((any_config("[abc]"), 0..3_usize), 1..6)) {
        let mut thing = Thing::new(CONFIG_MAP);
        for (config, writer) in writes {
            thing.update(["one", "two", "three"][writer], config);
        }
        let all = thing.entries.iter().fold(FieldSet::default(), |all, entry| all.union(&entry.fields));
        for key in thing.object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
            prop_assert!(all.paths().contains(&format!(".data.{key}")), "{key} has no owner");
            let owners = thing.entries.iter().filter(|entry| entry.fields.paths().contains(&format!(".data.{key}")));
            prop_assert_eq!(owners.count(), 1);
        }
    }
}
