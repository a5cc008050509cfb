//! A pod's wishes about its node: the plugins NodeName and NodeAffinity (`nodeSelector` included).

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};

use crate::cluster::NodeState;
use crate::filter::Misfit;
use crate::wanted::Wanted;

pub(crate) fn node_name(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    match wanted.spec().node_name.as_deref() {
        Some(name) if !name.is_empty() && name != name_of(state) => {
            Err(Misfit::lasting("node(s) didn't match the requested node name"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn selects(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    if matches(wanted, state) {
        Ok(())
    } else {
        Err(Misfit::lasting(
            "node(s) didn't match Pod's node affinity/selector",
        ))
    }
}

/// Whether the pod's selector and required affinity allow the node.
pub(crate) fn matches(wanted: &Wanted, state: &NodeState) -> bool {
    let mut labels = wanted.spec().node_selector.iter().flatten();
    let selected = labels.all(|(key, value)| state.label(key) == Some(value));
    let required = affinity(wanted).and_then(|affinity| {
        affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    selected
        && required.is_none_or(|selector| {
            selector
                .node_selector_terms
                .iter()
                .any(|term| term_matches(term, state))
        })
}

/// The summed weights of the preferred terms that match: more is better.
pub(crate) fn score(wanted: &Wanted, state: &NodeState) -> i64 {
    let preferred = affinity(wanted).and_then(|affinity| {
        affinity
            .preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let matching = preferred
        .into_iter()
        .flatten()
        .filter(|term| term_matches(&term.preference, state));
    matching.map(|term| i64::from(term.weight)).sum()
}

fn affinity<'a>(wanted: &Wanted<'a>) -> Option<&'a NodeAffinity> {
    wanted.spec().affinity.as_ref()?.node_affinity.as_ref()
}

fn name_of(state: &NodeState) -> &str {
    let node = state.node.as_ref();
    node.and_then(|node| node.metadata.name.as_deref())
        .unwrap_or_default()
}

/// All requirements of a term must hold; a term without any matches nothing.
fn term_matches(term: &NodeSelectorTerm, state: &NodeState) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then(|| name_of(state));
    expressions
        .iter()
        .all(|requirement| holds(requirement, state.label(&requirement.key)))
        && fields
            .iter()
            .all(|requirement| holds(requirement, field(&requirement.key)))
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    let numbers = || Some((actual?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(actual, bound)| actual > bound),
        "Lt" => numbers().is_some_and(|(actual, bound)| actual < bound),
        _ => false,
    }
}
