//! Who answers at which address: load balancers, affinity, endpoints made by hand, pods that are not ready.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::*;

#[test]
fn a_load_balancer_has_an_external_address_as_long_as_it_is_one() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(&web("web", 1));
    kubectl.ok(&[
        "expose",
        "deployment",
        "web",
        "--type=LoadBalancer",
        "--port=8080",
        "--target-port=http",
    ]);
    let ip = until(
        &kubectl,
        &["service", "web"],
        "{.status.loadBalancer.ingress[0].ip}",
        |ip| !ip.is_empty(),
    );
    let address: IpAddr = ip.parse().unwrap();
    assert!(address.is_loopback(), "{address}");
    let shown = kubectl.ok(&["get", "service", "web", "--no-headers"]);
    assert_eq!(shown.split_whitespace().nth(3), Some(ip.as_str()), "{shown}");
    assert_eq!(
        kubectl.event("web", "EnsuredLoadBalancer"),
        "Ensured load balancer"
    );
    kubectl.rolled_out("web");
    kubectl.in_service("app=web");
    let external = SocketAddr::new(address, 8080);
    assert!(pod_at(external).starts_with("web-"));
    assert!(pod_at(http::node_port(&kubectl, "web")).starts_with("web-"));

    // A second one has another, and one that somebody else is to serve has none.
    kubectl.apply(
        "---\n{apiVersion: v1, kind: Service, metadata: {name: second}, spec: {type: LoadBalancer, ports: [{port: 1}]}}\n---\n\
         {apiVersion: v1, kind: Service, metadata: {name: theirs}, spec: {type: LoadBalancer, loadBalancerClass: x.io/y, ports: [{port: 1}]}}",
    );
    let second = until(
        &kubectl,
        &["service", "second"],
        "{.status.loadBalancer.ingress[0].ip}",
        |ip| !ip.is_empty(),
    );
    assert_ne!(second, ip);
    let theirs = kubectl.ok(&["get", "service", "theirs", "--no-headers"]);
    assert_eq!(theirs.split_whitespace().nth(3), Some("<pending>"), "{theirs}");

    kubectl.ok(&[
        "patch",
        "service",
        "web",
        "-p",
        r#"{"spec":{"type":"ClusterIP"}}"#,
    ]);
    assert_eq!(
        kubectl.event("web", "DeletedLoadBalancer"),
        "Deleted load balancer"
    );
    let shown = kubectl.ok(&["get", "service", "web", "--no-headers"]);
    assert_eq!(shown.split_whitespace().nth(3), Some("<none>"), "{shown}");
    assert!(pod_at(http::cluster_ip(&kubectl, "web")).starts_with("web-"));
    cluster.stop();
}

#[test]
fn a_client_with_affinity_keeps_its_pod_until_that_is_gone() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(&web("web", 3));
    kubectl.ok(&[
        "expose",
        "deployment",
        "web",
        "--port=8080",
        "--target-port=http",
        "--session-affinity=ClientIP",
    ]);
    let seconds = "jsonpath={.spec.sessionAffinityConfig.clientIP.timeoutSeconds}";
    assert_eq!(kubectl.ok(&["get", "service", "web", "-o", seconds]), "10800");
    let too_long = r#"{"spec":{"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":86401}}}}"#;
    let refused = kubectl.fails(&["patch", "service", "web", "-p", too_long]);
    assert!(
        refused.contains("must be greater than 0 and less than 86400"),
        "{refused}"
    );
    kubectl.rolled_out("web");
    kubectl.in_service("app=web");
    let address = http::cluster_ip(&kubectl, "web");
    let pods = |times: u32| (0..times).map(|_| pod_at(address)).collect::<BTreeSet<_>>();
    let mine = pods(30);
    assert_eq!(mine.len(), 1, "{mine:?}");
    kubectl.ok(&["scale", "deployment/web", "--replicas=5"]);
    kubectl.rolled_out("web");
    assert_eq!(pods(30), mine, "more pods take no client away");
    let pod = mine.first().unwrap();
    kubectl.ok(&["delete", "pod", pod]);
    let others = pods(30);
    assert!(others.len() == 1 && others != mine, "{others:?} after {mine:?}");
    cluster.stop();
}

