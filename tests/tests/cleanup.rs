//! What is left of a cluster after its end: nothing.

use std::fs;

use coracle_tests::{Cluster, Options, programs};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
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
    // What whoever starts it has open, as shells and build tools do, is not kept open by what goes on.
    let ours = tempfile::NamedTempFile::new().expect("a temporary file");
    fcntl(ours.as_file(), FcntlArg::F_SETFD(FdFlag::empty())).expect("a flag of our own file");
    let cluster = busy_with(Options {
        detached: true,
        ..Options::default()
    });
    cluster.kubectl().in_service("app=nginx");
    for process in cluster.processes() {
        let open = fs::read_dir(format!("/proc/{}/fd", process.pid))
            .into_iter()
            .flatten();
        let files = open.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        let leaked = files.filter(|file| file == ours.path()).count();
        assert_eq!(leaked, 0, "{process:?} has {} open", ours.path().display());
    }
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
