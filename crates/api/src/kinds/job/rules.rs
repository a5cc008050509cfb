//! What is valid in a Job's spec, and in the one of a CronJob's template.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{CONTROLLER_UID, policies};
use crate::validation::workload::selected;
use crate::validation::{self, Errors, Path, names, values};

/// Most pods at once, and most that may fail, of a Job whose pods are numbered.
const MAX_INDEXED: i32 = 100_000;
/// The same if there are more completions than that.
const MAX_OF_MANY: i32 = 10_000;
const MAX_MANAGER: usize = 63;

/// Checks all but the selector.
pub(in crate::kinds) fn job_spec(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    for (field, number) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        (
            "ttlSecondsAfterFinished",
            spec.ttl_seconds_after_finished.map(i64::from),
        ),
        (
            "backoffLimitPerIndex",
            spec.backoff_limit_per_index.map(i64::from),
        ),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        errors.non_negative(&path.field(field), number);
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        let detail = "when maxFailedIndexes is specified";
        errors.required(&path.field("backoffLimitPerIndex"), detail);
    }
    if let Some(manager) = &spec.managed_by {
        let path = path.field("managedBy");
        values::domain_path(manager, &path, errors);
        if manager.len() > MAX_MANAGER {
            errors.too_long(&path, MAX_MANAGER);
        }
    }
    completion_mode(spec, path, errors);
    policies::validate(spec, path, errors);
    if let Some(policy) = spec.pod_replacement_policy.as_deref() {
        let path = path.field("podReplacementPolicy");
        match spec.pod_failure_policy {
            Some(_) if policy != "Failed" => errors.not_supported(&path, policy, &["Failed"]),
            Some(_) => {}
            None => errors.one_of(&path, Some(policy), &["Failed", "TerminatingOrFailed"]),
        }
    }
    let template_path = path.field("template");
    validation::pod_spec::template(&spec.template, &template_path, errors);
    let pod = spec.template.spec.clone().unwrap_or_default();
    let policy = pod.restart_policy.as_deref().unwrap_or_default();
    let path = template_path.field("spec");
    match (policy, &spec.pod_failure_policy) {
        ("Never", _) | ("OnFailure", None) => {}
        ("OnFailure", Some(_)) => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(&path.field("restartPolicy"), policy, detail);
        }
        ("" | "Always", _) => errors.required(
            &path.field("restartPolicy"),
            "valid values: \"OnFailure\", \"Never\"",
        ),
        (other, _) => errors.not_supported(&path.field("restartPolicy"), other, &["OnFailure", "Never"]),
    }
}

fn completion_mode(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let mode = spec.completion_mode.as_deref();
    errors.one_of(&path.field("completionMode"), mode, &["NonIndexed", "Indexed"]);
    match mode {
        Some("Indexed") => indexed(spec, path, errors),
        None | Some("NonIndexed") => {
            for (field, number) in [
                ("backoffLimitPerIndex", spec.backoff_limit_per_index),
                ("maxFailedIndexes", spec.max_failed_indexes),
            ] {
                if let Some(number) = number {
                    errors.invalid(&path.field(field), &number, "requires indexed completion mode");
                }
            }
        }
        Some(_) => {}
    }
}

fn indexed(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let (parallelism, failed) = (path.field("parallelism"), path.field("maxFailedIndexes"));
    if spec.completions.is_none() {
        errors.required(&path.field("completions"), "when completion mode is Indexed");
    }
    let detail = format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed");
    at_most(spec.parallelism, MAX_INDEXED, &detail, &parallelism, errors);
    let Some(completions) = spec.completions else {
        return;
    };
    let detail = "must be less than or equal to completions";
    at_most(spec.max_failed_indexes, completions, detail, &failed, errors);
    let detail = format!("must be less than or equal to {MAX_INDEXED}");
    at_most(spec.max_failed_indexes, MAX_INDEXED, &detail, &failed, errors);
    if completions > MAX_INDEXED && spec.backoff_limit_per_index.is_some() {
        if spec.max_failed_indexes.is_none() {
            let detail = format!("must be specified when completions is above {MAX_INDEXED}");
            errors.required(&failed, &detail);
        }
        let detail = format!(
            "must be less than or equal to {MAX_OF_MANY} when completions are above {MAX_INDEXED} and used with backoff limit per index"
        );
        at_most(spec.parallelism, MAX_OF_MANY, &detail, &parallelism, errors);
        at_most(spec.max_failed_indexes, MAX_OF_MANY, &detail, &failed, errors);
    }
}

