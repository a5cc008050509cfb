//! The loop against an API server that the test plays, with time that only moves when nobody has anything to do.
#![allow(
    clippy::unwrap_used,
    reason = "a played server that cannot play fails its test"
)]

mod api;

use std::time::Duration;

use api::Server;
use informer::Informer;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

fn node(revision: u32, cordoned: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "uid": "n1", "resourceVersion": revision.to_string()},
        "spec": {"unschedulable": cordoned},
        "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "110"}},
    })
}

fn pod(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["schedulerName"] = spec["schedulerName"]
        .as_str()
        .unwrap_or("default-scheduler")
        .into();
    spec["containers"] = json!([{"name": "c", "resources": {"requests": {"cpu": "600m"}}}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": spec,
        "status": {"phase": "Pending"},
    })
}

/// Starts the scheduler on a server with one node and these pods.
fn start(cordoned: bool, pods: Vec<Value>, refusals: usize) -> (Server, CancellationToken) {
    let (server, client) = Server::new(vec![node(1, cordoned)], pods, refusals);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let pods = Informer::<Pod>::start(Api::all(client.clone()), |_| Vec::new(), &tasks, stop.clone());
    let nodes = Informer::<Node>::start(Api::all(client.clone()), |_| Vec::new(), &tasks, stop.clone());
    tokio::spawn(coracle_scheduler::run(client, pods, nodes, stop.clone()));
    (server, stop)
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_and_the_event_says_so() {
    let (mut server, _stop) = start(false, vec![pod("a", json!({}))], 0);
    let binding = server.write("a/binding").await;
    assert_eq!(binding["target"]["name"], "n1");
    assert_eq!(binding["metadata"]["uid"], "a");
    let event = server.write("default/events").await;
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("Scheduled"), &json!("Normal"))
    );
    assert_eq!(event["message"], "Successfully assigned default/a to n1");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fits_nowhere_says_why_and_is_bound_when_it_fits() {
    let (mut server, _stop) = start(true, vec![pod("a", json!({}))], 0);
    let start = Instant::now();
    let patch = server.write("a/status").await;
    let condition = &patch["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"]),
        (&json!("PodScheduled"), &json!("False"))
    );
    assert_eq!(condition["reason"], "Unschedulable");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable. "),
        "{message}"
    );
    server.send("nodes", "MODIFIED", &node(2, false));
    server.write("a/binding").await;
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "the back-off was cut short"
    );
}

#[tokio::test(start_paused = true)]
async fn room_counts_from_the_decision_on_and_comes_back_with_a_deletion() {
    let (a, b) = (pod("a", json!({})), pod("b", json!({})));
    let (mut server, _stop) = start(false, vec![a.clone(), b], 0);
    server.write("a/binding").await;
    server.write("b/status").await;
    let mut bound = a;
    bound["spec"]["nodeName"] = json!("n1");
    bound["metadata"]["resourceVersion"] = json!("2");
    server.send("pods", "MODIFIED", &bound);
    server.send("pods", "DELETED", &bound);
    server.write("b/binding").await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_binding_is_tried_again() {
    let (mut server, _stop) = start(false, vec![pod("a", json!({}))], 2);
    for _ in 0..3 {
        server.write("a/binding").await;
    }
    assert_eq!(server.write("default/events").await["reason"], "Scheduled");
}

#[tokio::test(start_paused = true)]
async fn gated_pods_wait_and_those_of_others_are_left_alone() {
    let gated = pod("gated", json!({"schedulingGates": [{"name": "later"}]}));
    let other = pod("other", json!({"schedulerName": "somebody-else"}));
    let (mut server, _stop) = start(false, vec![gated, other], 0);
    let patch = server.write("gated/status").await;
    assert_eq!(patch["status"]["conditions"][0]["reason"], "SchedulingGated");
    tokio::time::advance(Duration::from_secs(400)).await;
    let targets = server.targets();
    assert!(
        !targets.iter().any(|target| target.ends_with("/binding")),
        "{targets:?}"
    );
}
