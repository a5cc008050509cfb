//! Defaults of containers: pull policy, ports, probes, hooks, environment.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle, Probe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{non_zero, text};

/// Fills in a container or init container.
pub fn container(container: &mut Container) {
    text(
        &mut container.image_pull_policy,
        pull_policy(container.image.as_deref().unwrap_or_default()),
    );
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    ports(&mut container.ports);
    environment(&mut container.env);
    for probe in [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ] {
        probe.iter_mut().for_each(self::probe);
    }
    container.lifecycle.iter_mut().for_each(lifecycle);
}

/// Fills in an ephemeral container.
pub fn ephemeral(container: &mut EphemeralContainer) {
    text(
        &mut container.image_pull_policy,
        pull_policy(container.image.as_deref().unwrap_or_default()),
    );
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    ports(&mut container.ports);
    environment(&mut container.env);
}

/// `Always` for a tag that moves (`latest`, or none), else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    let tag = name
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'))
        .map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest") | None, None) | (Some("latest"), Some(_)) => "Always",
        _ => "IfNotPresent",
    }
}

fn ports(ports: &mut Option<Vec<ContainerPort>>) {
    for port in ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
}

fn environment(env: &mut Option<Vec<EnvVar>>) {
    for source in env
        .iter_mut()
        .flatten()
        .filter_map(|variable| variable.value_from.as_mut())
    {
        if let Some(field) = &mut source.field_ref {
            text(&mut field.api_version, "v1");
        }
    }
}

fn probe(probe: &mut Probe) {
    non_zero(&mut probe.timeout_seconds, 1);
    non_zero(&mut probe.period_seconds, 10);
    non_zero(&mut probe.success_threshold, 1);
    non_zero(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop]
        .into_iter()
        .flatten()
    {
        hook.http_get.iter_mut().for_each(http_get);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
    if action.port == IntOrString::String(String::new()) {
        action.port = IntOrString::Int(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_moving_tags_always() {
        let table = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.8", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1.8", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
        ];
        for (image, policy) in table {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
