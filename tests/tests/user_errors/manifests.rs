//! Manifests that are refused, by kubectl and by our own `apply`, and pods that cannot run.

use std::fs;

use coracle_tests::{Output, User};

use crate::{Told, cluster, pod, refused};

#[test]
fn manifests_that_cannot_be() {
    let cluster = cluster(User::Same);
    let kubectl = cluster.kubectl();
    let mut told = Told::default();
    let kubeconfig = cluster.kubeconfig();
    let apply = |manifest: &str| -> Output {
        let file = cluster.home().join("pod.yaml");
        fs::write(file, manifest).expect("our own folder");
        let mut command = cluster.coracle(&["apply", "-f", "pod.yaml"]);
        command
            .env("KUBECONFIG", &kubeconfig)
            .output()
            .expect("coracle runs")
            .into()
    };
    let good = pod("a", "image: webserver");
    let syntax = good.replace("kind: Pod", "kind: Pod: x");
    told.error(
        &apply(&syntax),
        1,
        "error parsing pod.yaml: mapping values are not allowed in this context at line 2 column 10",
    );
    told.text(
        &kubectl.apply_fails(&syntax),
        "error: error parsing STDIN: error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context\n",
    );
    for (from, to, why) in [
        (
            "restartPolicy",
            "restart",
            "strict decoding error: unknown field \"spec.restart\"",
        ),
        (
            "image: webserver",
            "image: [webserver]",
            "json: cannot unmarshal array into Go struct field Container.spec.containers.image of type string",
        ),
    ] {
        let manifest = good.replace(from, to);
        let sentence = |file: &str| {
            format!(
                "Error from server (BadRequest): error when creating \"{file}\": Pod in version \"v1\" cannot be handled as a \
                 Pod: {why}\n"
            )
        };
        let own = apply(&manifest);
        told.compare(
            (own.code, &own.stdout, &own.stderr),
            (Some(1), "", &sentence("pod.yaml")),
        );
        told.text(&kubectl.apply_fails(&manifest), &sentence("STDIN"));
    }
    told.error(
        &apply(&good.replace("kind: Pod", "kind: Pot")),
        1,
        "resource mapping not found for name: \"a\" namespace: \"\" from \"pod.yaml\": no matches for kind \"Pot\" in version \
         \"v1\"",
    );
    for (name, container, sentence) in [
        (
            "no-program",
            "image: host, command: [no-such-program]",
            "Error: exec: \"no-such-program\": executable file not found in $PATH",
        ),
        (
            "no-file",
            "image: host, command: [/no/such/file]",
            "Error: exec: \"/no/such/file\": stat /no/such/file: no such file or directory",
        ),
        ("no-command", "image: host", "Error: no command specified"),
        (
            "no-image",
            "image: 'no-such-image:1'",
            "Failed to pull image \"no-such-image:1\": image \"no-such-image:1\" is not in the image catalogue: add it with \
             `coracle image add no-such-image:1 -- PROGRAM ARGS...`",
        ),
        (
            "no-release",
            "image: 'nginx:1.161'",
            "Failed to pull image \"nginx:1.161\": there is no image \"nginx:1.161\": nginx has released no such version (to run \
             a program of yours under this name, add it with `coracle image add nginx:1.161 -- PROGRAM ARGS...`)",
        ),
    ] {
        told.text(&refused(&kubectl, name, container), sentence);
    }
    cluster.stop();
    told.as_expected();
}
