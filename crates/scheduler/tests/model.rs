//! Random pods on random nodes against a naive model: never overcommits, never ignores a filter, never gives up early.
#![allow(clippy::unwrap_used, reason = "a manifest that does not parse fails its test")]

use std::sync::Arc;

use coracle_scheduler::{Cluster, Wanted, pick};
use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
struct ANode {
    cpu: i64,
    pods: usize,
    cordoned: bool,
    tainted: bool,
    fast: bool,
}

#[derive(Clone, Debug)]
struct APod {
    cpu: i64,
    tolerates: bool,
    wants_fast: bool,
    host_port: Option<u16>,
}

fn a_node() -> impl Strategy<Value = ANode> {
    (
        500..3000_i64,
        0..5_usize,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        any::<bool>(),
    )
        .prop_map(|(cpu, pods, cordoned, tainted, fast)| ANode {
            cpu,
            pods,
            cordoned,
            tainted,
            fast,
        })
}

fn a_pod() -> impl Strategy<Value = APod> {
    (
        0..1500_i64,
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.3, 8080..8083_u16),
    )
        .prop_map(|(cpu, tolerates, wants_fast, host_port)| APod {
            cpu,
            tolerates,
            wants_fast,
            host_port,
        })
}

impl ANode {
    fn object(&self, index: usize) -> Arc<Node> {
        let taints = if self.tainted {
            json!([{"key": "k", "value": "v", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        let node = json!({
            "metadata": {"name": index.to_string(), "labels": {"fast": self.fast.to_string()}},
            "spec": {"unschedulable": self.cordoned, "taints": taints},
            "status": {"allocatable": {"cpu": format!("{}m", self.cpu), "memory": "64Gi", "pods": self.pods.to_string()}},
        });
        Arc::new(serde_json::from_value(node).unwrap())
    }
}

impl APod {
    fn object(&self, index: usize) -> Pod {
        let ports = self
            .host_port
            .map(|port| json!([{"containerPort": 80, "hostPort": port}]))
            .unwrap_or(json!([]));
        let container = json!({"name": "c", "ports": ports, "resources": {"requests": {"cpu": format!("{}m", self.cpu)}}});
        let mut spec = json!({"containers": [container]});
        if self.tolerates {
            spec["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
        }
        if self.wants_fast {
            spec["nodeSelector"] = json!({"fast": "true"});
        }
        let name = format!("p{index}");
        serde_json::from_value(
            json!({"metadata": {"namespace": "default", "name": name, "uid": name}, "spec": spec}),
        )
        .unwrap()
    }

    /// The model: may this pod be on this node beside these?
    fn fits(&self, node: &ANode, beside: &[&APod]) -> bool {
        let used: i64 = beside.iter().map(|pod| pod.cpu).sum();
        let port_taken = self.host_port.is_some() && beside.iter().any(|pod| pod.host_port == self.host_port);
        !node.cordoned
            && (!node.tainted || self.tolerates)
            && (!self.wants_fast || node.fast)
            && (self.cpu == 0 || used + self.cpu <= node.cpu)
            && beside.len() < node.pods
            && !port_taken
    }
}

proptest! {
    #[test]
    fn agrees_with_the_model(
        nodes in prop::collection::vec(a_node(), 0..5),
        pods in prop::collection::vec(a_pod(), 0..25),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut cluster = Cluster::default();
        for (index, node) in nodes.iter().enumerate() {
            cluster.set_node(node.object(index));
        }
        let mut placed: Vec<(usize, usize)> = Vec::new();
        let mut ends = ends.into_iter();
        for (index, pod) in pods.iter().enumerate() {
            let beside = |node: usize| -> Vec<&APod> {
                placed.iter().filter(|(_, at)| *at == node).map(|(pod, _)| &pods[*pod]).collect()
            };
            let possible: Vec<usize> = (0..nodes.len()).filter(|node| pod.fits(&nodes[*node], &beside(*node))).collect();
            let object = pod.object(index);
            let decision = pick(&Wanted::new(&object, &cluster), &cluster).map(str::to_owned);
            match decision {
                Ok(name) => {
                    let node: usize = name.parse().unwrap();
                    prop_assert!(possible.contains(&node), "{pod:?} does not fit {:?}", nodes[node]);
                    cluster.assume(Arc::new(object), &name);
                    placed.push((index, node));
                }
                Err(_) => prop_assert!(possible.is_empty(), "{pod:?} would fit {possible:?}"),
            }
            // Now and then a pod ends, and its room can be given away again.
            if index % 3 == 2 && !placed.is_empty() && let Some(end) = ends.next() {
                let (gone, _) = placed.remove(end.index(placed.len()));
                cluster.remove_pod(&informer::Key::new("default", format!("p{gone}")));
            }
        }
    }
}
