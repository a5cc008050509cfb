//! What should be routed, decided from a snapshot of the objects.
//!
//! A Service is looked at anew only if it, one of its slices or the nodes have changed, so that a change costs no more
//! than what it concerns and a comparison of pointers for all else.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::port::{Port, ports};
use super::slices::{PodId, Target};
use crate::datapath::{Endpoint, RouteSpec};

/// All ports of all Services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What can be balanced.
    pub ports: Vec<Arc<Port>>,
    /// What cannot.
    pub complaints: Vec<Complaint>,
}

/// Something in a Service that is not done, for its owner to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Complaint {
    /// The Service.
    pub service: ObjectReference,
    /// The event's reason.
    pub reason: &'static str,
    /// What, and what to do about it.
    pub message: String,
}

/// Makes plans, and remembers the parts of the last one.
#[derive(Default)]
pub struct Planner {
    known: HashMap<Key, Known>,
    node_ips: BTreeSet<IpAddr>,
}

/// What a Service came to, and from what.
struct Known {
    service: Arc<Service>,
    slices: Vec<Arc<EndpointSlice>>,
    ports: Vec<Arc<Port>>,
    complaints: Vec<Complaint>,
}

impl Planner {
    /// Plans the ports of these Services, the oldest first: it keeps an address that a newer one claims, too. `slices`
    /// finds a Service's slices.
    pub fn plan(
        &mut self,
        services: &[Arc<Service>],
        nodes: &[Arc<Node>],
        slices: impl Fn(&Key) -> Vec<Arc<EndpointSlice>>,
    ) -> Plan {
        let mut before = std::mem::take(&mut self.known);
        let node_ips = node_ips(nodes);
        if node_ips != self.node_ips {
            before.clear();
            self.node_ips = node_ips;
        }
        let mut plan = Plan::default();
        let mut services: Vec<_> = services
            .iter()
            .map(|service| (&service.metadata.creation_timestamp, Key::of(&**service), service))
            .collect();
        services.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (_, key, service) in services {
            let slices = slices(&key);
            let known = match before.remove(&key) {
                Some(known) if known.is_of(service, &slices) => known,
                _ => Known::new(service.clone(), slices, &self.node_ips),
            };
            plan.ports.extend(known.ports.iter().cloned());
            plan.complaints.extend(known.complaints.iter().cloned());
            self.known.insert(key, known);
        }
        plan
    }
}

impl Known {
    fn new(service: Arc<Service>, slices: Vec<Arc<EndpointSlice>>, node_ips: &BTreeSet<IpAddr>) -> Self {
        let (ports, complaints) = ports(&service, node_ips, &slices);
        Self {
            ports: ports.into_iter().map(Arc::new).collect(),
            complaints,
            service,
            slices,
        }
    }

    /// Whether it came from exactly these objects.
    fn is_of(&self, service: &Arc<Service>, slices: &[Arc<EndpointSlice>]) -> bool {
        Arc::ptr_eq(&self.service, service)
            && self.slices.len() == slices.len()
            && self
                .slices
                .iter()
                .zip(slices)
                .all(|(mine, its)| Arc::ptr_eq(mine, its))
    }
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

