//! Names and paths that would lead out of where they belong: refused with upstream's words, or of no effect.

use std::fs;
use std::path::Path;

use coracle_tests::{Cluster, Kubectl, Options};

fn cluster() -> Cluster {
    Cluster::start_with(Options {
        nodes: 1,
        ..Options::default()
    })
}

fn pod(name: &str, container: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{terminationGracePeriodSeconds: 1, {spec}\n  \
         containers: [{{name: c, image: host, {container}}}]}}\n"
    )
}

fn ready(kubectl: &Kubectl, name: &str) {
    kubectl.ok(&[
        "wait",
        "--for=condition=Ready",
        &format!("pod/{name}"),
        "--timeout=60s",
    ]);
}

#[test]
fn paths_that_lead_out_are_refused_with_upstreams_words() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let mounted = |volume: &str, mount: &str| {
        let container = format!("volumeMounts: [{{name: v, mountPath: /v, {mount}}}]");
        kubectl.apply_fails(&pod(
            "p",
            &container,
            &format!("volumes: [{{name: v, {volume}}}],"),
        ))
    };
    let items = "items: [{key: k, path: ../../x}]";
    for (volume, mount, field, value) in [
        (
            &*format!("configMap: {{name: m, {items}}}"),
            "",
            "spec.volumes[0].configMap.items[0].path",
            "../../x",
        ),
        (
            &format!("secret: {{secretName: s, {items}}}"),
            "",
            "spec.volumes[0].secret.items[0].path",
            "../../x",
        ),
        (
            &format!("projected: {{sources: [{{secret: {{name: s, {items}}}}}]}}"),
            "",
            "spec.volumes[0].projected.sources[0].secret.items[0].path",
            "../../x",
        ),
        (
            "downwardAPI: {items: [{path: a/../../x, fieldRef: {fieldPath: metadata.name}}]}",
            "",
            "spec.volumes[0].downwardAPI.path",
            "a/../../x",
        ),
        (
            "hostPath: {path: /var/../etc}",
            "",
            "spec.volumes[0].hostPath.path",
            "/var/../etc",
        ),
        (
            "emptyDir: {}",
            "subPath: ../x",
            "spec.containers[0].volumeMounts.subPath",
            "../x",
        ),
    ] {
        assert_eq!(
            mounted(volume, mount),
            format!("The Pod \"p\" is invalid: {field}: Invalid value: \"{value}\": must not contain '..'\n")
        );
    }
    assert_eq!(
        mounted("emptyDir: {}", "subPath: /etc"),
        "The Pod \"p\" is invalid: spec.containers[0].volumeMounts.subPath: Invalid value: \"/etc\": must be a relative path\n"
    );
    for manifest in [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {../../x: evil}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: m}\nstringData: {../../x: evil}\n",
    ] {
        let told = kubectl.apply_fails(manifest);
        assert!(
            told.contains("data[../../x]: Invalid value: \"../../x\": a valid config key must consist of")
                && told.contains("data[../../x]: Invalid value: \"../../x\": must not start with '..'"),
            "{told}"
        );
    }
    for (from, field) in [
        ("name: c", "spec.containers[0].name"),
        ("name: p", "metadata.name"),
    ] {
        let manifest = pod("p", "", "").replace(
            &format!("{{{from}"),
            &format!("{{{}", from.replace(": ", ": ../")),
        );
        let told = kubectl.run_with_input(&["create", "-f", "-"], &manifest).stderr;
        let value = from.replace("name: ", "../");
        assert!(
            told.contains(&format!(
                "{field}: Invalid value: \"{value}\": a lowercase RFC 1123"
            )),
            "{told}"
        );
    }
    let namespace = kubectl.fails(&["create", "namespace", "../x"]);
    assert!(
        namespace.contains("metadata.name: Invalid value: \"../x\": a lowercase RFC 1123 label"),
        "{namespace}"
    );
    cluster.stop();
}

