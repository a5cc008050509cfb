//! Rules for containers.

use k8s_openapi::api::core::v1::{Container, ContainerPort, EnvVar, PodSpec};

use super::{Errors, Path, downward, mounts, names, probe, resources, security, values};

/// When an image is fetched.
pub(super) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: [&str; 2] = ["FallbackToLogsOnError", "File"];

const RESIZED: [&str; 2] = ["cpu", "memory"];
const RESIZE_POLICIES: [&str; 2] = ["NotRequired", "RestartContainer"];

/// Checks containers and init containers: each by itself, and that no two have the same name or host port.
pub fn containers(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let list = path.field("containers");
    if spec.containers.is_empty() {
        errors.required(&list, "");
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = list.index(index);
        self::container(container, spec, &path, errors);
        if spec.containers[..index]
            .iter()
            .any(|other| other.name == container.name)
            && !container.name.is_empty()
        {
            errors.duplicate(&path.field("name"), &container.name);
        }
        hooks_and_probes(container, spec, &path, errors);
    }
    let list = path.field("initContainers");
    for (index, container) in init.iter().enumerate() {
        let path = list.index(index);
        self::container(container, spec, &path, errors);
        let mut others = spec.containers.iter().chain(&init[..index]);
        if others.any(|other| other.name == container.name) && !container.name.is_empty() {
            errors.duplicate(&path.field("name"), &container.name);
        }
        init_only(container, spec, &path, errors);
    }
    host_ports(&spec.containers, &path.field("containers"), errors);
}

/// Checks a container, of whichever list, by itself; hooks and probes are not looked at.
pub(super) fn container(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if container.name.is_empty() {
        errors.required(&path.field("name"), "");
    } else {
        errors.problems(
            &path.field("name"),
            &container.name,
            &names::label(&container.name),
        );
    }
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        errors.required(&path.field("image"), "");
    } else if image.trim() != image {
        errors.invalid(
            &path.field("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
    let policy = container.termination_message_policy.as_deref();
    errors.one_of(&path.field("terminationMessagePolicy"), policy, &MESSAGE_POLICIES);
    ports(
        container.ports.as_deref().unwrap_or_default(),
        spec,
        &path.field("ports"),
        errors,
    );
    env(
        container.env.as_deref().unwrap_or_default(),
        &path.field("env"),
        errors,
    );
    env_from(container, &path.field("envFrom"), errors);
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    mounts::mounts(container, volumes, &path.field("volumeMounts"), errors);
    mounts::devices(container, volumes, &path.field("volumeDevices"), errors);
    errors.one_of(
        &path.field("imagePullPolicy"),
        container.image_pull_policy.as_deref(),
        &PULL_POLICIES,
    );
    if let Some(resources) = &container.resources {
        resources::container(resources, Some(spec), &path.field("resources"), errors);
    }
    resize_policy(container, spec, &path.field("resizePolicy"), errors);
    if let Some(context) = &container.security_context {
        security::container(context, spec, &path.field("securityContext"), errors);
    }
}

/// Upstream gives the place of the list for most of it.
fn resize_policy(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let policies = container.resize_policy.as_deref().unwrap_or_default();
    for (index, policy) in policies.iter().enumerate() {
        let mut others = policies[..index].iter();
        if others.any(|other| other.resource_name == policy.resource_name) {
            errors.duplicate(&path.index(index), &policy.resource_name);
        }
        errors.one_of(path, Some(&policy.resource_name), &RESIZED);
        errors.one_of(path, Some(&policy.restart_policy), &RESIZE_POLICIES);
        if spec.restart_policy.as_deref() == Some("Never") && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, &policy.restart_policy, detail);
        }
    }
}

fn hooks_and_probes(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(lifecycle) = &container.lifecycle {
        let grace_period = spec.termination_grace_period_seconds;
        probe::lifecycle(lifecycle, grace_period, &path.field("lifecycle"), errors);
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe, false),
        ("readinessProbe", &container.readiness_probe, true),
        ("startupProbe", &container.startup_probe, false),
    ];
    for (field, probe, is_readiness) in probes {
        if let Some(probe) = probe {
            probe::probe(probe, is_readiness, &path.field(field), errors);
        }
    }
}

/// Hooks and probes are for containers that keep running.
fn init_only(container: &Container, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    match container.restart_policy.as_deref() {
        Some("Always") => return hooks_and_probes(container, spec, path, errors),
        Some(other) if !["Never", "OnFailure"].contains(&other) => {
            errors.not_supported(
                &path.field("restartPolicy"),
                other,
                &["Always", "Never", "OnFailure"],
            );
        }
        _ => {}
    }
    let present = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in present.into_iter().filter(|(_, is_present)| *is_present) {
        errors.forbidden(
            &path.field(field),
            "may not be set for init containers without restartPolicy=Always",
        );
    }
}

