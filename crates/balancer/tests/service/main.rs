//! A balancer on a real API server, in one process: Services and slices in, conditions, events and traffic out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod exposition;
mod metrics;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cluster::{COMING, Cluster, LEAVING, READY, Server, in_service, message};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// One exchange; the name that the server gives.
fn get(client: &mut TcpStream) -> String {
    client.write_all(GET).unwrap();
    read_answer(client)
}

fn read_answer(client: &mut TcpStream) -> String {
    let mut answer = vec![0; Server::answer("x").len()];
    client.read_exact(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.rsplit('\n').next().unwrap().to_owned()
}

fn connect(addr: std::net::SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_announced_routed_to_drained_and_withdrawn() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let service = cluster.service("web").await;
    let (a, b) = (Server::start("a"), Server::start("b"));
    let (pod_a, pod_b) = (cluster.pod("a", None).await, cluster.pod("b", None).await);
    cluster
        .slice("web", &[(&pod_a, &a, READY), (&pod_b, &b, COMING)])
        .await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("True", "Routed")))
        .await;
    assert_eq!(in_service(&cluster.get("b").await), None);

    let mut client = connect(service);
    assert_eq!(get(&mut client), "a");
    let status = balancer.status().await;
    let backend = status
        .backends
        .iter()
        .find(|backend| backend.pod.as_deref() == Some("default/a"))
        .unwrap();
    assert_eq!(backend.open, 1);

    // The rollout: b is ready, a is deleted.
    cluster
        .slice("web", &[(&pod_a, &a, READY), (&pod_b, &b, READY)])
        .await;
    cluster
        .until("b", |pod| in_service(pod) == Some(("True", "Routed")))
        .await;
    cluster.delete("a").await;
    cluster
        .slice("web", &[(&pod_a, &a, LEAVING), (&pod_b, &b, READY)])
        .await;
    let pod = cluster
        .until("a", |pod| in_service(pod) == Some(("False", "Drained")))
        .await;
    assert_eq!(message(&pod), "no connection is left: moved 1, finished 0, cut 0");
    assert_eq!(get(&mut client), "b");
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_pod_serves_until_another_is_ready() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let service = cluster.service("web").await;
    let (a, b) = (Server::start("a"), Server::start("b"));
    let (pod_a, pod_b) = (cluster.pod("a", None).await, cluster.pod("b", None).await);
    cluster
        .slice("web", &[(&pod_a, &a, READY), (&pod_b, &b, COMING)])
        .await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("True", "Routed")))
        .await;
    cluster.delete("a").await;
    cluster
        .slice("web", &[(&pod_a, &a, LEAVING), (&pod_b, &b, COMING)])
        .await;
    assert_eq!(get(&mut connect(service)), "a");
    cluster
        .slice("web", &[(&pod_a, &a, LEAVING), (&pod_b, &b, READY)])
        .await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("False", "Drained")))
        .await;
    assert_eq!(get(&mut connect(service)), "b");
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_balancer_carries_on() {
    let cluster = Cluster::start().await;
    let service = cluster.service("web").await;
    let a = Server::start("a");
    let pod_a = cluster.pod("a", Some("True")).await;
    cluster.pod("left", Some("True")).await;
    cluster.delete("left").await;
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    let balancer = cluster.balancer().await;
    cluster
        .until("left", |pod| in_service(pod) == Some(("False", "Drained")))
        .await;
    assert_eq!(get(&mut connect(service)), "a");
    // Not written again: the reason is still the one it was made with.
    assert_eq!(in_service(&cluster.get("a").await), Some(("True", "Made")));
    balancer.stop().await;
    assert!(TcpStream::connect(service).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_before_it_was_announced_is_withdrawn_and_never_routed_to() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    cluster.service("web").await;
    let a = Server::start("a");
    let pod_a = cluster.pod("a", None).await;
    cluster.delete("a").await;
    // The slice comes late and does not know of the deletion.
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("False", "Drained")))
        .await;
    assert!(
        balancer
            .status()
            .await
            .backends
            .iter()
            .all(|backend| backend.pod.is_none())
    );
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_gives_an_event_and_is_served_once_it_is_free() {
    let cluster = Cluster::start().await;
    let service = cluster.service("web").await;
    let taken = std::net::TcpListener::bind(service).unwrap();
    let balancer = cluster.balancer().await;
    let a = Server::start("a");
    let pod_a = cluster.pod("a", None).await;
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    let event = cluster.event("PortNotBound").await;
    assert!(event.contains("another program listens there"), "{event}");
    drop(taken);
    // Any change is a reason to try again; without one it takes a few seconds.
    cluster.service("other").await;
    balancer
        .until(|status| {
            status
                .listeners
                .iter()
                .all(|listener| listener.addr != service || listener.error.is_none())
        })
        .await;
    assert_eq!(get(&mut connect(service)), "a");
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_last_is_served_while_the_api_server_is_gone() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let service = cluster.service("web").await;
    let (a, b) = (Server::start("a"), Server::start("b"));
    let (pod_a, pod_b) = (cluster.pod("a", None).await, cluster.pod("b", None).await);
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    cluster
        .until("a", |pod| in_service(pod) == Some(("True", "Routed")))
        .await;
    let mut kept = connect(service);
    assert_eq!(get(&mut kept), "a");

    cluster.door.shut();
    // Meanwhile the world goes on, of which the balancer hears nothing.
    cluster.delete("a").await;
    cluster
        .slice("web", &[(&pod_a, &a, LEAVING), (&pod_b, &b, READY)])
        .await;
    let second = cluster.service("second").await;
    cluster.slice("second", &[]).await;
    for _ in 0..50 {
        assert_eq!(get(&mut connect(service)), "a");
        assert_eq!(get(&mut kept), "a");
    }
    assert_eq!(in_service(&cluster.get("b").await), None);
    assert!(
        TcpStream::connect(second).is_err(),
        "nobody has told the balancer"
    );

    cluster.door.open();
    cluster
        .until("a", |pod| in_service(pod) == Some(("False", "Drained")))
        .await;
    assert_eq!(get(&mut kept), "b");
    assert_eq!(get(&mut connect(service)), "b");
    balancer
        .until(|status| status.listeners.iter().any(|listener| listener.addr == second))
        .await;
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_addresses_of_others_are_complained_about_and_own_ones_served() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = std::net::IpAddr::from([127, 120, high, low]);
    let spec = serde_json::json!({"ports": [{"port": 8080}], "externalIPs": [own, "192.0.2.1"]});
    cluster.service_like("web", spec).await;
    let a = Server::start("a");
    let pod_a = cluster.pod("a", None).await;
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    let event = cluster.event("ExternalIPNotServed").await;
    assert!(event.contains("not 192.0.2.1;"), "{event}");
    cluster
        .until("a", |pod| in_service(pod) == Some(("True", "Routed")))
        .await;
    assert_eq!(get(&mut connect((own, 8080).into())), "a");
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_grace_is_over_is_withdrawn_and_its_cut_connections_are_told() {
    let cluster = Cluster::start().await;
    let balancer = cluster.balancer().await;
    let service = cluster.service("web").await;
    let (a, b) = (Server::start("a"), Server::start("b"));
    let (pod_a, pod_b) = (cluster.pod("a", None).await, cluster.pod("b", None).await);
    cluster.slice("web", &[(&pod_a, &a, READY)]).await;
    assert_eq!(
        cluster.event("InService").await,
        "The balancer routes connections to this pod"
    );
    let mut clients: Vec<_> = (0..3).map(|_| connect(service)).collect();
    for client in &mut clients {
        client.write_all(b"\0bytes").unwrap();
        assert_eq!(read_answer(client), "a");
    }
    cluster
        .slice("web", &[(&pod_a, &a, LEAVING), (&pod_b, &b, READY)])
        .await;
    cluster.delete_within("a", Some(3)).await;
    let pod = cluster
        .until("a", |pod| in_service(pod) == Some(("False", "GracePeriodOver")))
        .await;
    assert_eq!(
        message(&pod),
        "the grace period is nearly over and connections are left: they end with the pod"
    );
    drop(clients.pop());
    balancer
        .until(|status| status.backends.iter().any(|backend| backend.open == 2))
        .await;
    a.stop();
    assert_eq!(
        cluster.event("ConnectionsCut").await,
        "2 connections were cut: the pod ended or broke them before their clients were done"
    );
    assert_eq!(
        cluster.event("Drained").await,
        "No connection is left: moved 0, finished 1, cut 2"
    );
    drop(clients);
    balancer.stop().await;
}
