//! What is valid in a pod's spec, but hardly meant: its writer is warned, in upstream's words.
//!
//! Flows in: the spec of a Pod or a template. Flows out: warnings. Never refuses anything.

use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, EnvVar, NodeSelectorTerm, PodAffinityTerm, PodSpec,
    WeightedPodAffinityTerm,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Errors, Path, names};
use crate::quantity::Amount;

/// Labels of nodes that have new names.
const OLD_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// What names of workloads become part of.
pub const POD_NAMES: &str = "Pod names and hostnames";
/// What the name of a pod becomes.
pub const HOSTNAME: &str = "the Pod's hostname";

const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// A name that becomes part of a hostname had better be a label.
pub fn name(metadata: &ObjectMeta, used_in: &str, errors: &mut Errors) {
    let problems = names::label(metadata.name.as_deref().unwrap_or_default());
    if !problems.is_empty() {
        let why = format!(
            "this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            problems.join(" ")
        );
        errors.warn(&Path::ROOT.field("metadata.name"), &why);
    }
}

/// Warns of what is hardly meant. `path` is that of the spec.
pub fn pod_spec(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    for (key, _) in spec.node_selector.iter().flatten() {
        if let Some(why) = why_old(key) {
            errors.warn(&path.field("nodeSelector").key(key), why);
        }
    }
    if let Some(affinity) = &spec.affinity {
        node_affinity(affinity, &path.field("affinity.nodeAffinity"), errors);
    }
    spread(spec, &path.field("topologySpreadConstraints"), errors);
    repeated(spec, path, errors);
    let (init, main) = (path.field("initContainers"), path.field("containers"));
    let lists = [
        (&init, spec.init_containers.as_deref().unwrap_or_default()),
        (&main, spec.containers.as_slice()),
    ];
    for (path, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let path = path.index(index);
            fractions(container, &path.field("resources"), errors);
            env(
                container.env.as_deref().unwrap_or_default(),
                &path.field("env"),
                errors,
            );
        }
    }
    ports(lists, errors);
    if spec
        .termination_grace_period_seconds
        .is_some_and(|seconds| seconds < 0)
    {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        errors.warn(&path.field("terminationGracePeriodSeconds"), why);
    }
    if let Some(affinity) = &spec.affinity {
        pod_affinity(affinity, &path.field("affinity"), errors);
    }
}

fn why_old(label: &str) -> Option<&'static str> {
    let old = OLD_LABELS.iter().find(|(old, _)| *old == label);
    old.map(|(_, why)| *why)
}

fn old_label(label: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(why) = why_old(label) {
        errors.warn(path, &format!("{label} is {why}"));
    }
}

fn node_affinity(affinity: &Affinity, path: &Path<'_>, errors: &mut Errors) {
    let Some(affinity) = &affinity.node_affinity else {
        return;
    };
    let mut term = |term: &NodeSelectorTerm, path: &Path<'_>| {
        let path = path.field("matchExpressions");
        for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
            old_label(&expression.key, &path.index(index).field("key"), errors);
        }
    };
    let required = path.field("requiredDuringSchedulingIgnoredDuringExecution");
    let required = required.field("nodeSelectorTerms");
    let selector = affinity
        .required_during_scheduling_ignored_during_execution
        .iter();
    let terms = selector.flat_map(|selector| &selector.node_selector_terms);
    for (index, each) in terms.enumerate() {
        term(each, &required.index(index));
    }
    let preferred = path.field("preferredDuringSchedulingIgnoredDuringExecution");
    let terms = affinity
        .preferred_during_scheduling_ignored_during_execution
        .iter();
    for (index, each) in terms.flatten().enumerate() {
        term(&each.preference, &preferred.index(index).field("preference"));
    }
}

fn pod_affinity(affinity: &Affinity, path: &Path<'_>, errors: &mut Errors) {
    let mut terms = |path: &Path<'_>,
                     required: Option<&Vec<PodAffinityTerm>>,
                     preferred: Option<&Vec<WeightedPodAffinityTerm>>| {
        let list = path.field("requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in required.into_iter().flatten().enumerate() {
            if term.label_selector.is_none() {
                errors.warn(&list.index(index).field("labelSelector"), NO_SELECTOR);
            }
        }
        let list = path.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in preferred.into_iter().flatten().enumerate() {
            if term.pod_affinity_term.label_selector.is_none() {
                let path = list.index(index);
                errors.warn(&path.field("podAffinityTerm.labelSelector"), NO_SELECTOR);
            }
        }
    };
    if let Some(near) = &affinity.pod_affinity {
        terms(
            &path.field("podAffinity"),
            near.required_during_scheduling_ignored_during_execution.as_ref(),
            near.preferred_during_scheduling_ignored_during_execution.as_ref(),
        );
    }
    if let Some(apart) = &affinity.pod_anti_affinity {
        terms(
            &path.field("podAntiAffinity"),
            apart.required_during_scheduling_ignored_during_execution.as_ref(),
            apart
                .preferred_during_scheduling_ignored_during_execution
                .as_ref(),
        );
    }
}

