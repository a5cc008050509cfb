//! The addresses and node ports of Services.
//!
//! Flows in: a Service, and what it was before. Flows out: the Service with a cluster IP and node ports where its type
//! has them; what it holds; what it holds no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use api::kind::Cause;
use serde_json::{Value, json};

use crate::admission::{Permit, Resources};
use crate::allocate::Refused;
use crate::object::Object;
use crate::server::Core;
use crate::status::Failure;

fn has_address(service: &Value) -> bool {
    service["spec"]["type"] != "ExternalName"
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

fn has_node_ports(service: &Value) -> bool {
    match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["ports"].as_array().into_iter().flatten()
}

fn node_port(port: &Value) -> Option<u16> {
    port["nodePort"]
        .as_u64()
        .filter(|port| *port > 0)
        .and_then(|port| u16::try_from(port).ok())
}

/// The addresses and ports that a stored Service holds.
pub(crate) fn resources(service: &Value) -> Resources {
    let address = service["spec"]["clusterIP"]
        .as_str()
        .and_then(|text| text.parse().ok());
    let ports: BTreeSet<u16> = ports(service).filter_map(node_port).collect();
    Resources {
        addresses: address.into_iter().collect(),
        ports: ports.into_iter().collect(),
    }
}

/// Takes everything that the stored Services hold: the allocator's memory, after a start.
pub(crate) async fn restore(core: &Core) -> Result<(), Failure> {
    let services = core.registry.get("", "services")?;
    let page = core.store.list(&services.prefix, None, 0, None).await?;
    for entry in &page.entries {
        let held = resources(&Object::from(&**entry).to_value(&services));
        for address in held.addresses {
            if let Err(refused) = core.allocator.take_address(address) {
                tracing::warn!(key = %entry.key, %refused, "a Service holds an address that is not free");
            }
        }
        for port in held.ports {
            if let Err(refused) = core.allocator.take_port(port) {
                tracing::warn!(key = %entry.key, port, %refused, "a Service holds a node port that is not free");
            }
        }
    }
    Ok(())
}

/// Takes what the Service needs and does not hold yet; notes what it held and needs no more.
pub(crate) fn allocate(permit: &mut Permit, new: &mut Value, old: Option<&Value>) -> Result<(), Cause> {
    let held = old.map(resources).unwrap_or_default();
    if has_address(new) && !is_headless(new) {
        allocate_address(permit, new, &held)?;
    }
    if is_headless(new) {
        new["spec"]["clusterIPs"] = json!(["None"]);
    }
    allocate_ports(permit, new, &held)?;
    let holds = resources(new);
    permit.freed.addresses = held
        .addresses
        .into_iter()
        .filter(|address| !holds.addresses.contains(address))
        .collect();
    permit.freed.ports = held
        .ports
        .into_iter()
        .filter(|port| !holds.ports.contains(port))
        .collect();
    Ok(())
}

fn allocate_address(permit: &mut Permit, new: &mut Value, held: &Resources) -> Result<(), Cause> {
    let asked = new["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    let invalid = |refused: &dyn std::fmt::Display| Cause {
        reason: "FieldValueInvalid",
        message: format!("Invalid value: [{asked:?}]: {refused}"),
        field: "spec.clusterIPs".to_owned(),
    };
    let address: Ipv4Addr = if asked.is_empty() {
        permit
            .allocator
            .any_address()
            .map_err(|refused| invalid(&refused))?
    } else {
        let address = asked
            .parse()
            .map_err(|_| invalid(&"must be a valid IPv4 address"))?;
        if held.addresses.contains(&address) {
            return Ok(());
        }
        permit
            .allocator
            .take_address(address)
            .map_err(|refused| invalid(&refused))?
    };
    permit.taken.addresses.push(address);
    new["spec"]["clusterIP"] = address.to_string().into();
    new["spec"]["clusterIPs"] = json!([address.to_string()]);
    Ok(())
}

fn allocate_ports(permit: &mut Permit, new: &mut Value, held: &Resources) -> Result<(), Cause> {
    let needed = has_node_ports(new);
    let mut own: BTreeSet<u16> = BTreeSet::new();
    // By port number: TCP and UDP ports of one number get one node port, as upstream gives them.
    let mut by_number: BTreeMap<u64, u16> = ports(new)
        .filter_map(|port| Some((port["port"].as_u64()?, node_port(port)?)))
        .collect();
    let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let number = port["port"].as_u64().unwrap_or(0);
        let shared = by_number.get(&number).filter(|_| needed).copied();
        let asked = node_port(port).or(shared);
        let refused = |refused: Refused| Cause {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {}: {refused}", asked.unwrap_or(0)),
            field: format!("spec.ports[{index}].nodePort"),
        };
        let taken = match asked {
            // TCP and UDP may share a number within one Service.
            Some(number) if held.ports.contains(&number) || own.contains(&number) => Ok(number),
            Some(number) => permit
                .allocator
                .take_port(number)
                .inspect(|port| permit.taken.ports.push(*port)),
            None if needed => permit
                .allocator
                .any_port()
                .inspect(|port| permit.taken.ports.push(*port)),
            None => continue,
        };
        let taken = taken.map_err(refused)?;
        own.insert(taken);
        by_number.entry(number).or_insert(taken);
        port["nodePort"] = taken.into();
    }
    Ok(())
}
