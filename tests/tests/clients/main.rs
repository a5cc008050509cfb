//! What programs do through client libraries: every verb on every kind, an informer, exec, logs and port-forward, by the
//! official Python client, @kubernetes/client-node and kube-rs. `tests/clients` has the programs and the list of kinds.

mod kube_rs;

use std::process::Command;

use coracle_tests::{Cluster, programs};

/// Runs a program on a cluster of its own, and compares what it says of its parts.
fn passes(parts: &[&str], program: impl Fn(&Cluster) -> Command) {
    let cluster = Cluster::start();
    let mut command = program(&cluster);
    command.env("KUBECONFIG", cluster.kubeconfig());
    command.env("HOME", cluster.home()).current_dir(cluster.home());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{complained}");
    assert_eq!(said.lines().collect::<Vec<_>>(), parts, "{complained}");
    cluster.stop();
}

#[test]
fn the_python_client_does_everything() {
    let parts = [
        "kinds: 38",
        "typed: Deployment scaled and rolled",
        "streams: exec, port-forward, logs",
        "errors: as upstream's",
    ];
    passes(&parts, |cluster| {
        let mut command = programs::python_client();
        command.arg(programs::client("client.py"));
        command.arg(cluster.home().join("discovery"));
        command
    });
}

#[test]
fn the_javascript_client_does_everything() {
    let parts = [
        "kinds: 38",
        "informer: Deployment scaled",
        "streams: exec, port-forward, logs",
        "errors: as upstream's",
    ];
    passes(&parts, |_| {
        let mut command = Command::new(programs::find("node"));
        command.arg(programs::client("client.mjs"));
        command.arg(programs::node_library());
        command
    });
}

#[test]
fn informers_miss_nothing_when_history_is_compacted_and_the_server_crashes() {
    let output = Command::new(programs::beside("client-watch"))
        .arg("--short")
        .output()
        .expect("it is built");
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{complained}");
}
