//! One entry of `metadata.managedFields`: who wrote which fields, how, and when last.
//!
//! Flows in and out: the list as JSON, in upstream's order. Entries whose fields nobody asked about are kept as they are.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::set::FieldSet;

/// How many writers that do not apply are told apart; upstream's number.
const MAX_UPDATERS: usize = 10;

/// What the oldest of them become together.
const ANCIENT: &str = "ancient-changes";

/// Who writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manager {
    /// `kubectl`
    pub name: String,
    /// The part of the object that is written, `status`; empty for the object itself.
    pub subresource: String,
    /// The version in which the fields are named, `apps/v1`.
    pub api_version: String,
}

/// Who owns which fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Who.
    pub manager: Manager,
    /// Whether the fields were applied; else they were created, updated or patched.
    pub applied: bool,
    /// When the owner last wrote.
    pub time: String,
    /// What.
    pub fields: FieldSet,
}

impl Entry {
    /// Whether this is the entry of a manager's writes of one kind.
    #[must_use]
    pub fn is_of(&self, manager: &Manager, applied: bool) -> bool {
        let same = self.applied == applied
            && self.manager.name == manager.name
            && self.manager.subresource == manager.subresource;
        // Who applies owns what was applied last, in whatever version.
        same && (applied || self.manager.api_version == manager.api_version)
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let applied = match value["operation"].as_str() {
            Some("Apply") => true,
            Some("Update") => false,
            _ => return None,
        };
        Some(Self {
            manager: Manager {
                name: text("manager"),
                subresource: text("subresource"),
                api_version: text("apiVersion"),
            },
            applied,
            time: text("time"),
            fields: FieldSet::from_json(&value["fieldsV1"]),
        })
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "manager": self.manager.name,
            "operation": if self.applied { "Apply" } else { "Update" },
            "apiVersion": self.manager.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        for (field, text) in [("time", &self.time), ("subresource", &self.manager.subresource)] {
            if !text.is_empty() {
                value[field] = text.as_str().into();
            }
        }
        value
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (!entry.applied, entry.time.clone(), entry.manager.name.clone());
        key(self)
            .cmp(&key(other))
            .then_with(|| self.manager.api_version.cmp(&other.manager.api_version))
            .then_with(|| self.manager.subresource.cmp(&other.manager.subresource))
    }

    /// `"kubectl" with subresource "status" using apps/v1`
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager.name);
        if !self.manager.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.manager.subresource));
        }
        if !self.applied {
            text.push_str(&format!(" using {}", self.manager.api_version));
        }
        text
    }
}

/// Reads `metadata.managedFields`. `None`: it is no such list.
#[must_use]
pub fn read(list: &Value) -> Option<Vec<Entry>> {
    list.as_array()?.iter().map(Entry::from_json).collect()
}

/// Writes `metadata.managedFields`; `None` for an empty one.
#[must_use]
pub fn write(mut entries: Vec<Entry>) -> Option<Value> {
    entries.retain(|entry| !entry.fields.is_empty());
    cap(&mut entries);
    entries.sort_by(Entry::order);
    (!entries.is_empty()).then(|| entries.iter().map(Entry::to_json).collect())
}

/// Whether two lists differ in nothing but the times of their entries.
#[must_use]
pub fn same_but_times(a: &Value, b: &Value) -> bool {
    let timeless = |list: &Value| {
        let entries = list.as_array().into_iter().flatten().cloned();
        let entries = entries.map(|mut entry| {
            entry.as_object_mut().map(|fields| fields.remove("time"));
            entry.to_string()
        });
        entries.collect::<std::collections::BTreeSet<_>>()
    };
    timeless(a) == timeless(b)
}

/// Lets the oldest of too many updaters become one.
fn cap(entries: &mut Vec<Entry>) {
    entries.sort_by(Entry::order);
    let updaters = entries.iter().filter(|entry| !entry.applied).count();
    let Some(excess) = updaters.checked_sub(MAX_UPDATERS).filter(|excess| *excess > 0) else {
        return;
    };
    let first = entries.iter().position(|entry| !entry.applied).unwrap_or(0);
    // One more than there are too many, for what they become counts too.
    let oldest: Vec<Entry> = entries.drain(first..=first + excess).collect();
    for entry in oldest {
        let manager = Manager {
            name: ANCIENT.to_owned(),
            subresource: String::new(),
            api_version: entry.manager.api_version.clone(),
        };
        match entries.iter_mut().find(|entry| entry.is_of(&manager, false)) {
            Some(bucket) => {
                bucket.fields = std::mem::take(&mut bucket.fields).union(&entry.fields);
                bucket.time = entry.time;
            }
            None => entries.push(Entry { manager, ..entry }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_many_writers_become_one() {
        let entry = |at: usize, applied| Entry {
            manager: Manager {
                name: format!("m{at:02}"),
                subresource: String::new(),
                api_version: "v1".to_owned(),
            },
            applied,
            time: format!("2026-01-01T00:00:{at:02}Z"),
            fields: FieldSet::from_json(&json!({"f:data": {(format!("f:k{at}")): {}}})),
        };
        let entries: Vec<Entry> = (0..15).map(|at| entry(at, at == 0)).collect();
        let list = write(entries).expect("has entries");
        let read = read(&list).expect("is a list of entries");
        let updaters: Vec<&Entry> = read.iter().filter(|entry| !entry.applied).collect();
        assert_eq!(updaters.len(), MAX_UPDATERS);
        assert!(read[0].applied);
        assert_eq!(updaters[0].manager.name, ANCIENT);
        assert_eq!(updaters[0].fields.paths().len(), 5);
        assert_eq!(updaters[0].time, "2026-01-01T00:00:05Z");
        assert_eq!(write(read), Some(list));
    }
}
