//! The walkthrough as a user without privileges.

use coracle_tests::{Cluster, Options, User, http, walkthrough};

#[test]
fn the_walkthrough_runs_without_privileges() {
    let cluster = Cluster::start_with(Options {
        user: User::Ordinary,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    walkthrough::run(&kubectl);
    let node_port = http::node_port(&kubectl, "nginx");
    // Port 80 is not for everybody: the Service says so, and works through its node port.
    if ports_below_1024_are_closed() {
        let told = kubectl.event("nginx", "PortNotBound");
        assert!(
            told.contains(":80") && told.contains(&node_port.to_string()),
            "{told}"
        );
    }
    let answer = http::get(node_port).expect("the node port answers");
    assert_eq!(
        (answer.status, answer.headers["x-coracle-image"].as_str()),
        (200, "nginx:1.8")
    );
    cluster.stop();
}

/// A machine may open low ports to everybody (ip(7), `ip_unprivileged_port_start`).
fn ports_below_1024_are_closed() -> bool {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    first.trim().parse().is_ok_and(|first: u16| first > 80)
}
