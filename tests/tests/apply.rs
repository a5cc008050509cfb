//! Server-side apply with the real kubectl, the oldest and the newest: what it prints and how it ends.

use coracle_tests::{Cluster, Kubectl, Output, programs};
use serde_json::Value;

/// What kubectl says to every conflict, after the conflict itself.
const ADVICE: &str = "\
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
";

fn web(replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: {replicas}
  paused: true
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: 'webserver:1', ports: [{{containerPort: 8080}}]}}
"
    )
}

fn apply(kubectl: &Kubectl, flags: &[&str], manifest: &str) -> Output {
    let mut args = vec!["apply", "--server-side", "-f", "-"];
    args.extend(flags);
    kubectl.run_with_input(&args, manifest)
}

#[track_caller]
fn applied(kubectl: &Kubectl, flags: &[&str], manifest: &str, told: &str) {
    let output = apply(kubectl, flags, manifest);
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (Some(0), told),
        "{output:?}"
    );
}

/// The managers of an object: `kubectl Apply`.
fn managers(kubectl: &Kubectl) -> Vec<String> {
    let template =
        "-o=jsonpath={range .metadata.managedFields[*]}{.manager} {.operation} {.subresource}{\"\\n\"}{end}";
    let told = kubectl.ok(&["get", "deployment", "web", "--show-managed-fields", template]);
    told.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn applies_conflicts_and_owners_are_as_upstream_tells_them() {
    let cluster = Cluster::start();
    for program in programs::oldest_and_newest_kubectl() {
        let kubectl = cluster.kubectl().with_program(&program);
        // Writers without a field manager are called by their program.
        let name = program
            .file_name()
            .expect("a program has a name")
            .to_string_lossy()
            .into_owned();
        conflicts(&kubectl, &name);
        owners(&kubectl, &name);
        differences(&kubectl);
        from_client_side_apply(&kubectl);
        refusals(&kubectl);
    }
    cluster.stop();
}

fn conflicts(kubectl: &Kubectl, name: &str) {
    let done = "deployment.apps/web serverside-applied\n";
    let dry = "deployment.apps/web serverside-applied (server dry run)\n";
    applied(kubectl, &["--dry-run=server"], &web(2), dry);
    assert_eq!(
        kubectl.fails(&["get", "deployment", "web"]),
        "Error from server (NotFound): deployments.apps \"web\" not found\n"
    );
    applied(kubectl, &[], &web(2), done);
    applied(kubectl, &[], &web(2), done);
    kubectl.ok(&["scale", "deployment/web", "--replicas=1"]);
    let refused = apply(kubectl, &[], &web(2));
    assert_eq!(refused.code, Some(1));
    let conflict = format!(
        "error: Apply failed with 1 conflict: conflict with \"{name}\" with subresource \"scale\" using apps/v1: .spec.replicas\n"
    );
    assert_eq!(refused.stderr, conflict + ADVICE);
    applied(kubectl, &["--force-conflicts"], &web(2), done);
    let refused = apply(
        kubectl,
        &["--field-manager=other"],
        &web(5).replace("webserver:1", "webserver:2"),
    );
    let conflicts = "error: Apply failed with 2 conflicts: conflicts with \"kubectl\":\n- .spec.replicas\n- .spec.template.spec.containers[name=\"web\"].image\n";
    assert_eq!(
        (refused.code, refused.stderr),
        (Some(1), conflicts.to_owned() + ADVICE)
    );
    // The same values are owned together, and stay until nobody lists them.
    applied(kubectl, &["--field-manager=other"], &web(2), done);
    let fewer = web(2).replace("  replicas: 2\n", "");
    applied(kubectl, &[], &fewer, done);
    assert_eq!(
        kubectl.ok(&["get", "deploy", "web", "-o=jsonpath={.spec.replicas}"]),
        "2"
    );
}

fn owners(kubectl: &Kubectl, name: &str) {
    kubectl.ok(&["set", "env", "deployment/web", "A=1"]);
    kubectl.ok(&["annotate", "deployment/web", "note=x"]);
    let mut managers = managers(kubectl);
    managers.retain(|manager| !manager.ends_with("status"));
    managers.sort();
    let mut expected = vec![
        "kubectl Apply",
        "other Apply",
        "kubectl-set Update",
        "kubectl-annotate Update",
    ];
    expected.sort_unstable();
    assert_eq!(managers, expected, "{name}");
    // Hidden unless asked for.
    let shown = kubectl.ok(&["get", "deployment", "web", "-o", "yaml"]);
    assert!(!shown.contains("managedFields"), "{shown}");
    let shown = kubectl.ok(&["get", "deployment", "web", "-o", "yaml", "--show-managed-fields"]);
    assert!(
        shown.contains("  managedFields:\n  - apiVersion: apps/v1\n    fieldsType: FieldsV1\n"),
        "{shown}"
    );
    // The controller reports the status, and owns nothing else.
    let progressing = "--for=condition=Progressing=Unknown";
    kubectl.ok(&["wait", "deployment/web", progressing, "--timeout=30s"]);
    let object: Value = kubectl.json(&["deployment", "web", "--show-managed-fields"]);
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .expect("has entries");
    let controller = entries
        .iter()
        .find(|entry| entry["manager"] == "kube-controller-manager" && entry["subresource"] == "status");
    let fields = controller.expect("the controller wrote the status")["fieldsV1"]
        .as_object()
        .expect("has fields");
    assert!(
        fields.contains_key("f:status") && !fields.contains_key("f:spec"),
        "{fields:?}"
    );
}

fn differences(kubectl: &Kubectl) {
    let args = ["diff", "--server-side", "-f", "-"];
    let same = kubectl.run_with_input(&args, &web(2));
    assert_eq!((same.code, same.stdout.as_str()), (Some(0), ""), "{same:?}");
    let forced = ["diff", "--server-side", "--force-conflicts", "-f", "-"];
    let other = kubectl.run_with_input(&forced, &web(4));
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(
        other.stdout.contains("\n-  replicas: 2\n+  replicas: 4\n"),
        "{other:?}"
    );
    assert_eq!(
        kubectl.ok(&["get", "deploy", "web", "-o=jsonpath={.spec.replicas}"]),
        "2"
    );
    kubectl.ok(&["delete", "deployment", "web"]);
}

fn from_client_side_apply(kubectl: &Kubectl) {
    assert_eq!(kubectl.apply(&web(1)), "deployment.apps/web created\n");
    let told = kubectl.ok(&["apply", "view-last-applied", "deployment/web"]);
    assert!(told.contains("\n  replicas: 1\n"), "{told}");
    applied(kubectl, &[], &web(3), "deployment.apps/web serverside-applied\n");
    let mut managers = managers(kubectl);
    managers.retain(|manager| !manager.ends_with("status"));
    managers.sort();
    assert_eq!(managers, ["kubectl Apply", "kubectl-last-applied Apply"]);
    let told = kubectl.ok(&["apply", "view-last-applied", "deployment/web"]);
    assert!(told.contains("\n  replicas: 3\n"), "{told}");
    // And back again.
    assert_eq!(kubectl.apply(&web(2)), "deployment.apps/web configured\n");
    assert_eq!(
        kubectl.ok(&["get", "deploy", "web", "-o=jsonpath={.spec.replicas}"]),
        "2"
    );
    kubectl.ok(&["delete", "deployment", "web"]);
}

fn refusals(kubectl: &Kubectl) {
    let refused = apply(kubectl, &[], &web(1).replace("image:", "imag:"));
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.stderr,
        "Error from server: failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers[name=\"web\"].imag: field not declared in schema\n"
    );
    let refused = apply(
        kubectl,
        &[],
        &web(1).replace("matchLabels: {app: web}", "matchLabels: {app: x}"),
    );
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        refused.stderr,
        "The Deployment \"web\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`\n"
    );
}
