//! The walkthrough on a machine without kubectl: `coracle apply`, `get`, `set image`, `rollout`, `scale`, `logs`, `delete`.
//! kubectl is the judge: what both print of the same objects must be the same.

use coracle_tests::{Cluster, programs};

#[test]
fn the_walkthrough_runs_without_kubectl() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    let coracle = kubectl.with_program(&programs::coracle());
    let manifest = programs::example("nginx-deployment.yaml");

    assert_eq!(
        coracle.apply(&manifest),
        "deployment.apps/nginx-deployment created\n"
    );
    assert_eq!(
        coracle.apply(&manifest),
        "deployment.apps/nginx-deployment unchanged\n"
    );
    coracle.ok(&["rollout", "status", "deployment/nginx-deployment"]);
    assert_eq!(
        coracle.ok(&["set", "image", "deployment/nginx-deployment", "nginx=nginx:1.8"]),
        "deployment.apps/nginx-deployment image updated\n"
    );
    let status = coracle.ok(&["rollout", "status", "deployment/nginx-deployment"]);
    assert!(
        status.ends_with("deployment \"nginx-deployment\" successfully rolled out\n"),
        "{status}"
    );
    coracle.ok(&["rollout", "undo", "deployment/nginx-deployment"]);
    coracle.ok(&["rollout", "status", "deployment/nginx-deployment"]);
    coracle.ok(&["scale", "--replicas", "2", "deployment/nginx-deployment"]);
    coracle.ok(&["rollout", "status", "deployment/nginx-deployment"]);
    assert!(
        coracle
            .ok(&["logs", "deployment/nginx-deployment", "--tail", "1"])
            .lines()
            .count()
            <= 1
    );

    for question in [
        &["get", "deployments", "-o", "name"] as &[&str],
        &["get", "replicasets", "-l", "app=nginx", "-o", "name"],
        &["rollout", "history", "deployment/nginx-deployment"],
    ] {
        let (ours, theirs) = (coracle.ok(question), kubectl.ok(question));
        assert_eq!(ours, theirs, "{question:?}");
    }
    let heading = |table: String| {
        table
            .lines()
            .next()
            .map(str::split_whitespace)
            .map(Vec::from_iter)
            .map(|words| words.join(" "))
    };
    let wide = ["get", "pods", "-o", "wide"];
    assert_eq!(heading(coracle.ok(&wide)), heading(kubectl.ok(&wide)));
    assert_eq!(
        coracle.fails(&["get", "pod", "nobody"]),
        "Error from server (NotFound): pods \"nobody\" not found\n"
    );

    coracle.ok(&["delete", "deployment", "nginx-deployment"]);
    assert_eq!(kubectl.ok(&["get", "deployments", "-o", "name"]), "");
    cluster.stop();
}
