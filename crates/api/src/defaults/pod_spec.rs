//! Defaults of a pod's spec, in a Pod and in a template.

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};

use super::{container, text, volume};

/// Seconds between the stop signal and SIGKILL.
const GRACE_PERIOD: i64 = 30;

/// Fills in a template.
pub fn template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

/// Fills in what Pods and templates share.
pub fn pod_spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(GRACE_PERIOD);
    spec.security_context.get_or_insert_default();
    // `serviceAccount` is the old name of the same field; readers of either find it.
    if spec.service_account_name.as_deref().is_none_or(str::is_empty) {
        spec.service_account_name = spec.service_account.take();
    }
    spec.service_account.clone_from(&spec.service_account_name);
    for container in containers(spec) {
        container::container(container);
    }
    for ephemeral in spec.ephemeral_containers.iter_mut().flatten() {
        container::ephemeral(ephemeral);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        volume::volume(volume);
    }
}

/// What only Pods get, and templates do not.
pub fn pod_only(spec: &mut PodSpec) {
    spec.enable_service_links.get_or_insert(true);
    let host_network = spec.host_network == Some(true);
    for container in containers(spec) {
        if let Some(resources) = &mut container.resources {
            for (name, limit) in resources.limits.iter().flatten() {
                resources
                    .requests
                    .get_or_insert_default()
                    .entry(name.clone())
                    .or_insert_with(|| limit.clone());
            }
        }
        for port in container.ports.iter_mut().flatten().filter(|_| host_network) {
            super::non_zero(&mut port.host_port, port.container_port);
        }
    }
}

fn containers(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers
        .iter_mut()
        .flatten()
        .chain(&mut spec.containers)
}
