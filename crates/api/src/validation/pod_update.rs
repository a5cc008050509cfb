//! What may change in the spec of a pod that exists: hardly anything.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{Errors, Path};

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks the change from `old` to `spec`.
pub fn update(spec: &PodSpec, old: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let init = |spec: &PodSpec| spec.init_containers.as_deref().unwrap_or_default().len();
    if spec.containers.len() != old.containers.len() {
        return errors.forbidden(
            &path.field("containers"),
            "pod updates may not add or remove containers",
        );
    }
    if init(spec) != init(old) {
        return errors.forbidden(
            &path.field("initContainers"),
            "pod updates may not add or remove containers",
        );
    }
    active_deadline(
        spec.active_deadline_seconds,
        old.active_deadline_seconds,
        path,
        errors,
    );
    only_adds_tolerations(spec, old, path, errors);
    let mut allowed = spec.clone();
    for (new, old) in containers(&mut allowed).zip(containers(&mut old.clone())) {
        new.image.clone_from(&old.image);
    }
    allowed.active_deadline_seconds = old.active_deadline_seconds;
    allowed.tolerations.clone_from(&old.tolerations);
    // A scheduling gate may be taken away.
    if spec
        .scheduling_gates
        .iter()
        .flatten()
        .all(|gate| old.scheduling_gates.iter().flatten().any(|g| g == gate))
    {
        allowed.scheduling_gates.clone_from(&old.scheduling_gates);
    }
    if old
        .termination_grace_period_seconds
        .is_some_and(|seconds| seconds < 0)
        && allowed.termination_grace_period_seconds == Some(1)
    {
        allowed.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if allowed != *old {
        errors.forbidden(path, FORBIDDEN);
    }
}

fn active_deadline(new: Option<i64>, old: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    let path = path.field("activeDeadlineSeconds");
    match (new, old) {
        (Some(new), Some(old)) if new > old => {
            errors.invalid(&path, &new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => errors.invalid(
            &path,
            &new,
            "must not update from a positive integer to nil value",
        ),
        _ => {}
    }
}

fn only_adds_tolerations(spec: &PodSpec, old: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let new = spec.tolerations.as_deref().unwrap_or_default();
    // Only how long a toleration lasts may change.
    let is_kept = |old: &k8s_openapi::api::core::v1::Toleration| {
        new.iter().any(|new| {
            let mut same_time = new.clone();
            same_time.toleration_seconds = old.toleration_seconds;
            same_time == *old
        })
    };
    if !old.tolerations.iter().flatten().all(is_kept) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&path.field("tolerations"), detail);
    }
}

fn containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers
        .iter_mut()
        .flatten()
        .chain(&mut spec.containers)
}
