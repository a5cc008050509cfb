//! Whether a node is alive, and what its conditions and taints must say. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Conditions that an agent reports about its node.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Taints that repeat a condition: what is `True` keeps new pods away.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The status of a node's condition, if it has that condition.
pub fn status<'a>(node: &'a Node, type_: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let condition = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == type_);
    condition.map(|condition| condition.status.as_str())
}

/// The conditions of a node whose agent is silent: nothing is known. `None` if they say so already.
pub fn unknown(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let old = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut new = old.clone();
    for type_ in REPORTED {
        match new.iter_mut().find(|condition| condition.type_ == type_) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            None => new.push(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    (new != old).then_some(new)
}

/// The taints that a node must have: the user's own, and those that follow from its conditions. `None` if it has them.
pub fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let old = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match status(node, "Ready") {
        // A node that has just registered says nothing yet.
        Some("True") | None => {}
        Some("False") => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        _ => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    }
    let pressures = PRESSURES
        .iter()
        .filter(|(type_, _)| status(node, type_) == Some("True"));
    wanted.extend(pressures.map(|(_, key)| (*key, "NoSchedule")));
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut new: Vec<Taint> = old
        .iter()
        .filter(|taint| !is_managed(taint) || is_wanted(taint))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !new.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let time_added = Some(Time(now));
            new.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added,
                value: None,
            });
        }
    }
    (new != old).then_some(new)
}

/// Whether a taint is this controller's to set and take away.
fn is_managed(taint: &Taint) -> bool {
    [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
        || PRESSURES.iter().any(|(_, key)| *key == taint.key)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(ready: &str, patch: Value) -> Node {
        let mut node = json!({
            "metadata": { "name": "node-1" },
            "spec": {},
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        if let Value::Object(spec) = patch {
            node["spec"] = Value::Object(spec);
        }
        serde_json::from_value(node).unwrap()
    }

    fn names(taints: Option<Vec<Taint>>) -> Option<Vec<String>> {
        taints.map(|taints| {
            taints
                .iter()
                .map(|taint| format!("{}:{}", taint.key, taint.effect))
                .collect()
        })
    }

    #[test]
    fn taints_follow_from_conditions_and_cordon() {
        let now = Timestamp::UNIX_EPOCH;
        let own = json!({ "taints": [{ "key": "mine", "effect": "NoSchedule" }] });
        assert_eq!(names(taints(&node("True", own.clone()), now)), None);
        let unknown = names(taints(&node("Unknown", own), now)).unwrap();
        let expected = ["mine:NoSchedule", "node.kubernetes.io/unreachable:NoSchedule"];
        assert_eq!(unknown[..2], expected);
        assert_eq!(unknown[2], "node.kubernetes.io/unreachable:NoExecute");
        let cordoned = node("True", json!({ "unschedulable": true }));
        let expected = vec!["node.kubernetes.io/unschedulable:NoSchedule".to_owned()];
        assert_eq!(names(taints(&cordoned, now)), Some(expected));
        let uncordoned =
            json!({ "taints": [{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }] });
        assert_eq!(names(taints(&node("True", uncordoned), now)), Some(vec![]));
    }

    #[test]
    fn a_silent_node_is_unknown_once() {
        let mut node = node("True", json!({}));
        let conditions = unknown(&node, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(conditions[1].reason.as_deref(), Some("NodeStatusNeverUpdated"));
        node.status.as_mut().unwrap().conditions = Some(conditions);
        assert_eq!(unknown(&node, Timestamp::now()), None);
    }
}
