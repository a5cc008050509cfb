//! ControllerRevision: one state of a workload, kept so that it can be gone back to.

use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

use crate::kind::Write;
use crate::pods::controller_of;
use crate::served::{Row, Served};
use crate::table::{NONE, age, column, name};
use crate::validation::{Errors, Path};

impl Served for ControllerRevision {
    const ROW: Row = Row {
        singular: "controllerrevision",
        columns: &[
            column("Name"),
            column("Controller"),
            column("Revision"),
            column("Age"),
        ],
        ..Row::NAMESPACED
    };

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let data = self.data.as_ref().map(|data| &data.0);
        let path = Path::ROOT.field("data");
        if data.is_none_or(Value::is_null) {
            errors.required(&path, "data is mandatory");
        }
        errors.non_negative(&Path::ROOT.field("revision"), Some(self.revision));
        if let Some(old) = old {
            errors.immutable(&path, &data, &old.data.as_ref().map(|data| &data.0));
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let controller = controller_of(&self.metadata).map(|owner| {
            let group = owner.api_version.split_once('/').map(|(group, _)| group);
            let kind = owner.kind.to_lowercase();
            let kind = group.map_or(kind.clone(), |group| format!("{kind}.{group}"));
            format!("{kind}/{}", owner.name)
        });
        vec![
            name(&self.metadata),
            controller.unwrap_or_else(|| NONE.to_owned()).into(),
            self.revision.to_string().into(),
            age(&self.metadata, now),
        ]
    }
}
