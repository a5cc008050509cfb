//! One entry of `metadata.managedFields`: who wrote which fields, how, and when last.
//!
//! Flows in and out: the list as JSON, in upstream's order. Entries whose fields nobody asked about are kept as they are.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    fn order(&self, other: &Self) -> Ordering {
        (other.applied.cmp(&self.applied))
            .then_with(|| self.time.cmp(&other.time))
            .then_with(|| self.manager.name.cmp(&other.manager.name))
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

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(default)]
    api_version: Cow<'a, str>,
    #[serde(default)]
    fields_type: Cow<'a, str>,
    #[serde(rename = "fieldsV1", default)]
    fields: Cow<'a, FieldSet>,
    #[serde(default)]
    manager: Cow<'a, str>,
    operation: Operation,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    subresource: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    time: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
enum Operation {
    Apply,
    Update,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        Ok(Self {
            manager: Manager {
                name: written.manager.into_owned(),
                subresource: written.subresource.into_owned(),
                api_version: written.api_version.into_owned(),
            },
            applied: matches!(written.operation, Operation::Apply),
            time: written.time.into_owned(),
            fields: written.fields.into_owned(),
        })
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            api_version: Cow::Borrowed(&self.manager.api_version),
            fields_type: Cow::Borrowed("FieldsV1"),
            fields: Cow::Borrowed(&self.fields),
            manager: Cow::Borrowed(&self.manager.name),
            operation: if self.applied {
                Operation::Apply
            } else {
                Operation::Update
            },
            subresource: Cow::Borrowed(&self.manager.subresource),
            time: Cow::Borrowed(&self.time),
        };
        written.serialize(serializer)
    }
}

/// Puts entries in upstream's order, without empty ones, and the oldest updaters as one where there are too many.
pub(super) fn settle(entries: &mut Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    cap(entries);
    entries.sort_by(Entry::order);
}

/// Whether two lists differ in nothing but the times of their entries.
#[must_use]
pub fn same_but_times(a: &[Entry], b: &[Entry]) -> bool {
    let same = |one: &Entry, other: &Entry| {
        one.manager == other.manager && one.applied == other.applied && one.fields == other.fields
    };
    a.len() == b.len() && a.iter().all(|entry| b.iter().any(|other| same(entry, other)))
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
    use serde_json::json;

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
            fields: FieldSet::deserialize(json!({"f:data": {(format!("f:k{at}")): {}}})).expect("is a set"),
        };
        let mut entries: Vec<Entry> = (0..15).map(|at| entry(at, at == 0)).collect();
        settle(&mut entries);
        let updaters: Vec<&Entry> = entries.iter().filter(|entry| !entry.applied).collect();
        assert_eq!(updaters.len(), MAX_UPDATERS);
        assert!(entries[0].applied);
        assert_eq!(updaters[0].manager.name, ANCIENT);
        assert_eq!(updaters[0].fields.paths().len(), 5);
        assert_eq!(updaters[0].time, "2026-01-01T00:00:05Z");
        let list = json!(entries);
        assert_eq!(list[0]["operation"], "Apply");
        assert_eq!(Vec::<Entry>::deserialize(list).ok(), Some(entries));
    }
}
