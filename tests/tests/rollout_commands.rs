//! The commands that a reader of the tutorial types next.

use coracle_tests::{Cluster, Kubectl, pods, programs};

const DEPLOYMENT: &str = "deployment/nginx-deployment";

fn set_image(kubectl: &Kubectl, image: &str) {
    let told = kubectl.ok(&["set", "image", DEPLOYMENT, &format!("nginx={image}")]);
    assert_eq!(told, "deployment.apps/nginx-deployment image updated\n");
    kubectl.rolled_out("nginx-deployment");
}

fn image(kubectl: &Kubectl) -> String {
    kubectl.ok(&[
        "get",
        DEPLOYMENT,
        "-o",
        "jsonpath={.spec.template.spec.containers[0].image}",
    ])
}

fn revisions(kubectl: &Kubectl) -> Vec<String> {
    let told = kubectl.ok(&["rollout", "history", DEPLOYMENT]);
    let rows = told
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().next());
    rows.map(str::to_owned).collect()
}

#[test]
fn a_deployment_is_updated_inspected_and_rolled_back() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("nginx-deployment.yaml").replace("nginx:1.7.9", "webserver:1"));
    kubectl.rolled_out("nginx-deployment");
    history_and_undo(&kubectl);
    pause_and_resume(&kubectl);
    restart(&kubectl);
    get_and_describe(&kubectl);
    logs_and_exec(&kubectl);
    delete(&kubectl);
    cluster.stop();
}

fn history_and_undo(kubectl: &Kubectl) {
    kubectl.ok(&["annotate", DEPLOYMENT, "kubernetes.io/change-cause=first"]);
    set_image(kubectl, "webserver:2");
    set_image(kubectl, "webserver:3");
    assert_eq!(revisions(kubectl), ["1", "2", "3"]);
    let told = kubectl.ok(&["rollout", "history", DEPLOYMENT]);
    assert!(told.starts_with("deployment.apps/nginx-deployment"), "{told}");
    assert!(
        told.contains("REVISION  CHANGE-CAUSE\n1         first\n"),
        "{told}"
    );
    let told = kubectl.ok(&["rollout", "history", DEPLOYMENT, "--revision=2"]);
    assert!(
        told.contains("with revision #2") && told.contains("webserver:2"),
        "{told}"
    );
    let told = kubectl.ok(&["rollout", "undo", DEPLOYMENT]);
    assert_eq!(told, "deployment.apps/nginx-deployment rolled back\n");
    kubectl.rolled_out("nginx-deployment");
    assert_eq!(
        (image(kubectl).as_str(), revisions(kubectl)),
        ("webserver:2", words("1 3 4"))
    );
    kubectl.ok(&["rollout", "undo", DEPLOYMENT, "--to-revision=1"]);
    kubectl.rolled_out("nginx-deployment");
    assert_eq!(
        (image(kubectl).as_str(), revisions(kubectl)),
        ("webserver:1", words("3 4 5"))
    );
    let told = kubectl.ok(&["rollout", "undo", DEPLOYMENT, "--to-revision=5"]);
    assert!(
        told.contains("skipped rollback (current template already matches revision 5)"),
        "{told}"
    );
}

fn pause_and_resume(kubectl: &Kubectl) {
    kubectl.ok(&["rollout", "pause", DEPLOYMENT]);
    kubectl.ok(&["set", "image", DEPLOYMENT, "nginx=webserver:9"]);
    let told = kubectl.fails(&["rollout", "undo", DEPLOYMENT]);
    assert!(told.contains("you cannot rollback a paused deployment"), "{told}");
    // Only the controller's answer to the change says that it has looked at it and let it be.
    kubectl.ok(&[
        "wait",
        DEPLOYMENT,
        "--for=jsonpath={.status.conditions[?(@.type==\"Progressing\")].reason}=DeploymentPaused",
        "--timeout=30s",
    ]);
    let pods = pods::list(kubectl, "app=nginx");
    assert!(pods.iter().all(|pod| pod.image == "webserver:1"), "{pods:#?}");
    kubectl.ok(&["rollout", "resume", DEPLOYMENT]);
    kubectl.rolled_out("nginx-deployment");
    assert_eq!(image(kubectl), "webserver:9");
}

fn restart(kubectl: &Kubectl) {
    let before = pods::list(kubectl, "app=nginx")[0].hash.clone();
    let told = kubectl.ok(&["rollout", "restart", DEPLOYMENT]);
    assert_eq!(told, "deployment.apps/nginx-deployment restarted\n");
    kubectl.rolled_out("nginx-deployment");
    let pods = pods::list(kubectl, "app=nginx");
    assert!(
        pods.iter().all(|pod| pod.terminating || pod.hash != before),
        "{pods:#?}"
    );
}

