//! What the balancer counts, seen by `coracle status` and by a scrape of its metrics.

use std::net::SocketAddr;

use coracle_tests::{Cluster, Traffic, http, pods};

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

/// The value of a series, named with its labels.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.trim().parse().expect("a number")
}

/// The cells of the line that begins with this name.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = lines.find(|cells| cells.first() == Some(&name));
    row.unwrap_or_else(|| panic!("no {name} in\n{table}"))
}

#[test]
fn traffic_is_seen_in_the_status_and_in_the_metrics() {
    let cluster = Cluster::start();
    let kubectl = cluster.kubectl();
    kubectl.apply(MANIFEST);
    kubectl.ok(&["expose", "deployment", "web", "--port", "8080"]);
    kubectl.rolled_out("web");
    kubectl.in_service("app=web");
    let traffic = Traffic::gentle(http::cluster_ip(&kubectl, "web"));
    traffic.flows(200);
    let data_dir = cluster.data_dir();
    let status = || {
        let status = cluster.run(&["status", "--data-dir", &data_dir.to_string_lossy()]);
        assert_eq!(status.code, Some(0), "{status:?}");
        status.stdout
    };
    let table = status();
    let url = row(&table, "metrics")[1];
    let address = url
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"));
    let address: SocketAddr = address.and_then(|address| address.parse().ok()).expect(url);
    assert!(address.ip().is_loopback());
    // The traffic has 400 requests a second, on this machine and whatever else it does.
    let rate = |cells: &[&str]| cells.last().and_then(|cell| cell.parse::<u64>().ok());
    let service = row(&table, "default/web:8080");
    assert!(rate(&service) > Some(0), "{table}");
    let mut rates = 0;
    for pod in pods::list(&kubectl, "app=web") {
        let cells = row(&table, &format!("default/{}", pod.name)).clone();
        assert_eq!(cells[3], "ready", "{table}");
        rates += rate(&cells).unwrap_or_default();
    }
    assert!(rates > 0, "{table}");

    let requests = r#"coracle_service_requests_total{namespace="default",service="web",port="8080"}"#;
    let scrape = || http::get_path(address, "/metrics").expect("a scrape").body;
    let before = value(&scrape(), requests);
    assert!(before > 0.0);
    kubectl.ok(&["rollout", "restart", "deployment/web"]);
    kubectl.rolled_out("web");
    let verdict = traffic.finish();
    verdict.assert_clean();
    let text = scrape();
    assert!(value(&text, requests) > before);
    assert_eq!(value(&text, requests), verdict.answered() as f64, "{text}");
    let moved = requests.replace("requests_total", "moved_connections_total");
    let cut = requests.replace("requests_total", "cut_connections_total");
    assert!(value(&text, &moved) > 0.0);
    assert_eq!(value(&text, &cut), 0.0);
    for pod in pods::list(&kubectl, "app=web") {
        assert!(text.contains(&format!("pod=\"{}\"", pod.name)), "{text}");
    }
    cluster.stop();
}
