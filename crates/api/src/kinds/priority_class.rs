//! PriorityClass: a name for how important pods are.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::defaults::text;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, boolean, column, name, number};
use crate::validation::{Errors, Path};

/// Largest value that users may give.
const HIGHEST: i32 = 1_000_000_000;
/// The classes that every cluster has, and their values.
pub const SYSTEM: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

impl Served for PriorityClass {
    const ROW: Row = Row {
        singular: "priorityclass",
        short_names: &["pc"],
        columns: &[
            column("Name"),
            number("Value"),
            boolean("Global-Default"),
            column("Age"),
            column("PreemptionPolicy"),
        ],
        generation: true,
        ..Row::CLUSTER
    };

    fn default(&mut self) {
        self.value.get_or_insert(0);
        text(&mut self.preemption_policy, "PreemptLowerPriority");
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let value = self.value.unwrap_or(0);
        let class = self.metadata.name.as_deref().unwrap_or_default();
        if class.starts_with("system-") {
            if let Err(why) = known(class, value, self.global_default.unwrap_or(false)) {
                let detail = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                );
                errors.forbidden(&Path::ROOT.field("metadata.name"), &detail);
            }
        } else if value > HIGHEST {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden(&Path::ROOT.field("value"), &detail);
        }
        let policies = ["Never", "PreemptLowerPriority"];
        let path = Path::ROOT.field("preemptionPolicy");
        errors.one_of(&path, self.preemption_policy.as_deref(), &policies);
        let Some(old) = old else { return };
        if self.value != old.value {
            errors.forbidden(&Path::ROOT.field("value"), "may not be changed in an update.");
        }
        errors.immutable(&path, &self.preemption_policy, &old.preemption_policy);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        vec![
            name(&self.metadata),
            self.value.unwrap_or(0).into(),
            self.global_default.unwrap_or(false).into(),
            age(&self.metadata, now),
            self.preemption_policy.clone().into(),
        ]
    }
}

/// Whether a class is one of those that every cluster has, or else why not.
fn known(class: &str, value: i32, is_default: bool) -> Result<(), String> {
    match SYSTEM.iter().find(|(name, ..)| *name == class) {
        None => Err(format!("{class} is not a known system priority class")),
        Some((_, wanted, _)) if *wanted != value => {
            Err(format!("value of {class} PriorityClass must be {wanted}"))
        }
        Some(_) if is_default => Err(format!("globalDefault of {class} PriorityClass must be false")),
        Some(_) => Ok(()),
    }
}