fn get_and_describe(kubectl: &Kubectl) {
    kubectl.ok(&[
        "expose",
        "deployment",
        "nginx-deployment",
        "--port=8080",
        "--target-port=80",
    ]);
    let shown = kubectl.ok(&["get", "deploy,rs,pods,svc,endpoints,endpointslices", "-o", "wide"]);
    for column in [
        "UP-TO-DATE",
        "AVAILABLE",
        "DESIRED",
        "CURRENT",
        "CLUSTER-IP",
        "NOMINATED NODE",
        "ENDPOINTS",
    ] {
        assert!(shown.contains(column), "{column}: {shown}");
    }
    let row = shown
        .lines()
        .find(|line| line.starts_with("deployment.apps/"))
        .unwrap_or_default();
    assert!(
        row.contains("4/4") && row.contains("webserver:9") && row.contains("app=nginx"),
        "{shown}"
    );
    let told = kubectl.ok(&["describe", DEPLOYMENT]);
    for line in [
        "StrategyType:",
        "RollingUpdate",
        "25% max unavailable, 25% max surge",
        "ScalingReplicaSet",
        "NewReplicaSet:",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let pod = &pods::list(kubectl, "app=nginx")[0].name;
    let told = kubectl.ok(&["describe", "pod", pod]);
    for line in [
        "Successfully assigned default/",
        "Scheduled",
        "Started",
        "Controlled By:",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    kubectl.ok(&["describe", "service", "nginx-deployment"]);
    let told = kubectl.ok(&["describe", "node", "node-1"]);
    assert!(told.contains("Ready") && told.contains("Allocatable:"), "{told}");
}

fn logs_and_exec(kubectl: &Kubectl) {
    let script = "echo hello from $POD_NAME; exec sleep 1000";
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: talker}}\nspec:\n  containers:\n  - name: c\n    image: host\n    \
         command: [sh, -c, '{script}']\n    env:\n    - name: POD_NAME\n      valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}\n"
    );
    kubectl.apply(&manifest);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"]);
    let mut logs = coracle_tests::Background::start(&mut kubectl.command(&["logs", "-f", "talker"]));
    logs.wait_for_line(std::time::Duration::from_secs(30), |line| {
        line == "hello from talker"
    });
    assert_eq!(kubectl.ok(&["logs", "talker", "--tail=1"]), "hello from talker\n");
    assert_eq!(
        kubectl.ok(&["exec", "talker", "--", "sh", "-c", "echo $POD_NAME"]),
        "talker\n"
    );
    let output = kubectl.run(&["exec", "talker", "--", "sh", "-c", "exit 7"]);
    assert_eq!(output.code, Some(7), "{output:?}");
    let told = kubectl.ok(&["delete", "pod", "talker", "--grace-period=1"]);
    assert!(told.starts_with("pod \"talker\" deleted"), "{told}");
}

fn delete(kubectl: &Kubectl) {
    let told = kubectl.ok(&["delete", DEPLOYMENT, "service/nginx-deployment"]);
    assert!(
        told.starts_with("deployment.apps \"nginx-deployment\" deleted"),
        "{told}"
    );
    kubectl.ok(&["wait", "--for=delete", "pod", "-l", "app=nginx", "--timeout=60s"]);
    let left = kubectl.json(&["rs,pods,endpoints,endpointslices", "-l", "app=nginx"]);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{left:#}");
    let told = kubectl.fails(&["get", DEPLOYMENT]);
    assert_eq!(
        told,
        "Error from server (NotFound): deployments.apps \"nginx-deployment\" not found\n"
    );
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_program_of_ones_own_runs_from_the_example() {
    programs::find("python3");
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(&programs::example("own-program.yaml"));
    kubectl.rolled_out("hello");
    kubectl.in_service("app=hello");
    let answer =
        coracle_tests::http::get(coracle_tests::http::node_port(&kubectl, "hello")).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    cluster.stop();
}

#[test]
fn a_pod_that_fits_nowhere_says_why() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["cordon", "node-1"]);
    kubectl.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: huge}\nspec:\n  containers:\n  - name: c\n    image: webserver:1\n    \
         resources: {requests: {cpu: '10000'}}\n",
    );
    let told = kubectl.event("huge", "FailedScheduling");
    let start = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. \
                 no new claims to deallocate, preemption: 0/3 nodes are available: ";
    assert!(told.starts_with(start), "{told}");
    let shown = kubectl.ok(&["get", "pod", "huge"]);
    assert!(shown.contains("Pending"), "{shown}");
    kubectl.ok(&["delete", "pod", "huge"]);
    cluster.stop();
}
