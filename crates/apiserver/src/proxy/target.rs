//! Where a proxied request goes: `[SCHEME:]NAME[:PORT]` of a pod or a Service to an address.
//!
//! A port of a pod is a container port, and means the real one. A port of a Service is its own, by number or name, and
//! leads to one of its ready endpoints (`pkg/registry/core/{pod,service}/.../ResourceLocation`).

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use rand::seq::IndexedRandom as _;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::object::Object;
use crate::resource::Resource;
use crate::status::Failure;

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// A pod's address.
    pub address: SocketAddr,
    /// Whether it is to be spoken to in TLS.
    pub tls: bool,
}

impl Target {
    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// What a request on `/proxy` means.
pub(super) async fn find(call: &Call) -> Result<Target, Failure> {
    let asked = call.name()?;
    let (tls, name, port) = split(asked, call.resource.kind.singular)?;
    let address = if call.resource.is("", "pods") {
        of_pod(&read::<Pod>(call, &call.resource, name).await?, port)
    } else {
        let service: Service = read(call, &call.resource, name).await?;
        let endpoints = call.core.registry.get("", "endpoints")?;
        let none = || Failure::Unavailable(format!("no endpoints available for service {asked:?}"));
        let endpoints = match read::<Endpoints>(call, &endpoints, name).await {
            Err(Failure::NotFound(_)) => Err(none()),
            other => other,
        }?;
        let port = service_port(&service, name, port)?;
        of_endpoints(&endpoints, &port).ok_or_else(none)
    }?;
    Ok(Target { address, tls })
}

async fn read<T: DeserializeOwned>(call: &Call, resource: &Resource, name: &str) -> Result<T, Failure> {
    let key = resource.key(call.namespace(), name);
    let entry = call.core.read(resource, &key, name).await?;
    let object = Object::from(&*entry).to_value(resource);
    serde_json::from_value(object).map_err(|error| Failure::Internal(error.to_string()))
}

/// Whether by TLS, name and port; no port is an empty one.
fn split<'a>(asked: &'a str, singular: &str) -> Result<(bool, &'a str, &'a str), Failure> {
    let words: Vec<&str> = asked.split(':').collect();
    match words.as_slice() {
        [name] => Ok((false, name, "")),
        [name, port] | ["" | "http", name, port] if !name.is_empty() => Ok((false, name, port)),
        ["https", name, port] if !name.is_empty() => Ok((true, name, port)),
        _ => Err(Failure::BadRequest(format!(
            "invalid {singular} request {asked:?}"
        ))),
    }
}

fn of_pod(pod: &Pod, port: &str) -> Result<SocketAddr, Failure> {
    let spec = pod.spec.iter();
    let declared = spec
        .flat_map(|spec| &spec.containers)
        .find_map(|container| container.ports.as_ref()?.first());
    let port = if port.is_empty() {
        Ok(declared
            .and_then(|port| u16::try_from(port.container_port).ok())
            .unwrap_or(80))
    } else {
        port.parse()
            .map_err(|_| Failure::BadRequest(format!("invalid port {port:?}")))
    }?;
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let ip: IpAddr = ip
        .and_then(|ip| ip.parse().ok())
        .ok_or_else(|| Failure::BadRequest("address not allowed".to_owned()))?;
    Ok(SocketAddr::new(ip, api::ports::real_port(pod, port, "TCP")))
}

/// The name of the port that is asked for, which may be empty.
fn service_port(service: &Service, name: &str, port: &str) -> Result<String, Failure> {
    let Ok(number) = port.parse::<i32>() else {
        return Ok(port.to_owned());
    };
    let spec = service.spec.iter();
    let mut ports = spec.flat_map(|spec| spec.ports.iter().flatten());
    let found = ports.find(|port| port.port == number);
    let missing = || Failure::Unavailable(format!("no service port {number} found for service {name:?}"));
    Ok(found.ok_or_else(missing)?.name.clone().unwrap_or_default())
}

/// One of the addresses of a port, each as likely as another.
fn of_endpoints(endpoints: &Endpoints, port: &str) -> Option<SocketAddr> {
    let mut all = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let mut ports = subset.ports.iter().flatten();
        let Some(port) = ports.find(|other| other.name.as_deref().unwrap_or_default() == port) else {
            continue;
        };
        let Ok(number) = u16::try_from(port.port) else {
            continue;
        };
        let ips = subset.addresses.iter().flatten();
        all.extend(ips.filter_map(|address| Some(SocketAddr::new(address.ip.parse().ok()?, number))));
    }
    all.choose(&mut rand::rng()).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(split("web", "pod"), Ok((false, "web", "")));
        assert_eq!(split("web:80", "pod"), Ok((false, "web", "80")));
        assert_eq!(split("http:web:http", "service"), Ok((false, "web", "http")));
        assert_eq!(split(":web:80", "service"), Ok((false, "web", "80")));
        for wrong in ["a:b:c:d", "ftp:web:80", ":80"] {
            let expected = Failure::BadRequest(format!("invalid service request {wrong:?}"));
            assert_eq!(split(wrong, "service"), Err(expected));
        }
        assert_eq!(split("https:web:443", "service"), Ok((true, "web", "443")));
    }

    #[test]
    fn ports_become_addresses() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"annotations": {api::names::POD_PORTS: r#"{"80/TCP":20003}"#}},
            "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
            "status": {"podIP": "127.10.1.2"},
        }))
        .unwrap();
        assert_eq!(of_pod(&pod, "").unwrap().to_string(), "127.10.1.2:20003");
        assert_eq!(of_pod(&pod, "81").unwrap().to_string(), "127.10.1.2:81");
        assert!(of_pod(&Pod::default(), "80").is_err());
        let service: Service =
            serde_json::from_value(json!({"spec": {"ports": [{"port": 8080, "name": "web"}]}})).unwrap();
        assert_eq!(service_port(&service, "s", "8080"), Ok("web".to_owned()));
        assert_eq!(service_port(&service, "s", "web"), Ok("web".to_owned()));
        assert!(service_port(&service, "s", "1").is_err());
        let endpoints: Endpoints = serde_json::from_value(json!({"subsets": [
            {"notReadyAddresses": [{"ip": "127.10.1.9"}], "ports": [{"name": "web", "port": 20009}]},
            {"addresses": [{"ip": "127.10.1.2"}], "ports": [{"name": "web", "port": 20003}]},
        ]}))
        .unwrap();
        let found = of_endpoints(&endpoints, "web").map(|address| address.to_string());
        assert_eq!(found.as_deref(), Some("127.10.1.2:20003"));
        assert_eq!(of_endpoints(&endpoints, ""), None);
    }
}
