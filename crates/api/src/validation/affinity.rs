//! Rules for affinity: which nodes and neighbours a pod wants.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    WeightedPodAffinityTerm,
};

use super::{Errors, Path, names, selector};

/// Checks all kinds of affinity.
pub fn validate(affinity: &Affinity, path: &Path<'_>, errors: &mut Errors) {
    if let Some(node) = &affinity.node_affinity {
        node_affinity(node, &path.field("nodeAffinity"), errors);
    }
    let pods = [
        (
            "podAffinity",
            affinity.pod_affinity.as_ref().map(|pods| {
                (
                    &pods.required_during_scheduling_ignored_during_execution,
                    &pods.preferred_during_scheduling_ignored_during_execution,
                )
            }),
        ),
        (
            "podAntiAffinity",
            affinity.pod_anti_affinity.as_ref().map(|pods| {
                (
                    &pods.required_during_scheduling_ignored_during_execution,
                    &pods.preferred_during_scheduling_ignored_during_execution,
                )
            }),
        ),
    ];
    for (field, terms) in pods {
        if let Some((required, preferred)) = terms {
            pod_affinity(
                required.as_deref(),
                preferred.as_deref(),
                &path.field(field),
                errors,
            );
        }
    }
}

fn node_affinity(affinity: &NodeAffinity, path: &Path<'_>, errors: &mut Errors) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = path.field("requiredDuringSchedulingIgnoredDuringExecution");
        let terms = path.field("nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            errors.required(&terms, "must have at least one node selector term");
        }
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            node_term(term, &terms.index(index), errors);
        }
    }
    let preferred = path.field("preferredDuringSchedulingIgnoredDuringExecution");
    let terms = affinity
        .preferred_during_scheduling_ignored_during_execution
        .iter()
        .flatten();
    for (index, term) in terms.enumerate() {
        let path = preferred.index(index);
        weight(term.weight, &path, errors);
        node_term(&term.preference, &path.field("preference"), errors);
    }
}

fn node_term(term: &NodeSelectorTerm, path: &Path<'_>, errors: &mut Errors) {
    let expressions = path.field("matchExpressions");
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = expressions.index(index);
        node_requirement(requirement, &path, errors);
        errors.problems(
            &path.field("key"),
            &requirement.key,
            &names::qualified_name(&requirement.key),
        );
    }
    let fields = path.field("matchFields");
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        let path = fields.index(index);
        node_requirement(requirement, &path, errors);
        if requirement.key != "metadata.name" {
            errors.invalid(
                &path.field("key"),
                &requirement.key,
                "not a valid field selector key",
            );
        }
    }
}

fn node_requirement(requirement: &NodeSelectorRequirement, path: &Path<'_>, errors: &mut Errors) {
    let count = requirement.values.as_ref().map_or(0, Vec::len);
    let values = path.field("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if count == 0 => {
            errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            errors.forbidden(
                &values,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            );
        }
        "Gt" | "Lt" if count != 1 => {
            errors.required(
                &values,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.field("operator"), other, "not a valid selector operator"),
    }
}

fn pod_affinity(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let terms = path.field("requiredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in required.unwrap_or_default().iter().enumerate() {
        pod_term(term, &terms.index(index), errors);
    }
    let terms = path.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = terms.index(index);
        weight(term.weight, &path, errors);
        pod_term(&term.pod_affinity_term, &path.field("podAffinityTerm"), errors);
    }
}

fn pod_term(term: &PodAffinityTerm, path: &Path<'_>, errors: &mut Errors) {
    if let Some(labels) = &term.label_selector {
        selector::validate(labels, &path.field("labelSelector"), errors);
    }
    if let Some(namespaces) = &term.namespace_selector {
        selector::validate(namespaces, &path.field("namespaceSelector"), errors);
    }
    let namespaces = path.field("namespaces");
    for (index, namespace) in term.namespaces.iter().flatten().enumerate() {
        errors.problems(&namespaces.index(index), namespace, &names::label(namespace));
    }
    if term.topology_key.is_empty() {
        errors.required(&path.field("topologyKey"), "can not be empty");
    } else {
        errors.problems(
            &path.field("topologyKey"),
            &term.topology_key,
            &names::qualified_name(&term.topology_key),
        );
    }
}

fn weight(weight: i32, path: &Path<'_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.field("weight"), &weight, "must be in the range 1-100");
    }
}
