//! `rollout history`: the revisions of a Deployment, or one revision's pod template.

use std::fmt::Write as _;

use anyhow::bail;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Container, ContainerPort, PodTemplateSpec, Toleration};
use kube::{Api, Client, ResourceExt as _};

const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// The revisions as text, or the pod template of `revision`.
///
/// # Errors
/// When there is no such Deployment or revision.
pub async fn run(
    client: &Client,
    deployments: &Api<Deployment>,
    name: &str,
    revision: Option<i64>,
) -> anyhow::Result<String> {
    let deployment = deployments.get(name).await?;
    let revisions = super::revisions(client, &deployment).await?;
    match revision {
        None => Ok(format!("deployment.apps/{name} \n{}", list(&revisions))),
        Some(wanted) => {
            let Some((_, set)) = revisions.iter().find(|(revision, _)| *revision == wanted) else {
                bail!("unable to find the specified revision");
            };
            let template = set
                .spec
                .as_ref()
                .and_then(|spec| spec.template.clone())
                .unwrap_or_default();
            Ok(format!(
                "deployment.apps/{name} with revision #{wanted}\n{}",
                describe(&template)
            ))
        }
    }
}

fn list(revisions: &[(i64, ReplicaSet)]) -> String {
    if revisions.is_empty() {
        return "No rollout history found.".to_owned();
    }
    let mut text = "REVISION  CHANGE-CAUSE\n".to_owned();
    for (revision, set) in revisions {
        let cause = set
            .annotations()
            .get(CHANGE_CAUSE)
            .map_or("<none>", String::as_str);
        let _ = writeln!(text, "{revision:<8}  {cause}");
    }
    text
}

fn describe(template: &PodTemplateSpec) -> String {
    let mut text = "Pod Template:\n".to_owned();
    let labels = template
        .metadata
        .iter()
        .flat_map(|metadata| metadata.labels.iter().flatten());
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let _ = writeln!(text, "  Labels:\t{}", or_none(&labels.join("\n\t")));
    let annotations = template
        .metadata
        .iter()
        .flat_map(|metadata| metadata.annotations.iter().flatten());
    for (index, (key, value)) in annotations.enumerate() {
        let heading = if index == 0 { "  Annotations:" } else { "" };
        let _ = writeln!(text, "{heading}\t{key}: {value}");
    }
    let Some(spec) = &template.spec else { return text };
    let lists = [
        (
            "Init Containers",
            spec.init_containers.as_deref().unwrap_or_default(),
        ),
        ("Containers", &spec.containers),
    ];
    for (heading, containers) in lists {
        if !containers.is_empty() {
            let _ = writeln!(text, "  {heading}:");
        }
        for container in containers {
            describe_container(&mut text, container);
        }
    }
    let volumes: Vec<&str> = spec
        .volumes
        .iter()
        .flatten()
        .map(|volume| volume.name.as_str())
        .collect();
    let _ = writeln!(text, "  Volumes:\t{}", or_none(&volumes.join(", ")));
    let selectors = spec
        .node_selector
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"));
    let _ = writeln!(
        text,
        "  Node-Selectors:\t{}",
        or_none(&selectors.collect::<Vec<_>>().join("\n\t"))
    );
    let tolerations = spec.tolerations.iter().flatten().map(toleration);
    let _ = writeln!(
        text,
        "  Tolerations:\t{}",
        or_none(&tolerations.collect::<Vec<_>>().join("\n\t"))
    );
    text
}

/// `key=value:NoSchedule`, as taints are written.
fn toleration(toleration: &Toleration) -> String {
    let mut text = toleration.key.clone().unwrap_or_default();
    for (mark, part) in [('=', &toleration.value), (':', &toleration.effect)] {
        if let Some(part) = part {
            text.push(mark);
            text.push_str(part);
        }
    }
    text
}

fn describe_container(text: &mut String, container: &Container) {
    let _ = writeln!(
        text,
        "   {}:\n    Image:\t{}",
        container.name,
        container.image.as_deref().unwrap_or_default()
    );
    let protocol = |port: &ContainerPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let ports = || container.ports.iter().flatten();
    let own = ports().map(|port| format!("{}/{}", port.container_port, protocol(port)));
    write_ports(text, "Port", &own.collect::<Vec<_>>());
    let host = ports().map(|port| format!("{}/{}", port.host_port.unwrap_or_default(), protocol(port)));
    write_ports(text, "Host Port", &host.collect::<Vec<_>>());
    for (heading, words) in [("Command", &container.command), ("Args", &container.args)] {
        if let Some(words) = words.as_ref().filter(|words| !words.is_empty()) {
            let _ = writeln!(text, "    {heading}:\t{}", words.join(" "));
        }
    }
    let variables: Vec<String> = container
        .env
        .iter()
        .flatten()
        .map(|variable| {
            format!(
                "      {}:\t{}",
                variable.name,
                variable.value.as_deref().unwrap_or("<from elsewhere>")
            )
        })
        .collect();
    if variables.is_empty() {
        text.push_str("    Environment:\t<none>\n");
    } else {
        let _ = writeln!(text, "    Environment:\n{}", variables.join("\n"));
    }
    let mounts: Vec<String> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| format!("      {} from {}", mount.mount_path, mount.name))
        .collect();
    if mounts.is_empty() {
        text.push_str("    Mounts:\t<none>\n");
    } else {
        let _ = writeln!(text, "    Mounts:\n{}", mounts.join("\n"));
    }
}

fn write_ports(text: &mut String, heading: &str, ports: &[String]) {
    let plural = if ports.len() > 1 { "s" } else { "" };
    let _ = writeln!(text, "    {heading}{plural}:\t{}", or_none(&ports.join(", ")));
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn revisions_stand_in_kubectls_columns() {
        let set = |annotations: serde_json::Value| -> ReplicaSet {
            serde_json::from_value(json!({"metadata": {"annotations": annotations}})).expect("a replica set")
        };
        let revisions = [
            (1, set(json!({}))),
            (12, set(json!({CHANGE_CAUSE: "image updated to 1.8"}))),
        ];
        assert_eq!(
            list(&revisions),
            "REVISION  CHANGE-CAUSE\n1         <none>\n12        image updated to 1.8\n"
        );
    }

    #[test]
    fn a_template_reads_as_in_kubectl() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "nginx", "pod-template-hash": "75f9c"}},
            "spec": {"containers": [{"name": "nginx", "image": "nginx:1.8", "ports": [{"containerPort": 80}]}]}}))
        .expect("a template");
        assert_eq!(
            describe(&template),
            "Pod Template:\n  Labels:\tapp=nginx\n\tpod-template-hash=75f9c\n  Containers:\n   nginx:\n    \
             Image:\tnginx:1.8\n    Port:\t80/TCP\n    Host Port:\t0/TCP\n    Environment:\t<none>\n    Mounts:\t<none>\n  Volumes:\t<none>\n  \
             Node-Selectors:\t<none>\n  Tolerations:\t<none>\n"
        );
    }
}
