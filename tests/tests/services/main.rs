//! The rest of a Service, by the real kubectl: external addresses, affinity, UDP, endpoints made by hand, and ports that
//! change under load.

mod addresses;
mod changes;
mod datagrams;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use coracle_tests::{Background, Cluster, Kubectl, Options, http};

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
