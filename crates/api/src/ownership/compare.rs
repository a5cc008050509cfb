//! What a write changed, field by field.
//!
//! Flows in: an object before and after. Flows out: the fields added, modified and removed. The work is that of the parts
//! that differ: equal parts are skipped at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element;
use super::grain::Grain;
use super::set::FieldSet;

/// The fields that differ between two versions of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    /// Only in the new version.
    pub added: FieldSet,
    /// In both, with different values.
    pub modified: FieldSet,
    /// Only in the old version.
    pub removed: FieldSet,
}

impl Comparison {
    /// Compares two versions of an object.
    pub fn of(grain: Grain, old: &Value, new: &Value) -> Self {
        let mut walk = Walk {
            path: Vec::new(),
            found: Self::default(),
        };
        walk.compare(grain, Some(old), Some(new));
        walk.found
    }

    /// What the new version says anew.
    pub fn written(&self) -> FieldSet {
        self.added.clone().union(&self.modified)
    }

    /// Keeps the fields that `keep` makes of each set.
    pub fn map(self, keep: impl Fn(FieldSet) -> FieldSet) -> Self {
        Self {
            added: keep(self.added),
            modified: keep(self.modified),
            removed: keep(self.removed),
        }
    }
}

struct Walk {
    path: Vec<String>,
    found: Comparison,
}

impl Walk {
    fn compare(&mut self, grain: Grain, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let parts = match grain {
            Grain::Leaf => false,
            Grain::Fields(_) | Grain::Entries(_) => self.maps(
                grain,
                old.and_then(Value::as_object),
                new.and_then(Value::as_object),
            ),
            Grain::Set | Grain::Keyed(..) => self.lists(
                grain,
                old.and_then(Value::as_array),
                new.and_then(Value::as_array),
            ),
        };
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            _ if !parts => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn below(&mut self, element: String, grain: Grain, old: Option<&Value>, new: Option<&Value>) {
        self.path.push(element);
        self.compare(grain, old, new);
        self.path.pop();
    }

    /// Whether there was something to descend into.
    fn maps(
        &mut self,
        grain: Grain,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) -> bool {
        let empty = Map::new();
        let (before, after) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        for (name, value) in before {
            let now = after.get(name);
            // Most are the same: no path is made for them.
            if now != Some(value) {
                self.below(element::field(name), grain.below(name), Some(value), now);
            }
        }
        for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            // In a struct that was there, these were there too, if only empty.
            let was = old.and_then(|_| embedded(grain, name));
            self.below(element::field(name), grain.below(name), was.as_ref(), Some(value));
        }
        !(before.is_empty() && after.is_empty())
    }

    fn lists(&mut self, grain: Grain, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>) -> bool {
        let (before, after) = (index(grain, old), index(grain, new));
        for (key, items) in &before {
            let others = after.get(key).map(Vec::as_slice).unwrap_or_default();
            self.items(grain, key, items, others);
        }
        for (key, items) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            self.items(grain, key, &[], items);
        }
        !(before.is_empty() && after.is_empty())
    }

    /// Items of one identity; where one occurs twice they are compared together.
    fn items(&mut self, grain: Grain, key: &str, old: &[&Value], new: &[&Value]) {
        match (old, new) {
            ([] | [_], [] | [_]) => {
                let (old, new) = (old.first().copied(), new.first().copied());
                self.below(key.to_owned(), grain.below(""), old, new);
            }
            (old, new) if old == new => {}
            (_, []) => self.below(key.to_owned(), Grain::Leaf, old.first().copied(), None),
            _ => {
                self.path.push(key.to_owned());
                self.found.modified.insert(&self.path);
                self.path.pop();
            }
        }
    }
}

/// The items of a list by what tells them apart.
fn index(grain: Grain, list: Option<&Vec<Value>>) -> BTreeMap<String, Vec<&Value>> {
    let mut index: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in list.into_iter().flatten() {
        let key = match grain {
            Grain::Keyed(keys, _) => element::keyed(item, keys),
            _ => element::member(item),
        };
        index.entry(key).or_default().push(item);
    }
    index
}

/// Structs that upstream's types hold by value: they exist in every object that can have them, so that a writer who fills
/// them owns what is in them, not them.
fn embedded(grain: Grain, name: &str) -> Option<Value> {
    let Grain::Fields(_) = grain else { return None };
    match name {
        "metadata" | "spec" | "status" | "template" | "strategy" | "updateStrategy" | "jobTemplate"
        | "resources" | "daemonEndpoints" | "nodeInfo" | "loadBalancer" => Some(Value::Object(Map::new())),
        "containers" => Some(Value::Null),
        _ => None,
    }
}
