//! EndpointSlice: a Service's addresses and whether they are ready, serving, terminating.

use std::collections::HashSet;

use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};
use serde_json::Value;

use super::endpoints::first_few;
use crate::kind::Write;
use crate::served::{Row, Served};
use crate::table::{age, column, name};
use crate::validation::{Errors, Path, names, values};

/// What a cell shows for a list that is empty because it is not set.
const UNSET: &str = "<unset>";
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;

impl Served for EndpointSlice {
    const ROW: Row = Row {
        singular: "endpointslice",
        columns: &[
            column("Name"),
            column("AddressType"),
            column("Ports"),
            column("Endpoints"),
            column("Age"),
        ],
        generation: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            crate::defaults::text(&mut port.protocol, "TCP");
        }
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let root = Path::ROOT;
        errors.one_of(
            &root.field("addressType"),
            Some(&self.address_type),
            &["FQDN", "IPv4", "IPv6"],
        );
        endpoints(self, &root.field("endpoints"), errors);
        ports(
            self.ports.as_deref().unwrap_or_default(),
            &root.field("ports"),
            errors,
        );
        if let Some(old) = old {
            errors.immutable(&root.field("addressType"), &self.address_type, &old.address_type);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let ports = self
            .ports
            .iter()
            .flatten()
            .map(|port| port.port.map_or("*".to_owned(), |port| port.to_string()));
        let endpoints = self
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| endpoint.addresses.iter().cloned());
        vec![
            name(&self.metadata),
            self.address_type.clone().into(),
            first_few(ports, UNSET).into(),
            first_few(endpoints, UNSET).into(),
            age(&self.metadata, now),
        ]
    }
}

fn endpoints(slice: &EndpointSlice, path: &Path<'_>, errors: &mut Errors) {
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > MAX_ENDPOINTS {
        return errors.too_many(path, endpoints.len(), MAX_ENDPOINTS);
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(index);
        addresses(
            &endpoint.addresses,
            &slice.address_type,
            &path.field("addresses"),
            errors,
        );
        if let Some(hostname) = endpoint.hostname.as_deref() {
            errors.problems(&path.field("hostname"), hostname, &names::label(hostname));
        }
        if let Some(node) = endpoint.node_name.as_deref() {
            errors.problems(&path.field("nodeName"), node, &names::subdomain(node));
        }
    }
}

/// Loopback addresses are good ones here: every pod has one.
fn addresses(addresses: &[String], address_type: &str, path: &Path<'_>, errors: &mut Errors) {
    match addresses.len() {
        0 => errors.required(path, "must contain at least 1 address"),
        count if count > MAX_ADDRESSES => errors.too_many(path, count, MAX_ADDRESSES),
        _ => {}
    }
    for (index, address) in addresses.iter().enumerate() {
        let problems = match address_type {
            "IPv4" => values::ip_of(address, true),
            "IPv6" => values::ip_of(address, false),
            _ => names::subdomain(address),
        };
        errors.problems(&path.index(index), address, &problems);
    }
}

fn ports(ports: &[EndpointPort], path: &Path<'_>, errors: &mut Errors) {
    if ports.len() > MAX_PORTS {
        return errors.too_many(path, ports.len(), MAX_PORTS);
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            errors.problems(&path.field("name"), name, &names::label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&path.field("name"), name);
        }
        errors.one_of(
            &path.field("protocol"),
            port.protocol.as_deref(),
            &values::PROTOCOLS,
        );
        if let Some(app_protocol) = &port.app_protocol {
            errors.problems(
                &path.field("appProtocol"),
                app_protocol,
                &names::qualified_name(app_protocol),
            );
        }
    }
}
