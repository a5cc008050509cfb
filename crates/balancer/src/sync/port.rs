//! One port of a Service: where it listens, how it is understood, where its connections can go.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;

use super::coming::Selector;
use super::plan::Complaint;
use super::slices::{Targets, targets};
use crate::datapath::Protocol;

/// One port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// For people, and unique: `default/web:http`.
    pub name: Arc<str>,
    /// The Service.
    pub service: ObjectReference,
    /// Its node port.
    pub node_port: Option<u16>,
    /// Where it listens: addresses and ports that nobody else was given.
    pub listen: Vec<SocketAddr>,
    /// Where it listens unless another port was given the address: what users and other controllers say.
    pub also: Vec<SocketAddr>,
    /// How its connections are understood.
    pub protocol: Protocol,
    /// How long a client sticks to its pod.
    pub affinity: Option<Duration>,
    /// The pods that it is about; a Service whose endpoints are made by hand has none.
    pub selector: Option<Selector>,
    /// Where its connections can go.
    pub targets: Targets,
}

/// The ports of a Service, with these slices of it, and what of it is not done. A Service without an address of its own
/// (headless, or a mere name) has none.
pub fn ports(
    service: &Service,
    node_ips: &BTreeSet<IpAddr>,
    slices: &[Arc<EndpointSlice>],
) -> (Vec<Port>, Vec<Complaint>) {
    let (mut ports, mut complaints) = (Vec::new(), Vec::new());
    let Some(spec) = &service.spec else {
        return (ports, complaints);
    };
    let ips = cluster_ips(spec);
    if service.metadata.deletion_timestamp.is_some() || ips.is_empty() {
        return (ports, complaints);
    }
    complaints.extend(complaint_of_external_ips(service, spec));
    complaints.extend(complaint_of_source_ranges(service, spec));
    for port in spec.ports.iter().flatten() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if matches!(protocol, "TCP" | "UDP") {
            ports.extend(planned(service, spec, port, &ips, node_ips, slices));
        } else {
            complaints.push(Complaint {
                service: service.object_ref(&()),
                reason: "ProtocolNotSupported",
                message: format!(
                    "port {}: {protocol} is not balanced, only TCP and UDP are",
                    port.port
                ),
            });
        }
    }
    (ports, complaints)
}

fn planned(
    service: &Service,
    spec: &ServiceSpec,
    port: &ServicePort,
    ips: &BTreeSet<IpAddr>,
    node_ips: &BTreeSet<IpAddr>,
    slices: &[Arc<EndpointSlice>],
) -> Option<Port> {
    let number = u16::try_from(port.port).ok()?;
    let node_port = port
        .node_port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0);
    let name = port.name.as_deref().unwrap_or_default();
    let own = ips.iter().map(|ip| SocketAddr::new(*ip, number));
    let external: BTreeSet<_> = external_ips(spec)
        .filter(IpAddr::is_loopback)
        .chain(balanced_ips(service, spec))
        .filter(|ip| !ips.contains(ip))
        .collect();
    let nodes = node_port
        .into_iter()
        .flat_map(|port| node_ips.iter().map(move |ip| SocketAddr::new(*ip, port)));
    let label = if name.is_empty() {
        number.to_string()
    } else {
        name.to_owned()
    };
    let meta = &service.metadata;
    let path = [meta.namespace.as_deref(), meta.name.as_deref()]
        .map(Option::unwrap_or_default)
        .join("/");
    Some(Port {
        name: format!("{path}:{label}").into(),
        service: service.object_ref(&()),
        node_port,
        listen: own.chain(nodes).collect(),
        also: external
            .into_iter()
            .map(|ip| SocketAddr::new(ip, number))
            .collect(),
        protocol: if port.protocol.as_deref() == Some("UDP") {
            Protocol::Udp
        } else {
            protocol(port.app_protocol.as_deref())
        },
        affinity: affinity(spec),
        selector: Selector::of(service, port),
        targets: targets(slices, name, port.protocol.as_deref().unwrap_or("TCP")),
    })
}

/// How long a client sticks to its pod after its last connection.
fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref();
    let client_ip = config.and_then(|config| config.client_ip.as_ref());
    let seconds = client_ip.and_then(|client_ip| client_ip.timeout_seconds);
    // The API server fills in the default and refuses what is not positive.
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Some(Duration::from_secs(seconds.unwrap_or(10_800)))
}

