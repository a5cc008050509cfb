//! Rules for `metadata`, the same for all kinds.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Errors, Path, names};
use crate::served::Row;

/// All annotations of an object together, keys and values, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

const METADATA: Path<'static> = Path::ROOT.field("metadata");

/// Checks the metadata of an object, and with `old` of a change.
pub fn validate(metadata: &ObjectMeta, old: Option<&ObjectMeta>, row: &Row, errors: &mut Errors) {
    name(metadata, row, errors);
    match metadata.namespace.as_deref().unwrap_or_default() {
        "" if row.namespaced => errors.required(&METADATA.field("namespace"), ""),
        "" => {}
        _ if !row.namespaced => errors.forbidden(&METADATA.field("namespace"), "not allowed on this type"),
        namespace => errors.problems(&METADATA.field("namespace"), namespace, &names::label(namespace)),
    }
    errors.non_negative(&METADATA.field("generation"), metadata.generation);
    labels(metadata.labels.as_ref(), &METADATA.field("labels"), errors);
    annotations(
        metadata.annotations.as_ref(),
        &METADATA.field("annotations"),
        errors,
    );
    owners(metadata, errors);
    finalizers(metadata, errors);
    if let Some(old) = old {
        update(metadata, old, errors);
    }
}

fn name(metadata: &ObjectMeta, row: &Row, errors: &mut Errors) {
    if let Some(prefix) = metadata
        .generate_name
        .as_deref()
        .filter(|prefix| !prefix.is_empty())
    {
        // A name will follow, so the prefix may end as a name may not.
        let name = format!("{}a", prefix.strip_suffix('-').unwrap_or(prefix));
        errors.problems(
            &METADATA.field("generateName"),
            prefix,
            &names::by_rule(row.name_rule, &name),
        );
    }
    match metadata.name.as_deref().unwrap_or_default() {
        "" => errors.required(&METADATA.field("name"), "name or generateName is required"),
        name => errors.problems(
            &METADATA.field("name"),
            name,
            &names::by_rule(row.name_rule, name),
        ),
    }
}

/// Checks labels.
pub fn labels(labels: Option<&BTreeMap<String, String>>, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in labels.into_iter().flatten() {
        errors.problems(path, key, &names::qualified_name(key));
        errors.problems(path, value, &names::label_value(value));
    }
}

/// Checks annotations.
pub fn annotations(annotations: Option<&BTreeMap<String, String>>, path: &Path<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        errors.problems(path, key, &names::qualified_name(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(path, MAX_ANNOTATIONS);
    }
}

fn owners(metadata: &ObjectMeta, errors: &mut Errors) {
    let path = METADATA.field("ownerReferences");
    let mut controller: Option<String> = None;
    for (index, owner) in metadata.owner_references.iter().flatten().enumerate() {
        let path = path.index(index);
        let texts = [
            ("apiVersion", "version", &owner.api_version),
            ("kind", "kind", &owner.kind),
            ("name", "name", &owner.name),
            ("uid", "uid", &owner.uid),
        ];
        for (field, called, text) in texts {
            if text.is_empty() {
                errors.invalid(&path.field(field), text, &format!("{called} must not be empty"));
            }
        }
        if owner.controller == Some(true) {
            let this = format!("{}/{}", owner.kind, owner.name);
            if let Some(other) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {other} and {this}"
                );
                errors.invalid(&METADATA.field("ownerReferences"), owner, &detail);
            }
            controller.get_or_insert(this);
        }
    }
}

fn finalizers(metadata: &ObjectMeta, errors: &mut Errors) {
    let path = METADATA.field("finalizers");
    let standard = ["foregroundDeletion", "orphan", "kubernetes"];
    for (index, finalizer) in metadata.finalizers.iter().flatten().enumerate() {
        let path = path.index(index);
        errors.problems(&path, finalizer, &names::qualified_name(finalizer));
        if !finalizer.contains('/') && !standard.contains(&finalizer.as_str()) {
            errors.invalid(
                &path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
}

fn update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    errors.immutable(&METADATA.field("name"), &new.name, &old.name);
    errors.immutable(&METADATA.field("namespace"), &new.namespace, &old.namespace);
    errors.immutable(&METADATA.field("uid"), &new.uid, &old.uid);
    errors.immutable(
        &METADATA.field("creationTimestamp"),
        &new.creation_timestamp,
        &old.creation_timestamp,
    );
    if old.deletion_timestamp.is_none() {
        return;
    }
    let finalizers = METADATA.field("finalizers");
    let before = old.finalizers.as_deref().unwrap_or_default();
    let added: Vec<_> = new
        .finalizers
        .iter()
        .flatten()
        .filter(|finalizer| !before.contains(finalizer))
        .map(|finalizer| format!("{finalizer:?}"))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        errors.forbidden(&finalizers, &detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Cause;

    fn causes(metadata: serde_json::Value) -> Vec<(String, String)> {
        let mut errors = Errors::default();
        let metadata = serde_json::from_value(metadata).unwrap_or_default();
        validate(&metadata, None, &Row::NAMESPACED, &mut errors);
        let pair = |cause: Cause| (cause.field, cause.message);
        errors.into_verdict().causes.into_iter().map(pair).collect()
    }

    #[test]
    fn checks_names_labels_and_owners() {
        assert_eq!(causes(json!({"name": "a", "namespace": "default"})), []);
        let missing = causes(json!({"namespace": "default"}));
        assert_eq!(missing[0].1, "Required value: name or generateName is required");
        let bad =
            causes(json!({"name": "A", "namespace": "b", "labels": {"a b": "c d"}, "finalizers": ["x"]}));
        let owner = json!({"apiVersion": "", "kind": "Pod", "name": "p", "uid": ""});
        let owned = causes(json!({"name": "a", "namespace": "b", "ownerReferences": [owner]}));
        let path = "metadata.ownerReferences[0]";
        let wanted = [("apiVersion", "version"), ("uid", "uid")].map(|(field, called)| {
            let why = format!("Invalid value: \"\": {called} must not be empty");
            (format!("{path}.{field}"), why)
        });
        assert_eq!(owned, wanted);
        let fields: Vec<_> = bad.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "metadata.name",
                "metadata.labels",
                "metadata.labels",
                "metadata.finalizers[0]"
            ]
        );
        assert!(
            bad[0]
                .1
                .starts_with("Invalid value: \"A\": a lowercase RFC 1123 subdomain")
        );
        assert!(
            bad[1]
                .1
                .starts_with("Invalid value: \"a b\": name part must consist of")
        );
    }
}