#[test]
fn endpoints_made_by_hand_are_served() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(&web("web", 2));
    kubectl.rolled_out("web");
    kubectl.ok(&["expose", "deployment", "web", "--port=80", "--target-port=http"]);
    kubectl.in_service("app=web");
    // Real addresses of programs that the Services below know nothing about.
    let slices = kubectl.json(&["endpointslices", "-l", "kubernetes.io/service-name=web"]);
    let places: Vec<(String, u64)> = slices["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slice| {
            let ip = slice["endpoints"][0]["addresses"][0].as_str().unwrap();
            (ip.to_owned(), slice["ports"][0]["port"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(places.len(), 2, "{slices:#}");
    let mut manifest = String::from(
        "---\n{apiVersion: v1, kind: Service, metadata: {name: sliced}, spec: {ports: [{name: a, port: 8080}, {name: b, port: 8081}]}}\n",
    );
    for (at, (ip, port)) in places.iter().enumerate() {
        let name = ["a", "b"][at];
        manifest += &format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
             metadata: {{name: sliced-{name}, labels: {{kubernetes.io/service-name: sliced}}}}, \
             ports: [{{name: {name}, port: {port}}}], endpoints: [{{addresses: [{ip}]}}]}}\n"
        );
    }
    let (ip, port) = &places[0];
    manifest += &format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: mirrored}}, spec: {{ports: [{{port: 8080}}]}}}}\n\
         ---\n{{apiVersion: v1, kind: Endpoints, metadata: {{name: mirrored}}, \
         subsets: [{{addresses: [{{ip: {ip}}}], ports: [{{port: {port}}}]}}]}}\n"
    );
    kubectl.apply(&manifest);
    until(
        &kubectl,
        &[
            "endpointslices",
            "-l",
            "endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io",
        ],
        "{.metadata.labels['kubernetes\\.io/service-name']}",
        |name| name == "mirrored",
    );
    let sliced = http::cluster_ip(&kubectl, "sliced");
    let (a, b) = (served(sliced), served(SocketAddr::new(sliced.ip(), 8081)));
    assert_ne!(a, b, "each port has its own slice");
    assert_eq!(served(http::cluster_ip(&kubectl, "mirrored")), a);

    kubectl.ok(&["delete", "endpoints", "mirrored"]);
    refuses(http::cluster_ip(&kubectl, "mirrored"));
    cluster.stop();
}

#[test]
fn addresses_that_are_not_ready_are_published_and_names_are_data() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let never_ready = web("web", 1).replace(
        "        ports:",
        "        readinessProbe: {exec: {command: [\"false\"]}}\n        ports:",
    );
    kubectl.apply(&never_ready);
    kubectl.apply(
        "---\n{apiVersion: v1, kind: Service, metadata: {name: early}, spec: {publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 8080, targetPort: http}]}}\n---\n\
         {apiVersion: v1, kind: Service, metadata: {name: headless}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}\n---\n\
         {apiVersion: v1, kind: Service, metadata: {name: elsewhere}, spec: {type: ExternalName, externalName: example.com}}",
    );
    kubectl.ok(&[
        "wait",
        "--for=jsonpath={.status.containerStatuses[0].started}=true",
        "pod",
        "-l",
        "app=web",
        "--timeout=60s",
    ]);
    kubectl.in_service("app=web");
    assert!(served(http::cluster_ip(&kubectl, "early")).starts_with("web-"));
    let ready = kubectl.ok(&[
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.status.readyReplicas}",
    ]);
    assert_eq!(ready, "", "it is not ready all the same");
    let shown = kubectl.ok(&["get", "service", "elsewhere", "--no-headers"]);
    let cells: Vec<_> = shown.split_whitespace().take(4).collect();
    assert_eq!(cells, ["elsewhere", "ExternalName", "<none>", "example.com"]);
    let slices = kubectl.json(&["endpointslices", "-l", "kubernetes.io/service-name=headless"]);
    assert_eq!(
        slices["items"][0]["endpoints"][0]["conditions"]["ready"],
        Value::Bool(false)
    );
    cluster.stop();
}

#[test]
fn an_address_stays_with_the_service_that_was_given_it() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    kubectl.apply(&web("web", 1));
    kubectl.apply(&web("other", 1));
    kubectl.ok(&["expose", "deployment", "web", "--port=80"]);
    kubectl.rolled_out("web");
    let address = kubectl.ok(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    let address: SocketAddr = format!("{address}:80").parse().unwrap();
    let pod = served(address);
    // The first by name, and its pods are ready.
    kubectl.rolled_out("other");
    let claim = format!("--external-ip={}", address.ip());
    kubectl.ok(&["expose", "deployment", "other", "--name=a", "--port=80", &claim]);
    assert_eq!(
        kubectl.event("a", "PortNotBound"),
        format!("cannot listen on {address}: default/web:80 listens there; tried again every few seconds")
    );
    assert_eq!(pod_at(address), pod);
    cluster.stop();
}
