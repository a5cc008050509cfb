//! PodTemplate: a template of pods, kept for others to use.

use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::Value;

use crate::defaults::pod_spec;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{column, containers, labels, name};
use crate::validation::{self, Errors, Path};

impl Served for PodTemplate {
    const ROW: Row = Row {
        singular: "podtemplate",
        columns: &[
            column("Name"),
            column("Containers"),
            column("Images"),
            column("Pod Labels"),
        ],
        generation: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        pod_spec::template(self.template.get_or_insert_default());
    }

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        if let Some(template) = &self.template {
            validation::pod_spec::template(template, &Path::ROOT.field("template"), errors);
        }
    }

    fn cells(&self, _now: i64) -> Vec<Value> {
        let [names, images] = containers(self.template.as_ref());
        let metadata = self
            .template
            .as_ref()
            .and_then(|template| template.metadata.as_ref());
        let pod_labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        vec![name(&self.metadata), names, images, labels(pod_labels)]
    }
}
