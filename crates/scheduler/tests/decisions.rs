//! Single decisions on small clusters, with the texts and the spreading that users know.
#![allow(clippy::unwrap_used, reason = "a manifest that does not parse fails its test")]

use std::sync::Arc;

use coracle_scheduler::{Cluster, NoFit, Wanted, pick};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

fn node(name: &str, spec: Value) -> Arc<Node> {
    let node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    });
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, spec: Value) -> Pod {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    let pod = json!({"metadata": {"namespace": "default", "name": name, "uid": name, "labels": {"app": "web"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]},
        "spec": spec});
    serde_json::from_value(pod).unwrap()
}

fn cluster(nodes: impl IntoIterator<Item = Arc<Node>>) -> Cluster {
    let mut cluster = Cluster::default();
    nodes.into_iter().for_each(|node| cluster.set_node(node));
    cluster
}

fn three() -> Cluster {
    cluster(["node-1", "node-2", "node-3"].map(|name| node(name, json!({}))))
}

/// Decides and lets the pod count.
fn place(cluster: &mut Cluster, pod: Pod) -> Result<String, NoFit> {
    let name = pick(&Wanted::new(&pod, cluster), cluster)?.to_owned();
    cluster.assume(Arc::new(pod), &name);
    Ok(name)
}

fn place_all(cluster: &mut Cluster, count: usize, spec: &Value) -> Vec<usize> {
    let mut counts = vec![0; cluster.nodes().count()];
    for index in 0..count {
        let name = place(cluster, pod(&format!("p{index}"), spec.clone())).unwrap();
        counts[name.trim_start_matches("node-").parse::<usize>().unwrap() - 1] += 1;
    }
    counts
}

#[test]
fn the_pods_of_a_replica_set_are_spread() {
    assert_eq!(place_all(&mut three(), 4, &json!({})), [2, 1, 1]);
    assert_eq!(place_all(&mut three(), 9, &json!({})), [3, 3, 3]);
}

#[test]
fn a_soft_taint_is_avoided_while_others_have_room() {
    let tainted = json!({"taints": [{"key": "old", "effect": "PreferNoSchedule"}]});
    let mut cluster = cluster([
        node("node-1", tainted),
        node("node-2", json!({})),
        node("node-3", json!({})),
    ]);
    assert_eq!(place(&mut cluster, pod("a", json!({}))), Ok("node-2".to_owned()));
}

#[test]
fn an_unschedulable_pod_learns_why_of_every_node() {
    let big =
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "3", "memory": "1Gi"}}}]});
    let tainted = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    let cordoned = json!({"unschedulable": true});
    let mut cluster = cluster([
        node("node-1", tainted),
        node("node-2", cordoned),
        node("node-3", json!({})),
        node("node-4", json!({})),
    ]);
    let told = place(&mut cluster, pod("a", big)).unwrap_err().to_string();
    assert_eq!(
        told,
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, \
         2 Insufficient cpu. no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    );
}

#[test]
fn a_full_cluster_could_be_helped_by_preemption() {
    let half = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]});
    let mut cluster = three();
    place_all(&mut cluster, 3, &half);
    assert_eq!(
        place(&mut cluster, pod("late", half)).unwrap_err().to_string(),
        "0/3 nodes are available: 3 Insufficient cpu. \
         no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    );
    assert_eq!(
        pick(
            &Wanted::new(&pod("a", json!({})), &Cluster::default()),
            &Cluster::default()
        )
        .unwrap_err()
        .to_string(),
        "no nodes available to schedule pods"
    );
}

#[test]
fn a_host_port_is_used_once_a_node() {
    let spec = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}]}]});
    let mut cluster = three();
    assert_eq!(place_all(&mut cluster, 3, &spec), [1, 1, 1]);
    let told = place(&mut cluster, pod("late", spec)).unwrap_err().to_string();
    assert!(
        told.contains("3 node(s) didn't have free ports for the requested pod ports"),
        "{told}"
    );
}

#[test]
fn selectors_and_affinity_choose_nodes() {
    let mut cluster = three();
    let selector = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
    assert_eq!(place(&mut cluster, pod("a", selector)), Ok("node-2".to_owned()));
    let term = |operator: &str| json!([{"key": "kubernetes.io/hostname", "operator": operator, "values": ["node-1", "node-2"]}]);
    let affinity = |operator| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": term(operator)}]}}}})
    };
    assert_eq!(
        place(&mut cluster, pod("b", affinity("NotIn"))),
        Ok("node-3".to_owned())
    );
    assert_eq!(
        place(&mut cluster, pod("c", affinity("In"))),
        Ok("node-1".to_owned())
    );
    let told = place(&mut cluster, pod("d", json!({"nodeSelector": {"disk": "ssd"}})))
        .unwrap_err()
        .to_string();
    assert!(
        told.starts_with("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
        "{told}"
    );
}

#[test]
fn anti_affinity_keeps_pods_apart_and_affinity_together() {
    let term =
        json!([{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]);
    let apart =
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let together =
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let mut cluster = three();
    assert_eq!(place_all(&mut cluster, 3, &apart), [1, 1, 1]);
    let told = place(&mut cluster, pod("fourth", apart)).unwrap_err().to_string();
    assert!(
        told.contains("3 node(s) didn't match pod anti-affinity rules"),
        "{told}"
    );
    let told = place(&mut cluster, pod("plain", json!({})))
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("3 node(s) didn't satisfy existing pods anti-affinity rules"),
        "{told}"
    );
    let mut counts = place_all(&mut three(), 4, &together);
    counts.sort_unstable();
    assert_eq!(
        counts,
        [0, 0, 4],
        "the first may go anywhere, the others follow it"
    );
}

#[test]
fn preferred_affinity_draws_pods_together() {
    let term =
        json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"});
    let preferred = json!([{"weight": 100, "podAffinityTerm": term}]);
    let together =
        json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}});
    let mut counts = place_all(&mut three(), 4, &together);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 4]);
}

#[test]
fn a_hard_spread_constraint_bounds_the_skew() {
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let mut cluster = three();
    assert_eq!(place_all(&mut cluster, 4, &spread), [2, 1, 1]);
    // A cordoned node is still a domain, with one pod: the others may not get far ahead of it.
    cluster.set_node(node("node-3", json!({"unschedulable": true})));
    assert_eq!(
        place(&mut cluster, pod("x", spread.clone())),
        Ok("node-2".to_owned())
    );
    let told = place(&mut cluster, pod("y", spread)).unwrap_err().to_string();
    assert!(
        told.contains("2 node(s) didn't match pod topology spread constraints"),
        "{told}"
    );
}