/// What an `appProtocol` says about how connections are to be understood.
fn protocol(name: Option<&str>) -> Protocol {
    match name.map(str::to_ascii_lowercase).as_deref() {
        Some("http") => Protocol::Http1,
        // WebSocket begins as HTTP/1, and whatever is not known is looked at.
        None | Some("kubernetes.io/ws") => Protocol::Detect,
        Some("tcp" | "https" | "tls" | "grpc" | "http2" | "kubernetes.io/h2c" | "kubernetes.io/wss") => {
            Protocol::Opaque
        }
        Some(_) => Protocol::Detect,
    }
}

/// The addresses that were allocated to the Service; none if it is headless or a name only.
fn cluster_ips(spec: &ServiceSpec) -> BTreeSet<IpAddr> {
    if spec.cluster_ip.as_deref() == Some("None") || spec.type_.as_deref() == Some("ExternalName") {
        return BTreeSet::new();
    }
    let cluster = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    cluster.filter_map(|ip| ip.parse().ok()).collect()
}

/// Where a load balancer, be it ours or another, has it served. With the mode `Proxy` that is not our business.
fn balanced_ips(service: &Service, spec: &ServiceSpec) -> impl Iterator<Item = IpAddr> {
    let status = service
        .status
        .iter()
        .filter(|_| spec.type_.as_deref() == Some("LoadBalancer"))
        .filter_map(|status| status.load_balancer.as_ref());
    let ingress = status.flat_map(|status| status.ingress.iter().flatten());
    ingress
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
}

fn external_ips(spec: &ServiceSpec) -> impl Iterator<Item = IpAddr> {
    let ips = spec.external_ips.iter().flatten();
    ips.filter_map(|ip| ip.parse().ok())
}

/// External addresses that would open the Service to the network: nothing here listens beyond this machine.
fn complaint_of_external_ips(service: &Service, spec: &ServiceSpec) -> Option<Complaint> {
    let refused: Vec<_> = external_ips(spec)
        .filter(|ip| !ip.is_loopback())
        .map(|ip| ip.to_string())
        .collect();
    (!refused.is_empty()).then(|| Complaint {
        service: service.object_ref(&()),
        reason: "ExternalIPNotServed",
        message: format!(
            "externalIPs: only loopback addresses (127.x.y.z) are listened on, not {}; \
             let a proxy of your own listen there, in front of {}",
            refused.join(", "),
            spec.cluster_ip.as_deref().unwrap_or("the cluster IP")
        ),
    })
}

