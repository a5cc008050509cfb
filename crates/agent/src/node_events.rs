//! What the agent tells of its node, as events: that it started, what has changed in the node's conditions, and whether
//! new pods are kept away. Each is told when it changes, not when it is reported again.

use informer::Type;
use k8s_openapi::api::core::v1::{Node as NodeObject, NodeStatus, ObjectReference};

use crate::node::Node;

/// What has been told so far.
pub struct Events<'a> {
    node: &'a Node,
    is_cordoned: bool,
}

impl<'a> Events<'a> {
    /// Tells that the agent starts.
    pub fn start(node: &'a Node) -> Self {
        let events = Self {
            node,
            is_cordoned: false,
        };
        events.tell("Starting", "Starting kubelet.");
        events
    }

    /// Tells how the conditions have changed.
    pub fn conditions(&self, before: Option<&NodeStatus>, now: &NodeStatus) {
        for reason in changed(before, now) {
            self.status_is(&reason);
        }
    }

    /// Tells whether the node has been cordoned or uncordoned.
    pub fn scheduling(&mut self, node: &NodeObject) {
        let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        if self.is_cordoned != is_cordoned {
            self.is_cordoned = is_cordoned;
            self.status_is(if is_cordoned {
                "NodeNotSchedulable"
            } else {
                "NodeSchedulable"
            });
        }
    }

    fn status_is(&self, reason: &str) {
        let name = &self.node.config.node_name;
        self.tell(reason, &format!("Node {name} status is now: {reason}"));
    }

    fn tell(&self, reason: &str, message: &str) {
        let name = &self.node.config.node_name;
        // The name for the uid, as a kubelet has it: it tells of its node before there is an object.
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(name.clone()),
            uid: Some(name.clone()),
            ..ObjectReference::default()
        };
        self.node.recorder.event(&about, Type::Normal, reason, message);
    }
}

/// The reasons of the conditions whose status was another or none, as events have them.
fn changed(before: Option<&NodeStatus>, now: &NodeStatus) -> Vec<String> {
    let known: Vec<_> = before
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .collect();
    let conditions = now.conditions.iter().flatten();
    let news = conditions.filter(|new| {
        !known
            .iter()
            .any(|old| old.type_ == new.type_ && old.status == new.status)
    });
    let reasons = news.filter_map(|new| new.reason.as_deref()?.strip_prefix("Kubelet"));
    reasons.map(|reason| format!("Node{reason}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_is_told_when_its_status_changes() {
        let status = |memory: &str, ready: &str| -> NodeStatus {
            let conditions = json!([
                { "type": "MemoryPressure", "status": memory, "reason": "KubeletHasSufficientMemory" },
                { "type": "Ready", "status": ready, "reason": "KubeletReady" },
            ]);
            serde_json::from_value(json!({ "conditions": conditions })).unwrap()
        };
        let now = status("False", "True");
        let all = ["NodeHasSufficientMemory", "NodeReady"];
        assert_eq!(changed(None, &now), all);
        assert_eq!(changed(Some(&NodeStatus::default()), &now), all);
        assert_eq!(changed(Some(&status("False", "Unknown")), &now), all[1..]);
        assert!(changed(Some(&now), &now).is_empty());
    }
}
