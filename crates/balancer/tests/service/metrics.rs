//! The counters, read as Prometheus reads them, and the status document.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::cluster::{Balancer, Cluster, LEAVING, PATIENCE, READY, Server, in_service};
use crate::exposition::Exposition;
use crate::{connect, get};

/// The answer to this request at the metrics' address: head and body.
fn ask(addr: SocketAddr, request: &str) -> (String, String) {
    let mut stream = connect(addr);
    write!(stream, "{request} HTTP/1.1\r\nHost: metrics\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

async fn address(balancer: &Balancer) -> SocketAddr {
    let listens = |metrics: &coracle_balancer::status::Metrics| metrics.addr.port() != 0;
    balancer
        .until(|status| status.metrics.as_ref().is_some_and(listens))
        .await;
    balancer.status().await.metrics.unwrap().addr
}

async fn scrape(addr: SocketAddr) -> Exposition {
    let (head, body) = tokio::task::spawn_blocking(move || ask(addr, "GET /metrics"))
        .await
        .unwrap();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    Exposition::read(&body)
}

/// Scrapes until this holds, which can only be asked for.
async fn scraped_until(addr: SocketAddr, holds: impl Fn(&Exposition) -> bool) -> Exposition {
    let mut turns = tokio::time::interval(Duration::from_millis(10));
    let asking = async {
        loop {
            let read = scrape(addr).await;
            if holds(&read) {
                return read;
            }
            turns.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("the counters in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_follow_the_traffic_and_sums_outlive_pods() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let metrics = address(&balancer).await;
    let service = cluster.service("web").await;
    let (a, b) = (Server::start("a"), Server::start("b"));
    let pod_a = cluster.pod("a", None).await;
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("True", "Routed")))
        .await;
    let mut client = connect(service);
    for _ in 0..3 {
        assert_eq!(get(&mut client), "a");
    }
    let web = [("namespace", "default"), ("service", "web"), ("port", "8080")];
    let address_a = a.addr.to_string();
    let at_a = [("pod", "a"), ("address", address_a.as_str())];
    let read = scrape(metrics).await;
    for (name, labels, expected) in [
        ("coracle_service_connections_total", &web[..], 1.0),
        ("coracle_service_open_connections", &web, 1.0),
        ("coracle_service_refused_connections_total", &web, 0.0),
        ("coracle_service_requests_total", &web, 3.0),
        ("coracle_service_response_seconds_count", &web, 3.0),
        ("coracle_endpoint_requests_total", &at_a, 3.0),
        ("coracle_endpoint_open_connections", &at_a, 1.0),
        ("coracle_endpoint_ready", &at_a, 1.0),
        ("coracle_balancer_connections", &[], 1.0),
        ("coracle_balancer_unbound_listeners", &[], 0.0),
    ] {
        assert_eq!(read.value(name, labels), Some(expected), "{name}");
    }
    assert!(read.value("process_resident_memory_bytes", &[]) > Some(0.0));

    // The rollout: the connection goes on at b, and a is gone.
    let pod_b = cluster.pod("b", None).await;
    cluster
        .slice("web", &[(&pod_a, &a, LEAVING), (&pod_b, &b, READY)])
        .await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("False", "Drained")))
        .await;
    let read = scrape(metrics).await;
    assert_eq!(read.value("coracle_endpoint_ready", &at_a), Some(0.0));
    assert_eq!(
        read.value("coracle_endpoint_moved_connections_total", &at_a),
        Some(1.0)
    );
    cluster.remove("a").await;
    assert_eq!(get(&mut client), "b");
    // The balancer hears of the pod's end when it does.
    let gone = |read: &Exposition| read.value("coracle_endpoint_requests_total", &at_a).is_none();
    let read = scraped_until(metrics, gone).await;
    for (name, labels, expected) in [
        ("coracle_endpoint_requests_total", &at_a[..], None),
        ("coracle_endpoint_requests_total", &[("pod", "b")], Some(1.0)),
        ("coracle_service_requests_total", &web, Some(4.0)),
        ("coracle_service_moved_connections_total", &web, Some(1.0)),
        ("coracle_service_cut_connections_total", &web, Some(0.0)),
        ("coracle_service_connections_total", &web, Some(1.0)),
    ] {
        assert_eq!(read.value(name, labels), expected, "{name}");
    }
    let status = balancer.status().await;
    let mut pods = status.backends.iter().filter(|backend| backend.pod.is_some());
    let backend = pods.next().unwrap();
    assert_eq!((backend.pod.as_deref(), backend.requests), (Some("default/b"), 1));
    assert_eq!(pods.next(), None);
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_scrape_is_told_so() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let metrics = address(&balancer).await;
    for (request, status, said) in [
        ("GET /", "404", "the metrics are at /metrics\n"),
        ("POST /metrics", "405", "only GET and HEAD\n"),
        ("HEAD /metrics", "200", ""),
    ] {
        let (head, body) = tokio::task::spawn_blocking(move || ask(metrics, request))
            .await
            .unwrap();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert_eq!(body, said, "{request}");
    }
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_keeps_no_scrape_waiting() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let metrics = address(&balancer).await;
    let mute: Vec<_> = (0..8).map(|_| TcpStream::connect(metrics).unwrap()).collect();
    scrape(metrics).await;
    drop(mute);
    balancer.stop().await;
}
