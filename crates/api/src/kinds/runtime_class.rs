//! RuntimeClass: what runs a pod's containers.

use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::{Errors, Path, metadata, names};

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
        let selector = self
            .scheduling
            .as_ref()
            .and_then(|scheduling| scheduling.node_selector.as_ref());
        metadata::labels(selector, &Path::ROOT.field("scheduling.nodeSelector"), errors);
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
