//! StatefulSet: pods with names and volumes that stay theirs.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use serde_json::Value;

use crate::defaults::{pod_spec, text};
use crate::kind::{NameRule, Subresource, Write};
use crate::prepare::set;
use crate::served::{Row, Served};
use crate::table::{age, column, containers, name, wide};
use crate::validation::workload::{self, Owner};
use crate::validation::{Errors, Path, values};

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

impl Served for StatefulSet {
    const ROW: Row = Row {
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        columns: &[
            column("Name"),
            column("Ready"),
            column("Age"),
            wide("Containers"),
            wide("Images"),
        ],
        subresources: &[Subresource::Status, Subresource::Scale],
        generation: true,
        inert: true,
        // A pod's name is the set's with a number, and its host name.
        name_rule: NameRule::Label,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        text(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        if strategy.type_.as_deref().is_none_or(str::is_empty) {
            strategy.type_ = Some("RollingUpdate".to_owned());
            strategy.rolling_update.get_or_insert_default();
        }
        if let Some(rolling) = &mut strategy.rolling_update {
            rolling.partition.get_or_insert(0);
        }
        let retention = spec
            .persistent_volume_claim_retention_policy
            .get_or_insert_default();
        text(&mut retention.when_deleted, "Retain");
        text(&mut retention.when_scaled, "Retain");
        pod_spec::template(&mut spec.template);
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            Served::default(claim);
        }
        self.status.get_or_insert_default();
    }

    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_none() {
            set(object, "status", "replicas", 0.into());
            set(object, "status", "availableReplicas", 0.into());
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
            // What may change is taken over; the rest must be the same.
            let allowed = StatefulSetSpec {
                replicas: spec.replicas,
                ordinals: spec.ordinals.clone(),
                template: spec.template.clone(),
                update_strategy: spec.update_strategy.clone(),
                revision_history_limit: spec.revision_history_limit,
                persistent_volume_claim_retention_policy: spec
                    .persistent_volume_claim_retention_policy
                    .clone(),
                min_ready_seconds: spec.min_ready_seconds,
                ..old.clone()
            };
            if allowed != spec {
                errors.forbidden(&path, FIXED);
            }
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let (spec, status) = (
            self.spec.clone().unwrap_or_default(),
            self.status.clone().unwrap_or_default(),
        );
        let [names, images] = containers(Some(&spec.template));
        let ready = status.ready_replicas.unwrap_or(0);
        vec![
            name(&self.metadata),
            format!("{ready}/{}", spec.replicas.unwrap_or(0)).into(),
            age(&self.metadata, now),
            names,
            images,
        ]
    }
}

fn validate_spec(spec: &StatefulSetSpec, path: &Path<'_>, errors: &mut Errors) {
    match spec.pod_management_policy.as_deref().unwrap_or_default() {
        "" => errors.required(&path.field("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.invalid(&path.field("podManagementPolicy"), other, detail);
        }
    }
    update_strategy(spec, &path.field("updateStrategy"), errors);
    let retention = spec
        .persistent_volume_claim_retention_policy
        .clone()
        .unwrap_or_default();
    let retention_path = path.field("persistentVolumeClaimRetentionPolicy");
    for (field, policy) in [
        ("whenDeleted", retention.when_deleted),
        ("whenScaled", retention.when_scaled),
    ] {
        let policies = ["Delete", "Retain"];
        errors.one_of(&retention_path.field(field), policy.as_deref(), &policies);
    }
    let first = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    for (field, number) in [
        ("replicas", spec.replicas),
        ("minReadySeconds", spec.min_ready_seconds),
        ("ordinals.start", first),
        ("revisionHistoryLimit", spec.revision_history_limit),
    ] {
        errors.non_negative(&path.field(field), number.map(i64::from));
    }
    let selector = path.field("selector");
    workload::selector("statefulset", "", &spec.selector, &selector, errors);
    let owner = Owner::of("StatefulSet", &spec.selector);
    workload::template(&owner, &spec.template, &path.field("template"), errors);
}

fn update_strategy(spec: &StatefulSetSpec, path: &Path<'_>, errors: &mut Errors) {
    let strategy = spec.update_strategy.clone().unwrap_or_default();
    let rolling_path = path.field("rollingUpdate");
    match (
        strategy.type_.as_deref().unwrap_or_default(),
        &strategy.rolling_update,
    ) {
        ("", _) => errors.required(&path.field("type"), ""),
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(&rolling_path, rolling, detail);
        }
        ("OnDelete", None) | ("RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => {
            errors.non_negative(&rolling_path.field("partition"), rolling.partition.map(i64::from));
            let Some(unavailable) = &rolling.max_unavailable else {
                return;
            };
            let path = rolling_path.field("maxUnavailable");
            values::count_or_percent(unavailable, &path, errors);
            if values::number(unavailable) == Some(0) {
                errors.invalid(&path, unavailable, "cannot be 0");
            }
            values::at_most_all(unavailable, &path, errors);
        }
        (other, _) => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.invalid(&path.field("type"), other, detail);
        }
    }
}

fn counts(set: &StatefulSet, errors: &mut Errors) {
    let status = set.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    let counts = [
        ("replicas", Some(status.replicas)),
        ("readyReplicas", status.ready_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
        ("availableReplicas", status.available_replicas),
    ];
    workload::counts(&path, status.replicas, &counts, errors);
    errors.non_negative(&path.field("observedGeneration"), status.observed_generation);
}
