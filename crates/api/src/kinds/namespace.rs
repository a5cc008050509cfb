//! Namespace: a scope of names, which takes its content along when it is deleted.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use crate::kind::{NameRule, Subresource, Write};
use crate::prepare::{copy, set};
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::{Errors, Path, names};

/// The label of every namespace: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Keeps a namespace until its content is gone.
const FINALIZER: &str = "kubernetes";
/// Finalizers without a domain.
const STANDARD: [&str; 3] = [FINALIZER, "foregroundDeletion", "orphan"];

impl Served for Namespace {
    const ROW: Row = Row {
        singular: "namespace",
        short_names: &["ns"],
        columns: &[column("Name"), column("Status"), column("Age")],
        subresources: &[Subresource::Status, Subresource::Finalize],
        one_by_one: true,
        name_rule: NameRule::Label,
        fields: &["status.phase"],
        ..Row::CLUSTER
    };

    fn default(&mut self) {
        if let Some(name) = self.metadata.name.clone().filter(|name| !name.is_empty()) {
            self.metadata
                .labels
                .get_or_insert_default()
                .insert(NAME_LABEL.to_owned(), name);
        }
        self.spec.get_or_insert_default();
        crate::defaults::text(&mut self.status.get_or_insert_default().phase, "Active");
    }

    /// Finalizers of the spec change by `/finalize` only.
    fn prepare(object: &mut Value, old: Option<&Value>, write: Write) {
        match old {
            Some(old) if write == Write::Main => copy(object, old, "spec"),
            Some(_) => {}
            None => {
                set(object, "spec", "finalizers", json!([FINALIZER]));
                set(object, "status", "phase", json!("Active"));
            }
        }
    }

    fn validate(&self, _old: Option<&Self>, write: Write, errors: &mut Errors) {
        let finalizers = self
            .spec
            .as_ref()
            .and_then(|spec| spec.finalizers.as_deref())
            .unwrap_or_default();
        let path = Path::ROOT.field("spec");
        let path = path.field("finalizers");
        for (index, finalizer) in finalizers.iter().enumerate() {
            errors.problems(&path.index(index), finalizer, &names::qualified_name(finalizer));
            if !finalizer.contains('/') && !STANDARD.contains(&finalizer.as_str()) {
                let detail = "name is neither a standard finalizer name nor is it fully qualified";
                errors.invalid(&path.index(index), finalizer, detail);
            }
        }
        let phase = self
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .unwrap_or_default();
        let expected = if self.metadata.deletion_timestamp.is_some() {
            "Terminating"
        } else {
            "Active"
        };
        if write == Write::Status && phase != expected {
            let detail = if expected == "Active" {
                "may only be 'Active' if `deletionTimestamp` is empty"
            } else {
                "may only be 'Terminating' if `deletionTimestamp` is not empty"
            };
            // With a capital letter, as upstream.
            errors.invalid(&Path::ROOT.field("status.Phase"), phase, detail);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let phase = self.status.as_ref().and_then(|status| status.phase.clone());
        vec![
            name(&self.metadata),
            phase.unwrap_or_default().into(),
            age(&self.metadata, now),
        ]
    }
}
