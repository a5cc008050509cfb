//! Service: one address for many pods. Its address and node ports are allocated by the API server.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value};

use crate::defaults::text;
use crate::kind::{NameRule, Subresource, Write};
use crate::labels::Selector;
use crate::served::{Row, Served};
use crate::table::{NONE, age, column, name, or_none, wide};
use crate::validation::Errors;

mod addresses;
mod allocated;
mod balancer;
mod rules;
mod warnings;

/// Seconds that a client sticks to its pod with `sessionAffinity: ClientIP`.
const AFFINITY_TIMEOUT: i32 = 10_800;

impl Served for Service {
    const ROW: Row = Row {
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        columns: &[
            column("Name"),
            column("Type"),
            column("Cluster-IP"),
            column("External-IP"),
            column("Port(s)"),
            column("Age"),
            wide("Selector"),
        ],
        subresources: &[Subresource::Status, Subresource::Proxy],
        name_rule: NameRule::Label,
        fields: &["spec.clusterIP", "spec.type"],
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        let spec = self.spec.get_or_insert_default();
        text(&mut spec.session_affinity, "None");
        match spec.session_affinity.as_deref() {
            Some("ClientIP") => {
                let config = spec.session_affinity_config.get_or_insert_default();
                config
                    .client_ip
                    .get_or_insert_default()
                    .timeout_seconds
                    .get_or_insert(AFFINITY_TIMEOUT);
            }
            _ => spec.session_affinity_config = None,
        }
        text(&mut spec.type_, "ClusterIP");
        for port in spec.ports.iter_mut().flatten() {
            text(&mut port.protocol, "TCP");
            if matches!(&port.target_port, None | Some(IntOrString::Int(0)))
                || port.target_port == Some(IntOrString::String(String::new()))
            {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        if let Some(ip) = spec.cluster_ip.clone().filter(|ip| !ip.is_empty()) {
            let addresses = spec.cluster_ips.get_or_insert_default();
            if addresses.is_empty() {
                addresses.push(ip);
            }
        }
        defaults_by_type(spec);
        self.status
            .get_or_insert_default()
            .load_balancer
            .get_or_insert_default();
    }

    fn prepare(object: &mut Value, old: Option<&Value>, write: Write) {
        match old {
            Some(old) if write == Write::Main => allocated::keep(object, old),
            Some(_) => {}
            None => {
                crate::prepare::set(object, "status", "loadBalancer", Value::Object(Map::new()));
            }
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Main {
            rules::validate(self, old, errors);
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let selector =
            Selector::from_labels(spec.selector.as_ref().unwrap_or(&Default::default())).to_string();
        vec![
            name(&self.metadata),
            spec.type_.clone().unwrap_or_default().into(),
            or_none(spec.cluster_ip.as_deref()).into(),
            external(self, &spec).into(),
            ports(&spec).into(),
            age(&self.metadata, now),
            or_none(Some(&selector)).into(),
        ]
    }
}

fn defaults_by_type(spec: &mut ServiceSpec) {
    let kind = spec.type_.clone().unwrap_or_default();
    let is_external = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if is_external {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if is_external || kind == "ClusterIP" {
        text(&mut spec.internal_traffic_policy, "Cluster");
        text(&mut spec.ip_family_policy, "SingleStack");
        if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
            spec.ip_families = Some(vec!["IPv4".to_owned()]);
        }
    }
    if kind == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    // Zero means "none", or "to be allocated".
    spec.health_check_node_port = spec.health_check_node_port.filter(|port| *port != 0);
    for port in spec.ports.iter_mut().flatten() {
        port.node_port = port.node_port.filter(|port| *port != 0);
    }
}

/// EXTERNAL-IP
fn external(service: &Service, spec: &ServiceSpec) -> String {
    let given = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref().unwrap_or_default() {
        "LoadBalancer" => {
            let status = service
                .status
                .as_ref()
                .and_then(|status| status.load_balancer.as_ref());
            let ingress = status
                .into_iter()
                .flat_map(|balancer| balancer.ingress.iter().flatten());
            let found = ingress.filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()));
            let all = found.chain(given).collect::<Vec<_>>().join(",");
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all
            }
        }
        "ExternalName" => spec.external_name.clone().unwrap_or_default(),
        _ if given.is_empty() => NONE.to_owned(),
        _ => given.join(","),
    }
}

/// PORT(S): `80/TCP`, `80:30001/TCP`
fn ports(spec: &ServiceSpec) -> String {
    let ports = spec.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        match port.node_port.unwrap_or(0) {
            0 => format!("{}/{protocol}", port.port),
            node_port => format!("{}:{node_port}/{protocol}", port.port),
        }
    });
    or_none(Some(&ports.collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(spec: Value) -> Value {
        let mut service: Service =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap_or_default();
        service.default();
        json!(service.cells(0)[1..5])
    }

    #[test]
    fn rows() {
        let plain = json!({"clusterIP": "127.96.0.2", "ports": [{"port": 80}]});
        assert_eq!(row(plain), json!(["ClusterIP", "127.96.0.2", "<none>", "80/TCP"]));
        let node = json!({"type": "NodePort", "clusterIP": "127.96.0.2", "ports": [{"port": 80, "nodePort": 30001}]});
        assert_eq!(
            row(node),
            json!(["NodePort", "127.96.0.2", "<none>", "80:30001/TCP"])
        );
        let name = json!({"type": "ExternalName", "externalName": "example.com"});
        assert_eq!(
            row(name),
            json!(["ExternalName", "<none>", "example.com", "<none>"])
        );
        let balancer =
            json!({"type": "LoadBalancer", "clusterIP": "None", "ports": [{"port": 1, "protocol": "UDP"}]});
        assert_eq!(
            row(balancer),
            json!(["LoadBalancer", "None", "<pending>", "1/UDP"])
        );
    }
}
