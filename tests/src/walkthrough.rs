//! The walkthrough that this project exists for, step by step, as a reader of the tutorial types it.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::pods::{self, Pod, Watch, addresses};
use crate::{Background, Kubectl, programs};

const PODS: &str = "app=nginx";

/// The header that `kubectl get pods -o wide` prints.
const COLUMNS: [&str; 9] = [
    "NAME",
    "READY",
    "STATUS",
    "RESTARTS",
    "AGE",
    "IP",
    "NODE",
    "NOMINATED NODE",
    "READINESS GATES",
];

/// Runs the whole walkthrough, and asserts what the tutorial shows. Leaves the Deployment at nginx:1.8.
pub fn run(kubectl: &Kubectl) {
    let bystanders = start_bystanders(kubectl);
    let old = first_version(kubectl);
    second_version(kubectl, &old);
    for before in bystanders {
        let after = pods::get(kubectl, &before.name);
        assert_eq!(
            after, before,
            "a pod that the Deployment does not own was touched"
        );
    }
}

/// Two pods that the Deployment does not own.
fn start_bystanders(kubectl: &Kubectl) -> Vec<Pod> {
    kubectl.ok(&["run", "kubernetes-bootcamp", "--image=webserver:1", "--port=8080"]);
    kubectl.ok(&["run", "nginx", "--image=nginx:1.7.9", "--port=80"]);
    let names = ["kubernetes-bootcamp", "nginx"];
    kubectl.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod",
        names[0],
        names[1],
        "--timeout=60s",
    ]);
    names.iter().map(|name| pods::get(kubectl, name)).collect()
}

/// Applies the manifest with nginx:1.7.9 and the Service, and checks what `kubectl get pods -o wide` shows.
fn first_version(kubectl: &Kubectl) -> Vec<Pod> {
    let applied = kubectl.apply(&programs::example("nginx-deployment.yaml"));
    assert_eq!(applied, "deployment.apps/nginx-deployment created\n");
    let applied = kubectl.apply(&programs::example("nginx-service.yaml"));
    assert_eq!(applied, "service/nginx created\n");
    kubectl.rolled_out("nginx-deployment");
    let shown = kubectl.ok(&["get", "pods", "-l", PODS, "-o", "wide"]);
    let mut lines = shown.lines();
    assert_eq!(cells(lines.next().unwrap_or_default()), COLUMNS, "{shown}");
    let rows: Vec<Vec<&str>> = lines.map(cells).collect();
    assert_eq!(rows.len(), 4, "{shown}");
    for row in &rows {
        assert!(row[0].starts_with("nginx-deployment-"), "{shown}");
        assert_eq!(row[1..4], ["1/1", "Running", "0"], "{shown}");
        assert!(row[5].starts_with("127."), "{shown}");
        assert!(row[6].starts_with("node-"), "{shown}");
        assert_eq!(row[7..], ["<none>", "<none>"], "{shown}");
    }
    let nodes: BTreeSet<&str> = rows.iter().map(|row| row[6]).collect();
    assert!(nodes.len() > 1, "the pods are not spread over the nodes: {shown}");
    let old = pods::list(kubectl, PODS);
    assert_generation(&old, "nginx:1.7.9");
    old
}

/// Applies the edited manifest, and checks that the pods are replaced one by one.
fn second_version(kubectl: &Kubectl, old: &[Pod]) {
    let mut watch = Watch::start(kubectl, PODS);
    watch.until(|pods| pods.len() == 4, |_| {});
    let args = ["get", "pods", "-l", PODS, "-o", "wide", "-w"];
    let mut table = Background::start(&mut kubectl.command(&args));
    table.wait_for_line(Duration::from_secs(30), |line| line.starts_with("NAME"));
    let applied = kubectl.apply(&programs::example("nginx-deployment-1.8.yaml"));
    assert_eq!(applied, "deployment.apps/nginx-deployment configured\n");
    kubectl.rolled_out("nginx-deployment");
    let replaced =
        |pods: &[&Pod]| pods.len() == 4 && pods.iter().all(|pod| pod.hash != old[0].hash && pod.ready);
    watch.until(replaced, |pods| {
        let available = pods.iter().filter(|pod| pod.available()).count();
        let standing = pods.iter().filter(|pod| !pod.terminating).count();
        assert!(available >= 3, "only {available} pods are available: {pods:#?}");
        assert!(standing <= 5, "{standing} pods at once: {pods:#?}");
    });
    watch.end();
    let new = pods::list(kubectl, PODS);
    assert_generation(&new, "nginx:1.8");
    assert_ne!(new[0].hash, old[0].hash);
    assert!(
        addresses(&new).is_disjoint(&addresses(old)),
        "an address was used again: {old:#?} {new:#?}"
    );
    let (_, lines) = table.end(Signal::SIGTERM);
    assert_table(&lines, &new[0].hash, &old[0].hash);
}

/// New pods went through ContainerCreating to Running, old ones through Terminating.
fn assert_table(lines: &[String], new: &str, old: &str) {
    let seen = |hash: &str, ready: &str, status: &str| {
        lines
            .iter()
            .map(|line| cells(line))
            .any(|row| row[0].contains(hash) && row[1] == ready && row[2] == status)
    };
    assert!(seen(new, "0/1", "ContainerCreating"), "{lines:#?}");
    assert!(seen(new, "1/1", "Running"), "{lines:#?}");
    assert!(seen(old, "1/1", "Terminating"), "{lines:#?}");
}

/// Four ready pods of one hash, each with an address of its own.
fn assert_generation(pods: &[Pod], image: &str) {
    assert_eq!(pods.len(), 4, "{pods:#?}");
    assert_eq!(addresses(pods).len(), 4, "{pods:#?}");
    for pod in pods {
        assert!(
            pod.available() && pod.restarts == 0 && pod.image == image,
            "{pod:#?}"
        );
        assert_eq!(pod.hash, pods[0].hash, "{pods:#?}");
        assert_eq!(
            pod.name,
            format!("nginx-deployment-{}{}", pod.hash, &pod.name[pod.name.len() - 6..])
        );
    }
}

/// A table's row: cells are two or more spaces apart.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect()
}
