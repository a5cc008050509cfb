//! Sets of fields, as `metadata.managedFields` writes them (FieldsV1): a tree whose edges are fields and list items.
//!
//! Flows in and out: FieldsV1 as JSON, where `{}` is a field of the set, `{"f:a": {}}` one whose part `a` is, and `"."`
//! says that a node with parts is of the set itself. Never knows a type: elements are kept as text.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element;

/// A node of the tree; the root stands for the whole object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the field itself is in the set.
    pub(super) member: bool,
    /// What is below it, by element (`f:spec`, `k:{"name":"web"}`).
    pub(super) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Whether no field is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Adds the field at a path of elements.
    pub fn insert(&mut self, path: &[String]) {
        match path.split_first() {
            None => self.member = true,
            Some((first, rest)) => match self.children.get_mut(first) {
                Some(child) => child.insert(rest),
                None => self.children.entry(first.clone()).or_default().insert(rest),
            },
        }
    }

    /// Puts a set below an element, unless it is empty.
    pub(super) fn put(&mut self, element: String, child: Self) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    /// Fields of either set.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (key, child) in &other.children {
            match self.children.get_mut(key) {
                Some(own) => own.add(child),
                None => drop(self.children.insert(key.clone(), child.clone())),
            }
        }
    }

    /// Fields of this set that are not in the other. Parts of a field are fields of their own.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        self.subtract(other);
        self
    }

    /// Takes out the fields of the other set.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (key, gone) in &other.children {
            if let Some(child) = self.children.get_mut(key) {
                child.subtract(gone);
                if child.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    /// Fields of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut shared = Self {
            member: self.member && other.member,
            children: BTreeMap::new(),
        };
        for (key, child) in &self.children {
            if let Some(other) = other.children.get(key) {
                shared.put(key.clone(), child.intersection(other));
            }
        }
        shared
    }

    /// The fields as paths that people read, `.spec.containers[name="web"].image`: a node's own fields before what is
    /// below them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        let length = path.len();
        for (key, child) in &self.children {
            if child.member {
                path.push_str(&element::display(key));
                paths.push(path.clone());
                path.truncate(length);
            }
        }
        for (key, child) in &self.children {
            path.push_str(&element::display(key));
            child.collect(path, paths);
            path.truncate(length);
        }
    }
}

impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.member && !self.children.is_empty() {
            map.serialize_entry(".", &Self::default())?;
        }
        for (key, child) in &self.children {
            map.serialize_entry(key, child)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = FieldSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldSet, A::Error> {
        let mut set = FieldSet::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == "." {
                map.next_value::<IgnoredAny>()?;
                set.member = true;
                continue;
            }
            let mut child: FieldSet = map.next_value()?;
            child.member |= child.children.is_empty();
            set.children.insert(key, child);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reads_and_writes_fields_v1() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {
            "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}},
            "f:finalizers": {"v:\"a\"": {}},
        }});
        let set = FieldSet::deserialize(&fields).expect("is a set");
        assert_eq!(json!(set), fields);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.containers[name=\"web\"]",
                ".spec.containers[name=\"web\"].image",
                ".spec.finalizers[=\"a\"]",
            ]
        );
    }

    fn any_set() -> impl Strategy<Value = FieldSet> {
        let path = proptest::collection::vec("[abc]".prop_map(|name| format!("f:{name}")), 1..4);
        proptest::collection::vec(path, 0..8).prop_map(|paths| {
            let mut set = FieldSet::default();
            paths.iter().for_each(|path| set.insert(path));
            set
        })
    }

    proptest! {
        #[test]
        fn is_an_algebra_of_sets(a in any_set(), b in any_set()) {
            prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.clone().difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert!(a.clone().difference(&a).is_empty());
            prop_assert!(a.clone().difference(&b).intersection(&b).is_empty());
            prop_assert_eq!(FieldSet::deserialize(json!(a)).ok(), Some(a));
        }

        #[test]
        fn reads_anything(text in "[\\{\\}\":.fkvi,a]{0,60}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text)
                && let Ok(set) = FieldSet::deserialize(&value)
            {
                let _ = set.paths();
                prop_assert_eq!(FieldSet::deserialize(json!(set)).ok(), Some(set));
            }
        }
    }
}
