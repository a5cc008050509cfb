//! Datagrams: each client keeps its pod, and answers come from the Service's address.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

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
