//! Rules for ephemeral containers, and for how their list may change: it only grows.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use super::{Errors, Path, container};
use crate::pods;

/// Upstream's words for a field that other containers have.
const FORBIDDEN: &str = "cannot be set for an Ephemeral Container";

/// Checks the ephemeral containers of a pod: each by itself, and that their names are nobody else's.
pub fn containers(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let all = list(spec);
    let others = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    for (index, ephemeral) in all.iter().enumerate() {
        let path = path.index(index);
        let container = pods::as_container(ephemeral);
        container::container(&container, spec, &path, errors);
        let is_taken = others().any(|other| other.name == ephemeral.name)
            || all[..index].iter().any(|other| other.name == ephemeral.name);
        if is_taken {
            errors.duplicate(&path.field("name"), &ephemeral.name);
        }
        let target = ephemeral.target_container_name.as_deref().unwrap_or_default();
        if !target.is_empty() && !others().any(|other| other.name == target) {
            errors.not_found(&path.field("targetContainerName"), target);
        }
        forbidden(&container, &path, errors);
    }
}

/// Nothing that a pod relies on may come from an ephemeral container.
fn forbidden(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    let resources = container.resources.as_ref();
    let present = [
        ("ports", container.ports.is_some()),
        (
            "resources",
            resources.is_some_and(|resources| *resources != Default::default()),
        ),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (field, _) in present.into_iter().filter(|(_, is_present)| *is_present) {
        errors.forbidden(&path.field(field), FORBIDDEN);
    }
    let mounts = path.field("volumeMounts");
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = mounts.index(index);
        for (field, value) in [
            ("subPath", &mount.sub_path),
            ("subPathExpr", &mount.sub_path_expr),
        ] {
            if value.as_deref().is_some_and(|value| !value.is_empty()) {
                errors.forbidden(&path.field(field), FORBIDDEN);
            }
        }
    }
}

/// Checks the change from `old` to `spec`, which differ in nothing else. A patch need not keep the order.
pub fn update(spec: &PodSpec, old: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let path = path.field("ephemeralContainers");
    for old in list(old) {
        let name = &old.name;
        // Of two of one name the last one counts, as upstream; that there are two has been said.
        match list(spec).iter().rfind(|new| new.name == *name) {
            None => errors.forbidden(
                &path,
                &format!("existing ephemeral containers {name:?} may not be removed\n"),
            ),
            Some(new) if new != old => errors.forbidden(
                &path,
                &format!("existing ephemeral containers {name:?} may not be changed\n"),
            ),
            Some(_) => {}
        }
    }
}

fn list(spec: &PodSpec) -> &[EphemeralContainer] {
    spec.ephemeral_containers.as_deref().unwrap_or_default()
}
