//! What programs do through client libraries: every verb on every kind, an informer, exec, logs and port-forward, by the
//! official Python client, @kubernetes/client-node and kube-rs. `tests/clients` has the programs and the list of kinds.

mod kube_rs;

use std::path::PathBuf;
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

/// A file of `tests/clients`.
fn file(name: &str) -> PathBuf {
    programs::repository().join("tests/clients").join(name)
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
        let mut command = Command::new(programs::find("python3"));
        command
            .arg(file("client.py"))
            .arg(cluster.home().join("discovery"));
        command.env("PYTHONPATH", programs::fetched("python"));
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
        command.arg(file("client.mjs"));
        command.arg(programs::fetched(
            "node_modules/@kubernetes/client-node/dist/index.js",
        ));
        command
    });
}