fn at_most(number: Option<i32>, max: i32, detail: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(number) = number.filter(|number| *number > max) {
        errors.invalid(path, &number, detail);
    }
}

/// The name and the last index become the hostname of a pod.
pub(super) fn hostnames(job: &Job, spec: &JobSpec, errors: &mut Errors) {
    let completions = spec.completions.filter(|completions| *completions > 0);
    let (Some("Indexed"), Some(completions)) = (spec.completion_mode.as_deref(), completions) else {
        return;
    };
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let hostname = format!("{name}-{}", completions - 1);
    if !names::label(&hostname).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
        errors.invalid(&Path::ROOT.field("metadata.name"), name, &detail);
    }
}

/// The selector must be the generated one, or the user's own if that is asked for.
pub(super) fn selector(spec: &JobSpec, uid: &str, errors: &mut Errors) {
    let root = Path::ROOT.field("spec");
    let path = root.field("selector");
    let Some(selector) = &spec.selector else {
        return errors.required(&path, "");
    };
    validation::selector::validate(selector, &path, errors);
    if spec.manual_selector != Some(true) {
        let labels = selector.match_labels.iter().flatten();
        let is_generated = selector.match_expressions.iter().flatten().next().is_none()
            && labels.eq(&std::collections::BTreeMap::from([(
                CONTROLLER_UID.to_owned(),
                uid.to_owned(),
            )]));
        if !is_generated {
            errors.invalid(&path, selector, "`selector` not auto-generated");
        }
    }
    if let Some(parsed) = validation::selector::parse(selector) {
        selected(&parsed, &spec.template, &root.field("template"), errors);
    }
}

/// What may not change. A Job that has not begun may still be placed elsewhere.
pub(super) fn update(spec: &JobSpec, old: &Job, path: &Path<'_>, errors: &mut Errors) {
    let Some(old_spec) = &old.spec else { return };
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    if !(is_indexed && spec.completions == spec.parallelism) {
        let path = path.field("completions");
        errors.immutable(&path, &spec.completions, &old_spec.completions);
    }
    errors.immutable(&path.field("selector"), &spec.selector, &old_spec.selector);
    let has_begun = old
        .status
        .as_ref()
        .is_some_and(|status| status.start_time.is_some());
    let mut allowed = old_spec.template.clone();
    if old_spec.suspend == Some(true) && !has_begun {
        take_placement(&mut allowed, &spec.template);
    }
    if allowed != spec.template {
        errors.immutable(&path.field("template"), &spec.template, &old_spec.template);
    }
    let path_of = |field| path.field(field);
    errors.immutable(
        &path_of("completionMode"),
        &spec.completion_mode,
        &old_spec.completion_mode,
    );
    errors.immutable(
        &path_of("podFailurePolicy"),
        &spec.pod_failure_policy,
        &old_spec.pod_failure_policy,
    );
    errors.immutable(
        &path_of("backoffLimitPerIndex"),
        &spec.backoff_limit_per_index,
        &old_spec.backoff_limit_per_index,
    );
    errors.immutable(&path_of("managedBy"), &spec.managed_by, &old_spec.managed_by);
    errors.immutable(
        &path_of("successPolicy"),
        &spec.success_policy,
        &old_spec.success_policy,
    );
}

/// Labels, annotations, and what the scheduler looks at.
fn take_placement(template: &mut PodTemplateSpec, from: &PodTemplateSpec) {
    template.metadata.clone_from(&from.metadata);
    if let (Some(spec), Some(from)) = (&mut template.spec, &from.spec) {
        spec.node_selector.clone_from(&from.node_selector);
        spec.tolerations.clone_from(&from.tolerations);
        spec.scheduling_gates.clone_from(&from.scheduling_gates);
        spec.affinity.clone_from(&from.affinity);
    }
}

/// Checks the counts.
pub(super) fn status(job: &Job, errors: &mut Errors) {
    let status = job.status.clone().unwrap_or_default();
    let path = Path::ROOT.field("status");
    for (field, count) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        errors.non_negative(&path.field(field), count.map(i64::from));
    }
}
