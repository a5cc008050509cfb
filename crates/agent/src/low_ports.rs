//! Ports that this user may not listen on (ip(7), `ip_unprivileged_port_start`), told before a program fails on them.
//!
//! They matter only to pods that listen where they declare: of others the declared ports are mere names.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

use crate::PodPorts;

/// Those of these ports that this user may not listen on. Tried for real: the right to may come from the port, the user
/// or the program. The kernel asks the same for UDP as for TCP, and a datagram socket is in no connection's way.
pub fn forbidden(ip: Ipv4Addr, ports: impl Iterator<Item = u16>) -> Vec<u16> {
    let is_forbidden = |port: &u16| {
        let bound = UdpSocket::bind((ip, *port));
        bound.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    ports.filter(is_forbidden).collect()
}

/// What is wrong, and what works instead; `None` if no port is forbidden.
pub fn sentence(forbidden: &[u16], host_network: bool, pod_ports: PodPorts) -> Option<String> {
    let lowest = forbidden.iter().min()?;
    let list: Vec<String> = forbidden.iter().map(u16::to_string).collect();
    let translated = match (host_network, pod_ports) {
        (true, PodPorts::Distinct) => "leave hostNetwork out",
        (true, PodPorts::Declared) => "leave hostNetwork out and start coracle without --pod-ports=declared",
        (false, _) => "start coracle without --pod-ports=declared",
    };
    Some(format!(
        "this user may not listen on port {}: declare ports of 1024 or above, or {translated}, or allow it by: \
         sysctl -w net.ipv4.ip_unprivileged_port_start={lowest}",
        list.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_works_instead() {
        let said = |host, pod_ports| sentence(&[443, 80], host, pod_ports).unwrap();
        let plain = said(false, PodPorts::Declared);
        assert!(
            plain.starts_with("this user may not listen on port 443, 80: "),
            "{plain}"
        );
        assert!(plain.ends_with("ip_unprivileged_port_start=80"), "{plain}");
        assert!(
            plain.contains("or start coracle without --pod-ports=declared,"),
            "{plain}"
        );
        assert!(said(true, PodPorts::Distinct).contains("or leave hostNetwork out,"));
        assert!(said(true, PodPorts::Declared).contains("leave hostNetwork out and start"));
        assert_eq!(sentence(&[], true, PodPorts::Declared), None);
    }

    #[test]
    fn a_port_in_use_is_not_forbidden() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(forbidden(Ipv4Addr::LOCALHOST, [port].into_iter()).is_empty());
    }
}
