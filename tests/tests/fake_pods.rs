//! `coracle up --fake-pods`: pods that are Running and have no processes.

use coracle_tests::cluster::Options;
use coracle_tests::{Cluster, Kubectl};

/// Name and address of each pod.
fn pods(kubectl: &Kubectl) -> Vec<String> {
    let columns = "custom-columns=N:.metadata.name,P:.status.phase,I:.status.podIP";
    let table = kubectl.ok(&["get", "pods", "--no-headers", "-o", columns]);
    let mut pods: Vec<String> = table.lines().map(str::to_owned).collect();
    pods.sort_unstable();
    pods
}

#[test]
fn fake_pods_are_rolled_out_and_have_no_processes() {
    let mut cluster = Cluster::start_with(Options {
        fake_pods: true,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    // No such image is known here, and it does not matter.
    kubectl.ok(&[
        "create",
        "deployment",
        "web",
        "--image=no.such/image:1",
        "--replicas=60",
    ]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["set", "image", "deployment/web", "image=no.such/image:2"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&[
        "wait",
        "--for=jsonpath={.status.replicas}=60",
        "deployment/web",
        "--timeout=60s",
    ]);
    let before = pods(&kubectl);
    assert_eq!(before.len(), 60, "{before:#?}");
    let mut addresses: Vec<&str> = before
        .iter()
        .filter_map(|pod| pod.split_whitespace().nth(2))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 60, "each has an address of its own: {before:#?}");
    assert!(before.iter().all(|pod| pod.contains("Running")), "{before:#?}");
    assert!(cluster.pod_processes().is_empty());

    let logs = kubectl.run(&["logs", "deployment/web"]);
    assert_eq!(logs.code, Some(1), "{logs:?}");
    assert!(
        logs.stderr
            .contains("there are no processes: the cluster was started with --fake-pods"),
        "{logs:?}"
    );

    cluster.crash();
    cluster.up();
    assert_eq!(pods(&cluster.kubectl()), before, "they are as they were");
    let kubectl = cluster.kubectl();
    kubectl.ok(&["scale", "deployment/web", "--replicas=70"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let after = pods(&kubectl);
    let kept = before.iter().filter(|pod| after.contains(pod)).count();
    assert_eq!((kept, after.len()), (60, 70), "{after:#?}");
    cluster.stop();
}

#[test]
fn real_pods_are_not_left_to_an_agent_that_pretends() {
    let mut cluster = Cluster::start();
    cluster.interrupt();
    let data_dir = cluster.data_dir();
    let refused = cluster.run(&["up", "--fake-pods", "--data-dir", &data_dir.to_string_lossy()]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let expected = "the pods of this cluster are real: start one with fake pods with another --data-dir";
    assert!(refused.stderr.contains(expected), "{refused:?}");
    cluster.up();
    cluster.stop();
}
