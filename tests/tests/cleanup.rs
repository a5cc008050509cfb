//! What is left of a cluster after its end: nothing.

use coracle_tests::processes::marked;
use coracle_tests::{Cluster, programs};

fn busy() -> Cluster {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml"));
    kubectl.apply(&programs::example("nginx-service.yaml"));
    kubectl.rolled_out("nginx-deployment");
    assert!(!cluster.pod_processes().is_empty());
    cluster
}

#[test]
fn nothing_is_left_after_down() {
    busy().stop();
}

#[test]
fn nothing_runs_after_ctrl_c_and_down_removes_the_rest() {
    let mut cluster = busy();
    cluster.interrupt();
    let left = cluster.processes();
    assert!(left.is_empty(), "processes left behind: {left:#?}");
    cluster.stop();
}

#[test]
fn down_ends_what_a_crashed_server_left() {
    let mut cluster = busy();
    cluster.crash();
    assert!(!cluster.pod_processes().is_empty(), "pods outlive the server");
    cluster.stop();
}

#[test]
fn a_detached_cluster_goes_on_until_down() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_string_lossy().into_owned();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(programs::coracle());
        let output = command
            .args(arguments)
            .env("HOME", &path)
            .output()
            .expect("coracle runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (data, kubeconfig) = (format!("{path}/data"), format!("{path}/kubeconfig"));
    let up = [
        "up",
        "--detach",
        "--api-port",
        "0",
        "--data-dir",
        &data,
        "--kubeconfig",
        &kubeconfig,
    ];
    let told = run(&up);
    assert!(told.contains("https://127.0.0.1:"), "{told}");
    let told = run(&["status", "--data-dir", &data]);
    assert!(told.contains("node-1"), "{told}");
    run(&["down", "--data-dir", &data]);
    let left = marked(&[path]);
    assert!(left.is_empty(), "processes left behind: {left:#?}");
    assert_eq!(
        folder.path().read_dir().expect("our own folder").count(),
        0,
        "files left behind"
    );
}
