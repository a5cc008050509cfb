//! What the scheduler knows: nodes, and the pods that are on them or are about to be.
//!
//! Flows in: changes of pods and nodes, and the scheduler's own decisions. Flows out: the state that decisions are made
//! on. A decision counts from the moment it is made (the pod is *assumed* to be there), so that the next decision does
//! not give the same room away again before the first one has come back through the informer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::pods::{is_finished, node_name};
use informer::Key;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::host_ports::{HostPort, host_ports};
use crate::requests::{Request, Resources, allocatable};

/// A node and what its pods take.
#[derive(Default)]
pub struct NodeState {
    /// `None`: pods name this node but it does not exist (yet, or any more).
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) allocatable: Resources,
    pub(crate) requested: Resources,
    /// Like `requested`, with what pods without requests are assumed to need.
    pub(crate) assumed: Resources,
    pub(crate) pods: BTreeMap<Key, Arc<Pod>>,
}

impl NodeState {
    /// The node's label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.node
            .as_ref()?
            .metadata
            .labels
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    /// Host ports that the node's pods use.
    pub(crate) fn host_ports(&self) -> impl Iterator<Item = HostPort<'_>> {
        self.pods.values().flat_map(|pod| host_ports(pod))
    }
}

struct Placed {
    node: String,
    pod: Arc<Pod>,
    request: Request,
    /// Decided here and not seen in the informer yet.
    assumed: bool,
}

/// Nodes and the pods on them.
#[derive(Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    placed: HashMap<Key, Placed>,
}

impl Cluster {
    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        let existing = self.nodes.iter().filter(|(_, state)| state.node.is_some());
        existing.map(|(name, state)| (name.as_str(), state))
    }

    /// All pods on nodes that exist, with the node.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (&NodeState, &Arc<Pod>)> {
        self.nodes()
            .flat_map(|(_, state)| state.pods.values().map(move |pod| (state, pod)))
    }

    /// A node was added or changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let state = self.nodes.entry(Key::of(&*node).name).or_default();
        state.allocatable = allocatable(&node);
        state.node = Some(node);
    }

    /// A node is gone; its pods may still be there.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(state) = self.nodes.get_mut(name) {
            state.node = None;
            self.drop_if_unused(name);
        }
    }

    /// A pod was added or changed, as the API says.
    pub fn set_pod(&mut self, pod: Arc<Pod>) {
        let key = Key::of(&*pod);
        match node_name(&pod) {
            Some(node) if !is_finished(&pod) => {
                let node = node.to_owned();
                self.place(key, node, pod, false);
            }
            None if self.is_assumed(&key, &pod) => {}
            _ => self.remove_pod(&key),
        }
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, key: &Key) {
        let Some(placed) = self.placed.remove(key) else {
            return;
        };
        if let Some(state) = self.nodes.get_mut(&placed.node) {
            state.pods.remove(key);
            state.requested.subtract(&placed.request.exact);
            state.assumed.subtract(&placed.request.assumed);
        }
        self.drop_if_unused(&placed.node);
    }

    /// The scheduler has decided: the pod counts on this node from now on.
    pub fn assume(&mut self, pod: Arc<Pod>, node: &str) {
        self.place(Key::of(&*pod), node.to_owned(), pod, true);
    }

    /// The decision could not be carried out. If it was after all, the informer has said or will say so.
    pub fn forget(&mut self, key: &Key) {
        if self.placed.get(key).is_some_and(|placed| placed.assumed) {
            self.remove_pod(key);
        }
    }

    /// Whether the pod is on a node or about to be.
    pub fn is_placed(&self, key: &Key) -> bool {
        self.placed.contains_key(key)
    }

    fn is_assumed(&self, key: &Key, pod: &Pod) -> bool {
        let placed = self.placed.get(key);
        placed.is_some_and(|placed| placed.assumed && placed.pod.metadata.uid == pod.metadata.uid)
    }

    fn place(&mut self, key: Key, node: String, pod: Arc<Pod>, assumed: bool) {
        self.remove_pod(&key);
        let request = Request::of(&pod);
        let state = self.nodes.entry(node.clone()).or_default();
        state.requested.add(&request.exact);
        state.assumed.add(&request.assumed);
        state.pods.insert(key.clone(), pod.clone());
        self.placed.insert(
            key,
            Placed {
                node,
                pod,
                request,
                assumed,
            },
        );
    }

    fn drop_if_unused(&mut self, name: &str) {
        if self
            .nodes
            .get(name)
            .is_some_and(|state| state.node.is_none() && state.pods.is_empty())
        {
            self.nodes.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, node: Option<&str>, phase: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"namespace": "default", "name": "a", "uid": uid},
            "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": phase},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn requested(cluster: &Cluster) -> i64 {
        cluster
            .nodes
            .get("n1")
            .map_or(0, |state| state.requested.get("cpu"))
    }

    #[test]
    fn an_assumed_pod_counts_until_the_api_says_otherwise() {
        let mut cluster = Cluster::default();
        cluster.assume(pod("1", None, "Pending"), "n1");
        cluster.set_pod(pod("1", None, "Pending"));
        assert_eq!(requested(&cluster), 1000, "an update from before the binding");
        cluster.set_pod(pod("1", Some("n1"), "Pending"));
        cluster.forget(&Key::new("default", "a"));
        assert_eq!(
            requested(&cluster),
            1000,
            "confirmed: no longer a mere assumption"
        );
        cluster.set_pod(pod("1", Some("n1"), "Succeeded"));
        assert_eq!(requested(&cluster), 0, "a finished pod takes nothing");
    }

    #[test]
    fn a_new_pod_of_the_same_name_is_not_assumed() {
        let mut cluster = Cluster::default();
        cluster.assume(pod("1", None, "Pending"), "n1");
        cluster.set_pod(pod("2", None, "Pending"));
        assert!(!cluster.is_placed(&Key::new("default", "a")));
        assert_eq!(requested(&cluster), 0);
    }

    #[test]
    fn a_failed_binding_gives_the_room_back() {
        let mut cluster = Cluster::default();
        cluster.assume(pod("1", None, "Pending"), "n1");
        cluster.forget(&Key::new("default", "a"));
        assert_eq!(requested(&cluster), 0);
    }
}
