//! `coracle.dev/sandbox`: a pod that asks for it gets at its own files and the system's, and at nothing else.

use std::fs;

use coracle_tests::{Cluster, Kubectl, Options};

/// A pod that tries everything once, says what worked, and stays.
fn pod(kubectl: &Kubectl, name: &str, annotation: &str, script: &str) -> String {
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotation}}}}}\n\
         spec:\n  terminationGracePeriodSeconds: 1\n  volumes: [{{name: mine, emptyDir: {{}}}}]\n  containers:\n  \
         - name: c\n    image: host\n    volumeMounts: [{{name: mine, mountPath: /mine}}]\n    \
         command: [sh, -c, '({script}; echo end) 2>/dev/null; exec sleep 1000']\n"
    ));
    kubectl.ok(&[
        "wait",
        "--for=condition=Ready",
        &format!("pod/{name}"),
        "--timeout=60s",
    ]);
    let mut log = coracle_tests::Background::start(&mut kubectl.command(&["logs", "-f", name]));
    let lines = log.wait_for_line(std::time::Duration::from_secs(30), |line| line == "end");
    lines.join(" ")
}

#[test]
fn a_pod_in_a_sandbox_is_kept_in_it() {
    let cluster = Cluster::start_with(Options {
        nodes: 1,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    let outside = cluster.home().join("outside");
    fs::create_dir(&outside).expect("a folder in our own folder");
    fs::write(outside.join("secret"), "secret\n").expect("a file in our own folder");
    let place = outside.display();
    let key = cluster.data_dir().join("pki/ca.key");
    let script = |name: &str| {
        format!(
            "cat {place}/secret; echo x > {place}/{name} && echo wrote; ls {place} > /dev/null && echo listed; \
             head -c 0 {key} && echo key; echo x > own && echo own; echo x > mine/file && echo mine; \
             ln -s {place} way; cat way/secret; echo x > way/{name} && echo around; cat /etc/passwd > /dev/null && echo system",
            key = key.display()
        )
    };
    let free = pod(&kubectl, "free", "", &script("free"));
    assert_eq!(free, "secret wrote listed key own mine secret around system end");
    let kept = pod(&kubectl, "kept", "coracle.dev/sandbox: \"true\"", &script("kept"));
    let told = kubectl.ok(&[
        "get",
        "events",
        "--field-selector=involvedObject.name=kept,reason=NotEnforced",
        "-o=name",
    ]);
    if !told.is_empty() {
        eprintln!("skipped: this kernel has no Landlock");
        return cluster.stop();
    }
    assert_eq!(kept, "own mine system end");
    assert!(outside.join("free").exists() && !outside.join("kept").exists());

    // What kubectl runs in it is in it too, and what it copies.
    let refused = kubectl.fails(&["exec", "kept", "--", "cat", &format!("{place}/secret")]);
    assert!(refused.contains("Permission denied"), "{refused}");
    assert_eq!(kubectl.ok(&["exec", "kept", "--", "cat", "own"]), "x\n");
    let secret = outside.join("secret").to_string_lossy().into_owned();
    kubectl.fails(&["cp", &secret, &format!("kept:{place}/copied")]);
    assert!(!outside.join("copied").exists());
    kubectl.ok(&["cp", &secret, "kept:mine/copied"]);
    assert_eq!(
        kubectl.ok(&["exec", "kept", "--", "cat", "mine/copied"]),
        "secret\n"
    );
    kubectl.run(&["cp", &format!("kept:{secret}"), "back"]);
    assert!(!cluster.home().join("back").exists());

    kubectl.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: unsure, annotations: {coracle.dev/sandbox: 'yes'}}\n\
         spec: {containers: [{name: c, image: host, command: [sleep, '1000']}]}\n",
    );
    let told = kubectl.event("unsure", "Failed");
    assert!(
        told.contains("annotation coracle.dev/sandbox: \"yes\" is neither \"true\" nor \"false\""),
        "{told}"
    );
    cluster.stop();
}
