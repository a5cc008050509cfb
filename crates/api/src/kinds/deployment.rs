//! Deployment: pods that are replaced step by step when their template changes.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::defaults::{pod_spec, text};
use crate::kind::{Subresource, Write};
use crate::labels::Selector;
use crate::served::{Row, Served};
use crate::table::{age, column, containers, name, number, wide};
use crate::validation::workload::{self, Owner};
use crate::validation::{Errors, Path, values, warnings};

impl Served for Deployment {
    const ROW: Row = Row {
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        columns: &[
            column("Name"),
            column("Ready"),
            number("Up-to-date"),
            number("Available"),
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
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling
                .max_surge
                .get_or_insert(IntOrString::String("25%".to_owned()));
            rolling
                .max_unavailable
                .get_or_insert(IntOrString::String("25%".to_owned()));
        }
        pod_spec::template(&mut spec.template);
        self.status.get_or_insert_default();
    }

    /// Labels do not change with the status, annotations do.
    fn prepare(object: &mut Value, old: Option<&Value>, write: Write) {
        match (write, old) {
            (Write::Status, Some(old)) => {
                if let (Some(metadata), Some(old)) = (object.get_mut("metadata"), old.get("metadata")) {
                    crate::prepare::copy(metadata, old, "labels");
                }
            }
            (_, None) => drop(
                object
                    .as_object_mut()
                    .map(|fields| fields.insert("status".to_owned(), json!({}))),
            ),
            _ => {}
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
        deployment_spec(&spec, &path, errors);
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
        let selector = Selector::from_spec(&spec.selector).map(|selector| selector.to_string());
        vec![
            name(&self.metadata),
            format!(
                "{}/{}",
                status.ready_replicas.unwrap_or(0),
                spec.replicas.unwrap_or(0)
            )
            .into(),
            status.updated_replicas.unwrap_or(0).into(),
            status.available_replicas.unwrap_or(0).into(),
            age(&self.metadata, now),
            names,
            images,
            selector.unwrap_or_else(|_| "<invalid>".to_owned()).into(),
        ]
    }
}

fn deployment_spec(spec: &DeploymentSpec, path: &Path<'_>, errors: &mut Errors) {
    errors.non_negative(&path.field("replicas"), spec.replicas.map(i64::from));
    let selector = path.field("selector");
    workload::selector(
        "deployment",
        "invalid label selector",
        &spec.selector,
        &selector,
        errors,
    );
    let owner = Owner::of("ReplicaSet", &spec.selector);
    workload::template(&owner, &spec.template, &path.field("template"), errors);
    strategy(spec, &path.field("strategy"), errors);
    errors.non_negative(
        &path.field("minReadySeconds"),
        spec.min_ready_seconds.map(i64::from),
    );
    errors.non_negative(
        &path.field("revisionHistoryLimit"),
        spec.revision_history_limit.map(i64::from),
    );
    if let Some(deadline) = spec.progress_deadline_seconds {
        let path = path.field("progressDeadlineSeconds");
        errors.non_negative(&path, Some(deadline.into()));
        if deadline <= spec.min_ready_seconds.unwrap_or(0) {
            errors.invalid(&path, &deadline, "must be greater than minReadySeconds");
        }
    }
}

fn strategy(spec: &DeploymentSpec, path: &Path<'_>, errors: &mut Errors) {
    let strategy = spec.strategy.clone().unwrap_or_default();
    let rolling_path = path.field("rollingUpdate");
    match (
        strategy.type_.as_deref().unwrap_or_default(),
        &strategy.rolling_update,
    ) {
        ("Recreate", None) => {}
        ("Recreate", Some(_)) => {
            errors.forbidden(
                &rolling_path,
                "may not be specified when strategy `type` is 'Recreate'",
            );
        }
        ("RollingUpdate", None) => {
            errors.required(&rolling_path, "this should be defaulted and never be nil");
        }
        ("RollingUpdate", Some(rolling)) => rolling_update(rolling, &rolling_path, errors),
        (other, _) => errors.not_supported(&path.field("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(rolling: &RollingUpdateDeployment, path: &Path<'_>, errors: &mut Errors) {
    let zero = IntOrString::Int(0);
    let (surge, unavailable) = (
        rolling.max_surge.as_ref().unwrap_or(&zero),
        rolling.max_unavailable.as_ref().unwrap_or(&zero),
    );
    let unavailable_path = path.field("maxUnavailable");
    values::count_or_percent(unavailable, &unavailable_path, errors);
    values::count_or_percent(surge, &path.field("maxSurge"), errors);
    if values::number(unavailable) == Some(0) && values::number(surge) == Some(0) {
        errors.invalid(
            &unavailable_path,
            unavailable,
            "may not be 0 when `maxSurge` is 0",
        );
    }
    values::at_most_all(unavailable, &unavailable_path, errors);
}

fn counts(deployment: &Deployment, errors: &mut Errors) {
    let status = deployment.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    let counts = [
        ("replicas", status.replicas),
        ("updatedReplicas", status.updated_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
    ];
    workload::counts(&path, status.replicas.unwrap_or(0), &counts, errors);
    errors.non_negative(
        &path.field("unavailableReplicas"),
        status.unavailable_replicas.map(i64::from),
    );
    errors.non_negative(&path.field("observedGeneration"), status.observed_generation);
}
