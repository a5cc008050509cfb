//! `--pod-ports=declared`: a pod listens on its own address at exactly the port that it declares, as in Kubernetes.

use std::net::SocketAddr;

use coracle_tests::{Cluster, Options, http, pods};

const MANIFEST: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'webserver:1', ports: [{containerPort: 8080}]}
";

#[test]
fn pods_listen_where_they_declare() {
    let cluster = Cluster::start_with(Options {
        declared_ports: true,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    kubectl.apply(MANIFEST);
    kubectl.ok(&["expose", "deployment", "web", "--port", "8080"]);
    kubectl.rolled_out("web");
    for pod in pods::list(&kubectl, "app=web") {
        let address: SocketAddr = format!("{}:8080", pod.ip).parse().expect("an address");
        let answer = http::get(address).expect("the pod answers on its own address");
        assert_eq!(answer.headers["x-coracle-pod"], pod.name);
    }
    kubectl.in_service("app=web");
    let answer = http::get(http::cluster_ip(&kubectl, "web")).expect("the Service answers");
    assert_eq!(answer.status, 200);
    cluster.stop();
}
