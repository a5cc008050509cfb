//! Rules for a pod's spec, in a Pod and in a template.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, Toleration, TopologySpreadConstraint};

use super::{
    Errors, Path, affinity, container, ephemeral, metadata, names, resources, security, selector, values,
    volume, warnings,
};

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const PREEMPTION_POLICIES: [&str; 2] = ["Never", "PreemptLowerPriority"];
/// What the C library can do.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_LIST: usize = 2048;
const SPREAD_ACTIONS: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
const INCLUSIONS: [&str; 2] = ["Honor", "Ignore"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks a template.
pub fn template(template: &PodTemplateSpec, path: &Path<'_>, errors: &mut Errors) {
    let (labels, annotations) = match &template.metadata {
        Some(metadata) => (metadata.labels.as_ref(), metadata.annotations.as_ref()),
        None => (None, None),
    };
    metadata::labels(labels, &path.field("metadata.labels"), errors);
    metadata::annotations(annotations, &path.field("metadata.annotations"), errors);
    match &template.spec {
        Some(spec) => {
            let path = path.field("spec");
            pod_spec(spec, &path, errors);
            warnings::pod_spec(spec, &path, errors);
            if spec.ephemeral_containers.iter().flatten().next().is_some() {
                let detail = "ephemeral containers not allowed in pod template";
                errors.forbidden(&path.field("ephemeralContainers"), detail);
            }
        }
        None => errors.required(&path.field("spec.containers"), ""),
    }
}

/// Checks a spec.
pub fn pod_spec(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    volume::volumes(
        spec.volumes.as_deref().unwrap_or_default(),
        &path.field("volumes"),
        errors,
    );
    container::containers(spec, path, errors);
    ephemeral::containers(spec, &path.field("ephemeralContainers"), errors);
    errors.one_of(
        &path.field("restartPolicy"),
        spec.restart_policy.as_deref(),
        &RESTART_POLICIES,
    );
    errors.one_of(
        &path.field("dnsPolicy"),
        spec.dns_policy.as_deref(),
        &DNS_POLICIES,
    );
    metadata::labels(spec.node_selector.as_ref(), &path.field("nodeSelector"), errors);
    if let Some(context) = &spec.security_context {
        security::pod(context, spec, &path.field("securityContext"), errors);
    }
    for (field, name) in [
        ("serviceAccountName", &spec.service_account_name),
        ("nodeName", &spec.node_name),
        ("priorityClassName", &spec.priority_class_name),
    ] {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            errors.problems(&path.field(field), name, &names::subdomain(name));
        }
    }
    if let Some(class) = &spec.runtime_class_name {
        errors.problems(&path.field("runtimeClassName"), class, &names::subdomain(class));
    }
    if let Some(overhead) = &spec.overhead {
        resources::overhead(overhead, &path.field("overhead"), errors);
    }
    if let Some(seconds) = spec
        .active_deadline_seconds
        .filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds))
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.invalid(&path.field("activeDeadlineSeconds"), &seconds, detail);
    }
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            errors.problems(&path.field(field), name, &names::label(name));
        }
    }
    tolerations(
        spec.tolerations.as_deref().unwrap_or_default(),
        &path.field("tolerations"),
        errors,
    );
    if let Some(policy) = spec.preemption_policy.as_deref() {
        errors.one_of(
            &path.field("preemptionPolicy"),
            Some(policy),
            &PREEMPTION_POLICIES,
        );
    }
    spread(spec, &path.field("topologySpreadConstraints"), errors);
    if let Some(affinity) = &spec.affinity {
        affinity::validate(affinity, &path.field("affinity"), errors);
    }
    gates(spec, path, errors);
    dns(spec, &path.field("dnsConfig"), errors);
    os(spec, &path.field("os"), errors);
    aliases(spec, &path.field("hostAliases"), errors);
}

/// Conditions that make a pod ready, and obstacles to its being scheduled, by name.
fn gates(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let readiness = path.field("readinessGates");
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = readiness.index(index);
        let path = path.field("conditionType");
        errors.problems(
            &path,
            &gate.condition_type,
            &names::qualified_name(&gate.condition_type),
        );
    }
    let scheduling = path.field("schedulingGates");
    let gates = spec.scheduling_gates.as_deref().unwrap_or_default();
    for (index, gate) in gates.iter().enumerate() {
        let path = scheduling.index(index);
        errors.problems(&path, &gate.name, &names::qualified_name(&gate.name));
        if gates[..index].contains(gate) {
            errors.duplicate(&path, &gate.name);
        }
    }
}

