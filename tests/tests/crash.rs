//! The server is killed in the middle of a rollout: pods and traffic do not notice, and the rollout goes on afterwards.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use coracle_tests::pods::{self, Watch};
use coracle_tests::{Cluster, Traffic, http, programs};

/// Which processes the pods have, whatever they call themselves: pid and start time.
fn identities(cluster: &Cluster) -> BTreeSet<(i32, u64)> {
    let processes = cluster.pod_processes().into_iter();
    processes.map(|process| (process.pid, process.started)).collect()
}

#[test]
fn pods_and_traffic_outlive_the_server_and_the_rollout_finishes() {
    let mut cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml"));
    kubectl.rolled_out("nginx-deployment");
    kubectl.ok(&["expose", "deployment", "nginx-deployment"]);
    kubectl.in_service("app=nginx");
    let traffic = Traffic::gentle(http::cluster_ip(&kubectl, "nginx-deployment"));
    traffic.flows(50);

    let mut watch = Watch::start(&kubectl, "app=nginx");
    watch.until(|pods| pods.len() == 4, |_| {});
    kubectl.ok(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.8"]);
    watch.until(
        |pods| pods.iter().any(|pod| pod.available() && pod.image == "nginx:1.8"),
        |_| {},
    );
    cluster.crash();
    // A server that has just been started may be forking still.
    traffic.flows(100);
    let before = identities(&cluster);
    assert!(!before.is_empty(), "no pod is left");
    traffic.flows(400);
    assert_eq!(
        identities(&cluster),
        before,
        "pods changed while there was no server"
    );

    cluster.up();
    let kubectl = cluster.kubectl();
    kubectl.rolled_out("nginx-deployment");
    let pods = pods::list(&kubectl, "app=nginx");
    let current: Vec<_> = pods.iter().filter(|pod| !pod.terminating).collect();
    assert_eq!(current.len(), 4, "{pods:#?}");
    for pod in current {
        assert!(pod.image == "nginx:1.8" && pod.restarts == 0, "{pod:#?}");
    }
    traffic.flows(50);
    traffic.finish().assert_clean();
    cluster.stop();
}

#[test]
fn a_server_that_comes_back_takes_its_pods_over_as_they_are() {
    let mut cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml").replace("nginx:1.7.9", "webserver:1"));
    kubectl.rolled_out("nginx-deployment");
    let (pods, processes) = (pods::list(&kubectl, "app=nginx"), identities(&cluster));
    cluster.crash();
    cluster.up();
    let kubectl = cluster.kubectl();
    cluster.nodes_ready();
    kubectl.rolled_out("nginx-deployment");
    assert_eq!(pods::list(&kubectl, "app=nginx"), pods);
    assert_eq!(identities(&cluster), processes);
    cluster.stop();
}

/// Connections that a process has over Unix sockets: the server has one to each keeper.
fn unix_connections(pid: i32) -> usize {
    let output = Command::new("ss").args(["-xpH", "state", "connected"]).output();
    let output = output.expect("ss is installed");
    let mark = format!("pid={pid},");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| line.contains(&mark)).count()
}

/// `PODS=200` shows what was promised: under a second for 200 pods.
#[test]
fn many_pods_are_taken_over_at_once() {
    let pods: usize = match std::env::var("PODS") {
        Ok(pods) => pods.parse().expect("a number"),
        Err(_) => 50,
    };
    let mut cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    let example = programs::example("nginx-deployment.yaml").replace("nginx:1.7.9", "webserver:1");
    kubectl.apply(&example.replace("replicas: 4", &format!("replicas: {pods}")));
    kubectl.rolled_out("nginx-deployment");
    let (listed, processes) = (pods::list(&kubectl, "app=nginx"), identities(&cluster));
    assert_eq!(listed.len(), pods);
    cluster.crash();
    let begin = Instant::now();
    cluster.up();
    while unix_connections(cluster.server_pid()) < pods {
        // The machine may be busy with other things, hence no closer judgement; the figure is printed.
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "not all are taken over"
        );
    }
    println!("{pods} pods are taken over {:?} after the start", begin.elapsed());
    cluster.nodes_ready();
    assert_eq!(pods::list(&kubectl, "app=nginx"), listed);
    assert_eq!(identities(&cluster), processes);
    cluster.stop();
}
