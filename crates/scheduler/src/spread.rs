//! Pods of a kind spread over the cluster: the plugin PodTopologySpread, with upstream's default for owned pods.

use std::collections::HashMap;

use api::labels::Selector;
use api::pods::{controller_of, is_terminating};
use k8s_openapi::api::core::v1::{Pod, PodSpec, TopologySpreadConstraint};

use crate::cluster::{Cluster, NodeState};
use crate::filter::Misfit;
use crate::wanted::Wanted;
use crate::{affinity, taints};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Which pods a constraint counts.
enum Counted<'a> {
    /// Those of the pod's namespace with these labels; without a selector none.
    Labels(Option<Selector>),
    /// Those with the same owner.
    Owner(&'a str),
}

impl Counted<'_> {
    fn counts(&self, pod: &Pod, namespace: Option<&str>) -> bool {
        if pod.metadata.namespace.as_deref() != namespace || is_terminating(pod) {
            return false;
        }
        self.includes(pod)
    }

    fn includes(&self, pod: &Pod) -> bool {
        match self {
            Self::Labels(selector) => selector.as_ref().is_some_and(|selector| {
                selector.matches_with(|key| pod.metadata.labels.as_ref()?.get(key).map(String::as_str))
            }),
            Self::Owner(uid) => controller_of(&pod.metadata).is_some_and(|owner| owner.uid == *uid),
        }
    }
}

/// One constraint, with how many pods it counts in each domain.
pub(crate) struct Constraint<'a> {
    key: &'a str,
    max_skew: i64,
    /// DoNotSchedule rather than ScheduleAnyway.
    hard: bool,
    /// The pod counts itself.
    includes_itself: bool,
    counts: HashMap<String, i64>,
    /// The fewest pods of any domain; 0 if there are too few domains.
    fewest: i64,
}

/// The constraints of a pod over a cluster. `wanted` is needed for the nodes that it may use at all.
pub(crate) fn constraints<'a>(wanted: &Wanted<'a>, cluster: &Cluster) -> Vec<Constraint<'a>> {
    let own = wanted
        .spec()
        .topology_spread_constraints
        .as_deref()
        .unwrap_or_default();
    if own.is_empty() {
        return default_constraints(wanted, cluster);
    }
    own.iter()
        .map(|constraint| explicit(wanted, constraint, own, cluster))
        .collect()
}

/// Upstream spreads pods by default that are selected by a Service or owned by a controller. A ReplicaSet's selector holds
/// its template's hash, so for those the owner says the same as all selectors together.
fn default_constraints<'a>(wanted: &Wanted<'a>, cluster: &Cluster) -> Vec<Constraint<'a>> {
    let Some(owner) = controller_of(&wanted.pod.metadata) else {
        return Vec::new();
    };
    let counted = Counted::Owner(&owner.uid);
    let soft = |key, max_skew| {
        let counts = count(&counted, key, wanted, cluster, |_| true);
        Constraint {
            key,
            max_skew,
            hard: false,
            includes_itself: true,
            counts,
            fewest: 0,
        }
    };
    vec![soft(HOSTNAME, 3), soft(ZONE, 5)]
}

fn explicit<'a>(
    wanted: &Wanted<'a>,
    spec: &'a TopologySpreadConstraint,
    all: &[TopologySpreadConstraint],
    cluster: &Cluster,
) -> Constraint<'a> {
    let hard = spec.when_unsatisfiable != "ScheduleAnyway";
    let counted = Counted::Labels(selector(wanted.pod, spec));
    let honours = |policy: &Option<String>, default| policy.as_deref().unwrap_or(default) == "Honor";
    let by_affinity = honours(&spec.node_affinity_policy, "Honor");
    let by_taints = honours(&spec.node_taints_policy, "Ignore");
    let eligible = |state: &NodeState| {
        all.iter()
            .filter(|other| other.when_unsatisfiable == spec.when_unsatisfiable)
            .all(|other| state.label(&other.topology_key).is_some())
            && (!by_affinity || affinity::matches(wanted, state))
            && (!by_taints || taints::untolerated(wanted, state).is_ok())
    };
    let counts = count(&counted, &spec.topology_key, wanted, cluster, eligible);
    let domains = i32::try_from(counts.len()).unwrap_or(i32::MAX);
    let enough = domains >= spec.min_domains.unwrap_or(1);
    let fewest = counts.values().copied().min().filter(|_| enough).unwrap_or(0);
    Constraint {
        key: &spec.topology_key,
        max_skew: i64::from(spec.max_skew),
        hard,
        includes_itself: counted.includes(wanted.pod),
        counts,
        fewest,
    }
}

/// The constraint's selector and what `matchLabelKeys` adds to it.
fn selector(pod: &Pod, spec: &TopologySpreadConstraint) -> Option<Selector> {
    let mut selector = spec.label_selector.clone()?;
    let labels = pod.metadata.labels.as_ref();
    for key in spec.match_label_keys.iter().flatten() {
        if let Some(value) = labels.and_then(|labels| labels.get(key)) {
            selector
                .match_labels
                .get_or_insert_default()
                .insert(key.clone(), value.clone());
        }
    }
    Selector::from_spec(&selector).ok()
}

/// How many pods each domain of `key` has; domains without any are in it with 0.
fn count(
    counted: &Counted,
    key: &str,
    wanted: &Wanted,
    cluster: &Cluster,
    eligible: impl Fn(&NodeState) -> bool,
) -> HashMap<String, i64> {
    let namespace = wanted.pod.metadata.namespace.as_deref();
    let mut counts = HashMap::new();
    for (_, state) in cluster.nodes().filter(|(_, state)| eligible(state)) {
        if let Some(domain) = state.label(key) {
            let here = state
                .pods
                .values()
                .filter(|pod| counted.counts(pod, namespace))
                .count();
            *counts.entry(domain.to_owned()).or_default() += i64::try_from(here).unwrap_or(i64::MAX);
        }
    }
    counts
}

/// Whether a pod's placement depends on where other pods are.
pub(crate) fn is_constrained(spec: &PodSpec) -> bool {
    spec.topology_spread_constraints
        .as_ref()
        .is_some_and(|constraints| !constraints.is_empty())
}

pub(crate) fn allowed(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    const REASON: &str = "node(s) didn't match pod topology spread constraints";
    for constraint in wanted.constraints.iter().filter(|constraint| constraint.hard) {
        let Some(domain) = state.label(constraint.key) else {
            return Err(Misfit::lasting(format!("{REASON} (missing required label)")));
        };
        let here = constraint.counts.get(domain).copied().unwrap_or(0);
        if here + i64::from(constraint.includes_itself) - constraint.fewest > constraint.max_skew {
            return Err(Misfit::passing(REASON));
        }
    }
    Ok(())
}

/// How crowded the node's domains are: less is better. Upstream weighs a domain's pods by the logarithm of the number of
/// domains, so that spreading over many small ones does not outweigh spreading over few large ones.
pub(crate) fn score(wanted: &Wanted, state: &NodeState) -> i64 {
    let soft = wanted.constraints.iter().filter(|constraint| !constraint.hard);
    let crowd: f64 = soft
        .filter_map(|constraint| {
            let here = constraint.counts.get(state.label(constraint.key)?)?;
            let weight = ((constraint.counts.len() + 2) as f64).ln();
            Some(*here as f64 * weight + (constraint.max_skew - 1) as f64)
        })
        .sum();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a count of pods times a small weight"
    )]
    let rounded = crowd.round() as i64;
    rounded
}
