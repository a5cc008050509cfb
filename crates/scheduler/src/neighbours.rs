//! Pods that want to be near or far from each other: the plugin InterPodAffinity.

use std::collections::{HashMap, HashSet};

use api::labels::Selector;
use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, PodSpec, WeightedPodAffinityTerm};

use crate::cluster::{Cluster, NodeState};
use crate::filter::Misfit;
use crate::wanted::Wanted;

/// A topology key and a value of it: one domain.
type Domain = (String, String);

/// What the required terms of a pod, and of the pods that run, say about domains.
#[derive(Default)]
pub(crate) struct Neighbours<'a> {
    /// Topology keys of the pod's affinity terms, with the domains where pods are that match all terms.
    near: Option<Near<'a>>,
    /// Domains with pods that the pod's anti-affinity avoids.
    avoided: HashSet<Domain>,
    /// Domains of running pods whose anti-affinity avoids the pod.
    avoiding: HashSet<Domain>,
    /// How welcome the pod is in a domain, and how much it would like to be there: the sum of the weights.
    liking: HashMap<Domain, i64>,
}

struct Near<'a> {
    keys: Vec<&'a str>,
    domains: HashSet<Domain>,
    /// No pod matches yet but this one would itself: the first of a group may go anywhere.
    first: bool,
}

pub(crate) fn neighbours<'a>(pod: &'a Pod, cluster: &Cluster) -> Neighbours<'a> {
    let own = affinity_terms(pod);
    let avoided_terms = anti_affinity_terms(pod);
    let mut neighbours = Neighbours::default();
    let mut domains = HashSet::new();
    for (state, other) in cluster.pods() {
        if !own.is_empty() && own.iter().all(|term| concerns(term, pod, other)) {
            domains.extend(own.iter().filter_map(|term| domain(term, state)));
        }
        let avoided = avoided_terms.iter().filter(|term| concerns(term, pod, other));
        neighbours
            .avoided
            .extend(avoided.filter_map(|term| domain(term, state)));
        let avoiding = anti_affinity_terms(other)
            .iter()
            .filter(|term| concerns(term, other, pod));
        neighbours
            .avoiding
            .extend(avoiding.filter_map(|term| domain(term, state)));
        let mutual = likings(pod, other, 0).chain(likings(other, pod, HARD_WEIGHT));
        for (term, weight) in mutual {
            if let Some(domain) = domain(term, state) {
                *neighbours.liking.entry(domain).or_default() += weight;
            }
        }
    }
    if !own.is_empty() {
        let first = domains.is_empty() && own.iter().all(|term| concerns(term, pod, pod));
        let keys = own.iter().map(|term| term.topology_key.as_str()).collect();
        neighbours.near = Some(Near { keys, domains, first });
    }
    neighbours
}

/// How much an affinity that a running pod insists on counts for the pods it asks for (upstream's
/// `hardPodAffinityWeight`).
const HARD_WEIGHT: i64 = 1;

/// The terms by which `pod` likes (or, with negative weight, dislikes) to be where `other` is.
fn likings<'a>(pod: &'a Pod, other: &'a Pod, hard: i64) -> impl Iterator<Item = (&'a PodAffinityTerm, i64)> {
    let affinity: Option<&Affinity> = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let near = near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let far = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let far = far.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let weigh = |sign: i64| {
        move |term: &'a WeightedPodAffinityTerm| (&term.pod_affinity_term, sign * i64::from(term.weight))
    };
    let required = affinity_terms(pod).iter().map(move |term| (term, hard));
    near.unwrap_or_default()
        .iter()
        .map(weigh(1))
        .chain(far.unwrap_or_default().iter().map(weigh(-1)))
        .chain(required)
        .filter(move |(term, weight)| *weight != 0 && concerns(term, pod, other))
}

/// How much the pod and those that run would like it to be on this node.
pub(crate) fn score(wanted: &Wanted, state: &NodeState) -> i64 {
    let here = |(key, value): &Domain| state.label(key) == Some(value);
    let liking = wanted.neighbours.liking.iter();
    liking
        .filter(|(domain, _)| here(domain))
        .map(|(_, weight)| weight)
        .sum()
}

/// Whether a pod's placement depends on where other pods are.
pub(crate) fn is_constrained(spec: &PodSpec) -> bool {
    let affinity = spec.affinity.as_ref();
    affinity.is_some_and(|affinity| affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some())
}

pub(crate) fn allowed(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    let Neighbours {
        near,
        avoided,
        avoiding,
        ..
    } = &wanted.neighbours;
    let here = |domains: &HashSet<Domain>, key: &str| {
        state
            .label(key)
            .is_some_and(|value| domains.contains(&(key.to_owned(), value.to_owned())))
    };
    let near_enough = near.as_ref().is_none_or(|near| {
        near.keys
            .iter()
            .all(|key| here(&near.domains, key) || near.first && state.label(key).is_some())
    });
    if !near_enough {
        return Err(Misfit::lasting("node(s) didn't match pod affinity rules"));
    }
    let any = |domains: &HashSet<Domain>| domains.iter().any(|(key, value)| state.label(key) == Some(value));
    if any(avoided) {
        return Err(Misfit::passing("node(s) didn't match pod anti-affinity rules"));
    }
    if any(avoiding) {
        return Err(Misfit::passing(
            "node(s) didn't satisfy existing pods anti-affinity rules",
        ));
    }
    Ok(())
}

fn affinity_terms(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
    let terms = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref());
    terms.unwrap_or_default()
}

fn anti_affinity_terms(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    let terms = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref());
    terms.unwrap_or_default()
}

fn domain(term: &PodAffinityTerm, state: &NodeState) -> Option<Domain> {
    Some((
        term.topology_key.clone(),
        state.label(&term.topology_key)?.to_owned(),
    ))
}

/// Whether a term of `holder` is about `other`. Namespaces are selected by name, or all of them by an empty
/// `namespaceSelector`; the labels of namespaces are not looked at.
fn concerns(term: &PodAffinityTerm, holder: &Pod, other: &Pod) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let in_namespace = match &term.namespace_selector {
        Some(selector) if *selector == Default::default() => true,
        None if named.is_empty() => holder.metadata.namespace.as_deref().unwrap_or_default() == namespace,
        _ => named.iter().any(|name| name == namespace),
    };
    // Without a selector a term matches no pod.
    let Some(spec) = &term.label_selector else {
        return false;
    };
    let label = |pod: &'_ Pod, key: &str| {
        pod.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key).cloned())
    };
    let same = |key: &String| label(holder, key).is_none_or(|value| label(other, key) == Some(value));
    let other_value = |key: &String| label(holder, key).is_none_or(|value| label(other, key) != Some(value));
    in_namespace
        && Selector::from_spec(spec).is_ok_and(|selector| {
            selector.matches_with(|key| other.metadata.labels.as_ref()?.get(key).map(String::as_str))
        })
        && term.match_label_keys.iter().flatten().all(same)
        && term.mismatch_label_keys.iter().flatten().all(other_value)
}
