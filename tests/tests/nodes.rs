//! A node's agent is stopped and started: its pods outlive it, and what users and controllers see is upstream's.

use std::collections::BTreeSet;

use coracle_tests::{Cluster, Kubectl, Options, Output, http, pods};

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 3\n  \
    selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      \
    - {name: server, image: 'webserver:1', ports: [{containerPort: 80}]}\n";

fn node(cluster: &Cluster, verb: &str, name: &str) -> Output {
    let folder = cluster.data_dir();
    cluster.run(&["node", verb, name, "--data-dir", &folder.to_string_lossy()])
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    assert_eq!(output.code, Some(1), "{output:?}");
    let told = &output.stderr;
    assert!(told.starts_with("error: ") && told.lines().count() == 1, "{told}");
    parts
        .iter()
        .for_each(|part| assert!(told.contains(part), "{part}: {told}"));
}

fn identities(cluster: &Cluster) -> BTreeSet<(i32, u64)> {
    let processes = cluster.pod_processes().into_iter();
    processes.map(|process| (process.pid, process.started)).collect()
}

fn wait(kubectl: &Kubectl, what: &str, condition: &str) {
    let condition = format!("--for={condition}");
    kubectl.ok(&["wait", &condition, what, "--timeout=90s"]);
}

#[test]
fn a_node_whose_agent_stops_becomes_not_ready_and_its_pods_go_on() {
    let cluster = Cluster::start_with(Options {
        node_grace: Some(14),
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    kubectl.apply(WEB);
    kubectl.rolled_out("web");
    kubectl.ok(&["expose", "deployment", "web"]);
    kubectl.in_service("app=web");
    let before = pods::list(&kubectl, "app=web");
    let processes = identities(&cluster);
    let pod = before.iter().find(|pod| pod.node == "node-2");
    let pod = &pod.expect("one pod a node").name;

    refused(
        &node(&cluster, "start", "node-2"),
        &["runs already", "coracle node stop node-2"],
    );
    refused(
        &node(&cluster, "stop", "node-9"),
        &["node-9", "node-1, node-2, node-3"],
    );
    let stopped = node(&cluster, "stop", "node-2");
    assert!(
        stopped.code == Some(0) && stopped.stdout.contains("stopped"),
        "{stopped:?}"
    );
    refused(&node(&cluster, "stop", "node-2"), &["stopped already"]);

    wait(&kubectl, "node/node-2", "condition=Ready=Unknown");
    wait(
        &kubectl,
        "node/node-2",
        "jsonpath={.spec.taints[?(@.effect==\"NoExecute\")].key}=node.kubernetes.io/unreachable",
    );
    wait(&kubectl, &format!("pod/{pod}"), "condition=Ready=False");
    let message = kubectl.ok(&[
        "get",
        "node",
        "node-2",
        "-o",
        "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}",
    ]);
    assert_eq!(message, "Kubelet stopped posting node status.");
    let told = kubectl.fails(&["logs", pod]);
    assert!(told.contains("node-2"), "{told}");
    assert_eq!(identities(&cluster), processes, "the processes go on");
    let answer = http::get(http::cluster_ip(&kubectl, "web")).expect("the others serve");
    assert_eq!(answer.status, 200);

    let started = node(&cluster, "start", "node-2");
    assert!(
        started.code == Some(0) && started.stdout.contains("started"),
        "{started:?}"
    );
    wait(&kubectl, "node/node-2", "condition=Ready");
    wait(&kubectl, &format!("pod/{pod}"), "condition=Ready");
    kubectl.ok(&["logs", pod]);
    assert_eq!(pods::list(&kubectl, "app=web"), before);
    assert_eq!(identities(&cluster), processes);
    cluster.stop();
}

#[test]
fn an_agent_that_is_stopped_stays_so_over_a_restart_and_then_does_what_it_missed() {
    let mut cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(WEB);
    kubectl.rolled_out("web");
    let before = pods::list(&kubectl, "app=web");
    let pod = before.iter().find(|pod| pod.node == "node-3");
    let pod = pod.expect("one pod a node").clone();
    assert_eq!(node(&cluster, "stop", "node-3").code, Some(0));
    // Until the node is NotReady, the replacement might be bound to it, and nobody would start it.
    kubectl.ok(&["cordon", "node-3"]);
    kubectl.ok(&["delete", "pod", &pod.name, "--wait=false"]);
    cluster.crash();
    refused(
        &node(&cluster, "start", "node-3"),
        &["does not run", "coracle up"],
    );
    cluster.up();
    let kubectl = cluster.kubectl();
    kubectl.rolled_out("web");
    let all = pods::list(&kubectl, "app=web");
    let missed = all.iter().find(|other| other.name == pod.name);
    assert!(
        missed.is_some_and(|pod| pod.terminating),
        "nobody ends it: {all:#?}"
    );
    assert_eq!(node(&cluster, "start", "node-3").code, Some(0));
    kubectl.ok(&["wait", "--for=delete", "pod", &pod.name, "--timeout=60s"]);
    cluster.stop();
}

#[test]
fn without_a_cluster_there_is_no_node() {
    let cluster = Cluster::start();
    let none = cluster.home().join("none").to_string_lossy().into_owned();
    let output = cluster.run(&["node", "stop", "node-1", "--data-dir", &none]);
    refused(&output, &["there is no cluster in", &none, "coracle up"]);
    cluster.stop();
}
