//! What should be routed, decided from a snapshot of the objects.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Service, ServicePort, ServiceSpec};
use kube::Resource;

use super::slices::{PodId, Target, Targets};
use crate::datapath::{Endpoint, Protocol, RouteSpec};

/// All ports of all Services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What can be balanced.
    pub ports: Vec<Port>,
    /// What cannot.
    pub unsupported: Vec<Unsupported>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// For people, and unique: `default/web:http`.
    pub name: Arc<str>,
    /// The Service.
    pub service: ObjectReference,
    /// Its node port.
    pub node_port: Option<u16>,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// How its connections are understood.
    pub protocol: Protocol,
    /// Where they can go.
    pub targets: Targets,
}

/// A port that is not balanced.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsupported {
    /// The Service.
    pub service: ObjectReference,
    /// The port's number.
    pub port: i32,
    /// The port's protocol, `UDP`.
    pub protocol: String,
}

/// Plans the ports of these Services. `targets` finds a port's targets by Service and port name.
pub fn plan(
    services: &[Arc<Service>],
    nodes: &[Arc<Node>],
    targets: impl Fn(&Service, &str) -> Targets,
) -> Plan {
    let node_ips = node_ips(nodes);
    let mut plan = Plan::default();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let ips = service_ips(service, spec);
        if service.metadata.deletion_timestamp.is_some() || ips.is_empty() {
            continue;
        }
        for port in spec.ports.iter().flatten() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            if protocol != "TCP" {
                plan.unsupported.push(Unsupported {
                    service: service.object_ref(&()),
                    port: port.port,
                    protocol: protocol.to_owned(),
                });
            } else if let Some(port) = tcp_port(service, port, &ips, &node_ips, &targets) {
                plan.ports.push(port);
            }
        }
    }
    plan
}

fn tcp_port(
    service: &Service,
    port: &ServicePort,
    ips: &BTreeSet<IpAddr>,
    node_ips: &BTreeSet<IpAddr>,
    targets: &impl Fn(&Service, &str) -> Targets,
) -> Option<Port> {
    let number = u16::try_from(port.port).ok()?;
    let node_port = port
        .node_port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0);
    let name = port.name.as_deref().unwrap_or_default();
    let own = ips.iter().map(|ip| SocketAddr::new(*ip, number));
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
        protocol: protocol(port.app_protocol.as_deref()),
        targets: targets(service, name),
    })
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

/// The Service's own addresses; none if it is headless or a name only.
fn service_ips(service: &Service, spec: &ServiceSpec) -> BTreeSet<IpAddr> {
    let cluster = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    let status = service
        .status
        .iter()
        .filter_map(|status| status.load_balancer.as_ref());
    let balanced = status
        .flat_map(|status| status.ingress.iter().flatten())
        .filter_map(|ingress| ingress.ip.as_ref());
    let external = spec.external_ips.iter().flatten();
    if spec.cluster_ip.as_deref() == Some("None") || spec.type_.as_deref() == Some("ExternalName") {
        return BTreeSet::new();
    }
    cluster
        .chain(external)
        .chain(balanced)
        .filter_map(|ip| ip.parse().ok())
        .collect()
}

/// Where node ports listen: each node's internal addresses, and the loopback address that people type.
fn node_ips(nodes: &[Arc<Node>]) -> BTreeSet<IpAddr> {
    let addresses = nodes
        .iter()
        .filter_map(|node| node.status.as_ref()?.addresses.as_ref())
        .flatten();
    let internal = addresses.filter(|address| address.type_ == "InternalIP");
    let parsed = internal.filter_map(|address| address.address.parse().ok());
    parsed.chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]).collect()
}

impl Plan {
    /// The pods that should be in service.
    pub fn wanted(&self) -> BTreeSet<&PodId> {
        self.ports
            .iter()
            .flat_map(|port| &port.targets.ready)
            .filter_map(|target| target.pod.as_ref())
            .collect()
    }

    /// All pods that the plan knows.
    pub fn pods(&self) -> impl Iterator<Item = &PodId> {
        let targets = self
            .ports
            .iter()
            .flat_map(|port| port.targets.ready.iter().chain(&port.targets.serving));
        targets.filter_map(|target| target.pod.as_ref())
    }