fn ports(ports: &[ContainerPort], spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let problems = names::port_name(name);
            if problems.is_empty()
                && ports[..index]
                    .iter()
                    .any(|other| other.name.as_deref() == Some(name))
            {
                errors.duplicate(&path.field("name"), name);
            }
            errors.problems(&path.field("name"), name, &problems);
        }
        if port.container_port == 0 {
            errors.required(&path.field("containerPort"), "");
        } else {
            let problems = names::port_number(port.container_port.into());
            errors.problems(&path.field("containerPort"), &port.container_port, &problems);
        }
        if let Some(host_port) = port.host_port.filter(|port| *port != 0) {
            errors.problems(
                &path.field("hostPort"),
                &host_port,
                &names::port_number(host_port.into()),
            );
            if spec.host_network == Some(true) && host_port != port.container_port {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path.field("hostPort"), &host_port, detail);
            }
        }
        errors.one_of(
            &path.field("protocol"),
            port.protocol.as_deref(),
            &values::PROTOCOLS,
        );
    }
}

/// One host port is one process's.
fn host_ports(containers: &[Container], path: &Path<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.field("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.filter(|port| *port != 0) else {
                continue;
            };
            let key = (port.protocol.as_deref(), port.host_ip.as_deref(), host_port);
            if seen.contains(&key) {
                let text = format!(
                    "{}/{}/{host_port}",
                    key.0.unwrap_or_default(),
                    key.1.unwrap_or_default()
                );
                errors.duplicate(&path.index(index).field("hostPort"), &text);
            }
            seen.push(key);
        }
    }
}

fn env(env: &[EnvVar], path: &Path<'_>, errors: &mut Errors) {
    for (index, variable) in env.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.required(&path.field("name"), "");
        } else {
            errors.problems(
                &path.field("name"),
                &variable.name,
                &names::env_name(&variable.name),
            );
        }
        env_source(variable, &path.field("valueFrom"), errors);
    }
}

fn env_source(variable: &EnvVar, path: &Path<'_>, errors: &mut Errors) {
    let Some(source) = &variable.value_from else {
        return;
    };
    let count = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ]
    .into_iter()
    .filter(|is_present| *is_present)
    .count();
    match count {
        0 => {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            errors.invalid(path, "", detail);
        }
        1 if variable.value.as_deref().is_some_and(|value| !value.is_empty()) => {
            errors.invalid(path, "", "may not be specified when `value` is not empty");
        }
        1 => {}
        _ => errors.invalid(path, "", "may not have more than one field specified at a time"),
    }
    if let Some(field) = &source.field_ref {
        downward::field(field, &downward::OF_VARIABLES, &path.field("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        downward::resource(resource, false, &path.field("resourceFieldRef"), errors);
    }
    let keys = [
        (
            "configMapKeyRef",
            source.config_map_key_ref.as_ref().map(|s| (&s.name, &s.key)),
        ),
        (
            "secretKeyRef",
            source.secret_key_ref.as_ref().map(|s| (&s.name, &s.key)),
        ),
    ];
    for (field, reference) in keys {
        let path = path.field(field);
        let Some((name, key)) = reference else { continue };
        errors.problems(&path.field("name"), name, &names::subdomain(name));
        if key.is_empty() {
            errors.required(&path.field("key"), "");
        } else {
            errors.problems(&path.field("key"), key, &names::config_key(key));
        }
    }
}

fn env_from(container: &Container, list: &Path<'_>, errors: &mut Errors) {
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        let path = list.index(index);
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            errors.problems(&path.field("prefix"), prefix, &names::env_name(prefix));
        }
        let references = [
            (
                "configMapRef",
                source.config_map_ref.as_ref().map(|reference| &reference.name),
            ),
            (
                "secretRef",
                source.secret_ref.as_ref().map(|reference| &reference.name),
            ),
        ];
        // Upstream gives the place of the list.
        match references.iter().filter(|(_, name)| name.is_some()).count() {
            0 => errors.invalid(list, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(list, "", "may not have more than one field specified at a time"),
        }
        for (field, name) in references {
            let path = path.field(field);
            match name.map(String::as_str) {
                None => {}
                Some("") => errors.required(&path.field("name"), ""),
                Some(name) => errors.problems(&path.field("name"), name, &names::subdomain(name)),
            }
        }
    }
}