fn spread(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.index(index);
        old_label(&constraint.topology_key, &path.field("topologyKey"), errors);
        if constraint.label_selector.is_none() {
            errors.warn(&path.field("labelSelector"), NO_SELECTOR);
        }
    }
}

/// Aliases of the same address, and secrets that are named twice or not at all.
fn repeated(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    let list = path.field("hostAliases");
    for (index, alias) in aliases.iter().enumerate() {
        if aliases[..index].iter().any(|other| other.ip == alias.ip) {
            errors.warn(
                &list.index(index).field("ip"),
                &format!("duplicate ip {:?}", alias.ip),
            );
        }
    }
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let list = path.field("imagePullSecrets");
    for (index, secret) in secrets.iter().enumerate() {
        let path = list.index(index);
        if secrets[..index].contains(secret) {
            errors.warn(&path.field("name"), &format!("duplicate name {:?}", secret.name));
        }
        if secret.name.is_empty() {
            errors.warn(&path.field("name"), "invalid empty name \"\"");
        }
    }
}

/// There are no parts of a byte.
fn fractions(container: &Container, path: &Path<'_>, errors: &mut Errors) {
    let Some(resources) = &container.resources else {
        return;
    };
    for resource in ["memory", "ephemeral-storage"] {
        for (field, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            let Some(amount) = amounts.as_ref().and_then(|amounts| amounts.get(resource)) else {
                continue;
            };
            if amount.0.parse::<Amount>().is_ok_and(|parsed| !parsed.is_whole()) {
                let why = format!(
                    "fractional byte value {:?} is invalid, must be an integer",
                    amount.0
                );
                errors.warn(&path.field(field).key(resource), &why);
            }
        }
    }
}

/// A variable that is set again may refer to what it was.
fn env(env: &[EnvVar], path: &Path<'_>, errors: &mut Errors) {
    for (index, variable) in env.iter().enumerate() {
        let name = &variable.name;
        let was = format!("$({name})");
        let value = variable.value.as_deref().unwrap_or_default();
        let extends = variable.value_from.is_none() && value != was && value.contains(&was);
        if !extends && env[..index].iter().any(|other| other.name == *name) {
            let why = format!("hides previous definition of {name:?}, which may be dropped when using apply");
            errors.warn(&path.index(index), &why);
        }
    }
}

/// Ports that are declared twice, by whichever containers.
fn ports(lists: [(&Path<'_>, &[Container]); 2], errors: &mut Errors) {
    let mut seen: Vec<(&ContainerPort, String)> = Vec::new();
    for (path, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let path = path.index(index);
            let path = path.field("ports");
            for (index, port) in container.ports.iter().flatten().enumerate() {
                let path = path.index(index);
                for (other, place) in &seen {
                    if let Some(conflict) = conflict(port, other) {
                        errors.warn(&path, &format!("{conflict} port definition with {place}"));
                    }
                }
                seen.push((port, path.to_string()));
            }
        }
    }
}

/// How two declarations of a port get into each other's way.
fn conflict(port: &ContainerPort, other: &ContainerPort) -> Option<&'static str> {
    if (port.container_port, &port.protocol) != (other.container_port, &other.protocol) {
        return None;
    }
    let (ip, other_ip) = [port, other]
        .map(|port| port.host_ip.as_deref().unwrap_or_default())
        .into();
    let (host, other_host) = (port.host_port.unwrap_or(0), other.host_port.unwrap_or(0));
    match host == other_host {
        true if ip == other_ip => Some("duplicate"),
        _ if host == 0 || other_host == 0 => Some("overlapping"),
        true if ip.is_empty() != other_ip.is_empty() => Some("dangerously ambiguous"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warns_as_upstream_does() {
        let port = json!({"containerPort": 80, "protocol": "TCP"});
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux", "disk": "ssd"},
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "t"}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "failure-domain.beta.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule"}],
            "hostAliases": [{"ip": "127.0.0.1"}, {"ip": "127.0.0.1"}],
            "imagePullSecrets": [{"name": "s"}, {"name": "s"}],
            "terminationGracePeriodSeconds": -1,
            "containers": [
                {"name": "a", "ports": [port, port, {"containerPort": 80, "protocol": "UDP"}],
                    "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
                    "resources": {"limits": {"memory": "100m", "cpu": "100m"}}},
                {"name": "b", "ports": [{"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]},
            ],
        });
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let mut errors = Errors::default();
        pod_spec(&spec, &Path::ROOT.field("spec"), &mut errors);
        assert_eq!(
            errors.into_verdict().warnings,
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.hostAliases[1].ip: duplicate ip \"127.0.0.1\"",
                "spec.imagePullSecrets[1].name: duplicate name \"s\"",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[1]",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
            ]
        );
    }
}
