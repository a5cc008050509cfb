//! Who owns which field of an object: server-side apply, and the record of all other writers.
//!
//! Flows in: an object before and after a write, or a configuration to apply, and `metadata.managedFields`. Flows out: the
//! new managedFields, the merged object, or the conflicts. Follows upstream's structured-merge-diff, so that the same
//! writes leave the same entries. Objects come without their managedFields. Never does I/O, never reads a clock.

mod check;
mod compare;
mod element;
mod entry;
mod fields;
mod grain;
mod merge;
mod set;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

pub use check::check;
use compare::Comparison;
pub use entry::{Entry, Manager, same_but_times};
use grain::Grain;
pub use set::FieldSet;

use crate::kind::Cause;

/// What of the metadata belongs to the server, and is nobody's.
const SERVERS: [&str; 9] = [
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
];

/// The part of an object that a write may touch; what else a client sends is reset, so nobody comes to own it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    Whole,
    /// Everything but the status.
    Main,
    /// The status and some metadata.
    Status,
}

impl Part {
    fn keep(self, mut set: FieldSet) -> FieldSet {
        match self {
            Self::Whole => {}
            Self::Main => drop(set.children.remove("f:status")),
            Self::Status => set
                .children
                .retain(|key, _| matches!(key.as_str(), "f:status" | "f:metadata")),
        }
        set
    }
}

/// The fields that a client can own.
fn without_servers(mut set: FieldSet) -> FieldSet {
    set.member = false;
    set.children.remove("f:apiVersion");
    set.children.remove("f:kind");
    if let Some(mut metadata) = set.children.remove("f:metadata") {
        metadata.member = false;
        metadata
            .children
            .retain(|key, _| !SERVERS.contains(&key.as_str()));
        set.put("f:metadata".to_owned(), metadata);
    }
    set
}

/// One write: by whom, of what, when.
#[derive(Clone, Debug)]
pub struct Writing<'a> {
    /// The object's type, `io.k8s.api.apps.v1.Deployment`.
    pub root: &'a str,
    /// Who writes.
    pub manager: &'a Manager,
    /// What may be written.
    pub part: Part,
    /// The time, as Kubernetes writes it.
    pub now: &'a str,
}

/// A field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// `"kubectl-client-side-apply" using apps/v1`
    pub manager: String,
    /// `.spec.replicas`
    pub path: String,
}

/// All conflicts of an apply. `Display` is upstream's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl Conflicts {
    /// The conflicts as causes of a Status.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        let cause = |conflict: &Conflict| Cause {
            reason: "FieldManagerConflict",
            message: format!("conflict with {}", conflict.manager),
            field: conflict.path.clone(),
        };
        self.0.iter().map(cause).collect()
    }
}

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [Conflict { manager, path }] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        let mut lines = Vec::new();
        let mut last = None;
        for Conflict { manager, path } in &self.0 {
            if last != Some(manager) {
                lines.push(format!("conflicts with {manager}:"));
                last = Some(manager);
            }
            lines.push(format!("- {path}"));
        }
        write!(
            f,
            "Apply failed with {} conflicts: {}",
            self.0.len(),
            lines.join("\n")
        )
    }
}

impl std::error::Error for Conflicts {}

/// The entries after a write that was no apply: the writer owns what it changed, and nobody else does any more. `None`:
/// nothing changed, and `list`, which is slow to get, was not asked for.
#[must_use]
pub fn updated(
    writing: &Writing<'_>,
    old: &Value,
    new: &Value,
    list: impl FnOnce() -> Vec<Entry>,
) -> Option<Vec<Entry>> {
    let grain = Grain::of_type(writing.root);
    let changes = Comparison::of(grain, old, new).map(|set| without_servers(writing.part.keep(set)));
    let written = changes.written();
    if written.is_empty() && changes.removed.is_empty() {
        return None;
    }
    let mut entries = list();
    let lost = changes.removed.union(&written);
    for entry in entries.iter_mut().filter(|entry| writing.shares_version(entry)) {
        entry.fields.subtract(&lost);
    }
    if !written.is_empty() {
        match entries
            .iter_mut()
            .find(|entry| entry.is_of(writing.manager, false))
        {
            Some(own) => {
                own.fields = std::mem::take(&mut own.fields).union(&written);
                own.time = writing.now.to_owned();
            }
            None => entries.push(writing.entry(false, written)),
        }
    }
    entry::settle(&mut entries);
    Some(entries)
}

