//! StorageClass: where claims get their volumes from.

use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use crate::defaults::text;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, boolean, column};
use crate::validation::{Errors, Path, names};

/// Marks the class of claims that name none; the second is the older one.
const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// Whether a class is that of claims that name none.
#[must_use]
pub fn is_default(class: &Value) -> bool {
    let annotations = &class["metadata"]["annotations"];
    DEFAULT.iter().any(|key| annotations[*key] == "true")
}

impl Served for StorageClass {
    const ROW: Row = Row {
        singular: "storageclass",
        short_names: &["sc"],
        columns: &[
            column("Name"),
            column("Provisioner"),
            column("ReclaimPolicy"),
            column("VolumeBindingMode"),
            boolean("AllowVolumeExpansion"),
            column("Age"),
        ],
        ..Row::CLUSTER
    };

    fn default(&mut self) {
        text(&mut self.reclaim_policy, "Delete");
        text(&mut self.volume_binding_mode, "Immediate");
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let path = Path::ROOT.field("provisioner");
        if self.provisioner.is_empty() {
            errors.required(&path, "");
        } else {
            let problems = names::qualified_name(&self.provisioner.to_lowercase());
            errors.problems(&path, &self.provisioner, &problems);
        }
        for (name, _) in self.parameters.iter().flatten() {
            if name.is_empty() {
                let detail = "field can not be empty.";
                errors.invalid(&Path::ROOT.field("parameters"), name, detail);
            }
        }
        let policy = self.reclaim_policy.as_deref();
        errors.one_of(&Path::ROOT.field("reclaimPolicy"), policy, &["Delete", "Retain"]);
        let mode = self.volume_binding_mode.as_deref();
        let path = Path::ROOT.field("volumeBindingMode");
        errors.one_of(&path, mode, &["Immediate", "WaitForFirstConsumer"]);
        topologies(self, &Path::ROOT.field("allowedTopologies"), errors);
        let Some(old) = old else { return };
        for (field, is_same) in [
            (
                "parameters",
                self.parameters
                    .iter()
                    .flatten()
                    .eq(old.parameters.iter().flatten()),
            ),
            ("provisioner", self.provisioner == old.provisioner),
            ("reclaimPolicy", self.reclaim_policy == old.reclaim_policy),
        ] {
            if !is_same {
                let detail = format!("updates to {field} are forbidden.");
                errors.forbidden(&Path::ROOT.field(field), &detail);
            }
        }
        errors.immutable(&path, &self.volume_binding_mode, &old.volume_binding_mode);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let mut name = self.metadata.name.clone().unwrap_or_default();
        let annotations = self.metadata.annotations.as_ref();
        let is_default = |key| {
            annotations
                .and_then(|all| all.get(key))
                .is_some_and(|value| value == "true")
        };
        if DEFAULT.into_iter().any(is_default) {
            name.push_str(" (default)");
        }
        vec![
            name.into(),
            self.provisioner.clone().into(),
            self.reclaim_policy.clone().into(),
            self.volume_binding_mode.clone().into(),
            self.allow_volume_expansion.unwrap_or(false).into(),
            age(&self.metadata, now),
        ]
    }
}

/// Each key once, with values that differ.
fn topologies(class: &StorageClass, path: &Path<'_>, errors: &mut Errors) {
    for (index, term) in class.allowed_topologies.iter().flatten().enumerate() {
        let path = path.index(index);
        let path = path.field("matchLabelExpressions");
        let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
        for (index, expression) in expressions.iter().enumerate() {
            let path = path.index(index);
            let (key, values) = (path.field("key"), path.field("values"));
            if expression.values.is_empty() {
                errors.required(&values, "");
            }
            for (index, value) in expression.values.iter().enumerate() {
                if expression.values[..index].contains(value) {
                    errors.duplicate(&values.index(index), value);
                }
            }
            errors.problems(&key, &expression.key, &names::qualified_name(&expression.key));
            let mut others = expressions[..index].iter();
            if others.any(|other| other.key == expression.key) {
                errors.duplicate(&key, &expression.key);
            }
        }
    }
}
