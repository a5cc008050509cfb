//! Ingress: which HTTP hosts and paths lead to which Services.

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressSpec};
use serde_json::Value;

use crate::kind::{Subresource, Write};
use crate::served::{Row, Served};
use crate::table::{age, column, name, or_none};
use crate::validation::{Errors, Path, names};

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// What no path may have, and what none may end with.
const BAD_IN_PATH: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const BAD_AT_END: [&str; 2] = ["/..", "/."];
const CLASS: &str = "kubernetes.io/ingress.class";
/// How many hosts a cell shows.
const MAX_HOSTS: usize = 3;

impl Served for Ingress {
    const ROW: Row = Row {
        singular: "ingress",
        short_names: &["ing"],
        columns: &[
            column("Name"),
            column("Class"),
            column("Hosts"),
            column("Address"),
            column("Ports"),
            column("Age"),
        ],
        subresources: &[Subresource::Status],
        generation: true,
        inert: true,
        ..Row::NAMESPACED
    };

    fn default(&mut self) {
        self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        status.load_balancer.get_or_insert_default();
    }

    fn prepare(object: &mut Value, old: Option<&Value>, _write: Write) {
        if old.is_none() {
            let empty = Value::Object(serde_json::Map::new());
            crate::prepare::set(object, "status", "loadBalancer", empty);
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write, errors: &mut Errors) {
        if write == Write::Status {
            return;
        }
        if old.is_none() {
            annotated_class(self, errors);
        }
        let spec = self.spec.clone().unwrap_or_default();
        let path = Path::ROOT.field("spec");
        let has_rules = spec.rules.iter().flatten().next().is_some();
        if !has_rules && spec.default_backend.is_none() {
            let detail = "either `defaultBackend` or `rules` must be specified";
            errors.invalid(&path, &spec.rules.clone().unwrap_or_default(), detail);
        }
        if let Some(default) = &spec.default_backend {
            backend(default, &path.field("defaultBackend"), errors);
        }
        rules(&spec, &path.field("rules"), errors);
        tls(&spec, &path.field("tls"), errors);
        if let Some(class) = spec.ingress_class_name.as_deref() {
            errors.problems(&path.field("ingressClassName"), class, &names::subdomain(class));
        }
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let balancer = self
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref());
        let addresses = balancer
            .into_iter()
            .flat_map(|balancer| balancer.ingress.iter().flatten());
        let addresses: Vec<_> = addresses
            .filter_map(|address| address.ip.as_deref().or(address.hostname.as_deref()))
            .collect();
        let is_encrypted = spec.tls.iter().flatten().next().is_some();
        vec![
            name(&self.metadata),
            or_none(spec.ingress_class_name.as_deref()).into(),
            hosts(&spec).into(),
            addresses.join(",").into(),
            if is_encrypted { "80, 443" } else { "80" }.into(),
            age(&self.metadata, now),
        ]
    }
}

/// The annotation is older than the field; who makes an Ingress may not have them say different things.
fn annotated_class(ingress: &Ingress, errors: &mut Errors) {
    let annotations = ingress.metadata.annotations.as_ref();
    let Some(annotation) = annotations.and_then(|annotations| annotations.get(CLASS)) else {
        return;
    };
    let path = Path::ROOT.field("annotations");
    let path = path.field(CLASS);
    match ingress
        .spec
        .as_ref()
        .and_then(|spec| spec.ingress_class_name.as_ref())
    {
        None => errors.warn_of(&format!(
            "annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"
        )),
        Some(class) if class != annotation => {
            let detail = "must match `ingressClassName` when both are specified";
            errors.invalid(&path, annotation, detail);
        }
        Some(_) => {}
    }
}

