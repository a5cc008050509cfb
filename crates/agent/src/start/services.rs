//! The Services that a container finds in its environment.
//!
//! They are those that there are when the container starts: one that comes later is found by its address only, as
//! upstream (`pkg/kubelet/kubelet_pods.go` which, `pkg/kubelet/envvars` how).

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::{Informer, Key};
use k8s_openapi::api::core::v1::{PodSpec, Service};

use super::Environment;

/// The Services that a pod is told of: those of its namespace, unless it wants none of them (`enableServiceLinks`), and
/// always the API's own.
pub fn of_pod(services: &Informer<Service>, namespace: &str, spec: &PodSpec) -> Vec<Arc<Service>> {
    let api = services.get(&Key::new("default", "kubernetes"));
    let own = match spec.enable_service_links {
        Some(false) => Vec::new(),
        _ => services.in_namespace(namespace),
    };
    // One of the pod's own namespace wins over the API's, should it have the same name.
    let named = api
        .into_iter()
        .chain(own)
        .filter(|service| address(service).is_some());
    let by_name: BTreeMap<_, _> = named
        .map(|service| (service.metadata.name.clone(), service))
        .collect();
    by_name.into_values().collect()
}

/// The variables that tell of Services: host and port, and those that Docker had for its links.
pub fn variables(services: &[Arc<Service>]) -> Environment {
    let mut env = Environment::new();
    for service in services {
        add(&mut env, service);
    }
    env
}

fn add(env: &mut Environment, service: &Service) {
    let (Some(host), Some(spec)) = (address(service), &service.spec) else {
        return;
    };
    let prefix = variable(service.metadata.name.as_deref().unwrap_or_default());
    env.insert(format!("{prefix}_SERVICE_HOST"), host.to_owned());
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{number}", protocol.to_ascii_lowercase());
        if index == 0 {
            env.insert(format!("{prefix}_SERVICE_PORT"), number.to_string());
            env.insert(format!("{prefix}_PORT"), url.clone());
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name = variable(name);
            env.insert(format!("{prefix}_SERVICE_PORT_{name}"), number.to_string());
        }
        let link = format!("{prefix}_PORT_{number}_{protocol}");
        env.insert(format!("{link}_PROTO"), protocol.to_ascii_lowercase());
        env.insert(format!("{link}_PORT"), number.to_string());
        env.insert(format!("{link}_ADDR"), host.to_owned());
        env.insert(link, url);
    }
}

/// Where a Service is; `None` if it is headless or a name outside of the cluster.
fn address(service: &Service) -> Option<&str> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!matches!(address, "" | "None")).then_some(address)
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_becomes_variables() {
        let service = json!({"metadata": {"name": "my-shop"}, "spec": {"clusterIP": "127.96.0.7", "ports": [
            {"port": 80, "name": "web-ui"}, {"port": 53, "name": "dns", "protocol": "UDP"},
        ]}});
        let expected = [
            ("MY_SHOP_PORT", "tcp://127.96.0.7:80"),
            ("MY_SHOP_PORT_53_UDP", "udp://127.96.0.7:53"),
            ("MY_SHOP_PORT_53_UDP_ADDR", "127.96.0.7"),
            ("MY_SHOP_PORT_53_UDP_PORT", "53"),
            ("MY_SHOP_PORT_53_UDP_PROTO", "udp"),
            ("MY_SHOP_PORT_80_TCP", "tcp://127.96.0.7:80"),
            ("MY_SHOP_PORT_80_TCP_ADDR", "127.96.0.7"),
            ("MY_SHOP_PORT_80_TCP_PORT", "80"),
            ("MY_SHOP_PORT_80_TCP_PROTO", "tcp"),
            ("MY_SHOP_SERVICE_HOST", "127.96.0.7"),
            ("MY_SHOP_SERVICE_PORT", "80"),
            ("MY_SHOP_SERVICE_PORT_DNS", "53"),
            ("MY_SHOP_SERVICE_PORT_WEB_UI", "80"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let service: Service = serde_json::from_value(service).unwrap();
        assert_eq!(variables(&[Arc::new(service)]), expected.into());
    }

    #[test]
    fn one_without_an_address_is_left_out() {
        for spec in [
            json!({"clusterIP": "None", "ports": [{"port": 80}]}),
            json!({"type": "ExternalName", "externalName": "example.org"}),
        ] {
            let service = json!({"metadata": {"name": "web"}, "spec": spec});
            let service: Service = serde_json::from_value(service).unwrap();
            assert!(variables(&[Arc::new(service)]).is_empty());
        }
    }
}
