//! IngressClass: which controller serves an Ingress.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};
use serde_json::Value;

use crate::defaults::text;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{NONE, age, column, name};
use crate::validation::{Errors, Path, values};

/// Longest name of a controller.
const MAX_CONTROLLER: usize = 250;

impl Served for IngressClass {
    const ROW: Row = Row {
        singular: "ingressclass",
        columns: &[
            column("Name"),
            column("Controller"),
            column("Parameters"),
            column("Age"),
        ],
        generation: true,
        inert: true,
        ..Row::CLUSTER
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(parameters) = &mut spec.parameters {
            text(&mut parameters.scope, "Cluster");
        }
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        let controller = path.field("controller");
        let text = spec.controller.as_deref().unwrap_or_default();
        if text.len() > MAX_CONTROLLER {
            errors.too_long(&controller, MAX_CONTROLLER);
        }
        values::domain_path(text, &controller, errors);
        if let Some(parameters) = &spec.parameters {
            reference(parameters, &path.field("parameters"), errors);
        }
        if let Some(old) = old.and_then(|old| old.spec.as_ref()) {
            errors.immutable(&controller, &spec.controller, &old.controller);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let parameters = spec.parameters.map(|parameters| {
            let group = parameters.api_group.filter(|group| !group.is_empty());
            let group = group.map(|group| format!(".{group}")).unwrap_or_default();
            format!("{}{group}/{}", parameters.kind, parameters.name)
        });
        vec![
            name(&self.metadata),
            spec.controller.unwrap_or_default().into(),
            parameters.unwrap_or_else(|| NONE.to_owned()).into(),
            age(&self.metadata, now),
        ]
    }
}

fn reference(parameters: &IngressClassParametersReference, path: &Path<'_>, errors: &mut Errors) {
    for (field, text) in [("kind", &parameters.kind), ("name", &parameters.name)] {
        if text.is_empty() {
            errors.required(&path.field(field), "");
        }
    }
    let scope = parameters.scope.as_deref();
    errors.one_of(&path.field("scope"), scope, &["Cluster", "Namespace"]);
    let namespace = parameters.namespace.as_deref().unwrap_or_default();
    match scope {
        Some("Namespace") if namespace.is_empty() => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.required(&path.field("namespace"), detail);
        }
        Some("Cluster") if !namespace.is_empty() => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            errors.forbidden(&path.field("namespace"), detail);
        }
        _ => {}
    }
}
