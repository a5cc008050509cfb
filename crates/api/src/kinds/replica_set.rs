//! ReplicaSet: a number of pods from one template.

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

use crate::defaults::pod_spec;
use crate::kind::{Subresource, Write};
use crate::prepare::set;
use crate::served::{Row, Served};
use crate::table::{age, column, containers, name, number, selector, wide};
use crate::validation::workload::{self, Owner};
use crate::validation::{Errors, Path, warnings};

impl Served for ReplicaSet {
    const ROW: Row = Row {
        singular: "replicaset",
        short_names: &["rs"],
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
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        if let Some(template) = &mut spec.template {
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
        errors.non_negative(&path.field("replicas"), spec.replicas.map(i64::from));
        errors.non_negative(
            &path.field("minReadySeconds"),
            spec.min_ready_seconds.map(i64::from),
        );
        let selector_path = path.field("selector");
        // Upstream calls it a deployment here.
        workload::selector(
            "deployment",
            "invalid label selector",
            &spec.selector,
            &selector_path,
            errors,
        );
        let owner = Owner::of("ReplicaSet", &spec.selector);
        match &spec.template {
            None => errors.required(&path.field("template"), ""),
            Some(template) => workload::template(&owner, template, &path.field("template"), errors),
        }
        if let Some(old) = old.and_then(|old| old.spec.as_ref()) {
            errors.immutable(&path.field("selector"), &spec.selector, &old.selector);
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
            selector(&spec.selector),
        ]
    }
}

/// Counts are not negative, and none exceeds `replicas`.
fn counts(replica_set: &ReplicaSet, errors: &mut Errors) {
    let status = replica_set.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    let counts = [
        ("replicas", Some(status.replicas)),
        ("fullyLabeledReplicas", status.fully_labeled_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    ];
    workload::counts(&path, status.replicas, &counts, errors);
}
