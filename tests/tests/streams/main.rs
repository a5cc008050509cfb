//! Commands, terminals, files, logs and ports through the real kubectl, of every version to be found: those up to 1.28
//! speak SPDY, 1.29 and 1.30 both, later ones WebSockets.

mod commands;
mod debug;
mod files;
mod ports;

use std::time::Duration;

use coracle_tests::{Cluster, Kubectl, Options};

const PATIENCE: Duration = Duration::from_secs(30);

fn cluster() -> Cluster {
    Cluster::start_with(Options {
        nodes: 1,
        ..Options::default()
    })
}

fn pod(kubectl: &Kubectl, name: &str, container: &str) {
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: c, image: host, {container}}}\n"
    ));
    kubectl.ok(&[
        "wait",
        "--for=condition=Ready",
        &format!("pod/{name}"),
        "--timeout=60s",
    ]);
}

fn shell(kubectl: &Kubectl, name: &str, script: &str) {
    pod(kubectl, name, &format!("command: [sh, -c, {script:?}]"));
}