fn dns(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let is_alone = spec.dns_policy.as_deref() == Some("None");
    let Some(config) = &spec.dns_config else {
        if is_alone {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let servers_path = path.field("nameservers");
    if servers.is_empty() && is_alone {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return errors.required(&servers_path, detail);
    }
    if servers.len() > MAX_NAMESERVERS {
        let detail = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.invalid(&servers_path, servers, &detail);
    }
    for (index, server) in servers.iter().enumerate() {
        errors.problems(&servers_path.index(index), server, &values::ip(server));
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let searches_path = path.field("searches");
    if searches.len() > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.invalid(&searches_path, searches, &detail);
    }
    if searches.join(" ").len() > MAX_SEARCH_LIST {
        let detail = format!(
            "must not have more than {MAX_SEARCH_LIST} characters (including spaces) in the search list"
        );
        errors.invalid(&searches_path, searches, &detail);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.problems(&searches_path.index(index), search, &names::search_domain(search));
    }
    let options = path.field("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().is_none_or(str::is_empty) {
            errors.required(&options.index(index), "must not be empty");
        }
    }
}

fn os(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    match spec.os.as_ref().map(|os| os.name.as_str()) {
        None | Some("linux" | "windows") => {}
        Some("") => errors.required(&path.field("name"), "cannot be empty"),
        Some(other) => errors.not_supported(path, other, &["linux", "windows"]),
    }
}

fn aliases(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(index);
        errors.problems(&path.field("ip"), &alias.ip, &values::ip(&alias.ip));
        let hostnames = path.field("hostnames");
        for (index, hostname) in alias.hostnames.iter().flatten().enumerate() {
            errors.problems(&hostnames.index(index), hostname, &names::subdomain(hostname));
        }
    }
}

/// Checks what a pod tolerates of a node.
pub fn tolerations(tolerations: &[Toleration], path: &Path<'_>, errors: &mut Errors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let key = toleration.key.as_deref().unwrap_or_default();
        let value = toleration.value.as_deref().unwrap_or_default();
        let effect = toleration.effect.as_deref().unwrap_or_default();
        let operator = toleration.operator.as_deref().unwrap_or_default();
        if !key.is_empty() {
            errors.problems(&path.field("key"), key, &names::qualified_name(key));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&path.field("operator"), operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            errors.invalid(
                &path.field("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "" | "Equal" => errors.problems(&path.field("operator"), value, &names::label_value(value)),
            "Exists" if value.is_empty() => {}
            "Exists" => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&path.field("operator"), toleration, detail);
            }
            other => errors.not_supported(&path.field("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            errors.not_supported(&path.field("effect"), effect, &EFFECTS);
        }
    }
}

fn spread(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        let (key, action) = (&constraint.topology_key, &constraint.when_unsatisfiable);
        if constraint.max_skew <= 0 {
            let skew = path.field("maxSkew");
            errors.invalid(&skew, &constraint.max_skew, "must be greater than zero");
        }
        if key.is_empty() {
            errors.required(&path.field("topologyKey"), "can not be empty");
        }
        if !SPREAD_ACTIONS.contains(&action.as_str()) {
            errors.not_supported(&path.field("whenUnsatisfiable"), action, &SPREAD_ACTIONS);
        }
        let mut rest = constraints[index + 1..].iter();
        if rest.any(|other| other.topology_key == *key && other.when_unsatisfiable == *action) {
            let both = format!("{{{key}, {action}}}");
            errors.duplicate(&path.field("{topologyKey, whenUnsatisfiable}"), &both);
        }
        min_domains(constraint, &path.field("minDomains"), errors);
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy.as_deref().filter(|policy| !INCLUSIONS.contains(policy)) {
                errors.not_supported(&path.field(field), policy, &INCLUSIONS);
            }
        }
        if let Some(labels) = &constraint.label_selector {
            selector::validate(labels, &path.field("labelSelector"), errors);
        }
    }
}

fn min_domains(constraint: &TopologySpreadConstraint, path: &Path<'_>, errors: &mut Errors) {
    let Some(domains) = constraint.min_domains else {
        return;
    };
    if domains <= 0 {
        errors.invalid(path, &domains, "must be greater than zero");
    }
    let action = &constraint.when_unsatisfiable;
    if action != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        errors.invalid(path, &domains, &detail);
    }
}
