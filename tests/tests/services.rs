//! The rest of a Service, by the real kubectl: external addresses, affinity, UDP, endpoints made by hand, and ports that
//! change under load.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coracle_tests::{Background, Cluster, Kubectl, Options, Traffic, http};
use serde_json::Value;

/// Pods of the stand-in, which name themselves in each answer.
fn web(name: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: server
        image: webserver:1
        ports: [{{name: http, containerPort: 80}}, {{name: other, containerPort: 81}}]
"#
    )
}

/// A cluster with two nodes, which is enough for what a Service does.
fn cluster() -> Cluster {
    Cluster::start_with(Options {
        nodes: 2,
        ..Options::default()
    })
}

/// The name of the pod that answers.
#[track_caller]
fn pod_at(address: SocketAddr) -> String {
    let answer = http::get(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    answer.headers["x-coracle-pod"].clone()
}

/// Waits until the objects of a watch make this true; each line is what `jsonpath` shows of one.
fn until(kubectl: &Kubectl, object: &[&str], jsonpath: &str, holds: impl Fn(&str) -> bool) -> String {
    let output = format!("jsonpath={jsonpath}{{\"\\n\"}}");
    let mut args = vec!["get"];
    args.extend_from_slice(object);
    args.extend_from_slice(&["-w", "-o", &output]);
    let mut watch = Background::start(&mut kubectl.command(&args));
    let lines = watch.wait_for_line(Duration::from_secs(60), |line| holds(line));
    lines.last().cloned().unwrap_or_default()
}

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

/// Answers each datagram with the pod's name and what it was, once it has started, which takes it a moment.
const ECHO: &str = r#"
import os, socket, time
time.sleep(0.5)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((os.environ["HOST"], int(os.environ["PORT"])))
while True:
    data, peer = sock.recvfrom(2048)
    sock.sendto(os.environ["POD_NAME"].encode() + b" " + data, peer)
"#;

/// Sends a datagram until an answer to it comes, as users of UDP do; the pod that answered.
fn ask(client: &UdpSocket, address: SocketAddr, question: &str) -> String {
    let patience = Duration::from_millis(500);
    let mut answers = (0..20).filter_map(|_| ask_once(client, address, question, patience));
    answers
        .next()
        .unwrap_or_else(|| panic!("no answer from {address}"))
}

/// Sends a datagram; the pod that answered, if one did.
fn ask_once(client: &UdpSocket, address: SocketAddr, question: &str, patience: Duration) -> Option<String> {
    client
        .set_read_timeout(Some(patience))
        .expect("a timeout above zero");
    client
        .send_to(question.as_bytes(), address)
        .expect("a datagram goes out");
    let mut bytes = [0; 2048];
    while let Ok((count, from)) = client.recv_from(&mut bytes) {
        assert_eq!(from, address, "the answer comes from where it was asked");
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if let Some((pod, said)) = text.split_once(' ')
            && said == question
        {
            return Some(pod.to_owned());
        }
    }
    None
}

/// Asks without a pause, each question once, until told to stop: all of them, and those without an answer.
fn ask_on(address: SocketAddr, stop: &AtomicBool) -> (u32, Vec<u32>) {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (mut asked, mut lost) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        if ask_once(&client, address, &asked.to_string(), Duration::from_secs(5)).is_none() {
            lost.push(asked);
        }
        asked += 1;
    }
    (asked, lost)
}

#[test]
fn datagrams_reach_pods_at_the_port_number_that_tcp_has_too_and_outlive_a_rollout() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let indented = ECHO.trim().replace('\n', "\n          ");
    kubectl.apply(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      containers:
      - name: echo
        image: host
        command:
        - python3
        - -c
        - |
          {indented}
        ports: [{{containerPort: 5300, protocol: UDP}}]
      - name: web
        image: webserver:1
        ports: [{{containerPort: 5301}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec:
  type: NodePort
  selector: {{app: echo}}
  ports:
  - {{name: udp, port: 5300, protocol: UDP}}
  - {{name: tcp, port: 5300, targetPort: 5301}}
"#
    ));
    kubectl.rolled_out("echo");
    kubectl.in_service("app=echo");
    let address = http::cluster_ip(&kubectl, "echo");
    let client = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let one = client();
    let pod = ask(&one, address, "first");
    assert_eq!(ask(&one, address, "second"), pod, "one session, one pod");
    let pods: BTreeSet<_> = (0..6).map(|_| ask(&client(), address, "hello")).collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    assert!(pod_at(address).starts_with("echo-"), "TCP at the same number");
    let node_port = http::node_port(&kubectl, "echo");
    assert!(pods.contains(&ask(&client(), node_port, "by node port")));
    assert!(pod_at(node_port).starts_with("echo-"), "and as node port");

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let asking = thread::spawn(move || ask_on(address, &stopped));
    kubectl.ok(&["rollout", "restart", "deployment/echo"]);
    kubectl.rolled_out("echo");
    stop.store(true, Ordering::Relaxed);
    let (asked, lost) = asking.join().unwrap();
    assert!(asked > 100 && lost.is_empty(), "{lost:?} of {asked} are lost");
    let after = ask(&one, address, "third");
    assert!(!pods.contains(&after), "the session has moved: {after}");
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

/// The pod that answers, once the balancer has heard of it.
fn served(address: SocketAddr) -> String {
    let answer = within_patience(|| http::get(address).ok());
    let answer = answer.unwrap_or_else(|| panic!("nobody answers at {address}"));
    answer.headers["x-coracle-pod"].clone()
}

/// Waits until a new connection is refused: reset without a byte, or not accepted.
fn refuses(address: SocketAddr) {
    let refused = within_patience(|| http::get(address).err());
    assert!(refused.is_some(), "{address} still answers");
}

/// What a client that asks again and again finds: a balancer tells nobody when it has heard of a change.
fn within_patience<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = ask();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        thread::yield_now();
    }
}

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
