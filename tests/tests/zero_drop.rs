//! No dropped request, whatever is done to a Deployment: wrk and the strict client judge, all at once.

use coracle_tests::{Cluster, Kubectl, Traffic, http, programs};

/// Everything that is done to a Deployment while traffic flows on a Service made by plain `kubectl expose`.
fn ordeal(from: &str, to: &str) {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml").replace("nginx:1.7.9", from));
    kubectl.rolled_out("nginx-deployment");
    kubectl.ok(&["expose", "deployment", "nginx-deployment"]);
    kubectl.in_service("app=nginx");
    let traffic = Traffic::start(http::cluster_ip(&kubectl, "nginx-deployment"));
    traffic.flows(100);

    kubectl.ok(&[
        "set",
        "image",
        "deployment/nginx-deployment",
        &format!("nginx={to}"),
    ]);
    kubectl.rolled_out("nginx-deployment");
    kubectl.ok(&["rollout", "undo", "deployment/nginx-deployment"]);
    kubectl.rolled_out("nginx-deployment");
    scale(&kubectl, 8);
    scale(&kubectl, 2);
    scale(&kubectl, 4);
    kubectl.ok(&["rollout", "restart", "deployment/nginx-deployment"]);
    kubectl.rolled_out("nginx-deployment");
    stall_and_undo(&kubectl, from);

    traffic.flows(100);
    let verdict = traffic.finish();
    let versions = verdict.strict[0].versions();
    assert_eq!(
        versions.keys().copied().collect::<Vec<_>>(),
        [from, to],
        "{versions:?}"
    );
    verdict.assert_clean();
    cluster.stop();
}

fn scale(kubectl: &Kubectl, replicas: u32) {
    kubectl.ok(&[
        "scale",
        "deployment/nginx-deployment",
        &format!("--replicas={replicas}"),
    ]);
    kubectl.rolled_out("nginx-deployment");
}

/// A rollout to an image that does not exist stalls and says so, while the old pods go on serving.
fn stall_and_undo(kubectl: &Kubectl, image: &str) {
    let deadline = r#"{"spec":{"progressDeadlineSeconds":5}}"#;
    kubectl.ok(&["patch", "deployment", "nginx-deployment", "-p", deadline]);
    kubectl.ok(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.161"]);
    let told = kubectl.fails(&[
        "rollout",
        "status",
        "deployment/nginx-deployment",
        "--timeout=60s",
    ]);
    assert_eq!(
        told,
        "error: deployment \"nginx-deployment\" exceeded its progress deadline\n"
    );
    let shown = kubectl.ok(&["get", "pods", "-l", "app=nginx"]);
    assert!(shown.contains("ImagePull"), "{shown}");
    kubectl.ok(&["rollout", "undo", "deployment/nginx-deployment"]);
    kubectl.rolled_out("nginx-deployment");
    let images = kubectl.ok(&[
        "get",
        "pods",
        "-l",
        "app=nginx",
        "-o",
        "jsonpath={.items[*].spec.containers[0].image}",
    ]);
    assert!(images.split(' ').all(|other| other == image), "{images}");
}

#[test]
fn nothing_is_dropped_with_nginx() {
    programs::find("nginx");
    ordeal("nginx:1.7.9", "nginx:1.8");
}

#[test]
fn nothing_is_dropped_with_the_stand_in() {
    ordeal("webserver:1", "webserver:2");
}
