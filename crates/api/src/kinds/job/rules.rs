//! What is valid in a Job's spec, and in the one of a CronJob's template.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::CONTROLLER_UID;
use crate::validation::workload::selected;
use crate::validation::{self, Errors, Path};

/// Most pods at once of a Job whose pods are numbered.
const MAX_INDEXED: i32 = 100_000;

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
    completion_mode(spec, path, errors);
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
        _ => errors.required(
            &path.field("restartPolicy"),
            "valid values: \"OnFailure\", \"Never\"",
        ),
    }
}

fn completion_mode(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let mode = spec.completion_mode.as_deref();
    errors.one_of(&path.field("completionMode"), mode, &["Indexed", "NonIndexed"]);
    if mode != Some("Indexed") {
        if spec.backoff_limit_per_index.is_some() {
            let detail = "requires indexed completion mode";
            errors.invalid(
                &path.field("backoffLimitPerIndex"),
                &spec.backoff_limit_per_index,
                detail,
            );
        }
        return;
    }
    if spec.completions.is_none() {
        errors.required(&path.field("completions"), "when completion mode is Indexed");
    }
    if let Some(parallelism) = spec.parallelism.filter(|number| *number > MAX_INDEXED) {
        let detail = format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed");
        errors.invalid(&path.field("parallelism"), &parallelism, &detail);
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
