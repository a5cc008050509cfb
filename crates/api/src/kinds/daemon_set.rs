//! DaemonSet: one pod on each node.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, RollingUpdateDaemonSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::defaults::{pod_spec, text};
use crate::kind::{Subresource, Write};
use crate::prepare::set;
use crate::served::{Row, Served};
use crate::table::{age, column, containers, labels, name, number, selector as selector_cell, wide};
use crate::validation::workload::{self, Owner};
use crate::validation::{Errors, Path, selector, values};

/// How often the template has been written.
const TEMPLATES: &str = "deprecated.daemonset.template.generation";

impl Served for DaemonSet {
    const ROW: Row = Row {
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        columns: &[
            column("Name"),
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            column("Node Selector"),
            column("Age"),
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ],
        subresources: &[Subresource::Status],
        generation: true,
        inert: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.revision_history_limit.get_or_insert(10);
        let strategy = spec.update_strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        pod_spec::template(&mut spec.template);
        self.status.get_or_insert_default();
    }

    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        count_templates(object, old);
        if old.is_none() {
            for field in [
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
            ] {
                set(object, "status", field, 0.into());
            }
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return counts(self, errors);
        }
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        validate_spec(&spec, &path, errors);
        if let Some(old) = old.and_then(|old| old.spec.as_ref()) {
            errors.immutable(&path.field("selector"), &spec.selector, &old.selector);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let [names, images] = containers(Some(&spec.template));
        let node_selector = spec
            .template
            .spec
            .as_ref()
            .and_then(|spec| spec.node_selector.as_ref());
        vec![
            name(&self.metadata),
            status.desired_number_scheduled.into(),
            status.current_number_scheduled.into(),
            status.number_ready.into(),
            status.updated_number_scheduled.unwrap_or(0).into(),
            status.number_available.unwrap_or(0).into(),
            labels(node_selector),
            age(&self.metadata, now),
            names,
            images,
            selector_cell(&spec.selector),
        ]
    }
}

/// Counts in an annotation how often the template has changed, as a field of the spec once did.
fn count_templates(object: &mut Value, old: Option<&Value>) {
    let counted = |old: &Value| {
        old["metadata"]["annotations"][TEMPLATES]
            .as_str()?
            .parse::<i64>()
            .ok()
    };
    let count = match old {
        None => 1,
        Some(old) if old["spec"]["template"] != object["spec"]["template"] => counted(old).unwrap_or(0) + 1,
        Some(old) => counted(old).unwrap_or(1),
    };
    if let Some(metadata) = object.get_mut("metadata") {
        set(metadata, "annotations", TEMPLATES, count.to_string().into());
    }
}

fn validate_spec(spec: &DaemonSetSpec, path: &Path<'_>, errors: &mut Errors) {
    selector::validate(&spec.selector, &path.field("selector"), errors);
    workload::not_empty("daemonset", &spec.selector, &path.field("selector"), errors);
    let owner = Owner::of("DaemonSet", &spec.selector);
    workload::template(&owner, &spec.template, &path.field("template"), errors);
    for (field, number) in [
        ("minReadySeconds", spec.min_ready_seconds),
        ("revisionHistoryLimit", spec.revision_history_limit),
    ] {
        errors.non_negative(&path.field(field), number.map(i64::from));
    }
    let strategy = spec.update_strategy.clone().unwrap_or_default();
    let path = path.field("updateStrategy");
    let rolling_path = path.field("rollingUpdate");
    match (
        strategy.type_.as_deref().unwrap_or_default(),
        &strategy.rolling_update,
    ) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(&rolling_path, ""),
        ("RollingUpdate", Some(rolling)) => rolling_update(rolling, &rolling_path, errors),
        (other, _) => errors.not_supported(&path.field("type"), other, &["OnDelete", "RollingUpdate"]),
    }
}

fn rolling_update(rolling: &RollingUpdateDaemonSet, path: &Path<'_>, errors: &mut Errors) {
    let zero = IntOrString::Int(0);
    let (unavailable, surge) = (
        rolling.max_unavailable.as_ref().unwrap_or(&zero),
        rolling.max_surge.as_ref().unwrap_or(&zero),
    );
    let (unavailable_path, surge_path) = (path.field("maxUnavailable"), path.field("maxSurge"));
    for (value, path) in [(unavailable, &unavailable_path), (surge, &surge_path)] {
        values::count_or_percent(value, path, errors);
        values::at_most_all(value, path, errors);
    }
    let is_zero = |value| values::number(value) == Some(0);
    match (is_zero(unavailable), is_zero(surge)) {
        (false, false) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.invalid(&surge_path, surge, detail);
        }
        (true, true) => errors.required(&unavailable_path, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

fn counts(set: &DaemonSet, errors: &mut Errors) {
    let status = set.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    for (field, count) in [
        ("currentNumberScheduled", Some(status.current_number_scheduled)),
        ("numberMisscheduled", Some(status.number_misscheduled)),
        ("desiredNumberScheduled", Some(status.desired_number_scheduled)),
        ("numberReady", Some(status.number_ready)),
        ("updatedNumberScheduled", status.updated_number_scheduled),
        ("numberAvailable", status.number_available),
        ("numberUnavailable", status.number_unavailable),
        ("collisionCount", status.collision_count),
    ] {
        errors.non_negative(&path.field(field), count.map(i64::from));
    }
    errors.non_negative(&path.field("observedGeneration"), status.observed_generation);
}
