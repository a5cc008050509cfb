//! A cluster is saved while it runs, removed, and made again from the backup: its objects and keys are the same, and its
//! Deployment runs.

use coracle_tests::{Cluster, pods, programs};

#[test]
fn a_removed_cluster_comes_back_from_its_backup() {
    let mut cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml").replace("nginx:1.7.9", "webserver:1"));
    kubectl.rolled_out("nginx-deployment");
    kubectl.ok(&[
        "create",
        "secret",
        "generic",
        "word",
        "--from-literal=word=sesame",
    ]);
    let secret = kubectl.json(&["secret", "word"]);
    let deployment = kubectl.json(&["deployment", "nginx-deployment"]);

    let backup = cluster.home().join("backup");
    let (backup, folder) = (backup.to_string_lossy(), cluster.data_dir());
    let data_dir = ["--data-dir", &folder.to_string_lossy()].map(str::to_owned);
    let run = |cluster: &Cluster, words: &[&str]| {
        let mut words = words.to_vec();
        words.extend(data_dir.iter().map(String::as_str));
        cluster.run(&words)
    };
    let saved = run(&cluster, &["backup", &backup]);
    assert_eq!(saved.code, Some(0), "{saved:?}");
    let again = run(&cluster, &["backup", &backup]);
    assert!(
        again.code == Some(1) && again.stderr.contains("exists already: choose another name"),
        "{again:?}"
    );
    let refused = run(&cluster, &["restore", &backup]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("already runs on"),
        "{refused:?}"
    );

    cluster.interrupt();
    let down = run(&cluster, &["down"]);
    assert_eq!(down.code, Some(0), "{down:?}");
    assert!(!cluster.data_dir().exists(), "the data folder is still there");
    let restored = run(&cluster, &["restore", &backup]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    cluster.up();
    let kubectl = cluster.kubectl();
    cluster.nodes_ready();
    assert_eq!(kubectl.json(&["secret", "word"]), secret);
    let now = kubectl.json(&["deployment", "nginx-deployment"]);
    assert_eq!(now["metadata"]["uid"], deployment["metadata"]["uid"]);
    assert_eq!(now["spec"], deployment["spec"]);
    kubectl.rolled_out("nginx-deployment");
    let pods = pods::list(&kubectl, "app=nginx");
    assert_eq!(pods.iter().filter(|pod| pod.available()).count(), 4, "{pods:#?}");
    cluster.stop();
}
