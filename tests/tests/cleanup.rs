//! What is left of a cluster after its end: nothing.

use coracle_tests::{Cluster, Options, programs};
use nix::sys::signal::Signal;

fn busy() -> Cluster {
    busy_with(Options::default())
}

fn busy_with(options: Options) -> Cluster {
    let cluster = Cluster::start_with(options);
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
fn nothing_runs_after_ctrl_c_or_a_closed_terminal_and_down_removes_the_rest() {
    let mut cluster = busy();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM] {
        cluster.ask_to_end(signal);
        let left = cluster.processes();
        assert!(left.is_empty(), "processes left behind after {signal}: {left:#?}");
        cluster.up();
        cluster.kubectl().rolled_out("nginx-deployment");
    }
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
    let cluster = busy_with(Options {
        detached: true,
        ..Options::default()
    });
    cluster.kubectl().in_service("app=nginx");
    let status = cluster.run(&["status", "--data-dir", &cluster.data_dir().to_string_lossy()]);
    assert_eq!(status.code, Some(0), "{status:?}");
    for part in [
        "https://127.0.0.1:",
        "3 of 3 ready",
        "default/nginx",
        "nginx-deployment-",
    ] {
        assert!(status.stdout.contains(part), "{part}: {}", status.stdout);
    }
    cluster.stop();
}