/// What an apply leaves behind.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The merged object.
    pub object: Value,
    /// Who owns what now.
    pub entries: Vec<Entry>,
}

/// Applies a configuration to the object as it is. `yielding` are fields that their owners give up without force.
///
/// # Errors
/// If others own fields that would change, unless `force`.
pub fn apply(
    writing: &Writing<'_>,
    live: &Value,
    config: &Value,
    list: &[Entry],
    yielding: Yielding<'_>,
) -> Result<Applied, Conflicts> {
    let grain = Grain::of_type(writing.root);
    let is_own = |entry: &Entry| entry.is_of(writing.manager, true);
    let last = list.iter().find(|entry| is_own(entry));
    let set = writing.part.keep(fields::fields(grain, config));
    let mut entries: Vec<Entry> = list.iter().filter(|entry| !is_own(entry)).cloned().collect();
    let merged = merge::merge(grain, Some(live), config);
    let object = match last {
        Some(last) if writing.shares_version(last) => {
            let owned = entries.iter().filter(|entry| writing.shares_version(entry));
            let owned = owned.fold(set.clone(), |all, entry| all.union(&entry.fields));
            prune(grain, merged, &last.fields, &owned)
        }
        _ => merged,
    };
    let changes = Comparison::of(grain, live, &object).map(|set| writing.part.keep(set));
    let written = changes.written();
    let others = entries.iter().filter(|entry| writing.shares_version(entry));
    let conflicts = others.map(|entry| (entry.describe(), entry.fields.intersection(&written)));
    yielding.check(conflicts)?;
    let lost = changes.removed.union(&written);
    for entry in entries.iter_mut().filter(|entry| writing.shares_version(entry)) {
        entry.fields.subtract(&lost);
    }
    entries.push(writing.entry(true, without_servers(set)));
    entry::settle(&mut entries);
    Ok(Applied { object, entries })
}

/// Which owners give up their fields to an apply.
#[derive(Clone, Copy, Debug)]
pub enum Yielding<'a> {
    /// None: that is a conflict.
    Nobody,
    /// All, when nothing but these fields is in conflict.
    For(&'a FieldSet),
    /// All.
    Everybody,
}

impl Yielding<'_> {
    fn check(self, conflicts: impl Iterator<Item = (String, FieldSet)>) -> Result<(), Conflicts> {
        let mut found = Vec::new();
        for (manager, fields) in conflicts {
            let fields = match self {
                Self::Nobody => fields,
                Self::For(allowed) => fields.difference(allowed),
                Self::Everybody => return Ok(()),
            };
            found.extend(fields.paths().into_iter().map(|path| Conflict {
                manager: manager.clone(),
                path,
            }));
        }
        found.sort_by(|a, b| a.manager.cmp(&b.manager));
        if found.is_empty() {
            Ok(())
        } else {
            Err(Conflicts(found))
        }
    }
}

impl Writing<'_> {
    /// Fields of other versions have other names: they cannot be compared.
    fn shares_version(&self, entry: &Entry) -> bool {
        entry.manager.api_version == self.manager.api_version
    }

    fn entry(&self, applied: bool, fields: FieldSet) -> Entry {
        Entry {
            manager: self.manager.clone(),
            applied,
            time: self.now.to_owned(),
            fields,
        }
    }
}

/// Takes out what the applier listed last and does not list any more, unless somebody owns it.
fn prune(grain: Grain, merged: Value, last: &FieldSet, owned: &FieldSet) -> Value {
    let last = fields::with_parents(grain, last);
    let pruned = merge::remove(grain, &merged, &last);
    let all = |object: &Value| fields::with_parents(grain, &fields::fields(grain, object));
    let merged_fields = all(&merged);
    // What was removed with a parent but has an owner comes back.
    let kept = all(&pruned).union(&fields::with_parents(grain, owned));
    let pruned = merge::remove(grain, &merged, &merged_fields.clone().difference(&kept));
    // So does what was removed with a parent and was never the applier's.
    let gone = merged_fields.difference(&all(&pruned)).intersection(&last);
    merge::remove(grain, &merged, &gone)
}

/// The fields of `applied` that `live` has with the same values: those which the last client-side apply can hand over.
#[must_use]
pub fn agreed(root: &str, applied: &Value, live: &Value) -> FieldSet {
    let grain = Grain::of_type(root);
    let differing = Comparison::of(grain, applied, live);
    fields::fields(grain, applied)
        .difference(&differing.written())
        .difference(&differing.removed)
}