/// Clients are programs of this machine, whose addresses are theirs to choose: there is nothing to tell them apart by.
fn complaint_of_source_ranges(service: &Service, spec: &ServiceSpec) -> Option<Complaint> {
    let mut ranges = spec.load_balancer_source_ranges.iter().flatten().peekable();
    ranges.peek()?;
    (!ranges.any(|range| range.starts_with("127.") || range == "0.0.0.0/0")).then(|| Complaint {
        service: service.object_ref(&()),
        reason: "SourceRangesNotEnforced",
        message: "loadBalancerSourceRanges: not enforced, every program of this machine can connect"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn planned(spec: serde_json::Value, nodes: &[&str]) -> (Vec<Port>, Vec<Complaint>) {
        let service = json!({"metadata": {"namespace": "default", "name": "web", "uid": "s"}, "spec": spec});
        let service: Service = serde_json::from_value(service).unwrap();
        let nodes = nodes.iter().map(|ip| ip.parse().unwrap()).collect();
        ports(&service, &nodes, &[])
    }

    fn listens(ports: &[Port]) -> Vec<String> {
        ports
            .iter()
            .flat_map(|port| port.listen.iter().chain(&port.also))
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_port_listens_on_the_cluster_ip_and_as_node_port_everywhere() {
        let spec = json!({"clusterIP": "127.96.0.9", "clusterIPs": ["127.96.0.9"], "type": "NodePort",
            "ports": [{"port": 80, "nodePort": 30080}]});
        let (ports, _) = planned(spec, &["127.0.0.1", "127.10.1.1"]);
        assert_eq!(
            listens(&ports),
            ["127.96.0.9:80", "127.0.0.1:30080", "127.10.1.1:30080"]
        );
        assert_eq!(&*ports[0].name, "default/web:80");
    }

    #[test]
    fn headless_external_and_other_protocols_are_not_listened_for() {
        let headless = json!({"clusterIP": "None", "ports": [{"port": 80}]});
        let external = json!({"type": "ExternalName", "externalName": "a.b", "ports": [{"port": 80}]});
        for spec in [headless, external] {
            assert_eq!(planned(spec, &[]), (Vec::new(), Vec::new()));
        }
        let sctp = json!({"clusterIP": "127.96.0.9", "ports": [{"port": 53, "protocol": "SCTP"}]});
        let (ports, complaints) = planned(sctp, &[]);
        assert_eq!((ports.len(), complaints.len()), (0, 1));
    }

    #[test]
    fn external_addresses_are_listened_on_if_they_are_this_machines_own() {
        let spec = json!({"clusterIP": "127.96.0.9", "externalIPs": ["127.0.5.1", "192.0.2.1"],
            "ports": [{"port": 80}, {"name": "b", "port": 81}]});
        let (ports, complaints) = planned(spec, &[]);
        assert_eq!(listens(&ports[..1]), ["127.96.0.9:80", "127.0.5.1:80"]);
        assert_eq!(complaints.len(), 1);
        assert!(
            complaints[0].message.contains("not 192.0.2.1;"),
            "{}",
            complaints[0].message
        );
    }

    #[test]
    fn a_load_balancers_address_is_listened_on_while_the_service_is_one() {
        let listens = |kind: &str, mode: &str| {
            let service = json!({"metadata": {"name": "web"},
                "spec": {"type": kind, "clusterIP": "127.96.0.9", "ports": [{"port": 80}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "127.182.0.1", "ipMode": mode}]}}});
            let service: Service = serde_json::from_value(service).unwrap();
            ports(&service, &BTreeSet::new(), &[]).0[0].also.len()
        };
        assert_eq!(listens("LoadBalancer", "VIP"), 1);
        assert_eq!(listens("LoadBalancer", "Proxy"), 0);
        assert_eq!(listens("ClusterIP", "VIP"), 0);
    }

    #[test]
    fn source_ranges_that_leave_this_machine_out_are_complained_of() {
        let complaints = |ranges: serde_json::Value| {
            let spec = json!({"type": "LoadBalancer", "clusterIP": "127.96.0.9", "ports": [{"port": 80}],
                "loadBalancerSourceRanges": ranges});
            planned(spec, &[]).1.len()
        };
        assert_eq!(complaints(json!(["10.0.0.0/8"])), 1);
        assert_eq!(complaints(json!(["10.0.0.0/8", "127.0.0.0/8"])), 0);
        assert_eq!(complaints(json!([])), 0);
    }

    #[test]
    fn tcp_and_udp_share_a_number() {
        let spec = json!({"clusterIP": "127.96.0.9", "ports": [
            {"name": "dns", "port": 53}, {"name": "dns-udp", "port": 53, "protocol": "UDP"}]});
        let (ports, complaints) = planned(spec, &[]);
        let shown: Vec<_> = ports.iter().map(|port| (&*port.name, port.protocol)).collect();
        let expected = [
            ("default/web:dns", Protocol::Detect),
            ("default/web:dns-udp", Protocol::Udp),
        ];
        assert_eq!((shown, complaints), (expected.to_vec(), Vec::new()));
        assert_eq!(ports[0].listen, ports[1].listen);
    }

    #[test]
    fn a_client_sticks_as_long_as_the_service_says() {
        let affinity = |spec: serde_json::Value| planned(spec, &[]).0[0].affinity.map(|time| time.as_secs());
        let ports = json!([{"port": 80}]);
        assert_eq!(affinity(json!({"clusterIP": "127.96.0.9", "ports": ports})), None);
        let sticky = json!({"clusterIP": "127.96.0.9", "ports": ports, "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
        assert_eq!(affinity(sticky), Some(60));
    }

    #[test]
    fn the_application_protocol_decides_how_bytes_are_read() {
        for (name, expected) in [
            (None, Protocol::Detect),
            (Some("http"), Protocol::Http1),
            (Some("HTTPS"), Protocol::Opaque),
            (Some("kubernetes.io/h2c"), Protocol::Opaque),
            (Some("kubernetes.io/ws"), Protocol::Detect),
            (Some("example.com/own"), Protocol::Detect),
        ] {
            assert_eq!(protocol(name), expected, "{name:?}");
        }
    }
}
