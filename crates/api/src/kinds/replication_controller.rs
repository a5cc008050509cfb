//! ReplicationController: a number of pods from one template, as Kubernetes had it before ReplicaSets.

use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::Value;

use crate::defaults::pod_spec;
use crate::kind::{Subresource, Write};
use crate::labels::Selector;
use crate::prepare::set;
use crate::served::{Row, Served};
use crate::table::{age, column, containers, labels, name, number, wide};
use crate::validation::workload::{self, Owner};
use crate::validation::{Errors, Path, metadata, warnings};

impl Served for ReplicationController {
    const ROW: Row = Row {
        singular: "replicationcontroller",
        short_names: &["rc"],
        categories: &["all"],
        columns: &[
            column("Name"),
            number("Desired"),
            number("Current"),
            number("Ready"),
            column("Age"),
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        subresources: &[Subresource::Status, Subresource::Scale],
        generation: true,
        inert: true,
        fields: &["status.replicas"],
        ..Row::NAMESPACED
    };

    /// Labels and selector are the template's where the user gave none.
    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        if let Some(template) = &mut spec.template {
            let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
            if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
                let is_empty = |map: &mut std::collections::BTreeMap<_, _>| map.is_empty();
                if spec.selector.as_mut().is_none_or(is_empty) {
                    spec.selector = Some(labels.clone());
                }
                if self.metadata.labels.as_mut().is_none_or(is_empty) {
                    self.metadata.labels = Some(labels);
                }
            }
            pod_spec::template(template);
        }
        self.status.get_or_insert_default();
    }

    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_none() {
            set(object, "status", "replicas", 0.into());
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return counts(self, errors);
        }
        if old.is_none() {
            warnings::name(&self.metadata, warnings::POD_NAMES, errors);
        }
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        errors.non_negative(
            &path.field("minReadySeconds"),
            spec.min_ready_seconds.map(i64::from),
        );
        let selector = spec.selector.unwrap_or_default();
        metadata::labels(Some(&selector), &path.field("selector"), errors);
        if selector.is_empty() {
            errors.required(&path.field("selector"), "");
        }
        errors.non_negative(&path.field("replicas"), spec.replicas.map(i64::from));
        let owner = Owner::with_selector("ReplicationController", Selector::from_labels(&selector));
        match &spec.template {
            None => errors.required(&path.field("template"), ""),
            Some(template) => workload::template(&owner, template, &path.field("template"), errors),
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let [names, images] = containers(spec.template.as_ref());
        vec![
            name(&self.metadata),
            spec.replicas.unwrap_or(0).into(),
            status.replicas.into(),
            status.ready_replicas.unwrap_or(0).into(),
            age(&self.metadata, now),
            names,
            images,
            labels(spec.selector.as_ref()),
        ]
    }
}

fn counts(controller: &ReplicationController, errors: &mut Errors) {
    let status = controller.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    let counts = [
        ("replicas", Some(status.replicas)),
        ("fullyLabeledReplicas", status.fully_labeled_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    ];
    workload::counts(&path, status.replicas, &counts, errors);
    errors.non_negative(&path.field("observedGeneration"), status.observed_generation);
}
