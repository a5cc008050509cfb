//! Which address a Service gets. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

use super::Block;

/// What to do about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It gets this address.
    Assign(Ipv4Addr),
    /// It needs no address any more.
    Clear,
    /// It asks for an address that it cannot have.
    Refuse(String),
}

/// What to do about a Service; nothing if all is well. `all` are all Services, which say what is taken.
pub fn plan(service: &Service, all: &[Arc<Service>], block: Block) -> Option<Action> {
    let held = addresses(service, block);
    if service.metadata.deletion_timestamp.is_some() || is_of_others(service) {
        return None;
    }
    if !is_load_balancer(service) {
        return (!held.is_empty()).then_some(Action::Clear);
    }
    let others = all
        .iter()
        .filter(|other| other.metadata.uid != service.metadata.uid);
    let taken: BTreeSet<Ipv4Addr> = others
        .filter(|other| is_load_balancer(other))
        .flat_map(|other| addresses(other, block))
        .collect();
    let asked = service
        .spec
        .as_ref()
        .and_then(|spec| spec.load_balancer_ip.as_deref());
    let wanted = match asked.filter(|asked| !asked.is_empty()) {
        Some(asked) => match block.give(asked, &taken) {
            Ok(address) => Some(address),
            Err(why) => return Some(Action::Refuse(why)),
        },
        None => None,
    };
    let good =
        |address: &&Ipv4Addr| !taken.contains(address) && wanted.is_none_or(|wanted| wanted == **address);
    if held.len() == 1 && held.first().filter(good).is_some() {
        return None;
    }
    match wanted.or_else(|| block.any(&taken)) {
        Some(address) => Some(Action::Assign(address)),
        None => Some(Action::Refuse(format!("all addresses of {block} are taken"))),
    }
}

impl Block {
    fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(self.0);
        // Neither the first nor the last, as in every network.
        (1..=0xfffe).map(move |offset| Ipv4Addr::from(first + offset))
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.0));
        (1..=0xfffe).contains(&offset)
    }

    fn any(self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.addresses().find(|address| !taken.contains(address))
    }

    fn give(self, asked: &str, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, String> {
        match asked.parse() {
            Ok(address) if !self.contains(address) => Err(format!(
                "spec.loadBalancerIP: {asked} is not in {self}: choose one of these, or none"
            )),
            Ok(address) if taken.contains(&address) => Err(format!(
                "spec.loadBalancerIP: another Service has {asked}: choose another, or none"
            )),
            Ok(address) => Ok(address),
            Err(_) => Err(format!("spec.loadBalancerIP: {asked} is no IPv4 address")),
        }
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/16", self.0)
    }
}

fn is_load_balancer(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
}

fn is_of_others(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    is_load_balancer(service) && spec.is_some_and(|spec| spec.load_balancer_class.is_some())
}

/// The addresses of the block that a Service has.
fn addresses(service: &Service, block: Block) -> Vec<Ipv4Addr> {
    let balancer = service
        .status
        .iter()
        .filter_map(|status| status.load_balancer.as_ref());
    balancer
        .flat_map(|balancer| balancer.ingress.iter().flatten())
        .filter_map(|ingress| ingress.ip.as_deref()?.parse().ok())
        .filter(|address| block.contains(*address))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const BLOCK: Block = Block(Ipv4Addr::new(127, 182, 0, 0));

    fn service(name: &str, spec: Value, ip: Option<&str>) -> Arc<Service> {
        let ingress = ip.map(|ip| json!([{"ip": ip}]));
        let service = json!({"metadata": {"name": name, "uid": name}, "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}}});
        Arc::new(serde_json::from_value(service).unwrap())
    }

    fn balanced(name: &str, ip: Option<&str>) -> Arc<Service> {
        service(name, json!({"type": "LoadBalancer"}), ip)
    }

    fn assigned(ip: [u8; 4]) -> Option<Action> {
        Some(Action::Assign(ip.into()))
    }

    #[test]
    fn the_first_free_address_is_given_and_kept() {
        let a = balanced("a", Some("127.182.0.1"));
        let b = balanced("b", None);
        assert_eq!(
            plan(&b, &[a.clone(), b.clone()], BLOCK),
            assigned([127, 182, 0, 2])
        );
        assert_eq!(plan(&a, &[a.clone(), b], BLOCK), None);
        let thief = balanced("c", Some("127.182.0.1"));
        assert_eq!(
            plan(&thief, &[a, thief.clone()], BLOCK),
            assigned([127, 182, 0, 2])
        );
    }

    #[test]
    fn an_address_asked_for_is_given_if_it_is_free() {
        let asking = |ip: &str, has: Option<&str>| {
            service("b", json!({"type": "LoadBalancer", "loadBalancerIP": ip}), has)
        };
        let a = balanced("a", Some("127.182.0.9"));
        let of = |service: Arc<Service>| plan(&service, &[a.clone(), service.clone()], BLOCK);
        assert_eq!(of(asking("127.182.0.8", None)), assigned([127, 182, 0, 8]));
        assert_eq!(
            of(asking("127.182.0.8", Some("127.182.0.1"))),
            assigned([127, 182, 0, 8])
        );
        assert_eq!(of(asking("127.182.0.8", Some("127.182.0.8"))), None);
        for (ip, why) in [
            ("127.182.0.9", "another Service"),
            ("10.0.0.1", "127.182.0.0/16"),
            ("x", "no IPv4"),
        ] {
            let Some(Action::Refuse(said)) = of(asking(ip, None)) else {
                panic!("{ip} was given")
            };
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_service_of_another_type_gives_it_back_and_others_are_left_alone() {
        let plain = service("a", json!({"type": "ClusterIP"}), Some("127.182.0.1"));
        assert_eq!(
            plan(&plain, std::slice::from_ref(&plain), BLOCK),
            Some(Action::Clear)
        );
        let foreign = service(
            "a",
            json!({"type": "LoadBalancer", "loadBalancerClass": "x.io/y"}),
            None,
        );
        assert_eq!(plan(&foreign, std::slice::from_ref(&foreign), BLOCK), None);
        let own = service("a", json!({"type": "NodePort"}), None);
        assert_eq!(plan(&own, std::slice::from_ref(&own), BLOCK), None);
    }

    proptest! {
        /// Whatever Services hold at first, after each has been looked at once they all have one address of their own.
        #[test]
        fn one_look_at_each_gives_each_an_address_of_its_own(held in proptest::collection::vec(proptest::option::of(1..6u8), 1..10)) {
            let ip = |last: &Option<u8>| last.map(|last| format!("127.182.0.{last}"));
            let mut all: Vec<_> = held.iter().enumerate()
                .map(|(at, last)| balanced(&at.to_string(), ip(last).as_deref()))
                .collect();
            for at in 0..all.len() {
                if let Some(Action::Assign(address)) = plan(&all[at], &all, BLOCK) {
                    all[at] = balanced(&at.to_string(), Some(&address.to_string()));
                }
            }
            let given: BTreeSet<_> = all.iter().flat_map(|service| addresses(service, BLOCK)).collect();
            prop_assert_eq!(given.len(), all.len());
            prop_assert!(all.iter().all(|service| plan(service, &all, BLOCK).is_none()));
        }
    }
}