    /// The routes, with those targets only whose pod is in service. Where none is ready, those that still serve.
    pub fn routes(&self, in_service: impl Fn(&PodId) -> bool) -> Vec<RouteSpec> {
        let admitted = |targets: &[Target]| -> Vec<Endpoint> {
            let admitted = targets
                .iter()
                .filter(|target| target.pod.as_ref().is_none_or(&in_service));
            admitted.map(Target::endpoint).collect()
        };
        let route = |port: &Port| {
            let ready = admitted(&port.targets.ready);
            RouteSpec {
                name: port.name.clone(),
                listen: port.listen.clone(),
                protocol: port.protocol,
                endpoints: if ready.is_empty() {
                    admitted(&port.targets.serving)
                } else {
                    ready
                },
            }
        };
        self.ports.iter().map(route).collect()
    }
}

impl Target {
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            addr: self.addr,
            owner: self.pod.as_ref().map_or_else(|| "".into(), |pod| pod.uid.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(spec: serde_json::Value) -> Arc<Service> {
        let service = json!({"metadata": {"namespace": "default", "name": "web", "uid": "s"}, "spec": spec});
        Arc::new(serde_json::from_value(service).unwrap())
    }

    fn node(ip: &str) -> Arc<Node> {
        let addresses = json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": ip}]);
        Arc::new(serde_json::from_value(json!({"metadata": {}, "status": {"addresses": addresses}})).unwrap())
    }

    fn target(last: u8) -> Target {
        let addr = SocketAddr::from(([127, 10, 1, last], 20000));
        let pod = PodId {
            uid: last.to_string().into(),
            namespace: "default".into(),
            name: format!("p{last}"),
        };
        Target { addr, pod: Some(pod) }
    }

    fn listens(plan: &Plan) -> Vec<String> {
        plan.ports
            .iter()
            .flat_map(|port| &port.listen)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_port_listens_on_the_cluster_ip_and_as_node_port_everywhere() {
        let spec = json!({"clusterIP": "127.96.0.9", "clusterIPs": ["127.96.0.9"], "type": "NodePort",
            "ports": [{"port": 80, "nodePort": 30080}]});
        let plan = plan(
            &[service(spec)],
            &[node("127.10.1.1"), node("127.10.2.1")],
            |_, _| Targets::default(),
        );
        assert_eq!(
            listens(&plan),
            [
                "127.96.0.9:80",
                "127.0.0.1:30080",
                "127.10.1.1:30080",
                "127.10.2.1:30080"
            ]
        );
        assert_eq!(&*plan.ports[0].name, "default/web:80");
    }

    #[test]
    fn headless_external_and_udp_are_not_listened_for() {
        let headless = service(json!({"clusterIP": "None", "ports": [{"port": 80}]}));
        let external =
            service(json!({"type": "ExternalName", "externalName": "a.b", "ports": [{"port": 80}]}));
        let udp = service(json!({"clusterIP": "127.96.0.9", "ports": [{"port": 53, "protocol": "UDP"}]}));
        let plan = plan(&[headless, external, udp], &[], |_, _| Targets::default());
        assert!(plan.ports.is_empty());
        assert_eq!(plan.unsupported.len(), 1);
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

    #[test]
    fn only_pods_in_service_get_connections_and_leaving_ones_only_if_nobody_is_ready() {
        let spec = json!({"clusterIP": "127.96.0.9", "ports": [{"port": 80}]});
        let targets = Targets {
            ready: vec![target(2), target(3)],
            serving: vec![target(4), target(5)],
        };
        let plan = plan(&[service(spec)], &[], |_, _| targets.clone());
        let owners = |in_service: &[&str]| {
            let routes = plan.routes(|pod| in_service.contains(&&*pod.uid));
            routes[0]
                .endpoints
                .iter()
                .map(|endpoint| endpoint.owner.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(owners(&["2", "3", "4"]), ["2", "3"]);
        assert_eq!(owners(&["3", "4"]), ["3"]);
        assert_eq!(owners(&["4"]), ["4"]);
        assert!(owners(&[]).is_empty());
        assert_eq!(plan.wanted().len(), 2);
    }
}