#[test]
fn names_in_requests_are_no_paths() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    // The uid names the pod's folder: it is never the user's.
    kubectl.apply(
        &pod("box", "command: [sh, -c, 'echo hello; exec sleep 1000']", "")
            .replace("{name: box}", "{name: box, uid: ../../../x}"),
    );
    ready(&kubectl, "box");
    let uid = kubectl.ok(&["get", "pod", "box", "-o", "jsonpath={.metadata.uid}"]);
    let folder = cluster.data_dir().join("nodes/node-1/pods");
    let found: Vec<_> = fs::read_dir(&folder)
        .expect("the pods' folder")
        .map(|pod| pod.expect("a pod").file_name())
        .collect();
    assert_eq!(found, [uid.as_str()]);

    for verb in [
        &["logs", "box", "-c"][..],
        &["attach", "box", "-c"],
        &["exec", "box", "-c"],
    ] {
        for container in ["../c", "c/../c", "/etc", ".."] {
            let mut words = verb.to_vec();
            words.extend([container, "--", "true"]);
            if verb[0] != "exec" {
                words.truncate(4);
            }
            let told = kubectl.fails(&words);
            let names = [
                format!("container {container} is not valid for pod box"),
                format!("container {container} not found in pod box"),
            ];
            assert!(names.iter().any(|name| told.contains(name)), "{words:?}: {told}");
        }
    }
    let agent = "/api/v1/nodes/node-1/proxy";
    assert_eq!(
        kubectl.ok(&["get", "--raw", &format!("{agent}/containerLogs/default/box/c")]),
        "hello\n"
    );
    for path in [
        "/logs/",
        "/logs/../../cluster.json",
        "/containerLogs/default/box/..",
        "/containerLogs/default/box/../c",
        "/containerLogs/default/box/..%2Fc",
        "/containerLogs/default/..%2Fdefault%2Fbox/c",
        "/containerLogs/../default/box/c",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/containerLogs/default/box/c%00",
    ] {
        let told = kubectl.fails(&["get", "--raw", &format!("{agent}{path}")]);
        assert!(
            told.contains("(NotFound)") || told.contains("(BadRequest)"),
            "{path}: {told}"
        );
    }
    for (name, image) in [
        ("up", "../../bin/sh:1"),
        ("absolute", "/bin/sh"),
        ("between", "a/../b"),
    ] {
        kubectl.apply(&pod(name, "", "").replace("image: host", &format!("image: {image}")));
        let told = kubectl.event(name, "InspectFailed");
        assert!(
            told.contains(&format!("couldn't parse image name \"{image}\"")),
            "{told}"
        );
        let data = cluster.data_dir().to_string_lossy().into_owned();
        let added = cluster.run(&["image", "add", "--data-dir", &data, image, "--", "true"]);
        assert_eq!(added.code, Some(1), "{added:?}");
        assert!(added.stderr.contains("is not an image name"), "{added:?}");
    }
    cluster.stop();
}

#[test]
fn what_a_pods_links_lead_to_outlives_the_pod() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let other = cluster.home().join("other");
    fs::create_dir(&other).expect("a folder in our own folder");
    fs::write(other.join("file"), "kept").expect("a file in our own folder");
    // Once it has run, a link is where the agent made a folder for the mount; it is to make it again.
    let script = format!(
        "ln -s {other} $CORACLE_VOLUME_V/way; rm -r v; ln -s {other} v; exit 1",
        other = other.display()
    );
    let container = format!("command: [sh, -c, '{script}'], volumeMounts: [{{name: v, mountPath: /v/new}}]");
    kubectl.apply(&pod("links", &container, "volumes: [{name: v, emptyDir: {}}],"));
    let told = kubectl.event("links", "Failed");
    assert!(told.contains("cannot write"), "{told}");
    assert_kept(&other);
    kubectl.ok(&["delete", "pod", "links", "--now"]);
    assert_kept(&other);
    cluster.stop();
}

#[track_caller]
fn assert_kept(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("a name").file_name())
        .collect();
    assert_eq!(names, ["file"]);
    assert_eq!(
        fs::read_to_string(folder.join("file")).expect("it is there"),
        "kept"
    );
}
