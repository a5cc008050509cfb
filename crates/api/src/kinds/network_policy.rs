//! NetworkPolicy: who may talk to whom.

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::defaults::text;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name, selector};
use crate::validation::{self, Errors, Path, values};

impl Served for NetworkPolicy {
    const ROW: Row = Row {
        singular: "networkpolicy",
        short_names: &["netpol"],
        columns: &[column("Name"), column("Pod-Selector"), column("Age")],
        generation: true,
        inert: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        let ingress = spec.ingress.iter_mut().flatten().map(|rule| &mut rule.ports);
        let egress = spec.egress.iter_mut().flatten().map(|rule| &mut rule.ports);
        for port in ingress.chain(egress).flatten().flatten() {
            text(&mut port.protocol, "TCP");
        }
        if spec.policy_types.iter().flatten().next().is_none() {
            let mut types = vec!["Ingress".to_owned()];
            if spec.egress.iter().flatten().next().is_some() {
                types.push("Egress".to_owned());
            }
            spec.policy_types = Some(types);
        }
    }

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        let selector = spec.pod_selector.unwrap_or_default();
        validation::selector::validate(&selector, &path.field("podSelector"), errors);
        let ingress = path.field("ingress");
        for (index, rule) in spec.ingress.iter().flatten().enumerate() {
            let path = ingress.index(index);
            ports(
                rule.ports.as_deref().unwrap_or_default(),
                &path.field("ports"),
                errors,
            );
            peers(
                rule.from.as_deref().unwrap_or_default(),
                &path.field("from"),
                errors,
            );
        }
        let egress = path.field("egress");
        for (index, rule) in spec.egress.iter().flatten().enumerate() {
            let path = egress.index(index);
            ports(
                rule.ports.as_deref().unwrap_or_default(),
                &path.field("ports"),
                errors,
            );
            peers(rule.to.as_deref().unwrap_or_default(), &path.field("to"), errors);
        }
        let types = spec.policy_types.unwrap_or_default();
        let path = path.field("policyTypes");
        if types.len() > 2 {
            return errors.invalid(&path, &types, "may not specify more than two policyTypes");
        }
        for (index, kind) in types.iter().enumerate() {
            errors.one_of(&path.index(index), Some(kind), &["Egress", "Ingress"]);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        vec![
            name(&self.metadata),
            selector(&spec.pod_selector.unwrap_or_default()),
            age(&self.metadata, now),
        ]
    }
}

fn ports(ports: &[NetworkPolicyPort], path: &Path<'_>, errors: &mut Errors) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let protocol = port.protocol.as_deref();
        errors.one_of(&path.field("protocol"), protocol, &values::PROTOCOLS);
        if let Some(number) = &port.port {
            values::port_or_name(number, &path.field("port"), errors);
        }
        let Some(end) = port.end_port else { continue };
        let path = path.field("endPort");
        match &port.port {
            Some(IntOrString::Int(first)) if end < *first => {
                errors.invalid(&path, &end, "must be greater than or equal to `port`");
            }
            Some(IntOrString::Int(_)) => {}
            Some(IntOrString::String(_)) => {
                errors.invalid(&path, &end, "may not be specified when `port` is non-numeric");
            }
            None => errors.invalid(&path, &end, "may not be specified when `port` is not specified"),
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], path: &Path<'_>, errors: &mut Errors) {
    for (index, peer) in peers.iter().enumerate() {
        let path = path.index(index);
        let selectors = [
            ("podSelector", &peer.pod_selector),
            ("namespaceSelector", &peer.namespace_selector),
        ];
        for (field, selector) in &selectors {
            if let Some(selector) = selector {
                validation::selector::validate(selector, &path.field(field), errors);
            }
        }
        let has_selector = selectors.iter().any(|(_, selector)| selector.is_some());
        match &peer.ip_block {
            None if !has_selector => errors.required(&path, "must specify a peer"),
            Some(_) if has_selector => {
                errors.forbidden(&path, "may not specify both ipBlock and another peer");
            }
            Some(block) => ip_block(block, &path.field("ipBlock"), errors),
            None => {}
        }
    }
}

fn ip_block(block: &IPBlock, path: &Path<'_>, errors: &mut Errors) {
    let cidr = path.field("cidr");
    if block.cidr.is_empty() {
        return errors.required(&cidr, "");
    }
    let whole = values::network(&block.cidr);
    errors.problems(&cidr, &block.cidr, &values::cidr(&block.cidr));
    let Some(whole) = whole else { return };
    let path = path.field("except");
    for (index, except) in block.except.iter().flatten().enumerate() {
        let path = path.index(index);
        errors.problems(&path, except, &values::cidr(except));
        if values::network(except).is_some_and(|part| !contains(whole, part)) {
            errors.invalid(&path, except, "must be a strict subset of `cidr`");
        }
    }
}

/// Whether the second network is a part of the first, and not all of it.
fn contains(
    (is_v4, whole, length): (bool, u128, u8),
    (part_is_v4, part, part_length): (bool, u128, u8),
) -> bool {
    let differing = (whole ^ part).leading_zeros();
    is_v4 == part_is_v4 && part_length > length && differing >= u32::from(length)
}
