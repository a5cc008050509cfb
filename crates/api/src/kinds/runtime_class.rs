//! RuntimeClass: what runs a pod's containers.

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use serde_json::Value;

use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::{Errors, Path, metadata, names, pod_spec, resources};

impl Served for RuntimeClass {
    const ROW: Row = Row {
        singular: "runtimeclass",
        columns: &[column("Name"), column("Handler"), column("Age")],
        inert: true,
        ..Row::CLUSTER
    };

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let path = Path::ROOT.field("handler");
        errors.problems(&path, &self.handler, &names::label(&self.handler));
        let overhead = self.overhead.as_ref();
        if let Some(fixed) = overhead.and_then(|overhead| overhead.pod_fixed.as_ref()) {
            resources::overhead(fixed, &Path::ROOT.field("overhead"), errors);
        }
        if let Some(scheduling) = &self.scheduling {
            placement(scheduling, &Path::ROOT.field("scheduling"), errors);
        }
        if let Some(old) = old {
            errors.immutable(&path, &self.handler, &old.handler);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        vec![
            name(&self.metadata),
            self.handler.clone().into(),
            age(&self.metadata, now),
        ]
    }
}

fn placement(scheduling: &Scheduling, path: &Path<'_>, errors: &mut Errors) {
    let selector = scheduling.node_selector.as_ref();
    metadata::labels(selector, &path.field("nodeSelector"), errors);
    let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
    let path = path.field("tolerations");
    pod_spec::tolerations(tolerations, &path, errors);
    for (index, toleration) in tolerations.iter().enumerate() {
        let is_same = |other: &Toleration| {
            let seconds = toleration.toleration_seconds;
            Toleration {
                toleration_seconds: seconds,
                ..other.clone()
            } == *toleration
        };
        if tolerations[..index].iter().any(is_same) {
            errors.duplicate(&path.index(index), toleration);
        }
    }
}