    /// The routes, with those targets only whose pod is in service. Where none is ready, those that still serve; where
    /// none does, clients wait if a pod is coming, or about to be put in service.
    pub fn routes(
        &self,
        in_service: impl Fn(&PodId) -> bool,
        is_coming: impl Fn(&Port) -> bool,
    ) -> Vec<RouteSpec> {
        let admitted = |targets: &[Target]| -> Vec<Endpoint> {
            let admitted = targets
                .iter()
                .filter(|target| target.pod.as_ref().is_none_or(&in_service));
            admitted.map(Target::endpoint).collect()
        };
        let route = |port: &Arc<Port>| {
            let mut endpoints = admitted(&port.targets.ready);
            if endpoints.is_empty() {
                endpoints = admitted(&port.targets.serving);
            }
            RouteSpec {
                name: port.name.clone(),
                listen: port.listen.clone(),
                also: port.also.clone(),
                protocol: port.protocol,
                expecting: endpoints.is_empty() && (!port.targets.ready.is_empty() || is_coming(port)),
                affinity: port.affinity,
                endpoints,
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

    fn service(name: &str) -> Arc<Service> {
        let spec = json!({"clusterIP": "127.96.0.9", "ports": [{"port": 80, "nodePort": 30080}], "type": "NodePort"});
        let service = json!({"metadata": {"namespace": "default", "name": name, "uid": name}, "spec": spec});
        Arc::new(serde_json::from_value(service).unwrap())
    }

    fn node(ip: &str) -> Arc<Node> {
        let addresses = json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": ip}]);
        Arc::new(serde_json::from_value(json!({"metadata": {}, "status": {"addresses": addresses}})).unwrap())
    }

    /// A slice of a pod: ready, terminating.
    fn slice(pod: u8, [ready, terminating]: [bool; 2]) -> Arc<EndpointSlice> {
        let name = pod.to_string();
        let endpoint = json!({
            "addresses": [format!("127.10.1.{pod}")],
            "conditions": {"ready": ready, "serving": ready || terminating, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": name, "uid": name},
        });
        let slice = json!({
            "metadata": {}, "addressType": "IPv4", "ports": [{"name": "", "port": 20000}], "endpoints": [endpoint],
        });
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    fn owners(plan: &Plan, in_service: &[&str]) -> Vec<String> {
        let routes = plan.routes(|pod| in_service.contains(&&*pod.uid), |_| false);
        routes[0]
            .endpoints
            .iter()
            .map(|endpoint| endpoint.owner.to_string())
            .collect()
    }

    #[test]
    fn the_oldest_service_comes_first() {
        let made = |name: &str, at: &str| {
            let mut service = Service::clone(&service(name));
            service.metadata.creation_timestamp = Some(serde_json::from_value(json!(at)).unwrap());
            Arc::new(service)
        };
        let services = [
            made("a", "2026-01-01T00:00:02Z"),
            made("c", "2026-01-01T00:00:01Z"),
            made("b", "2026-01-01T00:00:02Z"),
        ];
        let plan = Planner::default().plan(&services, &[], |_| Vec::new());
        let names: Vec<_> = plan.ports.iter().map(|port| &*port.name).collect();
        assert_eq!(names, ["default/c:80", "default/a:80", "default/b:80"]);
    }

    #[test]
    fn only_pods_in_service_get_connections_and_leaving_ones_only_if_nobody_is_ready() {
        let (ready, leaving) = ([true, false], [false, true]);
        let slices = [
            slice(2, ready),
            slice(3, ready),
            slice(4, leaving),
            slice(5, leaving),
        ];
        let plan = Planner::default().plan(&[service("web")], &[], |_| slices.to_vec());
        assert_eq!(owners(&plan, &["2", "3", "4"]), ["2", "3"]);
        assert_eq!(owners(&plan, &["3", "4"]), ["3"]);
        assert_eq!(owners(&plan, &["4"]), ["4"]);
        assert!(owners(&plan, &[]).is_empty());
        assert_eq!(plan.wanted().len(), 2);
    }

    #[test]
    fn clients_wait_only_where_a_pod_is_coming() {
        let plan = |slices: Vec<_>| Planner::default().plan(&[service("web")], &[], |_| slices.clone());
        let expecting = |plan: &Plan, in_service: bool, coming: bool| {
            plan.routes(|_| in_service, |_| coming)[0].expecting
        };
        let (none, ready) = (plan(Vec::new()), plan(vec![slice(2, [true, false])]));
        assert!(!expecting(&none, false, false));
        assert!(expecting(&none, false, true));
        assert!(expecting(&ready, false, false), "it is about to be announced");
        assert!(!expecting(&ready, true, true), "nobody has to wait");
    }

    #[test]
    fn what_has_not_changed_is_not_looked_at_again() {
        let mut planner = Planner::default();
        let (mut services, mut nodes) = (vec![service("a"), service("b")], vec![node("127.10.1.1")]);
        let mut slices = vec![slice(2, [true, false])];
        let mut same =
            |services: &[Arc<Service>], nodes: &[Arc<Node>], slices: &[Arc<EndpointSlice>], before: &Plan| {
                let found = |key: &Key| {
                    if key.name == "a" {
                        slices.to_vec()
                    } else {
                        Vec::new()
                    }
                };
                let plan = planner.plan(services, nodes, found);
                let kept = |port: &Arc<Port>| before.ports.iter().any(|old| Arc::ptr_eq(old, port));
                let names: Vec<_> = plan
                    .ports
                    .iter()
                    .filter(|port| kept(port))
                    .map(|port| port.name.to_string())
                    .collect();
                (names, plan)
            };
        let (_, plan) = same(&services, &nodes, &slices, &Plan::default());
        let (kept, plan) = same(&services, &nodes, &slices, &plan);
        assert_eq!(kept, ["default/a:80", "default/b:80"]);
        slices[0] = slice(2, [true, false]);
        let (kept, plan) = same(&services, &nodes, &slices, &plan);
        assert_eq!(kept, ["default/b:80"]);
        services.remove(1);
        let (kept, plan) = same(&services, &nodes, &slices, &plan);
        assert_eq!(
            (kept.as_slice(), plan.ports.len()),
            (&["default/a:80".to_owned()][..], 1)
        );
        nodes.push(node("127.10.2.1"));
        let (kept, plan) = same(&services, &nodes, &slices, &plan);
        assert_eq!((kept.len(), plan.ports[0].listen.len()), (0, 4));
    }

    proptest::proptest! {
        /// A plan made step by step is the plan that is made at once.
        #[test]
        fn steps_lead_where_one_look_leads(steps in proptest::collection::vec((0..4usize, 0..4u8, proptest::bool::ANY), 1..20)) {
            let mut planner = Planner::default();
            let services: Vec<_> = ["a", "b", "c", "d"].map(service).to_vec();
            let mut slices: HashMap<String, Vec<Arc<EndpointSlice>>> = HashMap::new();
            for (at, pod, ready) in steps {
                let name = services[at].metadata.name.clone().unwrap();
                let of = slices.entry(name).or_default();
                match of.iter().position(|slice| slice.endpoints.as_ref().unwrap()[0].addresses[0].ends_with(&pod.to_string())) {
                    Some(found) if ready => { of.remove(found); }
                    Some(found) => of[found] = slice(pod, [true, false]),
                    None => of.push(slice(pod, [ready, false])),
                }
                let find = |key: &Key| slices.get(&key.name).cloned().unwrap_or_default();
                let stepwise = planner.plan(&services, &[], find);
                proptest::prop_assert_eq!(stepwise, Planner::default().plan(&services, &[], find));
            }
        }
    }
}