fn hosts(spec: &IngressSpec) -> String {
    let hosts: Vec<_> = spec
        .rules
        .iter()
        .flatten()
        .filter_map(|rule| rule.host.as_deref())
        .filter(|host| !host.is_empty())
        .collect();
    let shown = hosts
        .iter()
        .take(MAX_HOSTS)
        .copied()
        .collect::<Vec<_>>()
        .join(",");
    match hosts.len() {
        0 => "*".to_owned(),
        count if count > MAX_HOSTS => format!("{shown} + {} more...", count - MAX_HOSTS),
        _ => shown,
    }
}

fn host(host: &str, path: &Path<'_>, errors: &mut Errors) {
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid(path, host, "must be a DNS name, not an IP address");
    }
    // A wildcard stands for the first label.
    let rest = host.strip_prefix("*.").unwrap_or(host);
    errors.problems(path, host, &names::subdomain(rest));
}

fn rules(spec: &IngressSpec, path: &Path<'_>, errors: &mut Errors) {
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        let path = path.index(index);
        if let Some(text) = rule.host.as_deref().filter(|host| !host.is_empty()) {
            host(text, &path.field("host"), errors);
        }
        let Some(http) = &rule.http else { continue };
        let path = path.field("http");
        let path = path.field("paths");
        if http.paths.is_empty() {
            errors.required(&path, "");
        }
        for (index, http_path) in http.paths.iter().enumerate() {
            let path = path.index(index);
            validate_path(http_path, &path, errors);
            backend(&http_path.backend, &path.field("backend"), errors);
        }
    }
}

fn validate_path(http_path: &HTTPIngressPath, path: &Path<'_>, errors: &mut Errors) {
    let text = http_path.path.as_deref().unwrap_or_default();
    let text_path = path.field("path");
    match http_path.path_type.as_str() {
        "" => errors.required(&path.field("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&text_path, text, "must be an absolute path");
            }
            for bad in BAD_IN_PATH.iter().filter(|bad| text.contains(*bad)) {
                errors.invalid(&text_path, text, &format!("must not contain '{bad}'"));
            }
            for bad in BAD_AT_END.iter().filter(|bad| text.ends_with(*bad)) {
                errors.invalid(&text_path, text, &format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&text_path, text, "must be an absolute path");
            }
        }
        other => errors.not_supported(&path.field("pathType"), other, &PATH_TYPES),
    }
}

fn backend(backend: &IngressBackend, path: &Path<'_>, errors: &mut Errors) {
    let Some(service) = &backend.service else {
        if backend.resource.is_none() {
            errors.invalid(path, "", "resource or service backend is required");
        }
        return;
    };
    if backend.resource.is_some() {
        return errors.invalid(path, "", "cannot set both resource and service backends");
    }
    let service_path = path.field("service");
    let name_path = service_path.field("name");
    if service.name.is_empty() {
        errors.required(&name_path, "");
    } else {
        errors.problems(&name_path, &service.name, &names::label(&service.name));
    }
    let port = service.port.clone().unwrap_or_default();
    let port_path = service_path.field("port");
    let name = port.name.as_deref().filter(|name| !name.is_empty());
    let number = port.number.filter(|number| *number != 0);
    match (name, number) {
        (Some(_), Some(_)) => errors.invalid(path, "", "cannot set both port name & port number"),
        (Some(name), None) => errors.problems(&port_path.field("name"), name, &names::port_name(name)),
        (None, Some(number)) => errors.problems(
            &port_path.field("number"),
            &number,
            &names::port_number(number.into()),
        ),
        (None, None) => errors.required(path, "port name or number is required"),
    }
}

fn tls(spec: &IngressSpec, path: &Path<'_>, errors: &mut Errors) {
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let path = path.index(index);
        let hosts = path.field("hosts");
        for (index, text) in tls.hosts.iter().flatten().enumerate() {
            let rest = text.strip_prefix("*.").unwrap_or(text);
            errors.problems(&hosts.index(index), text, &names::subdomain(rest));
        }
        if let Some(secret) = tls.secret_name.as_deref().filter(|secret| !secret.is_empty()) {
            errors.problems(&path.field("secretName"), secret, &names::subdomain(secret));
        }
    }
}
