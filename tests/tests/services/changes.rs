//! What comes and goes while clients connect: pods, ports and selectors.

use coracle_tests::Traffic;

use super::*;

#[test]
fn without_pods_a_client_is_refused_at_once_and_with_one_coming_it_waits() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(&web("web", 1));
    kubectl.ok(&["expose", "deployment", "web", "--port=8080", "--target-port=http"]);
    kubectl.rolled_out("web");
    kubectl.in_service("app=web");
    let address = http::cluster_ip(&kubectl, "web");
    pod_at(address);
    kubectl.ok(&["scale", "deployment/web", "--replicas=0"]);
    kubectl.ok(&["wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s"]);
    let asked = Instant::now();
    assert!(http::get(address).is_err(), "nobody is there");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    kubectl.ok(&["scale", "deployment/web", "--replicas=1"]);
    let mut pods =
        Background::start(&mut kubectl.command(&["get", "pods", "-l", "app=web", "-w", "--no-headers"]));
    pods.wait_for_line(Duration::from_secs(30), |line| line.starts_with("web-"));
    // It exists and is not ready, or has just become so: whoever comes now waits for it.
    assert!(pod_at(address).starts_with("web-"));
    cluster.stop();
}

#[test]
fn ports_and_selectors_change_without_a_dropped_request() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(&web("blue", 2));
    kubectl.apply(&web("green", 2));
    kubectl.apply(
        "---\n{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: blue}, ports: [{name: web, port: 8080, targetPort: http}]}}",
    );
    kubectl.rolled_out("blue");
    kubectl.rolled_out("green");
    kubectl.in_service("app=blue");
    let address = http::cluster_ip(&kubectl, "web");
    let traffic = Traffic::gentle(address);
    traffic.flows(50);
    for (change, app) in [
        (
            r#"{"spec":{"ports":[{"name":"web","port":8080,"targetPort":"other"}]}}"#,
            "blue",
        ),
        (
            r#"{"spec":{"ports":[{"name":"web","port":8080,"targetPort":80}]}}"#,
            "blue",
        ),
        (r#"{"spec":{"selector":{"app":"green"}}}"#, "green"),
        (
            r#"{"spec":{"ports":[{"name":"web","port":8080,"targetPort":80},{"name":"more","port":8081,"targetPort":81}]}}"#,
            "green",
        ),
        (
            r#"{"spec":{"ports":[{"name":"renamed","port":8080,"targetPort":80}]}}"#,
            "green",
        ),
        (r#"{"spec":{"type":"NodePort"}}"#, "green"),
    ] {
        kubectl.ok(&["patch", "service", "web", "--type=merge", "-p", change]);
        traffic.flows(100);
        kubectl.in_service(&format!("app={app}"));
    }
    traffic.flows(100);
    assert!(served(address).starts_with("green-"));
    traffic.finish().assert_clean();
    cluster.stop();
}
