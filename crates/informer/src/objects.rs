//! The objects of one kind, by key and by index.
//!
//! Flows in: objects and deletions. Flows out: what changed, and lookups that cost no more than what they find. Never
//! waits and never calls anybody: the cache does that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::Key;

/// An object before and after.
pub(crate) struct Change<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

/// The latest known version of every object.
pub(crate) struct Objects<K> {
    all: BTreeMap<Key, Arc<K>>,
    /// Only values that some object has are in here.
    indexed: HashMap<String, BTreeMap<Key, Arc<K>>>,
    index: fn(&K) -> Vec<String>,
}

impl<K: kube::Resource> Objects<K> {
    pub fn new(index: fn(&K) -> Vec<String>) -> Self {
        Self {
            all: BTreeMap::new(),
            indexed: HashMap::new(),
            index,
        }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.all.get(key).cloned()
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.all.values().cloned().collect()
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = Key::new(namespace, "");
        self.all
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub fn indexed(&self, value: &str) -> Vec<Arc<K>> {
        self.indexed
            .get(value)
            .map(|found| found.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes in a new version. `None`: it is the version that is here already.
    pub fn insert(&mut self, object: K) -> Option<Change<K>> {
        let key = Key::of(&object);
        if self
            .all
            .get(&key)
            .is_some_and(|old| same_version(old.as_ref(), &object))
        {
            return None;
        }
        let new = Arc::new(object);
        let old = self.all.insert(key.clone(), new.clone());
        if let Some(old) = &old {
            self.unindex(&key, old);
        }
        for value in (self.index)(&new) {
            self.indexed
                .entry(value)
                .or_default()
                .insert(key.clone(), new.clone());
        }
        Some(Change { old, new: Some(new) })
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.all.remove(key)?;
        self.unindex(key, &old);
        Some(old)
    }

    /// Makes the objects exactly these, and says what that changed: first what is gone, then what is new or different.
    /// An object that was deleted and made again under the same name is both.
    pub fn replace(&mut self, listed: Vec<K>) -> Vec<Change<K>> {
        let uids: HashMap<Key, Option<String>> = listed
            .iter()
            .map(|object| (Key::of(object), object.meta().uid.clone()))
            .collect();
        let gone: Vec<Key> = self
            .all
            .iter()
            .filter(|(key, old)| uids.get(key).is_none_or(|uid| *uid != old.meta().uid))
            .map(|(key, _)| key.clone())
            .collect();
        let mut changes: Vec<_> = gone
            .iter()
            .filter_map(|key| self.remove(key))
            .map(|old| Change {
                old: Some(old),
                new: None,
            })
            .collect();
        changes.extend(listed.into_iter().filter_map(|object| self.insert(object)));
        changes
    }

    fn unindex(&mut self, key: &Key, old: &K) {
        for value in (self.index)(old) {
            if let Some(found) = self.indexed.get_mut(&value) {
                found.remove(key);
                if found.is_empty() {
                    self.indexed.remove(&value);
                }
            }
        }
    }
}

fn same_version<K: kube::Resource>(a: &K, b: &K) -> bool {
    let (a, b) = (a.meta(), b.meta());
    a.resource_version.is_some() && a.resource_version == b.resource_version && a.uid == b.uid
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(namespace: &str, name: &str, version: &str, colour: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{name}"), "resourceVersion": version},
            "data": {"colour": colour},
        }))
        .unwrap()
    }

    fn colours(object: &ConfigMap) -> Vec<String> {
        object
            .data
            .iter()
            .flatten()
            .map(|(name, value)| format!("{name}/{value}"))
            .collect()
    }

    fn names(found: &[Arc<ConfigMap>]) -> Vec<String> {
        found
            .iter()
            .map(|object| Key::of(object.as_ref()).to_string())
            .collect()
    }

    #[test]
    fn finds_by_namespace_and_index() {
        let mut objects = Objects::new(colours);
        for (namespace, name, colour) in [
            ("a", "2", "red"),
            ("a", "1", "blue"),
            ("ab", "1", "red"),
            ("b", "1", "red"),
        ] {
            assert!(objects.insert(map(namespace, name, "1", colour)).is_some());
        }
        assert_eq!(names(&objects.in_namespace("a")), ["a/1", "a/2"]);
        assert_eq!(names(&objects.indexed("colour/red")), ["a/2", "ab/1", "b/1"]);
        assert!(objects.in_namespace("c").is_empty());
    }

    #[test]
    fn a_changed_object_leaves_its_old_index_value() {
        let mut objects = Objects::new(colours);
        objects.insert(map("a", "1", "1", "red"));
        objects.insert(map("a", "1", "2", "blue"));
        assert!(objects.indexed("colour/red").is_empty());
        assert_eq!(names(&objects.indexed("colour/blue")), ["a/1"]);
        objects.remove(&Key::new("a", "1"));
        assert!(objects.indexed.is_empty());
    }

    #[test]
    fn replace_reports_only_differences() {
        let mut objects = Objects::new(colours);
        objects.replace(vec![
            map("a", "kept", "1", "red"),
            map("a", "gone", "2", "red"),
            map("a", "new", "3", "red"),
        ]);
        let mut again = map("a", "new", "9", "red");
        again.metadata.uid = Some("another".to_owned());
        let changes = objects.replace(vec![map("a", "kept", "1", "red"), again]);
        let said: Vec<_> = changes
            .iter()
            .map(|change| {
                let version = |object: &Option<Arc<ConfigMap>>| {
                    object
                        .as_ref()
                        .and_then(|object| object.metadata.resource_version.clone())
                };
                (version(&change.old), version(&change.new))
            })
            .collect();
        let some = |version: &str| Some(version.to_owned());
        assert_eq!(said, [(some("2"), None), (some("3"), None), (None, some("9"))]);
    }
}
