//! Which pods are deleted first when there are too many. Pure.
//!
//! Upstream's `ActivePodsWithRanks` with logarithmic scale-down: ages count by powers of two, so that among pods of about
//! the same age chance (their uids) decides.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use api::pods;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// Annotation of a pod: those with lower values are deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods to delete. `siblings` are the active pods of all ReplicaSets of the same owner: a pod on a node with
/// many of them goes before one on a node with few.
pub fn first_to_delete(
    mut pods: Vec<Arc<Pod>>,
    siblings: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    if count < pods.len() {
        let mut per_node: HashMap<&str, usize> = HashMap::new();
        for node in siblings.iter().filter_map(|pod| pods::node_name(pod)) {
            *per_node.entry(node).or_default() += 1;
        }
        pods.sort_by_cached_key(|pod| {
            let crowd = pods::node_name(pod)
                .and_then(|node| per_node.get(node))
                .copied()
                .unwrap_or(0);
            rank(pod, crowd, now)
        });
        pods.truncate(count);
    }
    pods
}

/// Lowest goes first: unassigned, then by phase, not ready, lower cost, fuller node, ready for a shorter time, more
/// restarts, younger. Upstream lets the uid decide as soon as two ages differ within one power of two; here it comes last,
/// which makes this an order in the strict sense.
type Rank = (
    bool,
    u8,
    bool,
    i32,
    Reverse<usize>,
    i64,
    Reverse<i32>,
    i64,
    String,
);

fn rank(pod: &Pod, crowd: usize, now: Timestamp) -> Rank {
    let phase = match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        pods::node_name(pod).is_some(),
        phase,
        pods::is_ready(pod),
        deletion_cost(pod),
        Reverse(crowd),
        pods::ready_since(pod).map_or(-1, |since| magnitude(since, now)),
        Reverse(restarts(pod)),
        created.map_or(-1, |created| magnitude(created, now)),
        pod.metadata.uid.clone().unwrap_or_default(),
    )
}

/// The power of two of an age in nanoseconds; -1 if it is none.
fn magnitude(since: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(since).as_nanos();
    u128::try_from(age)
        .ok()
        .and_then(u128::checked_ilog2)
        .map_or(-1, i64::from)
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DELETION_COST));
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The most restarts of any container, sidecars included.
fn restarts(pod: &Pod) -> i32 {
    let Some(status) = &pod.status else { return 0 };
    let sidecar_names: Vec<&str> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .filter(|container| pods::is_sidecar(container))
        .map(|container| container.name.as_str())
        .collect();
    let containers = status.container_statuses.iter().flatten();
    let sidecars = status.init_container_statuses.iter().flatten();
    let sidecars = sidecars.filter(|status| sidecar_names.contains(&status.name.as_str()));
    containers
        .chain(sidecars)
        .map(|status| status.restart_count)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn time(seconds_ago: i64) -> String {
        Timestamp::from_second(NOW - seconds_ago).unwrap().to_string()
    }

    /// A running, ready pod of an hour, changed by `patch`.
    fn pod(uid: &str, patch: Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": { "uid": uid, "creationTimestamp": time(3600), "annotations": {} },
            "spec": { "nodeName": "n1", "containers": [] },
            "status": {
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": time(3600) }],
                "containerStatuses": [{ "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0 }],
            },
        });
        merge(&mut pod, patch);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn merge(target: &mut Value, patch: Value) {
        match patch {
            Value::Object(fields) if target.is_object() => {
                for (name, value) in fields {
                    merge(&mut target[name.as_str()], value);
                }
            }
            value => *target = value,
        }
    }

    fn ready_for(seconds: i64) -> Value {
        json!({ "status": { "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": time(seconds) }] } })
    }

    /// Each pair: the first is deleted before the second, although the uids say otherwise.
    #[test]
    fn each_criterion_decides_before_the_next() {
        let cost = |cost: &str| json!({ "metadata": { "annotations": { DELETION_COST: cost } } });
        let not_ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
        let restarted = json!({ "status": { "containerStatuses": [
            { "name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 3 }] } });
        let phase = |phase: &str| json!({ "status": { "phase": phase } });
        let young = json!({ "metadata": { "creationTimestamp": time(1) } });
        let cases = [
            (
                "unassigned",
                json!({ "spec": { "nodeName": null } }),
                phase("Pending"),
            ),
            ("pending", phase("Pending"), phase("Unknown")),
            ("unknown", phase("Unknown"), not_ready.clone()),
            ("not ready", not_ready, cost("-10")),
            ("cheap", cost("-10"), cost("0")),
            ("costs are numbers", cost("9"), cost("10")),
            ("ready for a short time", ready_for(1), restarted.clone()),
            ("restarted", restarted, young.clone()),
            ("young", young, json!({})),
        ];
        for (name, first, second) in cases {
            let pods = vec![pod("a", second), pod("b", first)];
            let deleted = first_to_delete(pods, &[], 1, Timestamp::from_second(NOW).unwrap());
            assert_eq!(deleted[0].metadata.uid.as_deref(), Some("b"), "{name}");
        }
    }

    #[test]
    fn a_pod_on_a_crowded_node_goes_first() {
        let on = |uid: &str, node: &str| pod(uid, json!({ "spec": { "nodeName": node } }));
        let pods = vec![on("a", "n1"), on("b", "n2")];
        let siblings = vec![on("a", "n1"), on("b", "n2"), on("c", "n2")];
        let deleted = first_to_delete(pods, &siblings, 1, Timestamp::from_second(NOW).unwrap());
        assert_eq!(deleted[0].metadata.uid.as_deref(), Some("b"));
    }

    #[test]
    fn about_the_same_age_is_the_same_age() {
        let pods = vec![pod("b", ready_for(3500)), pod("a", ready_for(3600))];
        let deleted = first_to_delete(pods, &[], 1, Timestamp::from_second(NOW).unwrap());
        assert_eq!(deleted[0].metadata.uid.as_deref(), Some("a"));
    }
}
